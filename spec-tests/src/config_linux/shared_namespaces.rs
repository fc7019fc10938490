//! config-linux.md#namespaces: those that others have made, beside own ones

use std::process::Command;

use super::namespaces::{inside, own};
use crate::harness::case::Case;
use crate::harness::verdict::{Doing, Verdict, equal, holds};
use crate::probe::ask::Ask;
use crate::tests;

tests! {
    "config-linux.md#namespaces" Must a_mount_namespace_is_joined_by_path;
    "config-linux.md#namespaces" Must namespaces_are_new_joined_or_the_callers_in_any_combination;
}

/// Not that of another container, whose root is the only thing in it.
fn a_mount_namespace_is_joined_by_path(case: &Case) -> Verdict {
    case.need_root()?;
    let mut other = Command::new("unshare")
        .args(["--mount", "--propagation=private", "sleep", "600"])
        .spawn()
        .doing("unshare")?;
    let path = format!("/proc/{}/ns/mnt", other.id());
    let mine = own("mnt")?;
    let result = case
        .wait_for("the other mount namespace", || {
            let its = std::fs::read_link(&path)?.to_string_lossy().into_owned();
            Ok((its != mine).then_some(its))
        })
        .and_then(|its| {
            let mut bundle = case.bundle()?;
            bundle.join_namespace("mount", &path);
            let process = case.run_process(&mut bundle)?;
            equal("mnt", inside(&process, "mnt")?, its)
        });
    other.kill()?;
    other.wait()?;
    result
}

/// Each of these types is new, joined and the caller's, and so is it beside each state of most
/// others.
fn namespaces_are_new_joined_or_the_callers_in_any_combination(case: &Case) -> Verdict {
    const TYPES: [(&str, &str); 6] = [
        ("network", "net"),
        ("ipc", "ipc"),
        ("uts", "uts"),
        ("pid", "pid"),
        ("cgroup", "cgroup"),
        ("time", "time"),
    ];
    case.need_root()?;
    let mut one = case.bundle_named("one")?;
    for (kind, _) in TYPES {
        one.namespace(kind);
    }
    let mut first = case.create_named(&mut one, &format!("{}-1", case.id))?;
    first.start()?;
    let of_first = first.ask_one(Ask::Process)?.process()?;
    let pid = first.pid()?;
    for (a, b) in (0..3).flat_map(|a| (0..3).map(move |b| (a, b))) {
        let states = [a, b, a + b, a + 2 * b, 2 * a + 1, 2 * b + 1].map(|state| state % 3);
        let mut two = case.bundle_named(&format!("two-{a}-{b}"))?;
        two.without_mount("/dev/mqueue").without_mount("/sys");
        if let Some(config) = two.config.as_object_mut() {
            config.remove("hostname");
        }
        for ((kind, name), state) in TYPES.into_iter().zip(states) {
            two.without_namespace(kind);
            match state {
                0 => {}
                1 => drop(two.namespace(kind)),
                _ => drop(two.join_namespace(kind, &format!("/proc/{pid}/ns/{name}"))),
            }
        }
        let process = case.run_process(&mut two)?;
        for ((kind, name), state) in TYPES.into_iter().zip(states) {
            let seen = inside(&process, name)?;
            let (callers, firsts) = (own(name)?, inside(&of_first, name)?);
            let right = match state {
                0 => seen == callers,
                1 => seen != callers && seen != firsts,
                _ => seen == firsts,
            };
            holds(right, format!("{kind} of {states:?}: {seen}"))?;
        }
    }
    Ok(())
}
