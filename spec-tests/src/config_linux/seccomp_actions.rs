//! config-linux.md#seccomp: every action, 32-bit programs, set-user-ID programs, bad profiles.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::harness::bundle::Bundle;
use crate::harness::call::Outcome;
use crate::harness::case::Case;
use crate::harness::verdict::{Doing, Verdict, equal, fail, skip};
use crate::probe::ask::Ask;
use crate::tests;

tests! {
    "config-linux.md#seccomp" Must trap_kill_and_kill_thread_end_the_payload_by_sigsys;
    "config-linux.md#seccomp" Must log_lets_the_call_through;
    "config-linux.md#seccomp" Must trace_without_a_tracer_fails_with_enosys;
    "config-linux.md#seccomp" Must flags_are_accepted;
    "config-linux.md#seccomp" Must an_errno_beside_an_action_without_one_is_an_error;
    "config-linux.md#seccomp" Must an_unknown_architecture_operator_or_flag_is_an_error;
    "config-linux.md#seccomp" Must a_seventh_argument_is_an_error;
    "config-linux.md#seccomp" Must a_listener_without_a_path_is_an_error;
    "config-linux.md#seccomp" Must a_32_bit_program_is_under_the_profile;
    "config-linux.md#seccomp" Must an_architecture_that_is_not_listed_is_killed;
    "config-linux.md#seccomp" Must a_set_user_id_program_works_without_no_new_privileges;
    "config-linux.md#seccomp" Must the_capabilities_are_those_of_the_configuration;
    "config-linux.md#seccomp" Should a_profile_has_to_allow_no_more_than_execve;
    "config-linux.md#seccomp" Should a_profile_that_cannot_be_is_an_error;
    "runc libcontainer/specconv" Compat a_profile_that_says_nothing_is_no_filter;
    "runc libcontainer/specconv" Compat rules_without_a_default_action_are_an_error;
    "runc libcontainer/seccomp" Compat unknown_names_are_logged_for_debugging;
    "runc libcontainer/seccomp/patchbpf" Compat a_call_newer_than_the_profile_does_not_exist;
}

const NATIVE: &str = if cfg!(target_arch = "x86_64") {
    "SCMP_ARCH_X86_64"
} else {
    "SCMP_ARCH_AARCH64"
};

const MKDIR: [&str; 2] = ["mkdir", "mkdirat"];

fn mkdir() -> Ask {
    Ask::Mkdir("/tmp/new".into())
}

fn with_profile(case: &Case, profile: Value) -> Verdict<Bundle> {
    let mut bundle = case.bundle()?;
    bundle.linux()["seccomp"] = profile;
    Ok(bundle)
}

/// All is allowed but this rule.
fn with_rule(case: &Case, rule: &Value) -> Verdict<Bundle> {
    with_profile(
        case,
        json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}),
    )
}

fn on_mkdir(case: &Case, action: &str) -> Verdict<Bundle> {
    with_rule(case, &json!({"names": MKDIR, "action": action}))
}

fn trap_kill_and_kill_thread_end_the_payload_by_sigsys(case: &Case) -> Verdict {
    for action in ["SCMP_ACT_TRAP", "SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD"] {
        let mut bundle = case.bundle_named(action)?;
        bundle.linux()["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": MKDIR, "action": action}],
        });
        bundle.answers(&[mkdir()])?;
        case.run_call(&bundle)?
            .run()?
            .ended_with(128 + libc::SIGSYS)?;
    }
    Ok(())
}

fn log_lets_the_call_through(case: &Case) -> Verdict {
    case.run_one(&mut on_mkdir(case, "SCMP_ACT_LOG")?, mkdir())?
        .done()
}

fn trace_without_a_tracer_fails_with_enosys(case: &Case) -> Verdict {
    case.run_one(&mut on_mkdir(case, "SCMP_ACT_TRACE")?, mkdir())?
        .failed_with("mkdir", &[libc::ENOSYS])
}

fn flags_are_accepted(case: &Case) -> Verdict {
    let mut bundle = on_mkdir(case, "SCMP_ACT_ERRNO")?;
    bundle.linux()["seccomp"]["flags"] = json!([
        "SECCOMP_FILTER_FLAG_LOG",
        "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
        "SECCOMP_FILTER_FLAG_TSYNC",
    ]);
    case.run_one(&mut bundle, mkdir())?
        .failed_with("mkdir", &[libc::EPERM])
}

fn an_errno_beside_an_action_without_one_is_an_error(case: &Case) -> Verdict {
    let rule = json!({"names": MKDIR, "action": "SCMP_ACT_KILL", "errnoRet": 1});
    case.create_refused(&with_rule(case, &rule)?).map(drop)
}

fn an_unknown_architecture_operator_or_flag_is_an_error(case: &Case) -> Verdict {
    let socket = json!({"names": ["socket"], "action": "SCMP_ACT_ERRNO",
        "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_NOSUCH"}]});
    for (name, profile) in [
        (
            "architecture",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_NOSUCH"]}),
        ),
        (
            "operator",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [socket]}),
        ),
        (
            "flag",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_NOSUCH"]}),
        ),
    ] {
        let mut bundle = case.bundle_named(name)?;
        bundle.linux()["seccomp"] = profile;
        case.create_refused(&bundle)?;
    }
    Ok(())
}

fn a_seventh_argument_is_an_error(case: &Case) -> Verdict {
    let rule = json!({"names": ["socket"], "action": "SCMP_ACT_ERRNO",
        "args": [{"index": 6, "value": 1, "op": "SCMP_CMP_EQ"}]});
    case.create_refused(&with_rule(case, &rule)?).map(drop)
}

fn a_profile_that_cannot_be_is_an_error(case: &Case) -> Verdict {
    let rule = |n: u64| {
        json!({"names": ["ioctl"], "action": "SCMP_ACT_ERRNO",
            "args": [{"index": 1, "value": n * 7_000_000_000, "op": "SCMP_CMP_EQ"}]})
    };
    for (name, profile) in [
        (
            "too-long-for-the-kernel",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": (0..3000).map(rule).collect::<Vec<_>>()}),
        ),
        (
            "wait-for-no-agent",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]}),
        ),
        (
            "default-errno-for-none",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1}),
        ),
        (
            "no-errno",
            json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 4096}),
        ),
        ("no-action", json!({"defaultAction": "SCMP_ACT_NOSUCH"})),
    ] {
        let mut bundle = case.bundle_named(name)?;
        bundle.linux()["seccomp"] = profile;
        case.create_refused(&bundle)?;
    }
    Ok(())
}

/// What a caller in Go writes of a profile that it never filled.
fn a_profile_that_says_nothing_is_no_filter(case: &Case) -> Verdict {
    let empty = json!({"defaultAction": "", "architectures": [NATIVE], "syscalls": null});
    for (name, profile) in [("missing", json!({})), ("empty", empty)] {
        let mut bundle = case.bundle_named(name)?;
        bundle.linux()["seccomp"] = profile;
        case.run_one(&mut bundle, mkdir())?.done()?;
    }
    Ok(())
}

fn rules_without_a_default_action_are_an_error(case: &Case) -> Verdict {
    let rules = json!([{"names": MKDIR, "action": "SCMP_ACT_ERRNO"}]);
    for (name, profile) in [
        ("empty", json!({"defaultAction": "", "syscalls": rules})),
        ("missing", json!({"syscalls": rules})),
    ] {
        let mut bundle = case.bundle_named(name)?;
        bundle.linux()["seccomp"] = profile;
        case.create_refused(&bundle)?;
    }
    Ok(())
}

fn unknown_names_are_logged_for_debugging(case: &Case) -> Verdict {
    let rule = json!({"names": ["make_coffee", "mkdir"], "action": "SCMP_ACT_ERRNO"});
    let bundle = with_rule(case, &rule)?;
    for (level, is_told) in [("--debug", true), ("--log-format=text", false)] {
        let log = case.dir.join(format!("log{level}"));
        let call = case.create_call(&bundle)?;
        call.globals([level, &format!("--log={}", log.display())])
            .run()?
            .succeeded()?;
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        if text.contains("make_coffee") != is_told {
            return fail(format!("with {level} the log has {text:?}"));
        }
        case.runtime(["delete", "--force", &case.id])
            .run()?
            .succeeded()?;
    }
    Ok(())
}

fn a_listener_without_a_path_is_an_error(case: &Case) -> Verdict {
    case.create_refused(&on_mkdir(case, "SCMP_ACT_NOTIFY")?)
        .map(drop)
}

/// A program of 32-bit x86, complete in a file: makes one system call with the address of `data` and 0777 as its
/// arguments; the exit status is what the call returns, or its errno.
fn i386_program(number: u8, data: &[u8]) -> Vec<u8> {
    const BASE: u32 = 0x0804_8000;
    const HEADERS: u32 = 52 + 32;
    const CODE: u32 = 32;
    let size = HEADERS + CODE + u32::try_from(data.len()).unwrap_or(0);
    let mut elf = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let words = |elf: &mut Vec<u8>, all: &[u32]| {
        elf.extend(all.iter().flat_map(|n| n.to_le_bytes()));
    };
    // ET_EXEC and EM_386, then entry point and program headers; their sizes and number are half words.
    words(&mut elf, &[0x0003_0002, 1, BASE + HEADERS, 52, 0, 0]);
    words(&mut elf, &[0x0020_0034, 1, 0]);
    // PT_LOAD of the whole file, readable and executable.
    words(&mut elf, &[1, 0, BASE, BASE, size, size, 5, 0x1000]);
    let mut code = vec![0xb8, number, 0, 0, 0]; // mov eax, number
    code.push(0xbb); // mov ebx, data
    code.extend((BASE + HEADERS + CODE).to_le_bytes());
    code.extend([0xb9, 0xff, 0x01, 0, 0]); // mov ecx, 0777
    code.extend([0xcd, 0x80]); // int 0x80
    code.extend([0x89, 0xc3]); // mov ebx, eax
    code.extend([0x85, 0xdb, 0x79, 0x02, 0xf7, 0xdb]); // if it is negative: neg ebx
    code.extend([0xb8, 1, 0, 0, 0]); // mov eax, exit
    code.extend([0xcd, 0x80]);
    code.resize(CODE as usize, 0x90);
    elf.extend(code);
    elf.extend(data);
    elf
}

/// Skips where the kernel does not run such programs, as User Mode Linux.
fn need_i386(case: &Case) -> Verdict {
    if !cfg!(target_arch = "x86_64") {
        return skip("needs an x86_64 machine");
    }
    const GETPID: u8 = 20;
    let file = case.dir.join("i386");
    std::fs::write(&file, i386_program(GETPID, b""))?;
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755))?;
    match std::process::Command::new(&file).status() {
        Err(error) if error.raw_os_error() == Some(libc::ENOEXEC) => {
            skip("this kernel runs no 32-bit programs")
        }
        other => other.doing(file.display()).map(drop),
    }
}

/// Runs a 32-bit program that makes a folder; its exit status is the errno.
fn run_i386_mkdir(case: &Case, architectures: &[&str]) -> Verdict<Outcome> {
    need_i386(case)?;
    let mut bundle = with_profile(
        case,
        json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "architectures": architectures,
            "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77}],
        }),
    )?;
    let program = i386_program(39, b"/tmp/new\0");
    std::fs::write(bundle.inside("/bin/mkdir32"), program)?;
    set_mode(&bundle, "/bin/mkdir32", 0o755)?;
    bundle.args(&["/bin/mkdir32"]);
    case.run_call(&bundle)?.run()
}

fn set_mode(bundle: &Bundle, path: &str, mode: u32) -> Verdict {
    let mode = PermissionsExt::from_mode(mode);
    Ok(std::fs::set_permissions(bundle.inside(path), mode)?)
}

fn a_32_bit_program_is_under_the_profile(case: &Case) -> Verdict {
    run_i386_mkdir(case, &["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"])?
        .ended_with(77)
        .map(drop)
}

fn an_architecture_that_is_not_listed_is_killed(case: &Case) -> Verdict {
    run_i386_mkdir(case, &["SCMP_ARCH_X86_64"])?
        .ended_with(128 + libc::SIGSYS)
        .map(drop)
}

fn a_set_user_id_program_works_without_no_new_privileges(case: &Case) -> Verdict {
    need_i386(case)?;
    case.need_root()?;
    for (no_new_privileges, euid) in [(false, 0), (true, 232)] {
        let mut bundle = case.bundle_named(&format!("nnp-{no_new_privileges}"))?;
        bundle.linux()["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
            "syscalls": [{"names": MKDIR, "action": "SCMP_ACT_ERRNO"}],
        });
        // geteuid32: its exit status shows the low 8 bits of 1000, or 0.
        let program = i386_program(201, b"");
        std::fs::write(bundle.inside("/bin/euid"), program)?;
        set_mode(&bundle, "/bin/euid", 0o4755)?;
        bundle.process()["user"] = json!({"uid": 1000, "gid": 1000});
        bundle.process()["noNewPrivileges"] = json!(no_new_privileges);
        bundle.args(&["/bin/euid"]);
        case.run_call(&bundle)?.run()?.ended_with(euid)?;
    }
    Ok(())
}

/// Neither the runtime's own calls nor those of its language's library are the profile's matter.
fn a_profile_has_to_allow_no_more_than_execve(case: &Case) -> Verdict {
    need_i386(case)?;
    for no_new_privileges in [true, false] {
        let mut bundle = case.bundle_named(&format!("nnp-{no_new_privileges}"))?;
        bundle.linux()["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_KILL_PROCESS",
            "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
            // The last has so high a number that no call is answered with ENOSYS as newer than the profile.
            "syscalls": [{"names": ["execve", "exit", "landlock_restrict_self"], "action": "SCMP_ACT_ALLOW"}],
        });
        const EXIT: u8 = 1;
        std::fs::write(bundle.inside("/bin/exit"), i386_program(EXIT, b""))?;
        set_mode(&bundle, "/bin/exit", 0o755)?;
        bundle.process()["noNewPrivileges"] = json!(no_new_privileges);
        bundle.args(&["/bin/exit"]);
        // It exits with the low bits of the address of its data.
        case.run_call(&bundle)?.run()?.ended_with(0x74)?;
    }
    Ok(())
}

/// What is needed to load a filter does not reach the payload.
fn the_capabilities_are_those_of_the_configuration(case: &Case) -> Verdict {
    for no_new_privileges in [false, true] {
        let name = format!("nnp-{no_new_privileges}");
        let mut bundle = case.bundle_named(&name)?;
        bundle.linux()["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": MKDIR, "action": "SCMP_ACT_ERRNO"}],
        });
        bundle.process()["noNewPrivileges"] = json!(no_new_privileges);
        bundle.capabilities(&["CAP_KILL"]);
        let process = case.run_process(&mut bundle)?;
        for set in ["CapPrm", "CapEff", "CapBnd"] {
            equal(set, process.bits(set), Some(1 << 5))?;
        }
    }
    Ok(())
}

fn a_call_newer_than_the_profile_does_not_exist(case: &Case) -> Verdict {
    let mut bundle = with_profile(
        case,
        json!({
            "defaultAction": "SCMP_ACT_ERRNO",
            "defaultErrnoRet": libc::EXDEV,
            "architectures": [NATIVE],
            // All that the probe may need, and nothing above close_range, number 436.
            "syscalls": [{"names": OLD_CALLS.split_whitespace().collect::<Vec<_>>(), "action": "SCMP_ACT_ALLOW"}],
        }),
    )?;
    let answers = case.run(
        &mut bundle,
        &[
            Ask::Call {
                number: libc::SYS_mount_setattr,
                args: [0; 6],
            },
            mkdir(),
        ],
    )?;
    answers[0].failed_with("mount_setattr", &[libc::ENOSYS])?;
    answers[1].failed_with("mkdir", &[libc::EXDEV])
}

const OLD_CALLS: &str = "\
    accept4 access arch_prctl brk capget capset chdir clock_gettime clone close close_range dup dup2 dup3 \
    epoll_create1 epoll_ctl epoll_pwait execve execveat exit exit_group faccessat fchdir fchown fcntl fstat fstatfs \
    futex getcwd getdents64 getegid geteuid getgid getgroups getpgrp getpid getppid getpriority getrandom getrlimit \
    getsid gettid getuid ioctl ioprio_get lseek lstat madvise mmap mprotect munmap nanosleep newfstatat open openat \
    personality pipe2 poll ppoll prctl pread64 prlimit64 read readlink readlinkat recvfrom recvmsg restart_syscall \
    rseq rt_sigaction rt_sigprocmask rt_sigreturn sched_getaffinity sched_yield sendmsg sendto set_robust_list \
    set_tid_address setgid setgroups setresgid setresuid setuid sigaltstack socket stat statx tgkill umask uname \
    unshare write writev";
