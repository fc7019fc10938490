"""containerd as Kubernetes calls it: pods and containers by its CRI, with a small client of our own.

The field numbers are those of k8s.io/cri-api, pkg/apis/runtime/v1/api.proto.
"""

import os
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import cli
import ctr as containerd
import host
from case import Skip
from protobuf import decode, encode

POD, CONTAINER, NODE = 0, 1, 2
APART = {2: CONTAINER}
EXITED = 2
ROOT_OF_MAPPED = 200_000


class Refused(AssertionError):
    """The call's error; its text is containerd's."""


class Cri:
    """A pod's worth of calls."""

    def __init__(self, ctr, grpc):
        self.ctr, self.room, self.grpc = ctr, ctr.room, grpc
        self.channel = grpc.insecure_channel(f"unix://{ctr.socket}")
        self.count = 0

    def __call__(self, call, message, seconds=180):
        method = self.channel.unary_unary(
            f"/runtime.v1.RuntimeService/{call}", request_serializer=encode, response_deserializer=decode)
        try:
            return method(message, timeout=seconds)
        except self.grpc.RpcError as error:
            raise Refused(f"{call}: {error.details()}") from None

    def folder(self, name):
        self.count += 1
        path = f"{self.room.work}/{name}{self.count}.cri.{self.room.name}"
        os.makedirs(path)
        return path

    @contextmanager
    def pod(self, namespaces=None, sysctls=(), privileged=False):
        """A pod in a network namespace of its own, unless `namespaces` (NamespaceOption) says otherwise."""
        namespaces = namespaces or APART
        self.count += 1
        logs = self.folder("logs")
        config = {
            1: {1: f"pod{self.count}", 2: f"uid{self.count}", 3: "default"}, 3: logs,
            # A pod in the host's network has the host's name, too.
            2: "" if namespaces.get(1) == NODE else "a-pod",
            8: {1: self.parent(), 2: {1: namespaces, 6: privileged}, 3: [{1: key, 2: value} for key, value in sysctls]},
        }  # fmt: skip
        made = self("RunPodSandbox", {1: config, 2: "measured"})[1][0].decode()
        try:
            yield Pod(self, made, config, logs, namespaces)
        finally:
            self("StopPodSandbox", {1: made})
            self("RemovePodSandbox", {1: made})

    def parent(self):
        """What kubelet makes for a pod: a slice or a cgroup."""
        return "pods.slice" if self.ctr.manager == "systemd" else "/pods"


class Pod:
    def __init__(self, cri, name, config, logs, namespaces):
        self.cri, self.name, self.config, self.logs, self.namespaces = cri, name, config, logs, namespaces

    def create(self, command, mounts=(), resources=None, security=None, tty=False):
        self.cri.count += 1
        context = {3: self.namespaces, 15: {1: 0}, 16: {1: 0}, **(security or {})}
        config = {
            1: {1: f"c{self.cri.count}"}, 2: {1: containerd.IMAGE}, 3: command, 11: f"c{self.cri.count}.log",
            7: [{1: inside, 2: outside, 3: read_only} for inside, outside, read_only in mounts],
            14: tty, 15: {1: resources or {}, 2: context},
        }  # fmt: skip
        made = self.cri("CreateContainer", {1: self.name, 2: config, 3: self.config})[1][0].decode()
        return Container(self.cri, made, f"{self.logs}/c{self.cri.count}.log")

    def start(self, command, **more):
        container = self.create(command, **more)
        self.cri("StartContainer", {1: container.name})
        return container


class Container:
    def __init__(self, cri, name, log):
        self.cri, self.name, self.log = cri, name, log

    def status(self):
        """State, exit code, reason, message."""
        shown = decode(self.cri("ContainerStatus", {1: self.name})[1][0])
        return shown.get(3, [0])[0], shown.get(7, [0])[0], *(shown.get(n, [b""])[0].decode() for n in (10, 11))

    def wait(self):
        cli.wait_until(lambda: self.status()[0] == EXITED, "never ended", 120)
        return self.status()

    def execute(self, *command):
        """Standard output and exit status of a second process."""
        shown = self.cri("ExecSync", {1: self.name, 2: list(command), 3: 120})
        return shown.get(1, [b""])[0].decode(), shown.get(3, [0])[0]

    def stop(self, seconds):
        self.cri("StopContainer", {1: self.name, 2: seconds})


@contextmanager
def opened(place, manager, verbose):
    try:
        import grpc
    except ImportError:
        raise Skip("python3-grpcio is not installed") from None
    with containerd.daemon(place, manager, verbose) as ctr:
        ctr.options = ["-a", ctr.socket, "-n", "k8s.io"]
        containerd.import_image(ctr)
        cri = Cri(ctr, grpc)
        cli.wait_until(lambda: has_image(cri), "the CRI never saw the image", 60)
        yield cri


def has_image(cri):
    method = cri.channel.unary_unary(
        "/runtime.v1.ImageService/ImageStatus", request_serializer=encode, response_deserializer=decode)
    return bool(method({1: {1: containerd.IMAGE}}, timeout=60).get(1))


def run(cri):
    with cri.pod() as pod:
        c = pod.start(["sh", "-c", "echo to-out; echo to-err >&2; hostname; exit 5"])
        state = c.wait()
        assert state[1] == 5, state
        shown = open(c.log).read()
        for words in ["stdout F to-out", "stderr F to-err", "stdout F a-pod"]:
            assert words in shown, shown


def execute(cri):
    with cri.pod() as pod:
        c = pod.start(["sleep", "100"])
        found = c.execute("sh", "-c", "readlink /proc/1/exe; tr '\\0' ' ' < /proc/1/cmdline")
        assert found == ("/bin/busybox\nsleep 100 ", 0), found
        assert c.execute("sh", "-c", "exit 9")[1] == 9


def tty(cri):
    with cri.pod() as pod:
        c = pod.start(["sh", "-c", "tty; test -t 0 && echo is a terminal"], tty=True)
        assert c.wait()[1] == 0, c.status()
        assert re.search("/dev/(console|pts)(.|\n)*is a terminal", open(c.log).read()), open(c.log).read()


def logs(cri):
    with cri.pod() as pod:
        c = pod.start(["sh", "-c", "for i in 1 2 3; do echo line $i; done; sleep 100"])
        cli.wait_until(lambda: "stdout F line 3" in open(c.log).read(), "the log lacks a line")


def stats(cri):
    with cri.pod() as pod:
        c = pod.start(["sleep", "100"])
        shown = decode(cri("ContainerStats", {1: c.name})[1][0])
        assert {2, 3} <= set(shown), shown  # cpu and memory


def limits(cri):
    host.need_controllers("memory", "cpu")
    with cri.pod() as pod:
        c = pod.start(["sleep", "100"], resources={1: 100000, 2: 50000, 3: 512, 4: 64 << 20, 10: 64 << 20})
        shown = c.execute("sh", "-c", "cd /sys/fs/cgroup; cat memory.max cpu.max")[0]
        assert shown == "67108864\n50000 100000\n", shown


def update(cri):
    host.need_controllers("memory", "cpu")
    with cri.pod() as pod:
        c = pod.start(["sleep", "100"], resources={4: 64 << 20, 10: 64 << 20})
        cri("UpdateContainerResources", {1: c.name, 2: {1: 100000, 2: 20000, 4: 48 << 20, 10: 48 << 20}})
        shown = c.execute("sh", "-c", "cd /sys/fs/cgroup; cat memory.max cpu.max")[0]
        assert shown == "50331648\n20000 100000\n", shown


def stop(cri):
    with cri.pod() as pod:
        c = pod.start(["sh", "-c", "trap 'exit 3' TERM; echo up; while :; do usleep 50000; done"])
        cli.wait_until(lambda: "up" in open(c.log).read(), "never up")
        c.stop(60)
        assert c.wait()[1] == 3, c.status()
        c = pod.start(["sleep", "100"])
        c.stop(1)
        assert c.wait()[1] == 137, c.status()


def delete(cri):
    with cri.pod() as pod:
        c = pod.start(["sleep", "100"])
        cri("RemoveContainer", {1: c.name})
        try:
            c.status()
        except Refused as refused:
            assert "not found" in str(refused), refused
        else:
            raise AssertionError("it is still there")


def volumes(cri):
    folder = cri.folder("volume")
    with cri.pod() as pod:
        c = pod.start(["sleep", "100"], mounts=[("/rw", folder, False), ("/ro", folder, True)])
        c.execute("touch", "/rw/made")
        assert os.listdir(folder) == ["made"]
        assert c.execute("touch", "/ro/x")[1] == 1


def pods(cri):
    with cri.pod(sysctls=[("net.ipv4.ip_forward", "1")]) as pod:
        one, two = pod.start(["sleep", "101"]), pod.start(["sleep", "102"])
        for kind in ["net", "ipc", "uts"]:
            links = {c.execute("readlink", f"/proc/self/ns/{kind}")[0] for c in (one, two)}
            assert len(links) == 1, (kind, links)
        assert re.findall("sleep 10.", one.execute("ps")[0]) == ["sleep 101"]
        assert one.execute("cat", "/proc/sys/net/ipv4/ip_forward")[0] == "1\n"
    with cri.pod({2: POD}) as pod:
        one, two = pod.start(["sleep", "101"]), pod.start(["sleep", "102"])
        assert {"sleep 101", "sleep 102"} <= set(re.findall("sleep 10.", one.execute("ps")[0]))


def host_network(cri):
    with cri.pod({1: NODE, 2: CONTAINER}) as pod:
        c = pod.start(["sleep", "100"])
        assert c.execute("readlink", "/proc/self/ns/net")[0].strip() == os.readlink("/proc/self/ns/net")


def network(cri):
    if not os.path.exists("/usr/lib/cni/bridge"):
        raise Skip("containernetworking-plugins is not installed")
    with cri.pod() as pod:
        c = pod.start(["httpd", "-f", "-p", "80", "-h", "/etc"])
        shown = c.execute("ip", "-o", "addr", "show", "eth0")[0]
        assert "10.88.77." in shown, shown
        other = pod.start(["sleep", "100"])
        cli.wait_until(lambda: other.execute("wget", "-qO-", "http://127.0.0.1/not-a-program")[0] == "data\n", "no page")
    host_network(cri)


def mapped(cri):
    """A pod with a user namespace, as Kubernetes asks for it by hostUsers: false."""
    ids = {1: ROOT_OF_MAPPED, 2: 0, 3: 65536}
    with cri.pod({2: CONTAINER, 5: {1: POD, 2: ids, 3: ids}}) as pod:
        c = pod.start(["sleep", "100"])
        assert c.execute("id", "-u")[0] == "0\n"
        assert c.execute("cat", "/proc/self/uid_map")[0].split() == ["0", str(ROOT_OF_MAPPED), "65536"]


def confined(cri):
    with cri.pod() as pod:
        c = pod.start(["sleep", "100"])
        assert c.execute("sed", "-n", "s/^Seccomp:.//p", "/proc/1/status")[0] == "2\n"
        if os.path.isdir("/sys/kernel/security/apparmor"):
            assert c.execute("cat", "/proc/1/attr/current")[0] == "cri-containerd.apparmor.d (enforce)\n"
        c = pod.start(["sleep", "100"], security={7: True, 11: True, 5: {1: 100}})
        assert c.execute("id", "-u")[0] == "100\n" and c.execute("touch", "/x")[1] == 1
        assert c.execute("sed", "-n", "s/^NoNewPrivs:.//p", "/proc/self/status")[0] == "1\n"


def privileged(cri):
    with cri.pod(privileged=True) as pod:
        c = pod.start(["sleep", "100"], security={2: True, 15: {1: 1}, 16: {1: 1}})
        assert c.execute("sh", "-c", "mkdir /m; mount -t tmpfs none /m && echo mounted") == ("mounted\n", 0)


def status(cri):
    with cri.pod() as pod:
        assert pod.start(["sh", "-c", "exit 42"]).wait()[1] == 42


def signalled(cri):
    with cri.pod() as pod:
        c = pod.start(["sh", "-c", "sh -c 'kill -TERM $$'; exit $?"])
        assert c.wait()[1] == 143, c.status()


def start_fails(cri, command, words):
    """Kubernetes shows these words to the user."""
    with cri.pod() as pod:
        c = pod.create(command)
        try:
            cri("StartContainer", {1: c.name})
        except Refused as refused:
            assert re.search(words, str(refused)), refused
        else:
            raise AssertionError(f"{command} started")
        state, code, reason, _ = c.status()
        assert (state, code, reason) == (EXITED, 128, "StartError"), c.status()


def not_executable(cri):
    start_fails(cri, ["/etc/not-a-program"], "(?i)permission denied|not permitted")


def not_found(cri):
    start_fails(cri, ["no-such-program"], "executable file .*not found in \\$PATH")


def out_of_memory(cri):
    host.need_controllers("memory")
    with cri.pod() as pod:
        c = pod.start(["sh", "-c", cli.HUNGRY], resources={4: 24 << 20, 10: 24 << 20})
        c.wait()
        # What containerd hears of the cgroup may come after what it hears of the process.
        cli.wait_until(lambda: c.status()[1:3] == (137, "OOMKilled"), str(c.status()))


def thirty(cri):
    with cri.pod() as pod, ThreadPoolExecutor(30) as pool:
        found = list(pool.map(lambda n: pod.start(["sh", "-c", f"exit {n}"]).wait()[1], range(30)))
    assert found == list(range(30)), found


TESTS = {
    "run": [run], "exec": [execute], "tty": [tty], "logs": [logs], "stats": [stats], "limits": [limits], "update": [update], "stop": [stop],
    "delete": [delete], "volumes": [volumes], "user namespace": [mapped], "pods": [pods], "network": [network],
    "confinement": [confined], "privileged": [privileged], "status of the payload": [status], "status 128+n": [signalled],
    "status 126": [not_executable], "status 127": [not_found], "out of memory": [out_of_memory], "30 at once": [thirty],
}  # fmt: skip
