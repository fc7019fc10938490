#!/usr/bin/env python3
"""The programs that runc's tests call, by the name this file is called: stand-ins for those of its tests/cmd.

Where the suite brings its own, built by `make test-binaries`, those are taken instead.
"""

import argparse
import array
import ctypes
import errno
import fcntl
import json
import os
import signal
import socket
import stat
import struct
import subprocess
import sys
import threading

LIBC = ctypes.CDLL(None, use_errno=True)


def call(number, name, *arguments):
    """One system call, or an OSError with its name."""
    result = LIBC.syscall(ctypes.c_long(number), *arguments)
    if result < 0:
        code = ctypes.get_errno()
        # As Go has it, which the callers look for.
        raise OSError(code, f"error calling {name}: {os.strerror(code).lower()}")
    return result


def listening(path):
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # It is there as soon as it can be connected to.
    server.bind(f"{path}-")
    server.listen()
    os.rename(f"{path}-", path)
    return server


def received(connection):
    """The bytes of one message, and its descriptors."""
    space = socket.CMSG_SPACE(array.array("i").itemsize)
    content, ancillary, _, _ = connection.recvmsg(4096, space)
    fds = array.array("i")
    for _, kind, data in ancillary:
        if kind == socket.SCM_RIGHTS:
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    return content, list(fds)


def write_pid(path, end="\n"):
    if path:
        with open(path, "w", encoding="ascii") as file:
            file.write(f"{os.getpid()}{end}")


def drain(terminal, sink):
    try:
        while content := os.read(terminal, 65536):
            if sink is not None:
                os.write(sink, content)
    except OSError as error:
        # A terminal whose other end is closed for good.
        if error.errno != errno.EIO:
            raise


def recvtty():
    options = argparse.ArgumentParser(prog="recvtty")
    options.add_argument("--mode", choices=["single", "null"], default="single")
    options.add_argument("--pid-file")
    options.add_argument("--no-stdin", action="store_true")
    options.add_argument("socket")
    chosen = options.parse_args()
    write_pid(chosen.pid_file)
    server = listening(chosen.socket)
    if chosen.mode == "single":
        connection, _ = server.accept()
        server.close()
        (terminal,) = received(connection)[1]
        if not chosen.no_stdin:
            threading.Thread(target=drain, args=(0, terminal), daemon=True).start()
        drain(terminal, 1)
        return
    while True:
        connection, _ = server.accept()
        for terminal in received(connection)[1]:
            threading.Thread(target=drain, args=(terminal, None), daemon=True).start()
        connection.close()


def pidfd_kill():
    options = argparse.ArgumentParser(prog="pidfd-kill")
    options.add_argument("--signal", default="SIGKILL")
    options.add_argument("--pid-file")
    options.add_argument("socket")
    chosen = options.parse_args()
    # Before there is a pid file to send it to.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    write_pid(chosen.pid_file)
    connection, _ = listening(chosen.socket).accept()
    (process,) = received(connection)[1]
    signal.sigwait([signal.SIGTERM])
    signal.pidfd_send_signal(process, getattr(signal, chosen.signal))


def fs_idmap():
    """Whether mounts of a file system can have mapped ids; the error is read by the caller."""
    open_tree, mount_setattr = 428, 442
    clone, empty_path, idmap = 1, 0x1000, 0x100000
    holder = subprocess.Popen(["unshare", "--user", "sleep", "60"], stdout=subprocess.PIPE)
    try:
        tree = call(open_tree, "open_tree", -100, sys.argv[1].encode(), clone | os.O_CLOEXEC | empty_path)
        while os.readlink(f"/proc/{holder.pid}/ns/user") == os.readlink("/proc/self/ns/user"):
            if holder.poll() is not None:
                sys.exit("fatal error: no user namespace")
        for kind in ["uid", "gid"]:
            with open(f"/proc/{holder.pid}/{kind}_map", "w", encoding="ascii") as file:
                file.write("0 65536 65536\n")
        namespace = os.open(f"/proc/{holder.pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
        attributes = struct.pack("QQQQ", idmap, 0, 0, namespace)
        call(mount_setattr, "mount_setattr", tree, b"", empty_path, attributes, len(attributes))
    except OSError as error:
        sys.exit(f"fatal error: {error.strerror}")
    finally:
        holder.kill()
        holder.wait()


def remap_rootfs():
    """Owners of a bundle's root become what its user namespace shows as them."""
    with open(os.path.join(sys.argv[1], "config.json"), encoding="utf-8") as file:
        config = json.load(file)
    maps = [config["linux"].get(name) or [] for name in ["uidMappings", "gidMappings"]]
    if not any(maps):
        print("no user namespace: nothing to do")
        return
    seen = set()
    root = os.path.join(sys.argv[1], config["root"]["path"])
    names = [root] + [os.path.join(folder, name) for folder, below, files in os.walk(root) for name in below + files]
    for name in names:
        was = os.lstat(name)
        if stat.S_ISLNK(was.st_mode) or (was.st_dev, was.st_ino) in seen:
            continue
        seen.add((was.st_dev, was.st_ino))
        owner = [outside(one, identity) for one, identity in zip(maps, [was.st_uid, was.st_gid])]
        if None in owner:
            print(f"{name}: {was.st_uid}:{was.st_gid} is not mapped")
            continue
        os.lchown(name, *owner)
        # Set-id bits are lost by it.
        os.chmod(name, stat.S_IMODE(was.st_mode))


def outside(mappings, inside):
    for one in mappings:
        if one["containerID"] <= inside < one["containerID"] + one["size"]:
            return one["hostID"] + inside - one["containerID"]
    return None


def sd_helper():
    """A slice of systemd's, for a pod; systemd takes its parent from its name."""
    options = argparse.ArgumentParser(prog="sd-helper")
    options.add_argument("--parent")
    options.add_argument("verb", choices=["start", "stop"])
    options.add_argument("unit")
    chosen = options.parse_args()
    user = ["--user"] if os.geteuid() else []
    os.execvp("systemctl", ["systemctl", *user, chosen.verb, chosen.unit])


# struct seccomp_notif and seccomp_notif_resp, seccomp(2).
NOTIFICATION, RESPONSE = struct.Struct("QIIiIQ6Q"), struct.Struct("QqiI")
RECEIVE, SEND, VALID = 0xC0502100, 0xC0182101, 0x40082102
MKDIR, CHMODS = {"x86_64": 83}, {"x86_64": {90, 91, 268, 452}, "aarch64": {52, 53, 452}}


def seccompagent():
    """Makes directories for the payload, with a suffix from the profile, and refuses to change modes."""
    options = argparse.ArgumentParser(prog="seccompagent")
    options.add_argument("-socketfile", required=True)
    options.add_argument("-pid-file")
    chosen = options.parse_args()
    server = listening(chosen.socketfile)
    write_pid(chosen.pid_file, end="")
    while True:
        connection, _ = server.accept()
        state, fds = received(connection)
        connection.close()
        state = json.loads(state)
        threading.Thread(target=answer, args=(fds[state["fds"].index("seccompFd")], state.get("metadata", "")), daemon=True).start()


def answer(listener, metadata):
    machine = os.uname().machine
    while True:
        request = bytearray(NOTIFICATION.size)
        try:
            fcntl.ioctl(listener, RECEIVE, request)
        except OSError as error:
            if error.errno in (errno.EINTR, errno.ENOENT):
                continue
            return
        identity, pid, _, number, _, _, *arguments = NOTIFICATION.unpack(request)
        code, flags = 0, 1
        if number == MKDIR.get(machine):
            code, flags = make_for(listener, identity, pid, arguments, metadata), 0
        elif number in CHMODS.get(machine, ()):
            code, flags = -errno.ENOMEDIUM, 0
        try:
            fcntl.ioctl(listener, SEND, RESPONSE.pack(identity, -1 if code else 0, code, flags))
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise


def make_for(listener, identity, pid, arguments, metadata):
    try:
        with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
            memory.seek(arguments[0])
            name = memory.read(4096).split(b"\0")[0].decode()
        fcntl.ioctl(listener, VALID, struct.pack("Q", identity))
        folder = f"/proc/{pid}/root" if name.startswith("/") else f"/proc/{pid}/cwd"
        os.mkdir(f"{folder}/{name}-{os.path.basename(metadata)}", arguments[1])
    except OSError:
        return -errno.ENOSYS
    return 0


NAMES = {
    "fs-idmap": fs_idmap, "pidfd-kill": pidfd_kill, "recvtty": recvtty,
    "remap-rootfs": remap_rootfs, "sd-helper": sd_helper, "seccompagent": seccompagent,
}  # fmt: skip

if __name__ == "__main__":
    NAMES[os.path.basename(sys.argv[0])]()
