//! What the payload inherits: descriptors and signals

use std::fs::File;
use std::io::Write;

use crate::harness::case::Case;
use crate::harness::container::parse_line;
use crate::harness::verdict::{Verdict, equal, holds};
use crate::probe::ask::{Ask, Process};
use crate::tests;

tests! {
    "runc(8)" Compat the_payload_has_only_the_standard_descriptors;
    "runc(8)" Compat descriptors_leaked_by_the_caller_stop_at_the_runtime;
    "runc-run(8)" Compat preserved_descriptors_reach_the_payload;
    "runc-run(8)" Compat descriptors_beyond_the_preserved_ones_do_not;
    "runc-exec(8)" Compat preserved_descriptors_reach_exec;
    "podman-run(1)" Compat a_preserved_descriptor_behind_missing_ones_reaches_the_payload;
    "sd_listen_fds(3)" Compat listen_fds_reach_the_payload;
    "runc(8)" Compat signals_are_at_their_defaults;
    "runc(8)" Compat no_signal_is_blocked;
    "runc(8)" Compat ignored_and_blocked_signals_of_the_caller_are_reset;
    "runc-exec(8)" Compat signals_of_exec_are_at_their_defaults;
}

fn above_two(process: &Process) -> Vec<(i32, String)> {
    process
        .fds
        .iter()
        .filter(|(fd, _)| **fd > 2)
        .map(|(fd, target)| (*fd, target.clone()))
        .collect()
}

fn the_payload_has_only_the_standard_descriptors(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let process = case.run_process(&mut bundle)?;
    equal("descriptors above 2", above_two(&process), [])?;
    equal("open standard descriptors", process.fds.len(), 3)
}

/// A file of the host with a text, open for reading.
fn open_file(case: &Case, name: &str) -> Verdict<File> {
    let path = case.dir.join(name);
    File::create(&path)?.write_all(name.as_bytes())?;
    Ok(File::open(path)?)
}

fn descriptors_leaked_by_the_caller_stop_at_the_runtime(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.answers(&[Ask::Process])?;
    let call = case
        .run_call(&bundle)?
        .fd(open_file(case, "three")?, 3)
        .fd(open_file(case, "nine")?, 9);
    let outcome = call.fd(File::open("/")?, 700).run()?.succeeded()?;
    let process = parse_line(&outcome.stdout, 1)?.remove(0).process()?;
    equal("descriptors above 2", above_two(&process), [])
}

fn preserved_descriptors_reach_the_payload(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle
        .answers(&[Ask::ReadFd(3), Ask::ReadFd(4), Ask::Process])?
        .write()?;
    let call = case
        .runtime(["run", "--preserve-fds", "2", "--bundle"])
        .arg(&bundle.dir)
        .arg(&case.id);
    let outcome = call
        .fd(open_file(case, "three")?, 3)
        .fd(open_file(case, "four")?, 4)
        .run()?
        .succeeded()?;
    let answers = parse_line(&outcome.stdout, 3)?;
    equal("descriptor 3", answers[0].text()?, "three")?;
    equal("descriptor 4", answers[1].text()?, "four")?;
    equal(
        "descriptors above 4",
        answers[2]
            .process()?
            .fds
            .keys()
            .filter(|fd| **fd > 4)
            .count(),
        0,
    )
}

fn descriptors_beyond_the_preserved_ones_do_not(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.answers(&[Ask::Process])?.write()?;
    let call = case
        .runtime(["run", "--preserve-fds=1", "--bundle"])
        .arg(&bundle.dir)
        .arg(&case.id);
    let outcome = call
        .fd(open_file(case, "three")?, 3)
        .fd(open_file(case, "four")?, 4)
        .run()?
        .succeeded()?;
    let seen: Vec<i32> = above_two(&parse_line(&outcome.stdout, 1)?.remove(0).process()?)
        .into_iter()
        .map(|(fd, _)| fd)
        .collect();
    equal("descriptors above 2", seen, [3])
}

fn preserved_descriptors_reach_exec(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let container = case.started(&mut bundle)?;
    let asks = serde_json::to_string(&[Ask::ReadFd(3)])?;
    let call = case.runtime([
        "exec",
        "--preserve-fds",
        "1",
        &container.id,
        "/bin/probe",
        "answer",
        &asks,
    ]);
    let outcome = call.fd(open_file(case, "three")?, 3).run()?.succeeded()?;
    equal(
        "descriptor 3",
        parse_line(&outcome.stdout, 1)?[0].text()?,
        "three",
    )
}

/// As podman calls for `--preserve-fd 9`.
fn a_preserved_descriptor_behind_missing_ones_reaches_the_payload(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.answers(&[Ask::ReadFd(9), Ask::Process])?.write()?;
    let call = case
        .runtime(["run", "--preserve-fds", "7", "--bundle"])
        .arg(&bundle.dir)
        .arg(&case.id);
    let outcome = call.fd(open_file(case, "nine")?, 9).run()?.succeeded()?;
    let answers = parse_line(&outcome.stdout, 2)?;
    equal("descriptor 9", answers[0].text()?, "nine")?;
    let seen = above_two(&answers[1].process()?);
    let seen: Vec<i32> = seen.into_iter().map(|(fd, _)| fd).collect();
    equal("descriptors above 2", seen, [9])
}

fn listen_fds_reach_the_payload(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.answers(&[Ask::ReadFd(3), Ask::Process])?;
    // LISTEN_PID must be the runtime's own pid, which only the process itself can say before execve.
    let call = case
        .run_call(&bundle)?
        .through(["sh", "-c", "export LISTEN_PID=$$; exec \"$@\"", "sh"])
        .env("LISTEN_FDS", "1");
    let outcome = call.fd(open_file(case, "three")?, 3).run()?.succeeded()?;
    let answers = parse_line(&outcome.stdout, 2)?;
    equal("descriptor 3", answers[0].text()?, "three")?;
    let process = answers[1].process()?;
    equal("LISTEN_FDS", process.env_of("LISTEN_FDS"), ["1"])?;
    equal("LISTEN_PID", process.env_of("LISTEN_PID"), ["1"])
}

/// Ignored, caught and blocked signals. The C library's own two stay out of it.
fn signals(process: &Process) -> [Option<u64>; 3] {
    ["SigIgn", "SigCgt", "SigBlk"].map(|field| process.bits(field))
}

fn signals_are_at_their_defaults(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let seen = signals(&case.run_process(&mut bundle)?);
    equal("ignored and caught signals", &seen[..2], [Some(0), Some(0)])
}

fn no_signal_is_blocked(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    equal(
        "blocked signals",
        signals(&case.run_process(&mut bundle)?)[2],
        Some(0),
    )
}

fn ignored_and_blocked_signals_of_the_caller_are_reset(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.answers(&[Ask::Process])?;
    let call =
        case.run_call(&bundle)?
            .through(["sh", "-c", "trap '' PIPE HUP USR1; exec \"$@\"", "sh"]);
    let outcome = call.run()?.succeeded()?;
    let seen = signals(&parse_line(&outcome.stdout, 1)?.remove(0).process()?);
    equal("ignored, caught and blocked signals", seen, [Some(0); 3])
}

fn signals_of_exec_are_at_their_defaults(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let container = case.started(&mut bundle)?;
    let seen = signals(&container.exec_process(&[])?);
    holds(
        seen == [Some(0); 3],
        format!("ignored, caught and blocked signals are {seen:x?}"),
    )
}
