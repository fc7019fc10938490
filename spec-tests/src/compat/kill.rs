//! kill: how signals are named and whom they reach

use crate::harness::bundle::Bundle;
use crate::harness::case::Case;
use crate::harness::container::Container;
use crate::harness::verdict::{Doing, Verdict, equal};
use crate::probe::ask::Ask;
use crate::tests;

tests! {
    "runc-kill(8)" Compat signals_are_known_by_name_and_number;
    "runc-kill(8)" Compat the_default_signal_is_term;
    "runc-kill(8)" Compat an_empty_signal_is_the_default;
    "runc-kill(8)" Compat real_time_signals_are_known_by_number;
    "runc-kill(8)" Compat an_unknown_signal_is_an_error_and_sends_nothing;
    "runc-kill(8)" Compat kill_all_is_accepted;
    "runc-kill(8)" Compat kill_all_of_a_stopped_container_is_no_error;
    "pthread_exit(3)" Compat a_container_runs_on_without_its_first_thread;
    "pthread_exit(3)" Compat kill_all_reaches_a_process_without_its_first_thread;
    "crun(1)" Compat kill_by_a_pattern_reaches_every_container_that_matches;
    "crun(1)" Compat a_broken_pattern_is_an_error;
}

fn signals_are_known_by_name_and_number(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let mut container = case.started(&mut bundle)?;
    let (usr1, usr2, hup) = (libc::SIGUSR1, libc::SIGUSR2, libc::SIGHUP);
    container
        .ask_one(Ask::Block(vec![usr1, usr2, hup]))?
        .done()?;
    let spellings = [
        ("USR1", usr1),
        ("SIGUSR2", usr2),
        ("usr1", usr1),
        ("sigusr2", usr2),
        ("10", usr1),
        ("HUP", hup),
    ];
    for (spelling, number) in spellings {
        container.kill(spelling)?;
        let seen = container
            .ask_one(Ask::NextSignal { within_ms: 5000 })?
            .number()?;
        equal(
            &format!("the signal that came for {spelling}"),
            seen,
            i64::from(number),
        )?;
    }
    Ok(())
}

fn the_default_signal_is_term(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let mut container = case.started(&mut bundle)?;
    container.ask_one(Ask::Block(vec![libc::SIGTERM]))?.done()?;
    container.verb("kill").run()?.succeeded()?;
    next_is_term(&mut container)
}

fn an_empty_signal_is_the_default(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let mut container = case.started(&mut bundle)?;
    container.ask_one(Ask::Block(vec![libc::SIGTERM]))?.done()?;
    container.verb("kill").arg("").run()?.succeeded()?;
    next_is_term(&mut container)
}

fn next_is_term(container: &mut Container) -> Verdict {
    let seen = container
        .ask_one(Ask::NextSignal { within_ms: 5000 })?
        .number()?;
    equal("the signal that came", seen, i64::from(libc::SIGTERM))
}

fn real_time_signals_are_known_by_number(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let container = case.started(&mut bundle)?;
    // Ignored by process 1, for it has no handler: only that it is sent counts. systemd is stopped by it.
    container.kill("37")?;
    equal("status", container.status()?, "running")
}

fn an_unknown_signal_is_an_error_and_sends_nothing(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let container = case.started(&mut bundle)?;
    for signal in ["NOSUCH", "SIG", "999", "-1", "1x"] {
        container.verb("kill").arg(signal).run()?.refused()?;
    }
    equal("status", container.status()?, "running")
}

fn kill_all_is_accepted(case: &Case) -> Verdict {
    case.need_cgroup2()?;
    let mut bundle = case.bundle()?;
    let container = case.started(&mut bundle)?;
    case.runtime(["kill", "--all", &container.id, "KILL"])
        .run()?
        .succeeded()?;
    container.wait_stopped()
}

fn kill_all_of_a_stopped_container_is_no_error(case: &Case) -> Verdict {
    case.need_cgroup2()?;
    let mut bundle = case.bundle()?;
    let container = case.started(&mut bundle)?;
    container.stop()?;
    case.runtime(["kill", "--all", &container.id, "KILL"])
        .run()?
        .succeeded()
        .map(drop)
}

fn kill_by_a_pattern_reaches_every_container_that_matches(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let ids = ["a1", "a2", "b1"].map(|end| format!("{}-{end}", case.id));
    let mut containers = Vec::new();
    for id in &ids {
        let mut container = case.create_named(&mut bundle, id)?;
        container.start()?;
        container.ask_one(Ask::Process)?;
        containers.push(container);
    }
    let pattern = format!("^{}-a[[:digit:]]$", case.id);
    case.runtime(["kill", "--regex", &pattern, "KILL"])
        .run()?
        .succeeded()?;
    containers[0].wait_stopped()?;
    containers[1].wait_stopped()?;
    equal("status", containers[2].status()?, "running")?;
    // A part of the name is enough.
    let part = format!("{}-b", &case.id[1..]);
    case.runtime(["kill", "-r", &part, "KILL"])
        .run()?
        .succeeded()?;
    containers[2].wait_stopped()?;
    // Nothing matches.
    case.runtime(["kill", "-r", "^no-such-container$", "KILL"])
        .run()?
        .succeeded()
        .map(drop)
}

fn a_broken_pattern_is_an_error(case: &Case) -> Verdict {
    case.runtime(["kill", "--regex", "a(b", "KILL"])
        .run()?
        .refused()
        .map(drop)
}

/// A started container whose first process goes on with its second thread alone.
pub fn without_first_thread<'a>(case: &'a Case, bundle: &mut Bundle) -> Verdict<Container<'a>> {
    bundle.args(&["/bin/probe", "thread"]);
    let container = case.create_with(case.create_call(bundle)?, &case.id)?;
    let stat = format!("/proc/{}/stat", container.pid()?);
    container.start()?;
    case.wait_for("the end of the first thread", || {
        let text = std::fs::read_to_string(&stat).doing(&stat)?;
        let (_, behind_name) = text.rsplit_once(") ").unwrap_or_default();
        Ok(behind_name.starts_with('Z').then_some(()))
    })?;
    Ok(container)
}

fn a_container_runs_on_without_its_first_thread(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let container = without_first_thread(case, &mut bundle)?;
    equal("status", container.status()?, "running")?;
    container.verb("delete").run()?.refused()?;
    container.stop()?;
    container.delete()
}

fn kill_all_reaches_a_process_without_its_first_thread(case: &Case) -> Verdict {
    case.need_cgroup2()?;
    let mut bundle = case.bundle()?;
    bundle.without_namespace("pid");
    let container = without_first_thread(case, &mut bundle)?;
    case.runtime(["kill", "--all", &container.id, "KILL"])
        .run()?
        .succeeded()?;
    container.wait_stopped()?;
    container.delete()
}
