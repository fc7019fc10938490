"""What a seccomp profile becomes: the program that each runtime gives to the kernel.

Program and length are read off the runtime's own call, by strace; `load.c` takes the time that
the kernel needs for it. How long the making takes only the maker can say: rt does in its
trace, libseccomp is asked by the program that rt's unit tests compare it with.
"""

import os
import re
import statistics
import struct
import subprocess
import time

PARTS = os.path.dirname(os.path.realpath(__file__))
ORACLE = os.path.join(PARTS, "..", "..", "src", "seccomp", "tests", "oracle.c")
TIMES = 101
LIBRARY = "libseccomp"

# linux/seccomp.h, linux/audit.h and seccomp.h
ACTIONS = {"KILL_PROCESS": 0x80000000, "KILL": 0, "KILL_THREAD": 0, "TRAP": 0x30000, "ERRNO": 0x50000,
           "NOTIFY": 0x7fc00000, "TRACE": 0x7ff00000, "LOG": 0x7ffc0000, "ALLOW": 0x7fff0000}
OPERATORS = ["", "NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"]
ARCHITECTURES = {"X86": 0x40000003, "X86_64": 0xc000003e, "X32": 0x4000003e, "ARM": 0x40000028, "AARCH64": 0xc00000b7}
EPERM = 1

INSTRUCTION = re.compile(r"BPF_(?:STMT|JUMP)\(([^()]*)\)")
LOADED = re.compile(r"(?:seccomp|prctl)\(.*\{len=(\d+), filter=\[(.*)\]\}[ )<]")


def number(text):
    """strace's `0x5|0|0x10`."""
    value = 0
    for part in text.split("|"):
        value |= int(part, 0)
    return value


def instruction(words):
    code, k, jump_true, jump_false = [*map(number, words.split(", ")), 0, 0][:4]
    return struct.pack("=HBBI", code, jump_true, jump_false, k)


def loaded_by(context, runtime):
    """The program that `run` of this runtime loads; None where strace saw none."""
    output = f"{context.work}/{context.name}/strace-seccomp"
    context.run(["strace", "-f", "-q", "-v", "-X", "raw", "-e", "trace=seccomp,prctl", "-e", "signal=none", "-o", output,
                 *context.run_command(runtime, suffix="filter", seccomp=True)],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    program = None
    with open(output, encoding="utf-8") as file:
        for line in file:
            match = LOADED.search(line)
            if match and " = -1 " not in line:
                program = b"".join(map(instruction, INSTRUCTION.findall(match[2])))
                assert len(program) == 8 * int(match[1]), line[:80]
    return program


def compiled_by_rt(context, rounds):
    """Microseconds, the median of what `rt --trace` says of itself."""
    times = []
    for n in range(rounds):
        name = context.container("rt", f"compile-{n}")
        result = context.run(context.command("rt", "--trace", "-", "run", "--bundle", context.bundle("rt", seccomp=True), name),
                             stdin=subprocess.DEVNULL, capture_output=True, text=True)
        times += re.findall(r"([0-9.]+) +parent +linux\.seccomp$", result.stderr, re.MULTILINE)
    return statistics.median(float(ms) * 1000 for ms in times) if times else None


def action(name, errno):
    value = ACTIONS[name.removeprefix("SCMP_ACT_")]
    return value | (EPERM if errno is None else errno) if value in (0x50000, 0x7ff00000) else value


def requests(profile):
    """The profile in the words of oracle.c."""
    yield f"profile {action(profile['defaultAction'], profile.get('defaultErrnoRet'))}"
    for arch in profile.get("architectures") or []:
        yield f"arch {ARCHITECTURES[arch.removeprefix('SCMP_ARCH_')]}"
    for rule in profile.get("syscalls") or []:
        args = rule.get("args") or []
        conditions = "".join(
            f" {arg['index']} {OPERATORS.index(arg['op'].removeprefix('SCMP_CMP_'))} {arg['value']} {arg.get('valueTwo', 0)}"
            for arg in args)
        for name in rule["names"]:
            yield f"rule {action(rule['action'], rule.get('errnoRet'))} {name} {len(args)}{conditions}"
    yield "end"


def compiled_by_library(work, profile):
    """(microseconds, program) of libseccomp; None where it cannot be had."""
    built = subprocess.run(["gcc", "-O2", "-o", f"{work}/bin/oracle", ORACLE, "-lseccomp"], capture_output=True)
    if built.returncode:
        print("libseccomp: no libseccomp-dev, left out")
        return None
    text = ("\n".join(requests(profile)) + "\n").encode()
    times, program = [], None
    with subprocess.Popen([f"{work}/bin/oracle"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as oracle:
        for _ in range(TIMES // 5):
            start = time.perf_counter()
            oracle.stdin.write(text)
            oracle.stdin.flush()
            program = oracle.stdout.read(8 * int(oracle.stdout.readline()))
            times.append((time.perf_counter() - start) * 1e6)
        oracle.stdin.close()
    return statistics.median(times), program


def load_us(work, program):
    result = subprocess.run([f"{work}/bin/load", str(TIMES)], input=program, stdout=subprocess.PIPE, check=True)
    return statistics.median(map(int, result.stdout.split())) / 1000


def rows(context, runtimes):
    """The rows of the table, and its columns."""
    work = context.work
    programs = {runtime: loaded_by(context, runtime) for runtime in runtimes if runtime != "floor"}
    compiled = {"rt": compiled_by_rt(context, TIMES // 5)} if "rt" in programs else {}
    library = compiled_by_library(work, context.job["seccomp"])
    if library:
        compiled[LIBRARY], programs[LIBRARY] = library
    programs = {name: program for name, program in programs.items() if program}
    found = [
        ("compile", "fine us", {name: value for name, value in compiled.items() if value}),
        ("instructions", "", {name: len(program) / 8 for name, program in programs.items()}),
        ("load", "fine us", {name: load_us(work, program) for name, program in programs.items()}),
    ]
    return ([{"context": "seccomp", "measure": measure, "unit": unit, "values": values, "floors": {}, "marked": []}
             for measure, unit, values in found], list(programs))
