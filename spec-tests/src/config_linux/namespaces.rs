//! config-linux.md#namespaces

use serde_json::json;

use crate::harness::bundle::Bundle;
use crate::harness::case::Case;
use crate::harness::verdict::{Stop, Verdict, equal, fail, holds};
use crate::probe::ask::{Ask, Process};
use crate::tests;

tests! {
    "config-linux.md#namespaces" Must a_pid_namespace_is_made;
    "config-linux.md#namespaces" Must a_network_namespace_is_made_with_loopback_up;
    "config-linux.md#namespaces" Must an_ipc_namespace_is_made;
    "config-linux.md#namespaces" Must a_uts_namespace_is_made;
    "config-linux.md#namespaces" Must a_mount_namespace_is_made;
    "config-linux.md#namespaces" Must a_cgroup_namespace_is_made;
    "config-linux.md#time-offsets" Must a_time_namespace_has_its_offsets;
    "config-linux.md#namespaces" Must namespaces_not_listed_are_the_callers;
    "config-linux.md#namespaces" Must an_ipc_namespace_is_joined_by_path;
    "config-linux.md#namespaces" Must a_network_namespace_is_joined_by_path;
    "config-linux.md#namespaces" Must a_uts_namespace_is_joined_by_path;
    "config-linux.md#namespaces" Must a_pid_namespace_is_joined_by_path;
    "config-linux.md#namespaces" Must a_cgroup_namespace_is_joined_by_path;
    "config-linux.md#namespaces" Must a_time_namespace_is_joined_by_path;
    "config-linux.md#namespaces" Must a_pod_shares_some_namespaces_and_has_others;
    "config-linux.md#namespaces" Must a_user_namespace_is_joined_with_those_it_owns;
    "config.md#linux-process" Must an_oom_score_is_set_in_a_joined_user_namespace;
    "config-linux.md#namespaces" Must a_joined_namespace_outlives_the_container;
    "config-linux.md#namespaces" Must a_path_of_another_type_is_an_error;
    "config-linux.md#namespaces" Must a_missing_path_is_an_error;
    "config-linux.md#namespaces" Must a_relative_path_is_an_error;
    "config-linux.md#namespaces" Must duplicate_namespaces_are_an_error;
    "config-linux.md#namespaces" Must an_unknown_type_is_an_error;
}

pub(super) fn own(name: &str) -> Verdict<String> {
    Ok(std::fs::read_link(format!("/proc/self/ns/{name}"))?
        .to_string_lossy()
        .into_owned())
}

pub(super) fn inside(process: &Process, name: &str) -> Verdict<String> {
    process
        .namespaces
        .get(name)
        .cloned()
        .ok_or_else(|| Stop::Fail(format!("/proc/self/ns has no {name}")))
}

/// A new namespace of this type, of the name that /proc gives it, is not the caller's.
fn made(case: &Case, kind: &str, name: &str) -> Verdict<Process> {
    let mut bundle = case.bundle()?;
    bundle.namespace(kind);
    let process = case.run_process(&mut bundle)?;
    let seen = inside(&process, name)?;
    holds(seen != own(name)?, format!("{seen} is the caller's"))?;
    Ok(process)
}

fn a_pid_namespace_is_made(case: &Case) -> Verdict {
    let process = made(case, "pid", "pid")?;
    equal("pid", process.pid, 1)?;
    equal("parent", process.ppid, 0)
}

fn a_network_namespace_is_made_with_loopback_up(case: &Case) -> Verdict {
    made(case, "network", "net")?;
    let mut bundle = case.bundle_named("second")?;
    bundle.namespace("network");
    let answers = case.run(
        &mut bundle,
        &[Ask::Read("/proc/net/dev".into()), Ask::Loopback],
    )?;
    let names: Vec<&str> = answers[0]
        .text()?
        .lines()
        .skip(2)
        .filter_map(|line| Some(line.split_once(':')?.0.trim()))
        .collect();
    holds(
        names.contains(&"lo"),
        format!("the interfaces are {names:?}"),
    )?;
    holds(
        !names.contains(&"eth0"),
        format!("the host's interfaces are there: {names:?}"),
    )?;
    answers[1].done()
}

fn an_ipc_namespace_is_made(case: &Case) -> Verdict {
    made(case, "ipc", "ipc").map(drop)
}

fn a_uts_namespace_is_made(case: &Case) -> Verdict {
    made(case, "uts", "uts").map(drop)
}

fn a_mount_namespace_is_made(case: &Case) -> Verdict {
    made(case, "mount", "mnt").map(drop)
}

fn a_cgroup_namespace_is_made(case: &Case) -> Verdict {
    made(case, "cgroup", "cgroup").map(drop)
}

fn a_time_namespace_has_its_offsets(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.namespace("time");
    bundle.linux()["timeOffsets"] =
        json!({"monotonic": {"secs": 7200, "nanosecs": 5}, "boottime": {"secs": 86400}});
    let asks = [
        Ask::Clock(libc::CLOCK_MONOTONIC),
        Ask::Clock(libc::CLOCK_BOOTTIME),
        Ask::Process,
    ];
    let answers = case.run(&mut bundle, &asks)?;
    for (index, (clock, offset)) in [(libc::CLOCK_MONOTONIC, 7200), (libc::CLOCK_BOOTTIME, 86400)]
        .into_iter()
        .enumerate()
    {
        let ahead = answers[index].number()? - crate::sys::clock_ns(clock)?;
        let seconds = ahead / 1_000_000_000;
        // The host's clock was read after the container's.
        holds(
            (offset - 60..=offset).contains(&seconds),
            format!("clock {clock} is {seconds} s ahead, not {offset}"),
        )?;
    }
    let seen = inside(&answers[2].process()?, "time")?;
    holds(seen != own("time")?, "the time namespace is the caller's")
}

fn namespaces_not_listed_are_the_callers(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle
        .without_namespace("uts")
        .without_namespace("ipc")
        .without_namespace("network")
        .without_mount("/dev/mqueue");
    if let Some(config) = bundle.config.as_object_mut() {
        config.remove("hostname");
    }
    if case.is_root() {
        bundle.without_mount("/sys");
    }
    let process = case.run_process(&mut bundle)?;
    for name in ["uts", "ipc", "net", "cgroup", "time"] {
        equal(name, inside(&process, name)?, own(name)?)?;
    }
    Ok(())
}

/// A second container joins the first one's namespace of this type.
fn joined(case: &Case, kind: &str, name: &str) -> Verdict {
    case.need_root()?;
    let (mut one, mut two) = (case.bundle_named("one")?, case.bundle_named("two")?);
    one.namespace(kind);
    let mut first = case.create_named(&mut one, &format!("{}-1", case.id))?;
    first.start()?;
    let path = format!("/proc/{}/ns/{name}", first.pid()?);
    two.join_namespace(kind, &path);
    if kind == "uts" {
        // A joined namespace keeps its name.
        if let Some(config) = two.config.as_object_mut() {
            config.remove("hostname");
        }
    }
    let process = case.run_process(&mut two)?;
    let of_first = first.ask_one(Ask::Process)?.process()?;
    equal(name, inside(&process, name)?, inside(&of_first, name)?)
}

fn an_ipc_namespace_is_joined_by_path(case: &Case) -> Verdict {
    joined(case, "ipc", "ipc")
}

fn a_network_namespace_is_joined_by_path(case: &Case) -> Verdict {
    joined(case, "network", "net")
}

fn a_uts_namespace_is_joined_by_path(case: &Case) -> Verdict {
    joined(case, "uts", "uts")
}

fn a_pid_namespace_is_joined_by_path(case: &Case) -> Verdict {
    joined(case, "pid", "pid")
}

fn a_cgroup_namespace_is_joined_by_path(case: &Case) -> Verdict {
    joined(case, "cgroup", "cgroup")
}

fn a_time_namespace_is_joined_by_path(case: &Case) -> Verdict {
    joined(case, "time", "time")
}

/// Takes out what a container that joins a user namespace may not have.
fn without_mappings(bundle: &mut Bundle) {
    if let Some(linux) = bundle.linux().as_object_mut() {
        linux.remove("uidMappings");
        linux.remove("gidMappings");
    }
}

fn a_pod_shares_some_namespaces_and_has_others(case: &Case) -> Verdict {
    let (mut one, mut two) = (case.bundle_named("one")?, case.bundle_named("two")?);
    one.namespace("network");
    one.config["hostname"] = json!("the-pod");
    let mut first = case.create_named(&mut one, &format!("{}-1", case.id))?;
    first.start()?;
    let pid = first.pid()?;
    if !case.is_root() {
        without_mappings(&mut two);
        two.join_namespace("user", &format!("/proc/{pid}/ns/user"));
    }
    for (kind, name) in [("network", "net"), ("ipc", "ipc"), ("uts", "uts")] {
        two.join_namespace(kind, &format!("/proc/{pid}/ns/{name}"));
    }
    if let Some(config) = two.config.as_object_mut() {
        config.remove("hostname");
    }
    let process = case.run_process(&mut two)?;
    let of_first = first.ask_one(Ask::Process)?.process()?;
    for name in ["net", "ipc", "uts"] {
        equal(name, inside(&process, name)?, inside(&of_first, name)?)?;
    }
    for name in ["mnt", "pid"] {
        holds(
            inside(&process, name)? != inside(&of_first, name)?,
            format!("{name} is shared"),
        )?;
    }
    equal("hostname", process.hostname.as_str(), "the-pod")
}

fn a_user_namespace_is_joined_with_those_it_owns(case: &Case) -> Verdict {
    let (mut one, mut two) = (case.bundle_named("one")?, case.bundle_named("two")?);
    if case.is_root() {
        one.namespace("user");
        one.linux()["uidMappings"] = json!([{"containerID": 0, "hostID": 100_000, "size": 1000}]);
        one.linux()["gidMappings"] = json!([{"containerID": 0, "hostID": 100_000, "size": 1000}]);
    }
    let mut first = case.create_named(&mut one, &format!("{}-1", case.id))?;
    first.start()?;
    let pid = first.pid()?;
    without_mappings(&mut two);
    for (kind, name) in [("user", "user"), ("ipc", "ipc"), ("pid", "pid")] {
        two.join_namespace(kind, &format!("/proc/{pid}/ns/{name}"));
    }
    let process = case.run_process(&mut two)?;
    let of_first = first.ask_one(Ask::Process)?.process()?;
    for name in ["user", "ipc", "pid"] {
        equal(name, inside(&process, name)?, inside(&of_first, name)?)?;
    }
    equal("uid", process.uid, 0)?;
    holds(
        process.pid != 1,
        "the second container is process 1 of the first one's pid namespace",
    )
}

/// As in a Kubernetes pod with hostUsers: false, below a shim whose own score is higher.
fn an_oom_score_is_set_in_a_joined_user_namespace(case: &Case) -> Verdict {
    case.need_root()?;
    let (mut one, mut two) = (case.bundle_named("one")?, case.bundle_named("two")?);
    one.namespace("user");
    one.linux()["uidMappings"] = json!([{"containerID": 0, "hostID": 100_000, "size": 1000}]);
    one.linux()["gidMappings"] = json!([{"containerID": 0, "hostID": 100_000, "size": 1000}]);
    let first = case.create_named(&mut one, &format!("{}-1", case.id))?;
    first.start()?;
    without_mappings(&mut two);
    two.join_namespace("user", &format!("/proc/{}/ns/user", first.pid()?));
    two.process()["oomScoreAdj"] = json!(321);
    equal(
        "oom_score_adj",
        case.run_process(&mut two)?.oom_score_adj,
        Some(321),
    )
}

fn a_joined_namespace_outlives_the_container(case: &Case) -> Verdict {
    case.need_root()?;
    let (mut one, mut two) = (case.bundle_named("one")?, case.bundle_named("two")?);
    let mut first = case.create_named(&mut one, &format!("{}-1", case.id))?;
    first.start()?;
    two.join_namespace("pid", &format!("/proc/{}/ns/pid", first.pid()?));
    let second = case.create_named(&mut two, &format!("{}-2", case.id))?;
    second.start()?;
    second.stop()?;
    second.delete()?;
    first.ask_one(Ask::Process)?.process()?;
    equal("status of the first container", first.status()?, "running")
}

fn a_path_of_another_type_is_an_error(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.join_namespace("ipc", "/proc/self/ns/uts");
    case.create_refused(&bundle).map(drop)
}

fn a_missing_path_is_an_error(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.join_namespace("ipc", "/no/such/namespace");
    case.create_refused(&bundle).map(drop)
}

/// Taken from the working directory it would be a namespace all the same.
fn a_relative_path_is_an_error(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let up = "../".repeat(bundle.dir.components().count());
    bundle.join_namespace("ipc", &format!("{up}proc/self/ns/ipc"));
    let call = case.create_call(&bundle)?.cwd(&bundle.dir);
    call.run()?.refused().map(drop)
}

fn duplicate_namespaces_are_an_error(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    match bundle.linux()["namespaces"].as_array_mut() {
        Some(namespaces) => namespaces.push(json!({"type": "ipc"})),
        None => return fail("the default bundle has no namespaces"),
    }
    case.create_refused(&bundle).map(drop)
}

fn an_unknown_type_is_an_error(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.namespace("nosuch");
    case.create_refused(&bundle).map(drop)
}
