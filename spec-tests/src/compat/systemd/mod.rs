//! Cgroups that systemd makes: where they are, and that none is left

mod podman;
mod properties;

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::harness::bundle::Bundle;
use crate::harness::case::Case;
use crate::harness::container::Container;
use crate::harness::systemd::{DRIVER, Systemd};
use crate::harness::verdict::{Doing, Verdict, equal, fail, holds};
use crate::probe::ask::Ask;
use crate::tests;

pub use podman::TESTS as PODMAN;
pub use properties::TESTS as PROPERTIES;

tests! {
    "config-linux.md#cgroups-path" Compat the_scope_is_named_by_the_path_and_delegated;
    "config-linux.md#cgroups-path" Compat without_a_path_the_container_has_a_scope_of_its_own;
    "runc systemd.md" Compat without_a_slice_it_is_the_systems_or_the_users;
    "config-linux.md#cgroups-path" Compat a_slice_lies_where_its_name_says;
    "runc systemd.md" Compat a_name_that_is_a_slice_makes_one;
    "config-linux.md#cgroups-path" Compat a_path_of_another_form_is_refused;
    "config-linux.md#cgroups-path" Compat a_unit_that_is_somebody_elses_is_left_alone;
    "runc(8)" Compat the_other_verbs_need_not_be_told_of_the_driver;
    "runc(8)" Compat an_id_map_without_the_callers_own_id_works;
    "runc(8)" Compat without_a_bus_the_error_names_the_socket;
    "runc-delete(8)" Compat the_end_of_a_container_is_the_end_of_its_unit;
    "runc-delete(8)" Compat a_container_that_crashed_leaves_no_unit;
    "runc-delete(8)" Compat the_unit_of_a_successor_is_left_alone;
    "runc-create(8)" Compat a_create_that_fails_leaves_no_unit;
    "runc-create(8)" Compat a_create_that_is_killed_leaves_no_unit;
    "runc-run(8)" Compat containers_in_a_row_leave_no_unit;
}

/// A bundle in the scope `st-ID.scope`, and that name.
fn named(case: &Case) -> Verdict<(Bundle, String)> {
    let mut bundle = case.bundle()?;
    bundle.linux()["cgroupsPath"] = json!(format!("{}:st:{}", slice(case), case.id));
    Ok((bundle, format!("st-{}.scope", case.id)))
}

fn annotated(case: &Case, key: &str, value: &str) -> Verdict<(Bundle, String)> {
    let (mut bundle, unit) = named(case)?;
    bundle.config["annotations"] = json!({key: value});
    Ok((bundle, unit))
}

/// The slice that a caller's containers belong in.
fn slice(case: &Case) -> &'static str {
    if case.is_root() {
        "system.slice"
    } else {
        "user.slice"
    }
}

fn cgroup_of(container: &Container<'_>) -> Verdict<String> {
    let file = format!("/proc/{}/cgroup", container.pid()?);
    let text = std::fs::read_to_string(&file).doing(&file)?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::"));
    Ok(path.unwrap_or_default().to_owned())
}

/// Fails unless the files of the unit's cgroup have these texts.
fn files(systemd: &Systemd, unit: &str, wanted: &[(&str, &str)]) -> Verdict {
    let group = systemd.show(unit, "ControlGroup")?;
    for (file, text) in wanted {
        let path = format!("/sys/fs/cgroup{group}/{file}");
        let seen = std::fs::read_to_string(&path).doing(&path)?;
        equal(&path, seen.trim(), *text)?;
    }
    Ok(())
}

/// Fails unless what the unit's cgroup counts and limits is counted and limited below it, too.
fn has_its_controllers(systemd: &Systemd, unit: &str, name: &str) -> Verdict {
    let group = systemd.show(unit, "ControlGroup")?;
    let path = format!("/sys/fs/cgroup{group}/cgroup.controllers");
    let all = std::fs::read_to_string(&path).doing(&path)?;
    let file = format!("{name}/cgroup.controllers");
    files(systemd, unit, &[(file.as_str(), all.trim())])
}

fn the_scope_is_named_by_the_path_and_delegated(case: &Case) -> Verdict {
    let systemd = case.need_systemd()?;
    let (mut bundle, unit) = named(case)?;
    let container = case.started_in_unit(&mut bundle)?;
    let group = systemd.show(&unit, "ControlGroup")?;
    let seen = cgroup_of(&container)?;
    holds(
        !group.is_empty() && seen.starts_with(&group),
        format!("the payload is in {seen}, the unit in {group}"),
    )?;
    systemd.holds(&unit, &[("Delegate", "yes"), ("Slice", slice(case))])
}

fn without_a_slice_it_is_the_systems_or_the_users(case: &Case) -> Verdict {
    let systemd = case.need_systemd()?;
    let (mut bundle, unit) = named(case)?;
    bundle.linux()["cgroupsPath"] = json!(format!(":st:{}", case.id));
    let _container = case.started_in_unit(&mut bundle)?;
    systemd.holds(&unit, &[("Slice", slice(case))])
}

fn without_a_path_the_container_has_a_scope_of_its_own(case: &Case) -> Verdict {
    case.need_systemd()?;
    let mut bundle = case.bundle()?;
    let seen = cgroup_of(&case.started_in_unit(&mut bundle)?)?;
    holds(
        seen.contains(&format!("-{}.scope", case.id)),
        format!("the payload is in {seen}"),
    )
}

fn a_slice_lies_where_its_name_says(case: &Case) -> Verdict {
    let systemd = case.need_systemd()?;
    let mut bundle = case.bundle()?;
    let (outer, inner) = (
        format!("{}.slice", case.id),
        format!("{}-inner.slice", case.id),
    );
    bundle.linux()["cgroupsPath"] = json!(format!("{inner}:p:{}", case.id));
    let container = case.started_in_unit(&mut bundle)?;
    let seen = cgroup_of(&container)?;
    holds(
        seen.contains(&format!("/{outer}/{inner}/p-{}.scope", case.id)),
        format!("the payload is in {seen}"),
    )?;
    container.stop()?;
    container.delete()?;
    // Slices stay until somebody stops them.
    systemd.control(&["stop", &outer]).map(drop)
}

fn a_name_that_is_a_slice_makes_one(case: &Case) -> Verdict {
    let systemd = case.need_systemd()?;
    let mut bundle = case.bundle()?;
    let unit = format!("{}.slice", case.id);
    bundle.linux()["cgroupsPath"] = json!(format!("{}:p:{unit}", slice(case)));
    bundle.linux()["resources"] = json!({"pids": {"limit": 50}});
    let container = case.started_in_unit(&mut bundle)?;
    let seen = cgroup_of(&container)?;
    holds(
        seen.ends_with(&format!("/{unit}")),
        format!("the payload is in {seen}"),
    )?;
    systemd.holds(&unit, &[("TasksMax", "50")])?;
    container.stop()?;
    container.delete()?;
    systemd.forgets(case)
}

fn a_path_of_another_form_is_refused(case: &Case) -> Verdict {
    let systemd = case.need_systemd()?;
    for path in [
        format!("/{}", case.id),
        format!("system.slice:{}", case.id),
        format!("system.slice:p:{}:x", case.id),
        format!("system/x.slice:p:{}", case.id),
    ] {
        let mut bundle = case.bundle_named(&path.replace('/', "_"))?;
        bundle.linux()["cgroupsPath"] = json!(path);
        case.refused_in_unit(&bundle)?;
    }
    systemd.forgets(case)
}

fn a_unit_that_is_somebody_elses_is_left_alone(case: &Case) -> Verdict {
    let systemd = case.need_systemd()?;
    let (mut bundle, unit) = named(case)?;
    let container = case.started_in_unit(&mut bundle)?;
    let other = format!("{}-other", case.id);
    case.runtime(["create", "--bundle"])
        .arg(&bundle.dir)
        .arg(&other)
        .globals([DRIVER])
        .run()?
        .refused()?;
    case.runtime(["delete", "--force", &other]).run()?;
    equal("the first one's status", container.status()?, "running")?;
    systemd.holds(&unit, &[("ActiveState", "active")])
}

fn the_other_verbs_need_not_be_told_of_the_driver(case: &Case) -> Verdict {
    let systemd = case.need_systemd()?;
    let (mut bundle, unit) = named(case)?;
    let container = case.started_in_unit(&mut bundle)?;
    let group = systemd.show(&unit, "ControlGroup")?;
    let events = format!("/sys/fs/cgroup{}/cgroup.events", cgroup_of(&container)?);
    for (verb, status, line) in [
        ("pause", "paused", "frozen 1"),
        ("resume", "running", "frozen 0"),
    ] {
        container.verb(verb).run()?.succeeded()?;
        let text = std::fs::read_to_string(&events).doing(&events)?;
        holds(text.contains(line), format!("after {verb}: {text}"))?;
        equal("status", container.status()?, status)?;
    }
    let listed = case
        .runtime(["ps", "--format", "json", &container.id])
        .run()?
        .succeeded()?;
    let listed: Vec<i32> = serde_json::from_str(&listed.stdout)?;
    equal("ps", listed, vec![container.pid()?.as_raw()])?;
    let seen = container.exec(&[], &[Ask::Read("/proc/self/cgroup".into())])?;
    let seen = seen[0].text()?.to_owned();
    holds(
        seen.contains(&group),
        format!("exec is in {seen}, the unit in {group}"),
    )?;
    container.kill("KILL")?;
    container.wait_stopped()?;
    container.delete()
}

fn an_id_map_without_the_callers_own_id_works(case: &Case) -> Verdict {
    let systemd = case.need_systemd()?;
    let (mut bundle, unit) = named(case)?;
    let (first_uid, first_gid) = match case.user() {
        None => (100_000, 100_000),
        Some(user) => match (user.subuids, user.subgids) {
            (Some((uid, _)), Some((gid, _))) => (uid, gid),
            _ => return crate::harness::verdict::skip("the user has no subordinate ids"),
        },
    };
    bundle.namespace("user");
    bundle.linux()["uidMappings"] = json!([{"containerID": 0, "hostID": first_uid, "size": 1000}]);
    bundle.linux()["gidMappings"] = json!([{"containerID": 0, "hostID": first_gid, "size": 1000}]);
    let container = case.started_in_unit(&mut bundle)?;
    let group = systemd.show(&unit, "ControlGroup")?;
    let seen = cgroup_of(&container)?;
    holds(
        seen.starts_with(&group) && !group.is_empty(),
        format!("the payload is in {seen}, the unit in {group}"),
    )
}

fn without_a_bus_the_error_names_the_socket(case: &Case) -> Verdict {
    case.need_root()?;
    let (bundle, _) = named(case)?;
    let socket = case.dir.join("no-such-bus");
    let outcome = case
        .create_call(&bundle)?
        .globals([DRIVER])
        .env(
            "DBUS_SYSTEM_BUS_ADDRESS",
            &format!("unix:path={}", socket.display()),
        )
        .run()?
        .refused()?
        .says(&["no-such-bus"])?;
    // podman takes these for words about the container's program.
    holds(
        !outcome
            .stderr
            .to_lowercase()
            .contains("no such file or directory"),
        format!("an engine will misread this: {}", outcome.told()),
    )?;
    case.runtime(["state", &case.id]).run()?.refused().map(drop)
}

fn the_end_of_a_container_is_the_end_of_its_unit(case: &Case) -> Verdict {
    let systemd = case.need_systemd()?;
    let (mut bundle, unit) = named(case)?;
    // Processes of the host's pid namespace outlive the first one.
    bundle.without_namespace("pid");
    let mut container = case.started_in_unit(&mut bundle)?;
    container.ask_one(Ask::SpawnSleeper)?.number()?;
    systemd.holds(&unit, &[("ActiveState", "active")])?;
    case.runtime(["delete", "--force", &container.id])
        .run()?
        .succeeded()?;
    systemd.forgets(case)
}

fn a_container_that_crashed_leaves_no_unit(case: &Case) -> Verdict {
    let systemd = case.need_systemd()?;
    let (mut bundle, _) = named(case)?;
    let container = case.started_in_unit(&mut bundle)?;
    // By nobody's order, as when memory is short.
    nix::sys::signal::kill(container.pid()?, Signal::SIGKILL)?;
    container.wait_stopped()?;
    container.delete()?;
    systemd.forgets(case)
}

/// systemd takes the unit away with its last process, and then the name is free for another.
fn the_unit_of_a_successor_is_left_alone(case: &Case) -> Verdict {
    let systemd = case.need_systemd()?;
    let (mut bundle, unit) = named(case)?;
    let first = case.started_in_unit(&mut bundle)?;
    first.stop()?;
    systemd.forgets(case)?;
    let second = format!("{}-second", case.id);
    let call = case.runtime(["create", "--bundle"]);
    let call = call.arg(&bundle.dir).arg(&second).globals([DRIVER]);
    let mut second = case.create_with(call, &second)?;
    second.start()?;
    second.ask_one(Ask::Process)?;
    first.delete()?;
    systemd.holds(&unit, &[("ActiveState", "active")])?;
    second.ask_one(Ask::Process)?.process()?;
    second.stop()
}

fn a_create_that_fails_leaves_no_unit(case: &Case) -> Verdict {
    let systemd = case.need_systemd()?;
    let (mut bundle, _) = named(case)?;
    // Each of these fails after the unit is started.
    bundle.args(&["/bin/no-such-program"]);
    case.refused_in_unit(&bundle)?;
    systemd.forgets(case)?;
    let (mut bundle, _) = named(case)?;
    bundle.mount(json!({"destination": "/x", "type": "bind", "source": "/no/such/place", "options": ["bind"]}));
    case.refused_in_unit(&bundle)?;
    systemd.forgets(case)?;
    let (mut bundle, _) = named(case)?;
    bundle.hook("createRuntime", json!({"path": "/bin/false"}));
    case.refused_in_unit(&bundle)?;
    systemd.forgets(case)
}

fn a_create_that_is_killed_leaves_no_unit(case: &Case) -> Verdict {
    let systemd = case.need_systemd()?;
    for step in 0..12u64 {
        let mut bundle = case.bundle_named(&format!("bundle{step}"))?;
        bundle.linux()["cgroupsPath"] = json!(format!("{}:st:{}", slice(case), case.id));
        bundle.args(&["/bin/probe", "hang"]);
        let running = case.create_call(&bundle)?.globals([DRIVER]).start()?;
        std::thread::sleep(Duration::from_millis(step * 4));
        running.signal(Signal::SIGKILL)?;
        running.wait()?;
        case.runtime(["delete", "--force", &case.id])
            .run()?
            .succeeded()?;
        if let Err(stop) = systemd.forgets(case) {
            return fail(format!("killed after {} ms: {stop:?}", step * 4));
        }
    }
    Ok(())
}

fn containers_in_a_row_leave_no_unit(case: &Case) -> Verdict {
    let systemd = case.need_systemd()?;
    let (mut bundle, _) = named(case)?;
    bundle.args(&["/bin/probe", "exit", "0"]);
    for round in 0..10 {
        let outcome = case.run_in_unit(&bundle)?.run()?;
        equal(&outcome.told(), (round, outcome.status), (round, 0))?;
    }
    systemd.forgets(case)
}
