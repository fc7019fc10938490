//! Payloads that make themselves hard to remove

use std::path::Path;

use crate::harness::case::Case;
use crate::harness::verdict::{Doing, Stop, Verdict, holds};
use crate::probe::ask::Ask;
use crate::tests;

tests! {
    "" Attack cgroups_deep_in_one_another_are_removed;
    "" Attack more_processes_than_descriptors_all_get_the_signal;
}

/// More than the descriptors that the runtime is left with, and no longer a path than the kernel takes.
const DEPTH: usize = 700;

/// What a payload does that has its cgroup to write to; here from outside.
fn cgroups_deep_in_one_another_are_removed(case: &Case) -> Verdict {
    let root = case.need_cgroup2()?;
    let mut bundle = case.bundle()?;
    let container = case.started(&mut bundle)?;
    let text = std::fs::read_to_string(format!("/proc/{}/cgroup", container.pid()?))?;
    let own = text.lines().find_map(|line| line.strip_prefix("0::/"));
    let own = own.ok_or_else(|| Stop::Fail("the container has no cgroup".into()))?;
    let cgroup = root.join(own);
    let deepest = cgroup.join("d/".repeat(DEPTH));
    std::fs::create_dir_all(&deepest).doing(deepest.display())?;
    std::fs::create_dir(cgroup.join("d/d/beside")).doing("a cgroup beside")?;
    // The payload itself ends there.
    let procs = cgroup.join("d/d/d/cgroup.procs");
    std::fs::write(&procs, container.pid()?.to_string()).doing(procs.display())?;
    let few = ["prlimit", "--nofile=128:128"];
    let deleted = case
        .runtime(["delete", "--force", &case.id])
        .through(few)
        .run()?;
    let outcome = deleted.succeeded();
    let stays = cgroup.exists();
    remove_chain(&cgroup);
    outcome?;
    holds(!stays, "the cgroup is still there")
}

/// What the runtime left, so that the test leaves nothing.
fn remove_chain(cgroup: &Path) {
    let _ = std::fs::remove_dir(cgroup.join("d/d/beside"));
    for depth in (0..=DEPTH).rev() {
        let _ = std::fs::remove_dir(cgroup.join("d/".repeat(depth)));
    }
}

/// More than the runtime may have descriptors.
const PROCESSES: u32 = 300;

/// Each process is held by a descriptor while it is sent a signal.
fn more_processes_than_descriptors_all_get_the_signal(case: &Case) -> Verdict {
    case.need_cgroup2()?;
    let mut bundle = case.bundle()?;
    let mut container = case.started(&mut bundle)?;
    let made = container.ask_one(Ask::Fork { most: PROCESSES })?.number()?;
    holds(made == i64::from(PROCESSES), format!("{made} processes"))?;
    let few = ["prlimit", "--nofile=64:64"];
    // The first process passes it over, as that of a pid namespace does.
    let call = case.runtime(["kill", "--all", &container.id, "USR2"]);
    call.through(few).run()?.succeeded()?;
    case.wait_for("the end of all but the first", || {
        let left = case
            .runtime(["ps", "--format", "json", &container.id])
            .run()?;
        let pids: Vec<i32> = serde_json::from_str(&left.succeeded()?.stdout)?;
        Ok((pids.len() == 1).then_some(()))
    })
}
