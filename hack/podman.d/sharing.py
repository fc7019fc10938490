"""Namespaces shared between containers, with the host, and in pods."""

import os
import re
from contextlib import contextmanager

from case import Skip, both, root, user
from command import namespace


@both
def the_process_namespace_of_another_container(p):
    with p.container("box sleep 111") as c:
        shown = p.out(f"run --rm --pid=container:{c} box ps -o pid,args")
        assert re.search(r"\b1 sleep 111", shown), shown
        with p.container(f"--pid=container:{c} box sleep 112") as other:
            assert namespace(p.pid(c), "pid") == namespace(p.pid(other), "pid")
            p.expect(f"exec {other} ps -o args", re.compile("sleep 111(.|\n)*sleep 112"))
            p.out(f"stop -t 0 {other}")
            p.expect(f"exec {c} echo lives", "lives")


@both
def the_ipc_namespace_of_another_container(p):
    with p.container("--ipc=shareable box sh -c 'echo shm > /dev/shm/x; sleep 100'") as c:
        p.wait_for(f"run --rm --ipc=container:{c} box cat /dev/shm/x", "shm")
        with p.container(f"--ipc=container:{c} box sleep 100") as other:
            assert namespace(p.pid(c), "ipc") == namespace(p.pid(other), "ipc")


@both
def the_network_namespace_of_another_container(p):
    with p.container("box sleep 100") as c, p.container(f"--network=container:{c} box sleep 100") as other:
        assert namespace(p.pid(c), "net") == namespace(p.pid(other), "net")
        p.expect(f"exec {other} ip -o addr show lo", re.compile(r"127\.0\.0\.1"))


@both
def the_hosts_processes(p):
    shown = p.out("run --rm --pid=host box ps -o pid,args")
    assert "podman" in shown, shown
    with p.container("--pid=host box sh -c 'sleep 1007 & exec sleep 1008'") as c:
        pid = p.pid(c)
        assert namespace(pid, "pid") == namespace(os.getpid(), "pid")
        p.wait_for(f"exec {c} ps -o args", "sleep 1007")
        p.out(f"stop -t 1 {c}")
        assert not re.search("sleep 100[78]", p.shell("ps -eo args | grep '^slee[p]'").out)


@both
def the_hosts_name(p):
    p.expect("run --rm --uts=host box hostname", os.uname().nodename)


@both
def the_hosts_network(p):
    p.expect("run --rm --network=host box readlink /proc/self/ns/net", namespace(os.getpid(), "net"))
    with p.container("--network=host box sleep 100") as c:
        assert namespace(p.pid(c), "net") == namespace(os.getpid(), "net")
        p.expect(f"exec {c} ls -d /sys/class/net/lo", "/sys/class/net/lo")


def need_mqueue():
    if not os.path.isdir("/dev/mqueue"):
        raise Skip("podman wants the host's /dev/mqueue, and there is none")


@both
def the_hosts_ipc(p):
    need_mqueue()
    p.expect("run --rm --ipc=host box readlink /proc/self/ns/ipc", namespace(os.getpid(), "ipc"))


@both
def the_hosts_cgroup_namespace(p):
    p.expect("run --rm --cgroupns=host box readlink /proc/self/ns/cgroup", namespace(os.getpid(), "cgroup"))


@both
def no_network_but_the_loopback(p):
    p.expect("run --rm box ip -o link", re.compile(r"^1: lo: <LOOPBACK,UP[^\n]*$"))
    p.expect("run --rm box sh -c 'nc -l -p 80 -e echo answered & sleep 0.3; nc 127.0.0.1 80'", "answered")


@both
def all_namespaces_of_the_host_at_once(p):
    need_mqueue()
    p.expect("run --rm --pid=host --network=host --ipc=host --uts=host --cgroupns=host box echo shared", "shared")


@contextmanager
def pod(p, options=""):
    """A pod whose infra container comes from the same image."""
    p.count += 1
    name = f"pod{p.count}"
    p.out(f"pod create --name {name} --infra-image box --infra-command 'sleep 1000' {options}")
    try:
        yield name
    finally:
        p(f"pod rm -f -t 0 {name}")


@both
def two_containers_in_a_pod_share_what_pods_share(p):
    with pod(p, "--hostname together") as name:
        with p.container(f"--pod {name} box sleep 101") as one, p.container(f"--pod {name} box sleep 102") as two:
            for kind in ["net", "ipc", "uts"]:
                assert namespace(p.pid(one), kind) == namespace(p.pid(two), kind), kind
            for kind in ["pid", "mnt"]:
                assert namespace(p.pid(one), kind) != namespace(p.pid(two), kind), kind
            p.expect(f"exec {two} hostname", "together")
            p.out(f"exec {one} sh -c 'echo shm > /dev/shm/x'")
            p.expect(f"exec {two} cat /dev/shm/x", "shm")
            p.out(f"exec -d {one} nc -l -p 8000 -e echo over the pod")
            p.wait_for(f"exec {two} nc 127.0.0.1 8000", "over the pod")


@both
def a_pod_with_shared_processes(p):
    with pod(p, "--share net,ipc,uts,pid") as name:
        with p.container(f"--pod {name} box sleep 101") as one, p.container(f"--pod {name} box sleep 102"):
            p.expect(f"exec {one} ps -o args", re.compile("sleep 1000(.|\n)*sleep 101(.|\n)*sleep 102"))


@both
def a_pod_stops_starts_and_pauses_as_one(p):
    with pod(p) as name, p.container(f"--pod {name} box sleep 101") as one:
        p.out(f"pod pause {name}")
        p.expect(f"inspect -f '{{{{.State.Status}}}}' {one}", "paused")
        p.out(f"pod unpause {name}")
        p.out(f"pod stop -t 0 {name}")
        p.expect(f"inspect -f '{{{{.State.Status}}}}' {one}", "exited")
        p.out(f"pod start {name}")
        p.expect(f"exec {one} echo again", "again")
        p.out(f"pod kill {name}")


@both
def a_pod_in_a_user_namespace(p):
    with pod(p, "--uidmap 0:100:500 --gidmap 0:100:500") as name:
        with p.container(f"--pod {name} box sleep 101") as one, p.container(f"--pod {name} box sleep 102") as two:
            assert namespace(p.pid(one), "user") == namespace(p.pid(two), "user")
            p.expect(f"exec {two} id -u", "0")


@user
def a_pod_with_keep_id(p):
    with pod(p, "--userns=keep-id") as name:
        p.expect(f"run --rm --pod {name} box id -u", str(p.uid))


@both
def a_pod_of_a_file(p):
    folder = p.folder("kube")
    path = f"{folder}/pod.yaml"
    with open(path, "w") as file:
        file.write(
            "apiVersion: v1\nkind: Pod\nmetadata:\n  name: filed\nspec:\n  hostname: filed\n  containers:\n"
            "  - name: one\n    image: localhost/box\n    command: [sleep, '100']\n    workingDir: /tmp\n"
            "    securityContext: {runAsUser: 100, capabilities: {drop: [ALL]}}\n"
            "    volumeMounts: [{name: data, mountPath: /data}]\n"
            "  volumes: [{name: data, hostPath: {path: %s, type: Directory}}]\n" % folder
        )
    result = p(f"play kube --network=none {path}")
    try:
        if result.status != 0 and "pause" in result.err:
            raise Skip("podman wants to build its pause image")
        assert result.status == 0, str(result)
        p.expect("exec filed-one sh -c 'id -u; pwd; ls /data'", "100\n/tmp\npod.yaml")
    finally:
        p(f"play kube --down {path}")


@root
def a_network_namespace_is_joined_by_its_path(p):
    with p.container("box sleep 100") as c:
        path = f"/proc/{p.pid(c)}/ns/net"
        p.expect(f"run --rm --network=ns:{path} box readlink /proc/self/ns/net", namespace(p.pid(c), "net"))
