"""The two ways to run the lab's images: how each is called, and how the tree gets into it."""

import os
import shutil
import subprocess
import time

VIRTIOFSD = ["/usr/libexec/virtiofsd", "/usr/lib/qemu/virtiofsd"]
# rootwait: on a busy host the disk may be found later than it is wanted.
# norandmaps: QEMU keeps what it has translated by its address in the process. Where that is another one in every
# process, each is translated anew, which takes more than half of the time.
GUEST_ARGUMENTS = "rootwait rootfstype=ext4 rw mitigations=off norandmaps quiet loglevel=3 panic=-1 systemd.show_status=no"
# Below what an emulated processor can write, and twice of what the guest takes it for (guest/job): what the
# guest's own kernel writes has its room beside the writers.
SLOWNESS = "throttling.bps-total=6291456"
SECURITY_MODULES = "lsm=landlock,lockdown,yama,integrity,apparmor"


def confined(extra=()):
    """Words before a command: it gets pid and mount namespaces that end with their first process."""
    words = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private"]
    if os.geteuid() != 0:
        words[1:1] = ["--user", "--map-root-user"]
    return words + ["--", *extra]


def uml(run):
    """User Mode Linux: the guest's kernel is a process here, and its files are opened by that process."""
    parts = os.path.join(run.lab, "uml")
    # Debian's binary wants the C library of its own release. Bound over ours, in a mount namespace of its
    # own, since it executes itself and has to find its loader then, too.
    with_its_libraries = ["sh", "-c", 'parts=$1; shift; mount --bind "$parts/ld-linux-x86-64.so.2" /lib64/ld-linux-x86-64.so.2 &&'
                          ' LD_LIBRARY_PATH=$parts exec "$@"', "uml", parts]
    root = os.path.join(run.lab, "root.img")
    changes = root if run.keep else f"{os.path.join(run.scratch, 'changes')},{root}"
    command = [
        os.path.join(parts, "linux"), "umid=lab", f"uml_dir={run.scratch}/", f"mem={run.memory_mib}M",
        f"ubd0={changes}", f"ubd1r={run.parcel}", "root=/dev/ubda",
        "con=null", "ssl=null", "con0=null,fd:1", "console=tty0", *GUEST_ARGUMENTS.split(), SECURITY_MODULES,
    ]
    return run.start([*confined(with_its_libraries), *command], {"TMPDIR": memory_folder(run)})


def memory_folder(run):
    """Where User Mode Linux keeps the guest's memory, an unlinked file: in real memory where there is room."""
    try:
        room = os.statvfs("/dev/shm")
        if room.f_bavail * room.f_frsize > run.memory_mib << 20 and os.access("/dev/shm", os.W_OK):
            return "/dev/shm"
    except OSError:
        pass
    return run.scratch


def tcg(run):
    """QEMU without the help of a processor: slower, and Debian's own kernel with all it can."""
    # The kernel without an initramfs can have its root on NVMe alone, whose disks it numbers as it comes to
    # them: one disk of that kind. The others are virtio's, known by their serials.
    disks = {
        "root": f"file.filename={os.path.join(run.lab, 'root.img')},snapshot={'off' if run.keep else 'on'}",
        "parcel": f"file.filename={run.parcel},read-only=on",
        "slow": f"file.filename={slow_disk(run)},{SLOWNESS}",
    }
    shared = share(run)
    if not shared:
        disks["tree"] = f"file.filename={copy(run)}"
    command = [
        "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        # One processor: with more, code that the guest's kernel patches while another runs it ends in an Oops.
        "-accel", "tcg", "-cpu", "qemu64,+rdrand", "-smp", "1", "-rtc", "base=utc",
        "-machine", "q35,memory-backend=memory", "-m", str(run.memory_mib),
        "-object", f"memory-backend-memfd,id=memory,size={run.memory_mib}M,share=on",
        "-kernel", os.path.join(run.lab, "kernel.elf"),
        "-append", f"root=/dev/nvme0n1 console=ttyS0 {GUEST_ARGUMENTS} {SECURITY_MODULES}",
        "-serial", "stdio", "-device", "virtio-serial-pci",
    ]
    for name, disk in disks.items():
        # No lock: several machines run from the same image, none of which writes to it.
        command += ["-drive", f"if=none,id={name},format=raw,file.driver=file,file.locking=off,cache=unsafe,{disk}"]
        command += ["-device", f"{'nvme' if name == 'root' else 'virtio-blk-pci'},drive={name},serial={name}"]
    for name in ["output", "status"]:
        command += ["-chardev", f"file,id={name},path={os.path.join(run.channel, name)}"]
        command += ["-device", f"virtserialport,chardev={name},name={name}"]
    if shared:
        command += ["-chardev", f"socket,id=tree,path={shared}", "-device", "vhost-user-fs-pci,chardev=tree,tag=tree"]
    return run.start([*confined(), *command], {"TMPDIR": run.scratch})


def slow_disk(run):
    """An empty disk for tests of what several writers get of it."""
    disk = os.path.join(run.scratch, "slow.img")
    make_file_system(disk, "256M", "-E", "lazy_itable_init=0")
    return disk


def share(run):
    """Starts virtiofsd for the tree; its socket, or None where it cannot run (it may want root)."""
    program = next((path for path in VIRTIOFSD if os.access(path, os.X_OK)), None)
    if not program or os.geteuid() != 0:
        return None
    socket = os.path.join(run.scratch, "tree.socket")
    options = ["-f", f"--socket-path={socket}", "-o", f"source={run.tree}",
               "-o", "cache=auto", "-o", "sandbox=chroot", "-o", "xattr"]
    with open(os.path.join(run.scratch, "virtiofsd.log"), "wb") as log:
        process = run.start([*confined(), program, *options], output=log)
    for _ in range(100):
        if os.path.exists(socket):
            return socket
        if process.poll() is not None:
            break
        time.sleep(0.05)
    return None


def copy(run):
    """A disk with the tree's files, as git counts them: what the guest writes there is lost."""
    listing = ["git", "-C", run.tree, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    files = subprocess.run(listing, stdout=subprocess.PIPE, check=True).stdout
    staged = os.path.join(run.scratch, "tree")
    os.mkdir(staged)
    for name in filter(None, files.decode().split("\0")):
        source, target = os.path.join(run.tree, name), os.path.join(staged, name)
        if os.path.lexists(source):
            os.makedirs(os.path.dirname(target), exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
    disk = os.path.join(run.scratch, "tree.img")
    make_file_system(disk, "512M", "-d", staged)
    return disk


def make_file_system(disk, size, *options):
    subprocess.run(["/sbin/mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", *options, disk, size],
                   check=True, stdout=subprocess.DEVNULL)


ENGINES = {"tcg": tcg, "uml": uml}
