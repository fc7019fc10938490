//! pause and resume

use crate::harness::case::Case;
use crate::harness::verdict::{Verdict, equal, fail};
use crate::probe::ask::Ask;
use crate::tests;

tests! {
    "runc-pause(8)" Compat a_paused_container_does_not_run;
    "runc-resume(8)" Compat a_resumed_container_goes_on;
    "runc-pause(8)" Compat a_paused_container_can_be_deleted_by_force;
    "runc-resume(8)" Compat resume_of_a_running_container_is_an_error;
    "runc-exec(8)" Compat exec_in_a_paused_container_is_an_error;
    "runc-exec(8)" Compat exec_that_ignores_the_pause_waits_for_resume;
}

fn a_paused_container_does_not_run(case: &Case) -> Verdict {
    case.need_cgroup2()?;
    let mut bundle = case.bundle()?;
    let mut container = case.started(&mut bundle)?;
    container.verb("pause").run()?.succeeded()?;
    equal("status", container.status()?, "paused")?;
    container.tell(&[Ask::Create("/tmp/ran".into())])?;
    std::thread::sleep(std::time::Duration::from_millis(100));
    if bundle.inside("/tmp/ran").exists() {
        return fail("the payload still runs");
    }
    container.verb("resume").run()?.succeeded().map(drop)
}

fn a_resumed_container_goes_on(case: &Case) -> Verdict {
    case.need_cgroup2()?;
    let mut bundle = case.bundle()?;
    let mut container = case.started(&mut bundle)?;
    container.verb("pause").run()?.succeeded()?;
    container.verb("resume").run()?.succeeded()?;
    equal("status", container.status()?, "running")?;
    container.ask_one(Ask::Process)?.process().map(drop)
}

fn a_paused_container_can_be_deleted_by_force(case: &Case) -> Verdict {
    case.need_cgroup2()?;
    let mut bundle = case.bundle()?;
    let container = case.started(&mut bundle)?;
    container.verb("pause").run()?.succeeded()?;
    case.runtime(["delete", "--force", &case.id])
        .run()?
        .succeeded()
        .map(drop)
}

fn resume_of_a_running_container_is_an_error(case: &Case) -> Verdict {
    case.need_cgroup2()?;
    let mut bundle = case.bundle()?;
    let container = case.started(&mut bundle)?;
    container.verb("resume").run()?.refused().map(drop)
}

fn exec_in_a_paused_container_is_an_error(case: &Case) -> Verdict {
    case.need_cgroup2()?;
    let mut bundle = case.bundle()?;
    let container = case.started(&mut bundle)?;
    container.verb("pause").run()?.succeeded()?;
    let outcome = case
        .runtime(["exec", &case.id, "/bin/probe", "exit", "0"])
        .run()?;
    container.verb("resume").run()?.succeeded()?;
    outcome.refused().map(drop)
}

fn exec_that_ignores_the_pause_waits_for_resume(case: &Case) -> Verdict {
    case.need_cgroup2()?;
    let mut bundle = case.bundle()?;
    let container = case.started(&mut bundle)?;
    container.verb("pause").run()?.succeeded()?;
    let args = ["/bin/probe", "exit", "6"];
    let exec = case
        .runtime(["exec", "--ignore-paused", &case.id])
        .args(args)
        .start()?;
    std::thread::sleep(std::time::Duration::from_millis(100));
    container.verb("resume").run()?.succeeded()?;
    exec.wait()?.ended_with(6).map(drop)
}
