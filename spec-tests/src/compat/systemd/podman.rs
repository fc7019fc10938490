//! podman's containers lie where conmon learns of their end

use serde_json::json;

use super::{annotated, cgroup_of, has_its_controllers};
use crate::harness::case::Case;
use crate::harness::verdict::{Doing, Verdict, equal, holds};
use crate::probe::ask::Ask;
use crate::tests;

tests! {
    "crun(1)" Compat its_containers_lie_below_their_scope;
    "conmon src/cgroup.c" Compat where_conmon_looks_a_kill_is_the_first_event;
}

const MANAGER: (&str, &str) = ("io.container.manager", "libpod");

fn its_containers_lie_below_their_scope(case: &Case) -> Verdict {
    let systemd = case.need_systemd()?;
    let (mut bundle, unit) = annotated(case, MANAGER.0, MANAGER.1)?;
    let container = case.started_in_unit(&mut bundle)?;
    equal(
        "the payload's cgroup",
        cgroup_of(&container)?,
        format!("{}/container", systemd.show(&unit, "ControlGroup")?),
    )?;
    has_its_controllers(&systemd, &unit, "container")
}

/// conmon stops watching memory.events when it finds it changed and no kill in it, as a limit
/// that is met changes it; and systemd removes it before conmon looks at it at the end.
fn where_conmon_looks_a_kill_is_the_first_event(case: &Case) -> Verdict {
    case.need_systemd()?;
    case.need_controller("memory")?;
    let (mut bundle, _) = annotated(case, MANAGER.0, MANAGER.1)?;
    bundle.linux()["resources"] = json!({"memory": {"limit": 32 << 20, "swap": 32 << 20}});
    let mut container = case.started_in_unit(&mut bundle)?;
    let file = format!("/sys/fs/cgroup{}/memory.events", cgroup_of(&container)?);
    let counted = || std::fs::read_to_string(&file).doing(&file);
    let has = |text: &str, line| text.lines().any(|seen| seen == line);
    let before = counted()?;
    holds(has(&before, "max 0"), format!("at the start: {before}"))?;
    container
        .ask_one(Ask::Allocate { bytes: 128 << 20 })?
        .number()?;
    let after = counted()?;
    holds(
        has(&after, "max 0") && has(&after, "oom_kill 1"),
        format!("after a kill: {after}"),
    )
}
