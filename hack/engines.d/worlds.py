"""Actions with the world around a container: networks, the host's programs, containers in containers."""

import os
import re
import subprocess
import urllib.request

import cli
import host
from case import Skip

# The host's programs and libraries in a container that has only busybox.
USERLAND = "-v /usr:/usr:ro -v /usr/lib:/lib:ro -v /usr/lib64:/lib64:ro -v /etc/alternatives:/etc/alternatives:ro"
PORT = 18080


def default_network(p):
    if host.user_mode_linux() and (p.root or p.program == "docker"):
        raise Skip("docker's and root's networks want netfilter that User Mode Linux lacks")
    if p.program == "docker":
        return "bridge"
    if not host.systemd():
        raise Skip("no network of podman's own here")
    return "podman" if p.root else "pasta"


def published_port_answers(p):
    with p.container(f"--network={default_network(p)} -p {PORT}:80 box httpd -f -p 80 -h /etc"):
        cli.wait_until(lambda: page() == "data\n", "the port never answered")


def page():
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/not-a-program", timeout=20) as answer:
            return answer.read().decode()
    except OSError:
        return None


def iptables_wants_net_admin(p):
    host.need_program("iptables")
    listing = "/usr/sbin/iptables -L -n"
    if p.root and subprocess.run(listing.split(), capture_output=True, check=False).returncode:
        raise Skip("iptables does not work on this host")
    words = "permission denied|must be root|not permitted"
    result = p(f"run --rm {USERLAND} box {listing}")
    assert result.status != 0 and re.search(words, result.err, re.IGNORECASE), str(result)
    for more in ["--cap-add NET_ADMIN", "--privileged"]:
        p.expect(f"run --rm {more} {USERLAND} box {listing}", re.compile("Chain INPUT"))


def podman_in_podman(p):
    folder = p.folder("nested")
    subprocess.run(["cp", "-a", p.room.rootfs, f"{folder}/rootfs"], check=True)
    inner = "podman --root /inner/s --runroot /inner/r --tmpdir /inner/t --storage-driver=vfs --cgroup-manager=cgroupfs --events-backend=file"
    inner += f" --log-level=error --runtime {p.room.binary}"
    line = f"{inner} run --rm --network=none --rootfs /inner/rootfs sh -c 'echo nested $$; id -u'"
    mounts = f"{USERLAND} -v {folder}:/inner -v {p.room.binary}:{p.room.binary}:ro -v /etc/containers:/etc/containers:ro"
    shown = p.out(f"run --rm --privileged -e HOME=/inner -e PATH=/usr/sbin:/usr/bin:/bin {mounts} box {line}")
    assert shown == "nested 1\n0", shown


# How a running container is saved, and goes on.
SAVE = {"podman": "container checkpoint {}", "docker": "checkpoint create {} one"}
GO_ON = {"podman": "container restore {}", "docker": "start --checkpoint one {}"}


def checkpoint(p):
    if not p.root:
        raise Skip(f"{p.program}'s checkpoint is root's")
    host.need_criu()
    with p.container(cli.TICKING) as c:
        p.wait_for(f"logs {c}", "tick 5\n")
        p.out(SAVE[p.program].format(c))
        p.wait_for(f"inspect -f '{{{{.State.Running}}}}' {c}", "false")
        last = int(p.out(f"logs {c}").split()[-1])
        p.out(GO_ON[p.program].format(c))
        shown = p.wait_for(f"logs {c}", f"tick {last + 2}\n").out
        assert shown.count("tick 1\n") == 1, shown
        p.expect(f"exec {c} echo lives", "lives")


def idmapped_volume(p):
    if not p.root:
        raise Skip("the kernel lets only root map the ids of the host's file systems")
    folder = p.folder("idmapped")
    with open(f"{folder}/x", "w") as file:
        file.write("data")
    maps = "--uidmap 0:100000:1000 --gidmap 0:100000:1000"
    p.expect(f"run --rm {maps} -v {folder}:/data:idmap box sh -c 'stat -c %u /data/x; touch /data/y'", "0")
    assert os.stat(f"{folder}/y").st_uid == 0


def port_80_is_for_who_may(p):
    """Root may bind any port, the user those of a network of his own."""
    start = int(open("/proc/sys/net/ipv4/ip_unprivileged_port_start").read())
    if p.uid != 0 and start <= 80:
        raise Skip("all ports are free here")
    listen = "box sh -c 'timeout 1 nc -l -p 80; echo status $?'"
    for network, refused in [("host", p.uid != 0), ("none", False)]:
        result = p(f"run --rm --network={network} {listen}")
        said = re.search("permission denied", result.err + result.out, re.IGNORECASE)
        assert bool(said) == refused and (refused or "status 143" in result.out), str(result)
