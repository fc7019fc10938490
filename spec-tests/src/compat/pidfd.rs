//! A pidfd of the container's process for the caller, by option and by annotation

use std::os::fd::{AsRawFd, OwnedFd};

use serde_json::json;

use crate::harness::case::Case;
use crate::harness::console::FdSocket;
use crate::harness::verdict::{Doing, Stop, Verdict, equal};
use crate::tests;

tests! {
    "runc-create(8)" Compat pidfd_socket_gets_the_payloads_pidfd_at_create;
    "runc-run(8)" Compat pidfd_socket_gets_the_payloads_pidfd_at_run;
    "runc-exec(8)" Compat pidfd_socket_gets_the_pidfd_of_a_process_of_exec;
    "runc-create(8)" Compat a_missing_pidfd_socket_is_an_error;
    "runc-exec(8)" Compat a_missing_pidfd_socket_of_exec_is_an_error;
    "crun(1)" Compat the_receiver_of_the_annotation_gets_the_payloads_pidfd;
}

/// The process that a pidfd refers to, as proc_pid_fdinfo(5) tells.
fn pid_behind(pidfd: &OwnedFd) -> Verdict<i32> {
    let path = format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd());
    let text = std::fs::read_to_string(&path).doing(&path)?;
    text.lines()
        .find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok())
        .ok_or_else(|| Stop::Fail(format!("no pidfd was sent: {text}")))
}

/// Fails unless this way to make a container sends the pidfd of its first process.
fn the_payloads_pidfd_is_sent(case: &Case, verb: &[&str]) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.serves().write()?;
    let socket = FdSocket::listen(case)?;
    let call = case
        .runtime(verb.iter().copied())
        .arg("--pidfd-socket")
        .arg(socket.path())
        .arg("--bundle")
        .arg(&bundle.dir)
        .arg(&case.id);
    let container = case.create_with(call, &case.id)?;
    let (pidfd, text) = socket.receive_fd()?;
    equal("the text beside it", text.as_str(), "standard")?;
    equal("pid", pid_behind(&pidfd)?, container.pid()?.as_raw())
}

fn pidfd_socket_gets_the_payloads_pidfd_at_create(case: &Case) -> Verdict {
    the_payloads_pidfd_is_sent(case, &["create"])
}

fn pidfd_socket_gets_the_payloads_pidfd_at_run(case: &Case) -> Verdict {
    the_payloads_pidfd_is_sent(case, &["run", "--detach"])
}

fn pidfd_socket_gets_the_pidfd_of_a_process_of_exec(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let container = case.started(&mut bundle)?;
    let socket = FdSocket::listen(case)?;
    let pid_file = case.dir.join("exec-pid");
    case.runtime(["exec", "--detach", "--pidfd-socket"])
        .arg(socket.path())
        .arg("--pid-file")
        .arg(&pid_file)
        .args([&container.id, "/bin/probe", "hang"])
        .run()?
        .succeeded()?;
    let (pidfd, text) = socket.receive_fd()?;
    equal("the text beside it", text.as_str(), "setns")?;
    let pid = std::fs::read_to_string(&pid_file).doing("the pid file")?;
    equal("pid", pid_behind(&pidfd)?.to_string(), pid)
}

fn a_missing_pidfd_socket_is_an_error(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.serves().write()?;
    let missing = case.dir.join("nobody.sock");
    case.runtime(["create", "--pidfd-socket"])
        .arg(&missing)
        .arg("--bundle")
        .arg(&bundle.dir)
        .arg(&case.id)
        .run()?
        .refused()?
        .says(&["nobody.sock"])?;
    equal(
        "entries in the state directory",
        case.ids_in_state().len(),
        0,
    )
}

fn a_missing_pidfd_socket_of_exec_is_an_error(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let container = case.started(&mut bundle)?;
    let missing = case.dir.join("nobody.sock");
    case.runtime(["exec", "--pidfd-socket"])
        .arg(&missing)
        .args([&container.id, "/bin/probe", "exit", "0"])
        .run()?
        .refused()?
        .says(&["nobody.sock"])
        .map(drop)
}

fn the_receiver_of_the_annotation_gets_the_payloads_pidfd(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let socket = FdSocket::listen(case)?;
    bundle.config["annotations"] = json!({"run.oci.pidfd_receiver": socket.path()});
    let container = case.create(&mut bundle)?;
    let (pidfd, _) = socket.receive_fd()?;
    equal("pid", pid_behind(&pidfd)?, container.pid()?.as_raw())
}
