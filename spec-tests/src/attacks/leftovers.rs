//! Payloads that make themselves hard to remove

use std::path::Path;

use crate::harness::case::Case;
use crate::harness::verdict::{Doing, Stop, Verdict, holds};
use crate::tests;

tests! {
    "" Attack cgroups_deep_in_one_another_are_removed;
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
