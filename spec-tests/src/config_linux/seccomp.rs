//! config-linux.md#seccomp

use std::os::fd::AsFd;

use serde_json::{Value, json};

use crate::harness::bundle::Bundle;
use crate::harness::case::Case;
use crate::harness::console::FdSocket;
use crate::harness::verdict::{Doing, Verdict, equal, holds};
use crate::probe::ask::{Ask, Process};
use crate::sys;
use crate::tests;

tests! {
    "config-linux.md#seccomp" Must a_refused_call_fails_with_eperm;
    "config-linux.md#seccomp" Must a_refused_call_fails_with_the_given_errno;
    "config-linux.md#seccomp" Must the_default_errno_is_used;
    "config-linux.md#seccomp" Must conditions_on_arguments_count;
    "config-linux.md#seccomp" Must all_conditions_of_a_rule_must_hold;
    "config-linux.md#seccomp" Must masked_arguments_are_compared;
    "config-linux.md#seccomp" Must an_allow_list_refuses_the_rest;
    "config-linux.md#seccomp" Must kill_ends_the_payload;
    "config-linux.md#seccomp" Must unknown_names_are_skipped;
    "config-linux.md#seccomp" Must an_unknown_action_is_an_error;
    "config-linux.md#seccomp" Must the_filter_holds_without_no_new_privileges;
    "config-linux.md#seccomp" Must the_filter_holds_for_exec;
    "config-linux.md#seccomp" Must the_filter_holds_for_another_user;
    "config-linux.md#seccomp" Must without_seccomp_there_is_no_filter;
    "config-linux.md#containerprocessstate" Must a_notify_listener_is_sent_with_the_state;
    "config-linux.md#seccomp" Compat a_listener_gets_along_with_a_low_limit_of_descriptors;
}

/// All is allowed but what these rules say.
fn with_rules(case: &Case, rules: &Value) -> Verdict<Bundle> {
    let mut bundle = case.bundle()?;
    let architectures = if cfg!(target_arch = "x86_64") {
        json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"])
    } else {
        json!(["SCMP_ARCH_AARCH64"])
    };
    bundle.linux()["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": architectures, "syscalls": rules});
    Ok(bundle)
}

/// Both ways to make a folder.
const MKDIR: [&str; 2] = ["mkdir", "mkdirat"];

fn mkdir() -> Ask {
    Ask::Mkdir("/tmp/new".into())
}

fn a_refused_call_fails_with_eperm(case: &Case) -> Verdict {
    let mut bundle = with_rules(case, &json!([{"names": MKDIR, "action": "SCMP_ACT_ERRNO"}]))?;
    let answers = case.run(
        &mut bundle,
        &[mkdir(), Ask::Create("/tmp/file".into()), Ask::Process],
    )?;
    answers[0].failed_with("mkdir", &[libc::EPERM])?;
    answers[1].done()?;
    let filter = answers[2].process()?.status.get("Seccomp").cloned();
    equal("Seccomp of /proc/self/status", filter.as_deref(), Some("2"))
}

fn a_refused_call_fails_with_the_given_errno(case: &Case) -> Verdict {
    let rules = json!([{"names": MKDIR, "action": "SCMP_ACT_ERRNO", "errnoRet": libc::EXDEV}]);
    case.run_one(&mut with_rules(case, &rules)?, mkdir())?
        .failed_with("mkdir", &[libc::EXDEV])
}

fn the_default_errno_is_used(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.linux()["seccomp"] = allow_list(libc::ENOSYS);
    case.run_one(&mut bundle, mkdir())?
        .failed_with("mkdir", &[libc::ENOSYS])
}

/// What the probe and the runtimes need on their way, and mkdir not.
const NEEDED: &str = "\
    access arch_prctl brk capget capset chdir clock_gettime clone clone3 close close_range dup \
    dup2 dup3 epoll_create1 epoll_ctl epoll_pwait execve execveat exit exit_group faccessat \
    faccessat2 fchdir fchown fcntl fstat fstatfs futex getcwd getdents64 getegid geteuid \
    getgid getgroups getpgrp getpid getppid getpriority getrandom getrlimit getsid gettid \
    getuid ioctl ioprio_get lseek lstat madvise mmap mprotect munmap nanosleep newfstatat open \
    openat openat2 personality pipe2 poll ppoll prctl pread64 prlimit64 read readlink \
    readlinkat recvfrom recvmsg restart_syscall rseq rt_sigaction rt_sigprocmask rt_sigreturn \
    sched_getaffinity sched_getattr sched_yield sendmsg sendto set_robust_list set_tid_address \
    setgid setgroups setresgid setresuid setuid sigaltstack socket stat statx tgkill umask \
    uname unshare write writev";

/// All is refused with this errno but what is needed.
fn allow_list(errno: i32) -> Value {
    let names: Vec<&str> = NEEDED.split_whitespace().collect();
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": errno,
        "syscalls": [{"names": names, "action": "SCMP_ACT_ALLOW"}],
    })
}

fn an_allow_list_refuses_the_rest(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.linux()["seccomp"] = allow_list(libc::EPERM);
    let answers = case.run(
        &mut bundle,
        &[
            Ask::Read("/proc/version".into()),
            mkdir(),
            Ask::SetHostname("x".into()),
        ],
    )?;
    answers[0].text()?;
    answers[1].failed_with("mkdir", &[libc::EPERM])?;
    answers[2].failed_with("sethostname", &[libc::EPERM])
}

fn socket_rule(args: &Value) -> Value {
    json!([{"names": ["socket"], "action": "SCMP_ACT_ERRNO", "errnoRet": libc::EXDEV, "args": args}])
}

fn conditions_on_arguments_count(case: &Case) -> Verdict {
    let rules = socket_rule(&json!([{"index": 0, "value": libc::AF_INET6, "op": "SCMP_CMP_EQ"}]));
    let answers = case.run(
        &mut with_rules(case, &rules)?,
        &[Ask::Socket(libc::AF_INET6), Ask::Socket(libc::AF_UNIX)],
    )?;
    answers[0].failed_with("socket(AF_INET6)", &[libc::EXDEV])?;
    answers[1].done()
}

fn all_conditions_of_a_rule_must_hold(case: &Case) -> Verdict {
    let rules = socket_rule(&json!([
        {"index": 0, "value": libc::AF_UNIX, "op": "SCMP_CMP_EQ"},
        {"index": 2, "value": 1, "op": "SCMP_CMP_GE"},
    ]));
    // Its third argument is 0, so the second condition does not hold.
    case.run_one(&mut with_rules(case, &rules)?, Ask::Socket(libc::AF_UNIX))?
        .done()
}

fn masked_arguments_are_compared(case: &Case) -> Verdict {
    // (type & 0xf) == SOCK_STREAM, although SOCK_CLOEXEC is set too.
    let rules = socket_rule(
        &json!([{"index": 1, "value": 0xf, "valueTwo": libc::SOCK_STREAM, "op": "SCMP_CMP_MASKED_EQ"}]),
    );
    case.run_one(&mut with_rules(case, &rules)?, Ask::Socket(libc::AF_UNIX))?
        .failed_with("socket", &[libc::EXDEV])
}

fn kill_ends_the_payload(case: &Case) -> Verdict {
    let mut bundle = with_rules(
        case,
        &json!([{"names": MKDIR, "action": "SCMP_ACT_KILL_PROCESS"}]),
    )?;
    bundle.answers(&[mkdir()])?;
    case.run_call(&bundle)?
        .run()?
        .ended_with(128 + libc::SIGSYS)
        .map(drop)
}

fn unknown_names_are_skipped(case: &Case) -> Verdict {
    let rules = json!([{"names": ["no_such_call", "mkdir", "mkdirat", "another_of_tomorrow"], "action": "SCMP_ACT_ERRNO"}]);
    case.run_one(&mut with_rules(case, &rules)?, mkdir())?
        .failed_with("mkdir", &[libc::EPERM])
}

fn an_unknown_action_is_an_error(case: &Case) -> Verdict {
    let bundle = with_rules(
        case,
        &json!([{"names": MKDIR, "action": "SCMP_ACT_NOSUCH"}]),
    )?;
    case.create_refused(&bundle).map(drop)
}

fn the_filter_holds_without_no_new_privileges(case: &Case) -> Verdict {
    let mut bundle = with_rules(case, &json!([{"names": MKDIR, "action": "SCMP_ACT_ERRNO"}]))?;
    bundle.process()["noNewPrivileges"] = json!(false);
    let answers = case.run(&mut bundle, &[mkdir(), Ask::Process])?;
    answers[0].failed_with("mkdir", &[libc::EPERM])?;
    equal("no_new_privs", answers[1].process()?.no_new_privs, false)
}

fn the_filter_holds_for_exec(case: &Case) -> Verdict {
    let mut bundle = with_rules(case, &json!([{"names": MKDIR, "action": "SCMP_ACT_ERRNO"}]))?;
    let container = case.started(&mut bundle)?;
    container.exec(&[], &[mkdir()])?[0].failed_with("mkdir", &[libc::EPERM])
}

fn the_filter_holds_for_another_user(case: &Case) -> Verdict {
    case.need_root()?;
    for no_new_privileges in [true, false] {
        let mut bundle = case.bundle_named(&format!("bundle-{no_new_privileges}"))?;
        bundle.linux()["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": MKDIR, "action": "SCMP_ACT_ERRNO"}]});
        bundle.process()["user"] = json!({"uid": 1000, "gid": 1000});
        bundle.process()["noNewPrivileges"] = json!(no_new_privileges);
        case.run_one(&mut bundle, mkdir())?
            .failed_with("mkdir", &[libc::EPERM])?;
    }
    Ok(())
}

fn without_seccomp_there_is_no_filter(case: &Case) -> Verdict {
    let own = std::fs::read_to_string("/proc/self/status")?;
    let own = own
        .lines()
        .find_map(|line| line.strip_prefix("Seccomp:\t"))
        .unwrap_or_default();
    let process = case.run_process(&mut case.bundle()?)?;
    equal(
        "Seccomp of /proc/self/status",
        process.status.get("Seccomp").map(String::as_str),
        Some(own),
    )
}

/// A bundle whose profile hands mkdir to an agent, and the agent's socket.
fn with_agent(case: &Case) -> Verdict<(Bundle, FdSocket<'_>)> {
    let mut bundle = with_rules(
        case,
        &json!([{"names": MKDIR, "action": "SCMP_ACT_NOTIFY"}]),
    )?;
    let socket = FdSocket::listen(case)?;
    bundle.linux()["seccomp"]["listenerPath"] = json!(socket.path());
    Ok((bundle, socket))
}

fn a_notify_listener_is_sent_with_the_state(case: &Case) -> Verdict {
    let (mut bundle, socket) = with_agent(case)?;
    bundle.linux()["seccomp"]["listenerMetadata"] = json!("some metadata");
    // crun sends it at start; what was sent at create waits in the socket.
    let mut container = case.create(&mut bundle)?;
    container.start()?;
    let (listener, text) = socket.receive_fd()?;
    let state: Value = serde_json::from_str(&text).doing(&text)?;
    equal("fds", &state["fds"], &json!(["seccompFd"]))?;
    equal("metadata", &state["metadata"], &json!("some metadata"))?;
    equal("id of the state", &state["state"]["id"], &json!(case.id))?;
    holds(
        state["pid"].as_i64().is_some_and(|pid| pid > 0),
        format!("pid is {}", state["pid"]),
    )?;
    container.tell(&[mkdir()])?;
    if !sys::readable_before(listener.as_fd(), case.deadline)? {
        return crate::harness::verdict::fail("the call was not handed to the listener");
    }
    let notice = sys::receive_notice(listener.as_fd())?;
    let known =
        [libc::SYS_mkdirat].contains(&i64::from(notice.call)) || notice.call == MKDIR_NUMBER;
    holds(known, format!("the call has number {}", notice.call))?;
    sys::answer_notice(listener.as_fd(), &notice, libc::EXDEV)?;
    let answer = crate::harness::container::parse_line(&container.line()?, 1)?.remove(0);
    answer.failed_with("mkdir", &[libc::EXDEV])
}

/// Three are open when the payload begins, and the kernel makes a fourth for the listener.
fn a_listener_gets_along_with_a_low_limit_of_descriptors(case: &Case) -> Verdict {
    let (mut bundle, _agent) = with_agent(case)?;
    bundle.process()["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 3, "hard": 3}]);
    let is_limited = |process: Process| {
        let limit = process.rlimits.get("RLIMIT_NOFILE");
        equal("RLIMIT_NOFILE", limit, Some(&(3, 3)))
    };
    is_limited(case.run_process(&mut bundle)?)?;
    let mut container = case.create_named(&mut bundle, &format!("{}-created", case.id))?;
    container.start()?;
    is_limited(container.ask_one(Ask::Process)?.process()?)?;
    is_limited(container.exec_process(&[])?)
}

/// mkdir(2) of x86_64; other architectures have mkdirat(2) alone.
#[cfg(target_arch = "x86_64")]
const MKDIR_NUMBER: i32 = libc::SYS_mkdir as i32;
#[cfg(not(target_arch = "x86_64"))]
const MKDIR_NUMBER: i32 = libc::SYS_mkdirat as i32;
