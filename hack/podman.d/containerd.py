"""containerd, where it is installed: its runc shim calls the runtime."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager

from case import Skip, root

CONFIG = """version = 2
root = "{work}/containerd/root"
state = "{work}/containerd/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "{work}/containerd.sock"
"""


class Ctr:
    def __init__(self, podman):
        self.podman, self.work = podman, podman.room.work

        self.run_line = f"run --snapshotter native --runc-binary {podman.room.runtime}"

    def words(self, line):
        return ["ctr", "-a", f"{self.work}/containerd.sock", *shlex.split(line)]

    def __call__(self, line, wanted=0):
        words = self.words(line)
        result = self.podman.execute(words, words)
        assert result.status == wanted, str(result)
        return result.out.rstrip("\n")

    def run(self, options, line, wanted=0):
        return self(f"{self.run_line} {options} localhost/box:latest {line}", wanted)


@contextmanager
def containerd(p):
    """A containerd of the room's own, with the image."""
    if not shutil.which("containerd") or not shutil.which("ctr"):
        raise Skip("containerd is not installed")
    work = p.room.work
    with open(f"{work}/containerd.toml", "w") as file:
        file.write(CONFIG.format(work=work))
    # Mapped ids have to reach their root, as they do in /run.
    os.makedirs(f"{work}/containerd", 0o711, exist_ok=True)
    archive = f"{work}/box.oci"
    if not os.path.exists(archive):
        p.out(f"save -q --format oci-archive -o {archive} localhost/box:latest")
    # With --uidmap ctr 1.6 forgets --runc-binary, and its shim takes the runc of PATH.
    os.makedirs(f"{work}/as-runc", exist_ok=True)
    if not os.path.exists(f"{work}/as-runc/runc"):
        os.symlink(p.room.runtime, f"{work}/as-runc/runc")
    env = {**os.environ, "PATH": f"{work}/as-runc:{os.environ['PATH']}"}
    with open(f"{work}/containerd.log", "a") as log:
        daemon = subprocess.Popen(["containerd", "-c", f"{work}/containerd.toml"], stdout=log, stderr=log, env=env)
    try:
        end = time.monotonic() + 20
        while not os.path.exists(f"{work}/containerd.sock"):
            assert daemon.poll() is None and time.monotonic() < end, open(f"{work}/containerd.log").read()
            time.sleep(0.05)
        ctr = Ctr(p)
        ctr(f"image import --snapshotter native {archive}")
        yield ctr
    finally:
        daemon.send_signal(signal.SIGTERM)
        try:
            daemon.wait(10)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()


def wait_for_task(ctr, name, pattern):
    end = time.monotonic() + 15
    while not re.search(pattern, shown := ctr("task ls")):
        assert time.monotonic() < end, shown
        time.sleep(0.1)
    return shown


@root
def containerd_runs_by_its_runc_shim(p):
    with containerd(p) as ctr:
        assert ctr.run("--rm", "first echo from containerd") == "from containerd"
        ctr.run("--rm", "second sh -c 'exit 7'", 7)
        shown = ctr.run("--rm --env A=b --cwd /tmp --read-only", "third sh -c 'touch x || pwd; echo $A'")
        assert shown == "/tmp\nb", shown
        refused = ctr.run("--rm", "fourth no-such-program", 1)
        assert refused == "", refused


@root
def containerd_lives_with_a_task(p):
    with containerd(p) as ctr:
        ctr.run("-d", "task sleep 100")
        try:
            assert ctr("task exec --exec-id one task sh -c 'ps -o args | head -n 2'") == "COMMAND\nsleep 100"
            ctr("task exec --exec-id two task sh -c 'exit 4'", 4)
            pids = ctr("task ps task").splitlines()
            assert len(pids) == 2, pids
            ctr("task pause task")
            wait_for_task(ctr, "task", "PAUSED")
            ctr("task resume task")
            wait_for_task(ctr, "task", "RUNNING")
            ctr("task metrics task")
            ctr("task kill -s KILL task")
            wait_for_task(ctr, "task", "STOPPED")
        finally:
            p.execute(["ctr"], ["ctr", "-a", f"{p.room.work}/containerd.sock", "task", "delete", "-f", "task"])
            ctr("container delete task")
        left = [path for path, _, _ in os.walk("/run/containerd/runc") if path.endswith("/task")]
        assert not left, left


@root
def containerd_makes_privileged_and_mapped_containers(p):
    with containerd(p) as ctr:
        shown = ctr.run("--rm --privileged", "big sh -c 'mkdir /m; mount -t tmpfs none /m && echo mounted'")
        assert shown == "mounted", shown
        folder = p.folder("volume")
        mount = f"--mount type=bind,src={folder},dst=/data,options=rbind:rw"
        ctr.run(f"--rm {mount}", "bound touch /data/made")
        maps = "--uidmap 0:2000:1000 --gidmap 0:2000:1000"
        assert ctr.run(f"--rm {maps}", "mapped sh -c 'id -u; cut -c 12-22 /proc/self/uid_map'").split() == ["0", "2000"]
        assert os.listdir(folder) == ["made"]
        shown = ctr.run("--rm --net-host", "net sh -c 'ls /sys/class/net | wc -l'")
        assert int(shown) == len(os.listdir("/sys/class/net")), shown
        words = ctr.words(f"{ctr.run_line} --rm -t localhost/box:latest shell sh")
        status, shown = p.terminal(words, [("# ", "tty; exit 3\n")], argv=words)
        assert status == 3 and "/dev/" in shown, (status, shown)
        assert ctr.run("--rm --seccomp", "seccomp sed -n 's/Seccomp:.//p' /proc/self/status") == "2"
