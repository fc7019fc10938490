//! config-linux.md#cgroups-path

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::harness::bundle::Bundle;
use crate::harness::case::Case;
use crate::harness::container::{Container, mount_at};
use crate::harness::verdict::{Doing, Stop, Verdict, equal, holds, skip};
use crate::probe::ask::Ask;
use crate::tests;

tests! {
    "config-linux.md#cgroups-path" Must an_absolute_cgroups_path_is_taken_from_the_root;
    "config-linux.md#cgroups-path" Must a_nested_cgroups_path_is_made;
    "runc and crun" Compat without_any_limit_too_every_controller_counts;
    "config-linux.md#cgroups-path" Must a_relative_cgroups_path_gives_a_cgroup_of_that_name;
    "config-linux.md#cgroups-path" Must without_a_path_the_container_has_a_cgroup_of_its_own;
    "config-linux.md#cgroups-path" Must delete_removes_the_cgroup;
    "config-linux.md#cgroups-path" Must delete_removes_cgroups_made_below;
    "config-linux.md#namespaces" Must a_cgroup_namespace_shows_the_containers_cgroup_as_root;
    "config.md#mounts" Must a_cgroup_mount_shows_the_containers_cgroup;
    "config.md#mounts" Must a_read_only_cgroup_mount_refuses_writes;
    "config-linux.md#cgroup-ownership" Should a_writable_cgroup_is_given_to_the_payloads_user;
    "config-linux.md#cgroup-ownership" Should a_writable_cgroup_is_given_to_a_mapped_root;
    "config-linux.md#cgroup-ownership" Should a_cgroup_that_is_not_writable_is_not_given_away;
    "config-linux.md#unified" Must a_unified_value_is_written;
    "config-linux.md#unified" Must an_unknown_unified_file_is_an_error;
    "config-linux.md#cgroups" Must a_kill_without_a_pid_namespace_reaches_every_process;
}

/// The path after `0::` of a process, as the worker sees it.
fn cgroup_of(pid: impl std::fmt::Display) -> Verdict<String> {
    let text =
        std::fs::read_to_string(format!("/proc/{pid}/cgroup")).doing("cgroup of the container")?;
    let path = text
        .lines()
        .find_map(|line| line.strip_prefix("0::"))
        .map(str::to_owned);
    path.ok_or_else(|| Stop::Fail(format!("no cgroup2 in {text:?}")))
}

fn with_path<'a>(case: &'a Case, bundle: &mut Bundle, path: &str) -> Verdict<Container<'a>> {
    bundle.linux()["cgroupsPath"] = json!(path);
    case.started(bundle)
}

fn directory(root: &Path, cgroup: &str) -> PathBuf {
    root.join(cgroup.trim_start_matches('/'))
}

fn an_absolute_cgroups_path_is_taken_from_the_root(case: &Case) -> Verdict {
    case.need_cgroup2()?;
    let mut bundle = case.bundle()?;
    let container = with_path(case, &mut bundle, &format!("/{}-cg", case.id))?;
    // A runtime may put the payload into one more level below it.
    let seen = cgroup_of(container.pid()?)?;
    holds(
        seen.starts_with(&format!("/{}-cg", case.id)),
        format!("the payload is in {seen}"),
    )
}

fn a_nested_cgroups_path_is_made(case: &Case) -> Verdict {
    case.need_cgroup2()?;
    let mut bundle = case.bundle()?;
    let top = format!("/{}-top", case.id);
    let container = with_path(case, &mut bundle, &format!("{top}/middle/leaf"))?;
    let seen = cgroup_of(container.pid()?)?;
    holds(
        seen.starts_with(&format!("{top}/middle/leaf")),
        format!("the payload is in {seen}"),
    )?;
    container.stop()?;
    container.delete()?;
    // The levels above may stay: another container can be in them. They are the test's to remove.
    let root = case.need_cgroup2()?;
    let _ = std::fs::remove_dir(directory(root, &format!("{top}/middle")));
    let _ = std::fs::remove_dir(directory(root, &top));
    holds(
        !directory(root, &top).exists(),
        "the cgroup of the container stayed",
    )
}

/// `docker stats` and cAdvisor read memory.current, which is there with its controller alone.
fn without_any_limit_too_every_controller_counts(case: &Case) -> Verdict {
    case.need_root()?;
    case.need_cgroup2()?;
    if case.uses_systemd() {
        return skip("is about cgroups that no manager makes");
    }
    let mut bundle = case.bundle()?;
    let top = format!("/{}-top", case.id);
    let container = with_path(case, &mut bundle, &format!("{top}/counted"))?;
    let handed_down = Path::new("/sys/fs/cgroup/cgroup.subtree_control");
    let handed_down = std::fs::read_to_string(handed_down).doing("the controllers")?;
    if handed_down.trim().is_empty() {
        return skip("the root of the hierarchy has no controller to hand down");
    }
    let own = container.cgroup()?.read("cgroup.controllers")?;
    let missing: Vec<&str> = handed_down
        .split_whitespace()
        .filter(|name| !own.split_whitespace().any(|own| own == *name))
        .collect();
    equal("the controllers that are missing", missing, [""; 0])?;
    container.stop()?;
    container.delete()?;
    let _ = std::fs::remove_dir(directory(case.need_cgroup2()?, &top));
    Ok(())
}

fn a_relative_cgroups_path_gives_a_cgroup_of_that_name(case: &Case) -> Verdict {
    case.need_cgroup2()?;
    let mut bundle = case.bundle()?;
    let name = format!("{}-rel", case.id);
    let container = with_path(case, &mut bundle, &name)?;
    let seen = cgroup_of(container.pid()?)?;
    holds(
        seen.split('/').any(|part| part == name),
        format!("the payload is in {seen}"),
    )
}

fn without_a_path_the_container_has_a_cgroup_of_its_own(case: &Case) -> Verdict {
    case.need_cgroup2()?;
    let mut bundle = case.bundle()?;
    let container = case.started(&mut bundle)?;
    let (seen, own) = (cgroup_of(container.pid()?)?, cgroup_of("self")?);
    holds(
        seen != own,
        format!("the payload is in the caller's cgroup {own}"),
    )
}

fn delete_removes_the_cgroup(case: &Case) -> Verdict {
    let root = case.need_cgroup2()?;
    let mut bundle = case.bundle()?;
    let container = with_path(case, &mut bundle, &format!("/{}-cg", case.id))?;
    let place = directory(root, &cgroup_of(container.pid()?)?);
    holds(
        place.is_dir(),
        format!("{} is not there while the container runs", place.display()),
    )?;
    container.stop()?;
    container.delete()?;
    holds(
        !place.exists(),
        format!("{} is still there", place.display()),
    )
}

fn delete_removes_cgroups_made_below(case: &Case) -> Verdict {
    let root = case.need_cgroup2()?;
    let mut bundle = case.bundle()?;
    let container = with_path(case, &mut bundle, &format!("/{}-cg", case.id))?;
    let place = directory(root, &cgroup_of(container.pid()?)?);
    std::fs::create_dir_all(place.join("of-the-payload/deeper"))
        .doing("a cgroup below the container's")?;
    container.stop()?;
    container.delete()?;
    holds(
        !place.exists(),
        format!("{} is still there", place.display()),
    )
}

fn a_cgroup_namespace_shows_the_containers_cgroup_as_root(case: &Case) -> Verdict {
    case.need_cgroup2()?;
    let mut bundle = case.bundle()?;
    bundle.namespace("cgroup");
    let answer = case.run_one(&mut bundle, Ask::Read("/proc/self/cgroup".into()))?;
    let seen = answer
        .text()?
        .lines()
        .find_map(|line| line.strip_prefix("0::"));
    equal("the cgroup as the payload sees it", seen, Some("/"))
}

fn cgroup_mount(options: &[&str]) -> serde_json::Value {
    json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": options})
}

fn a_cgroup_mount_shows_the_containers_cgroup(case: &Case) -> Verdict {
    case.need_cgroup2()?;
    let mut bundle = case.bundle()?;
    bundle
        .namespace("cgroup")
        .mount(cgroup_mount(&["nosuid", "noexec", "nodev", "ro"]));
    let answers = case.run(
        &mut bundle,
        &[Ask::Mounts, Ask::Read("/sys/fs/cgroup/cgroup.procs".into())],
    )?;
    equal(
        "the type",
        mount_at(answers[0].mounts()?, "/sys/fs/cgroup")?
            .kind
            .as_str(),
        "cgroup2",
    )?;
    equal("the processes in it", answers[1].text()?.trim(), "1")
}

fn a_read_only_cgroup_mount_refuses_writes(case: &Case) -> Verdict {
    case.need_cgroup2()?;
    let mut bundle = case.bundle()?;
    bundle.namespace("cgroup").mount(cgroup_mount(&["ro"]));
    case.run_one(&mut bundle, Ask::Mkdir("/sys/fs/cgroup/new".into()))?
        .failed_with("a new cgroup", &[libc::EROFS])
}

/// The owners of a cgroup's directory, of a file that may be given away, and of one that may not.
fn owners(container: &Container<'_>) -> Verdict<[u32; 3]> {
    let place =
        Path::new("/sys/fs/cgroup").join(cgroup_of(container.pid()?)?.trim_start_matches('/'));
    let mut owners = [0; 3];
    let paths = [
        place.clone(),
        place.join("cgroup.procs"),
        place.join("cgroup.freeze"),
    ];
    for (owner, path) in owners.iter_mut().zip(paths) {
        *owner = std::fs::metadata(&path).doing(path.display())?.uid();
    }
    Ok(owners)
}

fn a_writable_cgroup_is_given_to_the_payloads_user(case: &Case) -> Verdict {
    case.need_cgroup2()?;
    let mut bundle = case.bundle()?;
    bundle.namespace("cgroup").mount(cgroup_mount(&["rw"]));
    bundle.process()["user"] = json!({"uid": 1234, "gid": 1234});
    let mut container = case.started(&mut bundle)?;
    equal("the owners", owners(&container)?, [1234, 1234, 0])?;
    let new = "/sys/fs/cgroup/of-the-payload";
    container.ask_one(Ask::Mkdir(new.into()))?.done()
}

fn a_writable_cgroup_is_given_to_a_mapped_root(case: &Case) -> Verdict {
    case.need_cgroup2()?;
    let mut bundle = case.bundle()?;
    let map = json!([{"containerID": 0, "hostID": 231_072, "size": 1000}]);
    bundle.namespace("user");
    bundle.linux()["uidMappings"] = map.clone();
    bundle.linux()["gidMappings"] = map;
    bundle.namespace("cgroup").mount(cgroup_mount(&["rw"]));
    let mut container = case.started(&mut bundle)?;
    equal("the owners", owners(&container)?, [231_072, 231_072, 0])?;
    let new = "/sys/fs/cgroup/of-the-payload";
    container.ask_one(Ask::Mkdir(new.into()))?.done()
}

fn a_cgroup_that_is_not_writable_is_not_given_away(case: &Case) -> Verdict {
    case.need_cgroup2()?;
    for (name, options, own) in [("read-only", "ro", true), ("shared", "rw", false)] {
        let mut bundle = case.bundle_named(name)?;
        bundle.mount(cgroup_mount(&[options]));
        if own {
            bundle.namespace("cgroup");
        }
        bundle.process()["user"] = json!({"uid": 1234, "gid": 1234});
        let container = case.create_named(&mut bundle, &format!("{}-{name}", case.id))?;
        equal("the owners", owners(&container)?, [0, 0, 0])?;
    }
    Ok(())
}

fn a_unified_value_is_written(case: &Case) -> Verdict {
    let root = case.need_cgroup2()?;
    let mut bundle = case.bundle()?;
    // A core file: it is there whatever controllers are.
    bundle.linux()["resources"] = json!({"unified": {"cgroup.max.depth": "3"}});
    let container = with_path(case, &mut bundle, &format!("/{}-cg", case.id))?;
    let place = directory(root, &format!("/{}-cg", case.id));
    let text = std::fs::read_to_string(place.join("cgroup.max.depth")).doing("cgroup.max.depth")?;
    equal("cgroup.max.depth", text.trim(), "3")?;
    container.stop()
}

fn an_unknown_unified_file_is_an_error(case: &Case) -> Verdict {
    case.need_cgroup2()?;
    let mut bundle = case.bundle()?;
    bundle.linux()["resources"] = json!({"unified": {"nosuch.file": "1"}});
    case.create_refused(&bundle).map(drop)
}

fn a_kill_without_a_pid_namespace_reaches_every_process(case: &Case) -> Verdict {
    case.need_cgroup2()?;
    let mut bundle = case.bundle()?;
    bundle.without_namespace("pid");
    let mut container = case.started(&mut bundle)?;
    container.ask_one(Ask::SpawnSleeper)?.number()?;
    // The sleeper would be left behind and fail the test.
    container.stop()?;
    container.delete()
}
