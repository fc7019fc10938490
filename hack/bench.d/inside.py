"""The part of hack/bench that runs in namespaces of its own: bundles, cases, figures.

`job` is what hack/bench decided: folders, runtimes, measures, the user.
"""

import json
import os
import platform
import pwd
import shutil
import statistics
import subprocess
import sys
import time

import filters
import report

PARTS = os.path.dirname(os.path.realpath(__file__))
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
MEASURES = ["run", "lifecycle", "exec", "state", "memory", "syscalls"]


def show_cgroup2():
    """A cgroup v2 view at /sys/fs/cgroup, in this mount namespace, whatever the host has."""
    if not os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
        subprocess.run(["mount", "-t", "cgroup2", "none", "/sys/fs/cgroup"], check=True)


def sweep_cgroups(prefix):
    """Removes the cgroups whose path names this run, and ends what lives in them."""
    for folder, _, _ in os.walk("/sys/fs/cgroup", topdown=False):
        if prefix in folder:
            try:
                with open(f"{folder}/cgroup.kill", "w", encoding="ascii") as file:
                    file.write("1")
                for _ in range(100):
                    try:
                        os.rmdir(folder)
                        break
                    except OSError:
                        time.sleep(0.01)
            except OSError as error:
                print(f"bench: {folder}: {error.strerror}", file=sys.stderr)


class Context:
    """How to run things as root, or as the user."""

    def __init__(self, job, name):
        self.job, self.name, self.work = job, name, job["work"]
        self.rootfs = f"{self.work}/{name}/rootfs"
        self.floor = f"{self.work}/bin/floor"
        self.without_resources = set()  # runtimes that cannot load the device program here
        self.environment = {"PATH": PATH, "HOME": self.work, "LANG": "C"}
        self.ids = {}
        if name == "rootless":
            entry = pwd.getpwnam(job["user"])
            self.ids = {"user": entry.pw_uid, "group": entry.pw_gid,
                        "extra_groups": os.getgrouplist(job["user"], entry.pw_gid)}
            self.environment["XDG_RUNTIME_DIR"] = f"{self.work}/rootless/run"
        os.makedirs(f"{self.work}/{name}/run", mode=0o700)
        # A memory file system, as /run and XDG_RUNTIME_DIR are: every runtime writes its state there.
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=700", "none", f"{self.work}/{name}/run"], check=True)
        subprocess.run(["chown", "-R", f"{self.ids.get('user', 0)}:{self.ids.get('group', 0)}", f"{self.work}/{name}"],
                       check=True)

    def run(self, command, **more):
        return subprocess.run(command, env=self.environment, **self.ids, **more)

    def start(self, command, **more):
        return subprocess.Popen(command, env=self.environment, **self.ids, **more)

    def bundle(self, runtime, program="/true", seccomp=False):
        """The path of a bundle that runs `program`; made at first use."""
        bare = runtime in self.without_resources
        kind = f"{program[1:]}{'-bare' if bare else ''}{'-seccomp' if seccomp else ''}"
        path = f"{self.work}/{self.name}/{kind}"
        if os.path.exists(path):
            return path
        with open(f"{PARTS}/{self.name}.json", encoding="utf-8") as file:
            config = json.load(file)
        config["root"]["path"] = self.rootfs
        config["process"]["args"] = [program]
        for kind_of_id, key in [("user", "uidMappings"), ("group", "gidMappings")]:
            if key in config["linux"]:
                config["linux"][key][0]["hostID"] = self.ids[kind_of_id]
        if bare:
            del config["linux"]["resources"]
        if seccomp:
            config["linux"]["seccomp"] = self.job["seccomp"]
        os.mkdir(path)
        with open(f"{path}/config.json", "w", encoding="utf-8") as file:
            json.dump(config, file)
        return path

    def command(self, runtime, *words):
        return [self.job["runtimes"][runtime], "--root", f"{self.work}/{self.name}/run/{runtime}", *words]

    def container(self, runtime, suffix):
        return f"{self.job['prefix']}-{self.name}-{runtime}-{suffix}"

    def run_command(self, runtime, program="/true", suffix="@", seccomp=False):
        if runtime == "floor":
            return self.floor_command(program)
        bundle = self.bundle(runtime, program, seccomp)
        return self.command(runtime, "run", "--bundle", bundle, self.container(runtime, suffix))

    def floor_command(self, program="/true", cgroup="floor", bare=False):
        return [self.floor, *(["-d"] if bare else []), "-c", f"/sys/fs/cgroup/{self.job['prefix']}-{self.name}-{cgroup}",
                self.name, self.rootfs, program]


def try_out(context, runtimes):
    """Runs each once; returns those that work, and notes those that need the smaller bundle."""
    working = []
    for runtime in runtimes:
        result = context.run(context.run_command(runtime, suffix="try"), capture_output=True, text=True)
        if result.returncode and context.name == "root" and runtime != "floor":
            first = result.stderr.strip()
            context.without_resources.add(runtime)
            context.run(context.command(runtime, "delete", "--force", context.container(runtime, "try")),
                        capture_output=True)
            result = context.run(context.run_command(runtime, suffix="again"), capture_output=True, text=True)
            if result.returncode == 0:
                print(f"{runtime} as root: {first}\n"
                      "  measured without linux.resources (marked *), against a floor without it")
        if result.returncode:
            print(f"{runtime} as {context.name}: left out: {result.stderr.strip()}")
        else:
            working.append(runtime)
    return working


def start_paused(context, runtimes):
    """One running container of each; returns the floor's exec command."""
    floor_exec = None
    for runtime in runtimes:
        if runtime != "floor":
            name = context.container(runtime, "paused")
            bundle = context.bundle(runtime, "/pause")
            log = open(f"{context.work}/{runtime}.log", "w+", encoding="utf-8")
            for words in [["create", "--bundle", bundle, name], ["start", name]]:
                result = context.run(context.command(runtime, *words), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
                if result.returncode:
                    log.seek(0)
                    print(f"{runtime} as {context.name}: no running container: {log.read().strip()}")
                    break
            continue
        child = context.start(context.floor_command("/pause", cgroup="paused"))
        pid = None
        while child.poll() is None and pid is None:
            time.sleep(0.05)
            with open(f"/proc/{child.pid}/task/{child.pid}/children", encoding="ascii") as file:
                pid = file.read().strip() or None
        cgroup = ["-c", f"/sys/fs/cgroup/{context.job['prefix']}-root-paused"] if context.name == "root" else []
        floor_exec = [context.floor, *cgroup, "exec", context.name, pid]
    return floor_exec


def end_paused(context, runtimes):
    """So that the containers of one context do not stand in the next one's way."""
    for runtime in runtimes:
        if runtime != "floor":
            context.run(context.command(runtime, "delete", "--force", context.container(runtime, "paused")),
                        capture_output=True)


def make_cases(context, runtimes):
    """(label, steps) for the driver; a label is `measure runtime`."""
    measures, cases = context.job["measures"], []
    paused = [m for m in ["exec", "state"] if m in measures]
    floor_exec = start_paused(context, runtimes) if paused else None
    empty = [f"{context.work}/bin/true"]
    for runtime in runtimes:
        name = context.container(runtime, "@")
        is_floor = runtime == "floor"
        run = context.run_command(runtime)
        if "run" in measures or "memory" in measures:
            cases.append((f"run {runtime}", [run]))
        if context.job["seccomp"] and not is_floor:
            cases.append((f"seccomp {runtime}", [context.run_command(runtime, seccomp=True)]))
        if "lifecycle" in measures:
            create = context.command(runtime, "create", "--bundle", context.bundle(runtime), name) if not is_floor else None
            cases.append((f"lifecycle {runtime}", [run, empty, empty] if is_floor else [
                create, context.command(runtime, "start", name), None, context.command(runtime, "delete", name)]))
        if "exec" in measures:
            cases.append((f"exec {runtime}", [floor_exec if is_floor else context.command(
                runtime, "exec", context.container(runtime, "paused"), "/true")]))
        if "state" in measures:
            cases.append((f"state {runtime}", [empty if is_floor else context.command(
                runtime, "state", context.container(runtime, "paused"))]))
    if context.without_resources:
        bare = context.floor_command(bare=True)
        cases.append(("run floor-bare", [bare]))
        if "lifecycle" in measures:
            cases.append(("lifecycle floor-bare", [bare, empty, empty]))
    return cases


def drive(context, cases):
    """Label -> (median microseconds, peak KiB)."""
    plan = ""
    for label, steps in cases:
        plan += f"case\t{label}\n"
        for step in steps:
            plan += "\t".join(["run", *step]) + "\n" if step else "reap\n"
    result = context.run([f"{context.work}/bin/drive", str(context.job["runs"])],
                         input=plan, stdout=subprocess.PIPE, text=True)
    if result.returncode:
        sys.exit(f"bench: drive ended with status {result.returncode}")
    times, peaks = {}, {}
    for line in result.stdout.splitlines():
        label, time_us, peak_kib = line.split("\t")
        if time_us == "failed":
            print(f"{label} as {context.name}: failed: {peak_kib}")
            times.pop(label, None)
            continue
        times.setdefault(label, []).append(float(time_us))
        peaks.setdefault(label, []).append(int(peak_kib))
    return ({label: statistics.median(values) for label, values in times.items()},
            {label: statistics.median(peaks[label]) for label in times})


def count_syscalls(context, runtime, bare=False):
    """System calls of one run and all its processes; None if strace fails."""
    output = f"{context.work}/{context.name}/strace"
    command = context.floor_command(bare=True) if bare else context.run_command(runtime, suffix="strace")
    result = context.run(["strace", "-f", "-c", "-o", output, *command],
                         stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if result.returncode:
        return None
    with open(output, encoding="utf-8") as file:
        for line in file:
            if line.rstrip().endswith(" total"):
                return int(line.split()[3])
    return None


def measure(job, context, runtimes):
    """The rows of one context."""
    cases = make_cases(context, runtimes)
    times, peaks = drive(context, cases) if cases else ({}, {})
    bare, rows = context.without_resources, []

    def add(measure_name, unit, values, bare_floor):
        floors = {runtime: bare_floor if runtime in bare and bare_floor else values.get("floor") for runtime in values}
        if values:
            rows.append({"context": context.name, "measure": measure_name, "unit": unit, "values": values,
                         "floors": floors, "marked": [runtime for runtime in bare if runtime in values]})

    def pick(figures, label):
        return {runtime: figures[f"{label} {runtime}"] for runtime in runtimes if f"{label} {runtime}" in figures}

    for name in [name for name in MEASURES[:4] if name in job["measures"]]:
        add(name, "us", pick(times, name), times.get(f"{name} floor-bare"))
        if name == "run" and job["seccomp"]:
            with_floor = {**pick(times, "seccomp"), **({"floor": times["run floor"]} if "run floor" in times else {})}
            add("run, with seccomp", "us", with_floor, times.get("run floor-bare"))
    if "memory" in job["measures"]:
        add("memory", "KiB", pick(peaks, "run"), None)
    if "syscalls" in job["measures"] and shutil.which("strace"):
        counts = {runtime: count_syscalls(context, runtime) for runtime in runtimes}
        add("syscalls", "", {runtime: count for runtime, count in counts.items() if count},
            count_syscalls(context, "floor", bare=True) if bare else None)
    return rows


def look_inside(context, runtime):
    """What the `show` program prints in a container, with namespaces told apart from ours."""
    result = context.run(context.run_command(runtime, "/show", "show"), stdin=subprocess.DEVNULL,
                         capture_output=True, text=True)
    lines = []
    for line in result.stdout.splitlines() + result.stderr.splitlines():
        if line.startswith("namespace "):
            kind = line.split()[1].partition(":")[0]
            line = f"namespace {kind} {'host' if line.split()[1] == os.readlink(f'/proc/self/ns/{kind}') else 'new'}"
        if not line.startswith(tuple(f"file /proc/self/fd/{fd} " for fd in range(3))):  # ours
            lines.append(line)
    return lines


def verify(context, runtimes):
    """Prints each runtime's differences from the floor."""
    expected = look_inside(context, "floor")
    print(f"\n{context.name}: the floor shows {len(expected)} lines")
    for runtime in runtimes[1:]:
        found = look_inside(context, runtime)
        print(f"{context.name}: {runtime}" + ("" if found != expected else ": the same"))
        for line in [line for line in expected if line not in found]:
            print(f"  - {line}")
        for line in [line for line in found if line not in expected]:
            print(f"  + {line}")


def describe(job):
    print(f"{platform.system()} {platform.release()}, {os.cpu_count()} processors, "
          f"{job['runs']} rounds, load {os.getloadavg()[0]:.1f}")
    for name, path in job["runtimes"].items():
        version = subprocess.run([path, "--version"], capture_output=True, text=True).stdout.splitlines()
        print(f"{name}: {version[0] if version else 'no version'}, binary {os.path.getsize(path) / 1e6:.1f} MB")


def run(job):
    show_cgroup2()
    if job.get("sweep"):
        sweep_cgroups(job["prefix"])
        return
    describe(job)
    rows, columns, made = [], ["floor", *job["runtimes"]], None
    for name in job["contexts"]:
        context = Context(job, name)
        runtimes = try_out(context, columns)
        if job["verify"]:
            verify(context, runtimes)
        else:
            rows += measure(job, context, runtimes)
            end_paused(context, runtimes)
        if job["seccomp"] and made is None and not job["verify"]:
            made = filters.rows(context, runtimes)
    if rows:
        print("\n" + report.table(rows, columns))
        if made:
            print("\n" + report.table(*made))
        if job["svg"]:
            with open(job["svg"], "w", encoding="utf-8") as file:
                file.write(report.picture(rows, columns, "Medians, and their ratio to the floor"))
