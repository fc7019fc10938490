//! What a restored container goes on with.

use std::process::Command;

use nix::fcntl::{Flock, FlockArg};
use serde_json::json;

use super::{again, checkpoint, images, need_criu, refused_in, restore, started};
use crate::harness::bundle::Bundle;
use crate::harness::case::Case;
use crate::harness::console::{FdSocket, Terminal};
use crate::harness::container::parse_line;
use crate::harness::verdict::{Doing, Stop, Verdict, equal, holds, skip};
use crate::probe::ask::{Answer, Ask};
use crate::tests;

tests! {
    "runc-restore(8)" Compat a_restored_payload_goes_on_where_it_was;
    "runc-restore(8)" Compat an_open_tcp_connection_goes_on;
    "runc-restore(8)" Compat a_failed_restore_says_why_and_leaves_nothing;
    "runc-restore(8)" Compat a_file_lock_is_held_again;
    "runc-restore(8)" Compat a_terminal_is_sent_to_the_console_socket_again;
    "runc-restore(8)" Compat what_a_killed_restore_leaves_can_be_deleted;
    "runc-restore(8)" Compat a_container_with_a_user_namespace_is_restored;
    "runc-restore(8)" Compat kill_exec_pause_and_delete_know_a_restored_container;
    "runc-restore(8)" Compat limits_hold_again;
    "runc-restore(8)" Compat device_rules_hold_again;
    "runc-restore(8)" Compat a_seccomp_profile_holds_again;
    "runc-restore(8)" Compat hooks_before_the_start_run_with_the_new_pid;
    "runc-restore(8)" Compat in_the_foreground_restore_returns_the_payloads_status;
    "runc-restore(8)" Compat in_the_foreground_the_terminal_is_passed_through_again;
}

fn a_restored_payload_goes_on_where_it_was(case: &Case) -> Verdict {
    need_criu(case)?;
    let mut bundle = case.bundle()?;
    let mut container = started(case, &mut bundle)?;
    let child = container.ask_one(Ask::SpawnSleeper)?.number()?;
    let asks = [Ask::Count, Ask::Count, Ask::SetHostname("saved".into())];
    // The capability for the name is not there: what matters is the count.
    equal("the count", container.ask(&asks)?[1].number()?, 2)?;
    let before = container.ask_one(Ask::Process)?.process()?;
    let mut restored = again(case, container, &bundle, &[])?;
    equal("status", restored.status()?, "running")?;
    equal("the count", restored.ask_one(Ask::Count)?.number()?, 3)?;
    let after = restored.ask_one(Ask::Process)?.process()?;
    equal(
        "pid and session",
        (after.pid, after.sid),
        (before.pid, before.sid),
    )?;
    equal("arguments", &after.args, &before.args)?;
    equal("hostname", after.hostname.as_str(), "spec-tests")?;
    for field in [
        "CapEff",
        "CapPrm",
        "CapBnd",
        "CapInh",
        "CapAmb",
        "NoNewPrivs",
        "SigIgn",
    ] {
        equal(field, after.status.get(field), before.status.get(field))?;
    }
    restored
        .ask_one(Ask::Stat(format!("/proc/{child}").into()))?
        .stat()
        .map(drop)
}

fn an_open_tcp_connection_goes_on(case: &Case) -> Verdict {
    need_criu(case)?;
    let mut bundle = case.bundle()?;
    let mut container = started(case, &mut bundle)?;
    container.ask_one(Ask::TcpOpen)?.done()?;
    let restored = again(case, container, &bundle, &["--tcp-established"]);
    let log = std::fs::read_to_string(images(case).join("dump.log")).unwrap_or_default();
    // SO_PASSCRED of a TCP socket, which Linux refuses since 6.16.
    if restored.is_err() && log.contains("Can't get 1:16 opt") {
        return skip("this CRIU does not know the TCP sockets of this kernel");
    }
    restored?.ask_one(Ask::TcpUse)?.done()
}

fn a_failed_restore_says_why_and_leaves_nothing(case: &Case) -> Verdict {
    need_criu(case)?;
    let mut bundle = case.bundle()?;
    let _saved = started(case, &mut bundle)?;
    checkpoint(case, &case.id, &[]).run()?.succeeded()?;
    std::fs::remove_file(images(case).join("core-1.img"))?;
    let outcome = restore(case, &bundle, &["--detach"]).run()?;
    refused_in(case, outcome, "restore.log", &["restore.log"])?;
    equal(
        "entries in the state directory",
        case.ids_in_state().len(),
        0,
    )
}

fn a_file_lock_is_held_again(case: &Case) -> Verdict {
    need_criu(case)?;
    let mut bundle = case.bundle()?;
    let file = bundle.file("/tmp/lock", "")?;
    let mut container = started(case, &mut bundle)?;
    container
        .ask_one(Ask::HoldLock("/tmp/lock".into()))?
        .done()?;
    checkpoint(case, &case.id, &[]).run()?.refused()?;
    let _restored = again(case, container, &bundle, &["--file-locks"])?;
    let mine = std::fs::File::open(file)?;
    match Flock::lock(mine, FlockArg::LockExclusiveNonblock) {
        Err((_, nix::Error::EWOULDBLOCK)) => Ok(()),
        other => Err(Stop::Fail(format!("the lock is free: {other:?}"))),
    }
}

/// Saves a container whose payload has counted to one at a terminal of its own; the socket that
/// got it listens on.
fn saved_at_a_terminal(case: &Case) -> Verdict<(Bundle, FdSocket<'_>)> {
    let mut bundle = case.bundle()?;
    bundle.process()["terminal"] = json!(true);
    bundle.serves().write()?;
    let socket = FdSocket::listen(case)?;
    let call = case.runtime(["run", "--detach", "--console-socket"]);
    let call = call.arg(socket.path()).arg("--bundle").arg(&bundle.dir);
    call.arg(&case.id).run()?.succeeded()?;
    let mut terminal = socket.receive()?;
    terminal.write(&(serde_json::to_string(&[Ask::Count])? + "\n"))?;
    terminal.read_until("]\r\n[{\"Number\":1}]\r\n")?;
    checkpoint(case, &case.id, &[]).run()?.succeeded()?;
    Ok((bundle, socket))
}

fn a_terminal_is_sent_to_the_console_socket_again(case: &Case) -> Verdict {
    need_criu(case)?;
    let (bundle, socket) = saved_at_a_terminal(case)?;
    let flags = ["--detach", "--console-socket"];
    let call = case.runtime(["restore", "--image-path"]).arg(images(case));
    let call = call.args(flags).arg(socket.path()).arg("--bundle");
    call.arg(&bundle.dir).arg(&case.id).run()?.succeeded()?;
    let mut terminal = socket.receive()?;
    // The terminal's own echo must not look like an answer.
    let asks = [Ask::Process, Ask::Stat("/dev/console".into()), Ask::Count];
    terminal.write(&(serde_json::to_string(&asks)? + "\n"))?;
    let seen = terminal.read_until("}]\r\n")?;
    let line = seen
        .lines()
        .find(|line| line.starts_with("[{\"Process\""))
        .ok_or_else(|| Stop::Fail(format!("no answer in {seen:?}")))?;
    let answers = parse_line(line, asks.len())?;
    equal("terminals", answers[0].process()?.terminals, [true; 3])?;
    equal(
        "kind of the console",
        answers[1].stat()?.kind.as_str(),
        "char",
    )?;
    equal("the count", answers[2].number()?, 2)
}

/// A hook that ends its parent, the runtime, by SIGKILL.
fn what_a_killed_restore_leaves_can_be_deleted(case: &Case) -> Verdict {
    need_criu(case)?;
    let mut bundle = case.bundle()?;
    let _saved = started(case, &mut bundle)?;
    checkpoint(case, &case.id, &[]).run()?.succeeded()?;
    let kill = json!({"path": "/bin/sh", "args": ["sh", "-c", "kill -9 $PPID"]});
    bundle.hook("createRuntime", kill);
    bundle.write()?;
    let outcome = restore(case, &bundle, &["--detach"]).run()?;
    equal("the signal", outcome.signal, Some(libc::SIGKILL))?;
    case.runtime(["delete", "--force", &case.id])
        .run()?
        .succeeded()?;
    equal(
        "entries in the state directory",
        case.ids_in_state().len(),
        0,
    )
}

fn a_container_with_a_user_namespace_is_restored(case: &Case) -> Verdict {
    need_criu(case)?;
    let mut bundle = case.bundle()?;
    bundle.own_probe(case)?;
    bundle.namespace("user");
    for maps in ["uidMappings", "gidMappings"] {
        bundle.linux()[maps] = json!([{"containerID": 0, "hostID": 200_000, "size": 65536}]);
    }
    let status = Command::new("chown")
        .args(["-R", "200000:200000"])
        .arg(bundle.rootfs())
        .status()?;
    holds(status.success(), "chown")?;
    let mut container = started(case, &mut bundle)?;
    equal("the count", container.ask_one(Ask::Count)?.number()?, 1)?;
    let mut restored = again(case, container, &bundle, &[])?;
    let answers = restored.ask(&[Ask::Count, Ask::Read("/proc/self/uid_map".into())])?;
    equal("the count", answers[0].number()?, 2)?;
    let map: Vec<&str> = answers[1].text()?.split_whitespace().collect();
    equal("the map", map, ["0", "200000", "65536"])
}

fn kill_exec_pause_and_delete_know_a_restored_container(case: &Case) -> Verdict {
    need_criu(case)?;
    let mut bundle = case.bundle()?;
    let _saved = started(case, &mut bundle)?;
    checkpoint(case, &case.id, &[]).run()?.succeeded()?;
    let pid_file = case.dir.join("pid");
    let file = pid_file.to_string_lossy().into_owned();
    let flags = ["--detach", "--pid-file", &file];
    let mut restored = case.create_with(restore(case, &bundle, &flags), &case.id)?;
    let pid = restored.pid()?;
    equal(
        "the pid file",
        std::fs::read_to_string(pid_file)?,
        pid.to_string(),
    )?;
    let cgroup = std::fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    let own = cgroup.lines().find(|line| line.starts_with("0::"));
    holds(
        own.is_some_and(|line| line.contains(&case.id)),
        format!("it is not in a cgroup of its own: {cgroup:?}"),
    )?;
    let mine = restored.ask_one(Ask::Process)?.process()?.namespaces;
    let theirs = restored.exec_process(&[])?.namespaces;
    equal("namespaces of exec", theirs, mine)?;
    restored.verb("pause").run()?.succeeded()?;
    equal("status", restored.status()?, "paused")?;
    restored.verb("resume").run()?.succeeded()?;
    restored.ask_one(Ask::Count)?.number()?;
    restored.kill("TERM")?;
    restored.kill("KILL")?;
    restored.wait_stopped()?;
    restored.delete()
}

fn limits_hold_again(case: &Case) -> Verdict {
    need_criu(case)?;
    case.need_controller("pids")?;
    let mut bundle = case.bundle()?;
    bundle.linux()["resources"] = json!({"pids": {"limit": 77}});
    let container = started(case, &mut bundle)?;
    // As config.json says it, not as it was.
    checkpoint(case, &case.id, &[]).run()?.succeeded()?;
    drop(container);
    bundle.linux()["resources"] = json!({"pids": {"limit": 78}});
    bundle.write()?;
    let restored = case.create_with(restore(case, &bundle, &["--detach"]), &case.id)?;
    let cgroup = std::fs::read_to_string(format!("/proc/{}/cgroup", restored.pid()?))?;
    let path = cgroup.lines().find_map(|line| line.strip_prefix("0::/"));
    let Some(path) = path else {
        return Err(Stop::Fail(format!("no cgroup2 in {cgroup:?}")));
    };
    let limit = case.need_cgroup2()?.join(path).join("pids.max");
    equal("pids.max", std::fs::read_to_string(limit)?.trim(), "78")
}

fn device_rules_hold_again(case: &Case) -> Verdict {
    need_criu(case)?;
    let mut bundle = case.bundle()?;
    bundle.linux()["resources"] = json!({"devices": [{"allow": false, "access": "rwm"}]});
    bundle.capabilities(&["CAP_MKNOD"]);
    let node = |major, minor, name: &str| Ask::Mknod {
        path: format!("/tmp/{name}").into(),
        kind: 'c',
        major,
        minor,
    };
    // /dev/mem may be made, as every node, and not opened.
    let mem = [node(1, 1, "mem"), Ask::Open("/tmp/mem".into())];
    let zero = [node(1, 5, "zero"), Ask::Open("/tmp/zero".into())];
    let judge = |answers: &[Answer]| -> Verdict {
        answers[1].failed_with("opening /dev/mem", &[libc::EPERM])
    };
    let mut container = started(case, &mut bundle)?;
    judge(&container.ask(&mem)?)?;
    let mut restored = again(case, container, &bundle, &[])?;
    judge(&restored.ask(&mem)?)?;
    restored.ask(&zero)?[1].done()
}

fn a_seccomp_profile_holds_again(case: &Case) -> Verdict {
    need_criu(case)?;
    let mut bundle = case.bundle()?;
    bundle.linux()["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"],
        "syscalls": [{"names": ["getppid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77}],
    });
    let forbidden = Ask::Call {
        number: libc::SYS_getppid,
        args: [0; 6],
    };
    let mut container = started(case, &mut bundle)?;
    equal("errno", container.ask_one(forbidden.clone())?.errno(), 77)?;
    let mut restored = again(case, container, &bundle, &[])?;
    equal("errno", restored.ask_one(forbidden)?.errno(), 77)
}

fn hooks_before_the_start_run_with_the_new_pid(case: &Case) -> Verdict {
    need_criu(case)?;
    let seen = case.dir.join("seen");
    let mut bundle = case.bundle()?;
    let _saved = started(case, &mut bundle)?;
    checkpoint(case, &case.id, &[]).run()?.succeeded()?;
    let probe = case.host_probe();
    bundle.hook(
        "createRuntime",
        json!({"path": probe, "args": ["probe", "hook", seen]}),
    );
    bundle.write()?;
    let call = restore(case, &bundle, &["--detach"]);
    let restored = case.create_with(call, &case.id)?;
    let text = std::fs::read_to_string(&seen).doing("what the hook saw")?;
    let pid = restored.pid()?.to_string();
    holds(text.contains(&pid), format!("no pid {pid} in {text}"))?;
    holds(text.contains(&case.id), format!("no id in {text}"))
}

fn in_the_foreground_restore_returns_the_payloads_status(case: &Case) -> Verdict {
    need_criu(case)?;
    let mut bundle = case.bundle()?;
    let mut container = started(case, &mut bundle)?;
    container.ask_one(Ask::Count)?.number()?;
    checkpoint(case, &case.id, &[]).run()?.succeeded()?;
    let asks =
        serde_json::to_string(&[Ask::Count])? + "\n" + &serde_json::to_string(&[Ask::Exit(23)])?;
    let (stdin, questions) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
    let (answers, stdout) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
    nix::unistd::write(&questions, (asks + "\n").as_bytes())?;
    let call = restore(case, &bundle, &[]).stdin(stdin).stdout(stdout);
    call.run()?.ended_with(23)?;
    let mut text = [0; 64];
    let length = nix::unistd::read(&answers, &mut text)?;
    equal(
        "the answer",
        String::from_utf8_lossy(&text[..length]),
        "[{\"Number\":2}]\n",
    )?;
    equal(
        "entries in the state directory",
        case.ids_in_state().len(),
        0,
    )
}

fn in_the_foreground_the_terminal_is_passed_through_again(case: &Case) -> Verdict {
    need_criu(case)?;
    let (bundle, _) = saved_at_a_terminal(case)?;
    let (mut mine, theirs) = Terminal::open(case)?;
    let running = restore(case, &bundle, &[]).terminal(&theirs)?.start()?;
    mine.write(&(serde_json::to_string(&[Ask::Count])? + "\n"))?;
    mine.read_until("[{\"Number\":2}]")?;
    mine.write(&(serde_json::to_string(&[Ask::Exit(19)])? + "\n"))?;
    running.wait()?.ended_with(19).map(drop)
}
