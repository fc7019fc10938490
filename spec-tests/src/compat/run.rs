//! run and create: exit statuses, pid files, signals, detaching

use std::os::unix::fs::MetadataExt;

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use serde_json::json;

use crate::harness::bundle::Bundle;
use crate::harness::call::{Call, Running};
use crate::harness::case::Case;
use crate::harness::container::parse_line;
use crate::harness::verdict::{Doing, Stop, Verdict, equal, holds};
use crate::probe::ask::Ask;
use crate::sys;
use crate::tests;

tests! {
    "runc-run(8)" Compat run_ends_with_the_payloads_status;
    "runc-run(8)" Compat run_ends_with_128_and_the_signal;
    "runc-run(8)" Compat run_deletes_the_container_at_the_end;
    "runc-run(8)" Compat run_ends_with_the_status_of_a_container_that_was_deleted;
    "runc-run(8)" Compat run_forwards_signals;
    "signal(7)" Compat the_first_real_time_signal_does_not_end_run;
    "runc-run(8)" Compat run_keeps_sigurg_to_itself;
    "runc-exec(8)" Compat exec_forwards_signals;
    "runc-run(8)" Compat run_detached_returns_while_the_payload_runs;
    "runc-run(8)" Compat standard_input_reaches_the_payload;
    "runc-run(8)" Compat standard_error_reaches_the_caller;
    "runc-create(8)" Compat the_pid_file_holds_the_pid_alone;
    "runc-run(8)" Compat the_pid_file_is_written_by_run_too;
    "runc-create(8)" Compat a_supervisor_above_gets_the_payloads_status;
    "runc-create(8)" Compat the_payload_is_a_session_leader;
    "runc-create(8)" Compat a_name_of_every_allowed_character_is_accepted;
    "runc-create(8)" Compat options_of_the_engines_are_accepted;
    "runc-start(8)" Compat start_returns_before_the_payload_ends;
    "runc-create(8)" Compat a_missing_cwd_is_made_in_a_read_only_root_too;
    "runc-create(8)" Compat streams_of_somebody_else_are_no_obstacle;
}

/// The folder is made before the root becomes read-only.
fn a_missing_cwd_is_made_in_a_read_only_root_too(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.config["root"]["readonly"] = json!(true);
    bundle.process()["cwd"] = json!("/./made/deep");
    equal(
        "cwd",
        case.run_process(&mut bundle)?.cwd.as_str(),
        "/made/deep",
    )
}

fn run_ends_with_the_payloads_status(case: &Case) -> Verdict {
    for status in [0, 1, 42, 255] {
        let mut bundle = case.bundle_named(&format!("bundle{status}"))?;
        bundle.args(&["/bin/probe", "exit", &status.to_string()]);
        case.run_call(&bundle)?.run()?.ended_with(status)?;
    }
    Ok(())
}

/// Starts `run` or `exec`, and waits until the process says by a file that it is ready.
fn ready<'a>(case: &'a Case, bundle: &Bundle, call: Call<'a>) -> Verdict<Running<'a>> {
    let running = call.start()?;
    case.wait_for("the process", || {
        Ok(bundle.inside("/tmp/ready").exists().then_some(()))
    })?;
    Ok(running)
}

fn run_ends_with_128_and_the_signal(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.answers(&[Ask::Create("/tmp/ready".into()), Ask::SleepMs(20_000)])?;
    let running = ready(case, &bundle, case.run_call(&bundle)?)?;
    case.runtime(["kill", &case.id, "KILL"])
        .run()?
        .succeeded()?;
    let outcome = running.wait()?;
    equal("exit status", outcome.status, 128 + Signal::SIGKILL as i32)?;
    equal(
        "the signal that ended the runtime itself",
        outcome.signal,
        None,
    )
}

fn run_ends_with_the_status_of_a_container_that_was_deleted(case: &Case) -> Verdict {
    // Which of the two removes it is a race.
    for round in 0..5 {
        let mut bundle = case.bundle_named(&format!("bundle{round}"))?;
        bundle.answers(&[Ask::Create("/tmp/ready".into()), Ask::SleepMs(20_000)])?;
        let running = ready(case, &bundle, case.run_call(&bundle)?)?;
        case.runtime(["delete", "--force", &case.id])
            .run()?
            .succeeded()?;
        let outcome = running.wait()?;
        equal("exit status", outcome.status, 128 + Signal::SIGKILL as i32)?;
    }
    Ok(())
}

fn run_deletes_the_container_at_the_end(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.args(&["/bin/probe", "exit", "3"]);
    case.run_call(&bundle)?.run()?.ended_with(3)?;
    case.runtime(["state", &case.id]).run()?.refused()?;
    equal(
        "entries in the state directory",
        case.ids_in_state().len(),
        0,
    )
}

fn run_forwards_signals(case: &Case) -> Verdict {
    for signal in [
        Signal::SIGTERM,
        Signal::SIGUSR1,
        Signal::SIGHUP,
        Signal::SIGINT,
    ] {
        let mut bundle = case.bundle_named(signal.as_str())?;
        let asks = [
            Ask::Block(vec![signal as i32]),
            Ask::Create("/tmp/ready".into()),
            Ask::NextSignal { within_ms: 10_000 },
        ];
        bundle.answers(&asks)?;
        let running = ready(case, &bundle, case.run_call(&bundle)?)?;
        running.signal(signal)?;
        let outcome = running.wait()?.succeeded()?;
        let line = outcome.stdout.lines().next().unwrap_or_default().to_owned();
        let seen = parse_line(&line, asks.len())?[2].number()?;
        equal("the signal that came", seen, signal as i64)?;
    }
    Ok(())
}

/// Number 34 is one of those that C libraries keep to themselves, and leave out of the masks that
/// they save for starting a program, as a hook is.
fn the_first_real_time_signal_does_not_end_run(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let asks = [
        Ask::Block(vec![libc::SIGUSR1]),
        Ask::Create("/tmp/ready".into()),
        Ask::NextSignal { within_ms: 10_000 },
    ];
    bundle.answers(&asks)?;
    bundle.hook("createRuntime", json!({"path": "/bin/true"}));
    let running = ready(case, &bundle, case.run_call(&bundle)?)?;
    sys::pidfd_kill(&sys::pidfd_open(running.pid())?, 34)?;
    running.signal(Signal::SIGUSR1)?;
    let outcome = running.wait()?.succeeded()?;
    let answers = parse_line(&outcome.stdout, asks.len())?;
    equal(
        "the signal that came",
        answers[2].number()?,
        i64::from(libc::SIGUSR1),
    )
}

/// Go's runtime sends it to itself all the time.
fn run_keeps_sigurg_to_itself(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let asks = [
        Ask::Block(vec![libc::SIGURG, libc::SIGUSR1]),
        Ask::Create("/tmp/ready".into()),
        Ask::NextSignal { within_ms: 10_000 },
        Ask::NextSignal { within_ms: 300 },
    ];
    bundle.answers(&asks)?;
    let running = ready(case, &bundle, case.run_call(&bundle)?)?;
    running.signal(Signal::SIGURG)?;
    running.signal(Signal::SIGUSR1)?;
    let outcome = running.wait()?.succeeded()?;
    let answers = parse_line(&outcome.stdout, asks.len())?;
    equal(
        "the signal that came",
        answers[2].number()?,
        i64::from(libc::SIGUSR1),
    )?;
    answers[3].failed_with("the next signal", &[libc::ETIMEDOUT])
}

fn exec_forwards_signals(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let container = case.started(&mut bundle)?;
    let asks = serde_json::to_string(&[
        Ask::Block(vec![libc::SIGUSR1]),
        Ask::Create("/tmp/ready".into()),
        Ask::NextSignal { within_ms: 10_000 },
    ])?;
    let call = case.runtime(["exec", &container.id, "/bin/probe", "answer", &asks]);
    let running = ready(case, &bundle, call)?;
    running.signal(Signal::SIGUSR1)?;
    let outcome = running.wait()?.succeeded()?;
    let seen = parse_line(&outcome.stdout, 3)?[2].number()?;
    equal("the signal that came", seen, i64::from(libc::SIGUSR1))
}

fn run_detached_returns_while_the_payload_runs(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.serves().write()?;
    let call = case
        .runtime(["run", "--detach", "--bundle"])
        .arg(&bundle.dir)
        .arg(&case.id);
    let mut container = case.create_with(call, &case.id)?;
    equal("status", container.status()?, "running")?;
    container.ask_one(Ask::Process)?.process().map(drop)
}

fn standard_input_reaches_the_payload(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.answers(&[Ask::ReadFd(0)])?;
    let outcome = case
        .run_call(&bundle)?
        .input("some text")?
        .run()?
        .succeeded()?;
    equal(
        "what the payload read",
        parse_line(&outcome.stdout, 1)?[0].text()?,
        "some text",
    )
}

fn standard_error_reaches_the_caller(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.answers(&[Ask::WriteFd {
        fd: 2,
        text: "of the payload\n".into(),
    }])?;
    let outcome = case.run_call(&bundle)?.run()?.succeeded()?;
    equal(
        "standard error",
        outcome.stderr.as_str(),
        "of the payload\n",
    )
}

fn pid_in(path: &std::path::Path) -> Verdict<Pid> {
    let text = std::fs::read_to_string(path).doing("the pid file")?;
    // Engines parse it with atoi and with strict parsers alike: digits and nothing else.
    holds(
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()),
        format!("the pid file is {text:?}"),
    )?;
    text.parse().map(Pid::from_raw).doing(text)
}

fn the_pid_file_holds_the_pid_alone(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.serves().write()?;
    let file = case.dir.join("pid");
    let call = case
        .runtime(["create", "--pid-file"])
        .arg(&file)
        .arg("--bundle")
        .arg(&bundle.dir)
        .arg(&case.id);
    let container = case.create_with(call, &case.id)?;
    equal("the pid", pid_in(&file)?, container.pid()?)
}

fn the_pid_file_is_written_by_run_too(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.serves().write()?;
    let file = case.dir.join("pid");
    let call = case
        .runtime(["run", "-d", "--pid-file"])
        .arg(&file)
        .arg("--bundle")
        .arg(&bundle.dir)
        .arg(&case.id);
    let container = case.create_with(call, &case.id)?;
    equal("the pid", pid_in(&file)?, container.pid()?)
}

fn a_supervisor_above_gets_the_payloads_status(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let mut container = case.started(&mut bundle)?;
    let pid = container.pid()?;
    container.tell(&[Ask::Exit(23)])?;
    // The worker is a subreaper like conmon: the payload must become its child.
    equal("the payload's exit status", case.exit_status(pid)?, 23)
}

fn the_payload_is_a_session_leader(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let process = case.run_process(&mut bundle)?;
    equal("the session", process.sid, process.pid)
}

fn a_name_of_every_allowed_character_is_accepted(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let id = format!("{}_A-b.c+9", case.id);
    let container = case.create_named(&mut bundle, &id)?;
    equal("id", container.state()?["id"].as_str(), Some(id.as_str()))
}

fn options_of_the_engines_are_accepted(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.serves().write()?;
    let file = case.dir.join("pid");
    let call = case
        .runtime(["create", "--bundle"])
        .arg(&bundle.dir)
        .arg("--pid-file")
        .arg(&file)
        .arg("--no-new-keyring");
    let container = case.create_with(call.arg(&case.id), &case.id)?;
    equal("status", container.status()?, "created")
}

fn start_returns_before_the_payload_ends(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let container = case.started(&mut bundle)?;
    equal("status", container.status()?, "running")
}

fn streams_of_somebody_else_are_no_obstacle(case: &Case) -> Verdict {
    case.need_rootless()?;
    let Some((reader, writer)) = case.foreign_pipe.as_ref() else {
        return Err(Stop::Skip("needs a pipe made by root (--user)".into()));
    };
    let mut bundle = case.bundle()?;
    bundle.answers(&[Ask::WriteFd {
        fd: 1,
        text: "through\n".into(),
    }])?;
    let owner = std::fs::File::from(writer.try_clone()?).metadata()?.uid();
    equal("owner of the pipe", owner, 0)?;
    case.run_call(&bundle)?
        .stdout(writer.try_clone()?)
        .run()?
        .succeeded()?;
    use std::io::Read;
    let mut buffer = [0u8; 8];
    std::fs::File::from(reader.try_clone()?).read_exact(&mut buffer)?;
    equal("what came through the pipe", &buffer, b"through\n")
}
