//! pause and resume

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::harness::case::Case;
use crate::harness::container::Container;
use crate::harness::verdict::{Doing, Stop, Verdict, equal, fail};
use crate::probe::ask::Ask;
use crate::tests;

tests! {
    "runc-pause(8)" Compat a_paused_container_does_not_run;
    "runc-resume(8)" Compat a_resumed_container_goes_on;
    "runc-pause(8)" Compat a_paused_container_can_be_deleted_by_force;
    "runc-resume(8)" Compat resume_of_a_running_container_is_an_error;
    "runc-exec(8)" Compat exec_in_a_paused_container_is_an_error;
    "runc-exec(8)" Compat exec_that_ignores_the_pause_waits_for_resume;
    "runc-pause(8)" Compat a_container_runs_while_only_cgroups_below_its_own_stand_still;
    "runc-resume(8)" Compat a_container_that_somebody_else_froze_is_paused_and_resumes;
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

/// A running container whose payload's child is in a cgroup below the container's, which comes first.
fn with_one_below(case: &Case) -> Verdict<(Container<'_>, PathBuf, PathBuf)> {
    let place = case.need_cgroups()?;
    let mut bundle = case.limited(&place, "divided", &serde_json::json!({}))?;
    let mut container = case.started(&mut bundle)?;
    container.ask_one(Ask::SpawnSleeper)?.number()?;
    let init = container.pid()?.to_string();
    let cgroup = container.cgroup()?;
    let inside = cgroup.read("cgroup.procs")?;
    let Some(child) = inside.lines().find(|pid| *pid != init) else {
        return fail(format!("{init} has no child among {inside:?}"));
    };
    let below = cgroup.make("below")?;
    fs::write(below.join("cgroup.procs"), child).doing("cgroup.procs")?;
    Ok((container, cgroup.path().to_owned(), below))
}

/// Stops a cgroup, or lets it go on, and waits until it is so.
fn freeze(case: &Case, cgroup: &Path, frozen: bool) -> Verdict {
    fs::write(cgroup.join("cgroup.freeze"), u8::from(frozen).to_string()).doing("cgroup.freeze")?;
    case.wait_for("the freezer", || {
        Ok((is_frozen(cgroup)? == frozen).then_some(()))
    })
}

fn is_frozen(cgroup: &Path) -> Verdict<bool> {
    let events = fs::read_to_string(cgroup.join("cgroup.events")).doing("cgroup.events")?;
    Ok(events.contains("frozen 1"))
}

/// What `state` and `list` both say.
fn statuses(case: &Case, container: &Container<'_>, wanted: &str) -> Verdict {
    equal("status", container.status()?.as_str(), wanted)?;
    let call = case.runtime(["list", "--format", "json"]);
    let text = call.run()?.succeeded()?.stdout;
    let list: Vec<Value> = serde_json::from_str(&text).doing(text)?;
    let entry = list.iter().find(|entry| entry["id"] == *container.id);
    let entry = entry.ok_or_else(|| Stop::Fail(format!("{} is not in the list", container.id)))?;
    equal("status in the list", entry["status"].as_str(), Some(wanted))
}

fn a_container_runs_while_only_cgroups_below_its_own_stand_still(case: &Case) -> Verdict {
    let (mut container, cgroup, below) = with_one_below(case)?;
    freeze(case, &below, true)?;
    statuses(case, &container, "running")?;
    container.ask_one(Ask::Process)?.process()?;
    container.verb("pause").run()?.succeeded()?;
    equal("the cgroup is frozen", is_frozen(&cgroup)?, true)?;
    statuses(case, &container, "paused")?;
    container.verb("resume").run()?.succeeded()?;
    statuses(case, &container, "running")?;
    container.ask_one(Ask::Process)?.process()?;
    // Whoever has stopped that one has not asked for it yet.
    equal("the one below is frozen", is_frozen(&below)?, true)?;
    freeze(case, &below, false)
}

fn a_container_that_somebody_else_froze_is_paused_and_resumes(case: &Case) -> Verdict {
    let (mut container, cgroup, below) = with_one_below(case)?;
    freeze(case, &cgroup, true)?;
    let own = fs::read_to_string(below.join("cgroup.freeze")).doing("cgroup.freeze")?;
    equal("cgroup.freeze of the one below", own.trim(), "0")?;
    statuses(case, &container, "paused")?;
    container.verb("resume").run()?.succeeded()?;
    statuses(case, &container, "running")?;
    equal("the one below is frozen", is_frozen(&below)?, false)?;
    container.ask_one(Ask::Process)?.process().map(drop)
}
