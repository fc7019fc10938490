//! mounts add and mounts remove: mounts of a running container

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::call::Outcome;
use crate::harness::case::Case;
use crate::harness::container::{Container, mount_at};
use crate::harness::verdict::{Verdict, equal, fail, holds};
use crate::probe::ask::Ask;
use crate::tests;

tests! {
    "crun(1)" Compat a_folder_of_the_host_comes_and_goes;
    "crun(1)" Compat a_file_of_the_host_comes_and_goes;
    "crun(1)" Compat an_added_tmpfs_is_the_containers_own;
    "crun(1)" Compat options_of_an_added_mount_count;
    "crun(1)" Compat mounts_are_added_in_the_order_of_the_list;
    "crun(1)" Compat mounts_of_config_can_be_removed;
    "crun(1)" Compat an_added_mount_is_there_for_exec_too;
    "crun(1)" Compat an_addition_that_fails_half_way_leaves_nothing;
    "crun(1)" Compat a_removal_that_fails_half_way_brings_the_rest_back;
    "crun(1)" Compat mounts_of_a_stopped_container_are_an_error;
    "crun(1)" Compat a_file_that_is_no_list_of_mounts_is_an_error;
    "CVE-2019-16884" Attack an_added_mount_cannot_cover_procfs;
    "CVE-2017-1002101" Attack a_link_does_not_lead_an_added_mount_out;
    "CVE-2021-30465" Attack a_link_does_not_lead_a_removal_to_a_mask;
    "" Attack what_is_added_read_only_cannot_be_written_in_a_namespace_of_the_payloads;
}

fn change(case: &Case, action: &str, id: &str, mounts: &Value) -> Verdict<Outcome> {
    let file = case.file("mounts.json", &mounts.to_string())?;
    case.runtime(["mounts", action, id]).arg(file).run()
}

fn add(case: &Case, container: &Container<'_>, mounts: &Value) -> Verdict {
    change(case, "add", &container.id, mounts)?
        .succeeded()
        .map(drop)
}

fn remove(case: &Case, container: &Container<'_>, mounts: &Value) -> Verdict {
    change(case, "remove", &container.id, mounts)?
        .succeeded()
        .map(drop)
}

/// A folder of the host with a file `mark` in it.
fn shared_folder(case: &Case) -> Verdict<std::path::PathBuf> {
    let folder = case.folder("shared")?;
    std::fs::write(folder.join("mark"), "of the host")?;
    Ok(folder)
}

fn bind(source: &Path, destination: &str) -> Value {
    json!({"type": "bind", "source": source, "destination": destination, "options": ["bind"]})
}

fn targets(container: &mut Container<'_>) -> Verdict<Vec<String>> {
    let answer = container.ask_one(Ask::Mounts)?;
    Ok(answer
        .mounts()?
        .iter()
        .map(|mount| mount.target.clone())
        .collect())
}

fn a_folder_of_the_host_comes_and_goes(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let mut container = case.started(&mut bundle)?;
    let folder = shared_folder(case)?;
    let before = targets(&mut container)?;
    let mounts = json!([bind(&folder, "/new/deep/place")]);
    add(case, &container, &mounts)?;
    let mark = Ask::Read("/new/deep/place/mark".into());
    equal("the file", container.ask_one(mark)?.text()?, "of the host")?;
    let on_host = bundle.inside("/new/deep/place/mark");
    holds(!on_host.exists(), "the mount is there for the host too")?;
    remove(case, &container, &mounts)?;
    equal("mounts after it", targets(&mut container)?, before)?;
    let left = container.ask_one(Ask::List("/new/deep/place".into()))?;
    equal("what is left", left.names()?.len(), 0)?;
    holds(folder.join("mark").exists(), "the host's file is gone")
}

fn a_file_of_the_host_comes_and_goes(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let mut container = case.started(&mut bundle)?;
    let folder = shared_folder(case)?;
    let mounts = json!([bind(&folder.join("mark"), "/etc/mark")]);
    add(case, &container, &mounts)?;
    let read = || Ask::Read("/etc/mark".into());
    equal(
        "the file",
        container.ask_one(read())?.text()?,
        "of the host",
    )?;
    remove(case, &container, &mounts)?;
    equal("the file", container.ask_one(read())?.text()?, "")
}

fn an_added_tmpfs_is_the_containers_own(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let mut container = case.started(&mut bundle)?;
    let mounts = json!([{"type": "tmpfs", "source": "tmpfs", "destination": "/new",
        "options": ["size=64k", "mode=750", "nosuid"]}]);
    add(case, &container, &mounts)?;
    let answer = container.ask_one(Ask::Mounts)?;
    let mount = mount_at(answer.mounts()?, "/new")?;
    equal("the kind", mount.kind.as_str(), "tmpfs")?;
    holds(
        mount.data.iter().any(|word| word == "size=64k")
            && mount.flags.iter().any(|word| word == "nosuid"),
        format!("{mount:?}"),
    )?;
    let stat = container.ask_one(Ask::Stat("/new".into()))?;
    let stat = stat.stat()?;
    equal(
        "mode and owner",
        (stat.mode, stat.uid, stat.gid),
        (0o750, 0, 0),
    )?;
    container.ask_one(Ask::Create("/new/file".into()))?.done()?;
    holds(
        !bundle.inside("/new/file").exists(),
        "it is on the host's disk",
    )
}

fn options_of_an_added_mount_count(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let mut container = case.started(&mut bundle)?;
    let folder = shared_folder(case)?;
    let mounts = json!([{"type": "bind", "source": folder, "destination": "/new",
        "options": ["rbind", "ro", "nosuid", "nodev", "noexec"]},
        {"type": "tmpfs", "source": "tmpfs", "destination": "/small", "options": ["ro"]}]);
    add(case, &container, &mounts)?;
    let answer = container.ask_one(Ask::Mounts)?;
    let mount = mount_at(answer.mounts()?, "/new")?;
    for flag in ["ro", "nosuid", "nodev", "noexec"] {
        holds(
            mount.flags.iter().any(|word| word == flag),
            format!("{flag} is not in {mount:?}"),
        )?;
    }
    for path in ["/new/file", "/small/file"] {
        container
            .ask_one(Ask::Create(path.into()))?
            .failed_with(path, &[libc::EROFS])?;
    }
    Ok(())
}

fn mounts_are_added_in_the_order_of_the_list(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let mut container = case.started(&mut bundle)?;
    let folder = shared_folder(case)?;
    let mounts = json!([
        {"type": "tmpfs", "source": "tmpfs", "destination": "/new"},
        bind(&folder, "/new/inside"),
    ]);
    add(case, &container, &mounts)?;
    let mark = Ask::Read("/new/inside/mark".into());
    equal("the file", container.ask_one(mark)?.text()?, "of the host")?;
    remove(case, &container, &mounts)?;
    let left = container.ask_one(Ask::List("/new".into()))?;
    equal("what is left", left.names()?.len(), 0)
}

fn mounts_of_config_can_be_removed(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.mount(json!({"destination": "/old", "type": "tmpfs", "source": "tmpfs"}));
    let mut container = case.started(&mut bundle)?;
    // Nothing but the destination counts.
    remove(case, &container, &json!([{"destination": "/old"}]))?;
    let seen = targets(&mut container)?;
    holds(!seen.contains(&"/old".to_owned()), format!("{seen:?}"))
}

fn an_added_mount_is_there_for_exec_too(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let container = case.started(&mut bundle)?;
    let folder = shared_folder(case)?;
    add(case, &container, &json!([bind(&folder, "/new")]))?;
    let text = container
        .exec(&[], &[Ask::Read("/new/mark".into())])?
        .remove(0);
    equal("the file", text.text()?, "of the host")
}

fn an_addition_that_fails_half_way_leaves_nothing(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let mut container = case.started(&mut bundle)?;
    let folder = shared_folder(case)?;
    let before = targets(&mut container)?;
    for bad in [
        bind(Path::new("/nonexistent/source"), "/second"),
        json!({"type": "nosuchfs", "source": "x", "destination": "/second"}),
        json!({"type": "tmpfs", "source": "x", "destination": "/second", "options": ["nonsense=1"]}),
        // A folder on a file.
        bind(&folder, "/new/tmpfs/../mark"),
    ] {
        let mounts = json!([
            bind(&folder, "/new"),
            {"type": "tmpfs", "source": "tmpfs", "destination": "/deep/er/place"},
            bad,
        ]);
        change(case, "add", &container.id, &mounts)?
            .refused()?
            .says(&["mounts[2]"])?;
        equal("mounts after it", targets(&mut container)?, before.clone())?;
        for made in ["/new", "/deep", "/second"] {
            holds(!bundle.inside(made).exists(), format!("{made} stays"))?;
        }
    }
    Ok(())
}

fn a_removal_that_fails_half_way_brings_the_rest_back(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let mut container = case.started(&mut bundle)?;
    let folder = shared_folder(case)?;
    add(case, &container, &json!([bind(&folder, "/new")]))?;
    let mut before = targets(&mut container)?;
    let mounts = json!([{"destination": "/etc"}, {"destination": "/new"}]);
    change(case, "remove", &container.id, &mounts)?
        .refused()?
        .says(&["mounts[0]"])?;
    let mut after = targets(&mut container)?;
    before.sort();
    after.sort();
    equal("mounts after it", after, before)?;
    let mark = Ask::Read("/new/mark".into());
    equal("the file", container.ask_one(mark)?.text()?, "of the host")
}

fn mounts_of_a_stopped_container_are_an_error(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let container = case.started(&mut bundle)?;
    container.stop()?;
    let mounts = json!([{"destination": "/new", "type": "tmpfs", "source": "tmpfs"}]);
    change(case, "add", &container.id, &mounts)?
        .refused()?
        .says(&["not running"])?;
    change(case, "remove", &container.id, &mounts)?
        .refused()?
        .says(&["not running"])
        .map(drop)
}

fn a_file_that_is_no_list_of_mounts_is_an_error(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let container = case.started(&mut bundle)?;
    for bad in [
        json!({"mounts": []}),
        json!([{"type": "tmpfs"}]),
        json!([{"destination": 7}]),
        json!([{"destination": "/"}]),
        json!("x"),
    ] {
        for action in ["add", "remove"] {
            change(case, action, &container.id, &bad)?.refused()?;
        }
    }
    Ok(())
}

fn an_added_mount_cannot_cover_procfs(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.symlink("/proc", "/innocent")?;
    let container = case.started(&mut bundle)?;
    let folder = case.folder("self")?;
    for destination in [
        "/proc",
        "/proc/self",
        "/proc/sys",
        "/innocent/self",
        "/innocent",
    ] {
        let mounts = json!([bind(&folder, destination)]);
        let outcome = change(case, "add", &container.id, &mounts)?;
        if outcome.status == 0 {
            return fail(format!(
                "something lies on {destination}: {}",
                outcome.told()
            ));
        }
    }
    Ok(())
}

fn a_link_does_not_lead_an_added_mount_out(case: &Case) -> Verdict {
    let outside = case.folder("outside")?;
    let mut bundle = case.bundle()?;
    let up = "../".repeat(40) + outside.to_str().unwrap_or_default().trim_start_matches('/');
    bundle.symlink(&up, "/link")?;
    bundle.symlink(&outside, "/absolute")?;
    let container = case.started(&mut bundle)?;
    let folder = shared_folder(case)?;
    let mounts = json!([bind(&folder, "/link/a"), bind(&folder, "/absolute/b")]);
    let _ = change(case, "add", &container.id, &mounts)?;
    let found: Vec<_> = std::fs::read_dir(&outside)?.collect();
    equal("entries of the host's folder", found.len(), 0)?;
    let host = std::fs::read_to_string("/proc/self/mountinfo")?;
    let outside = outside.display().to_string();
    holds(
        !host.contains(&outside),
        "there is a mount on the host's folder",
    )
}

fn a_link_does_not_lead_a_removal_to_a_mask(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.linux()["maskedPaths"] = json!(["/proc/timer_list", "/proc/keys"]);
    bundle.symlink("/proc/keys", "/innocent")?;
    bundle.symlink("/proc", "/data")?;
    let mut container = case.started(&mut bundle)?;
    let before = targets(&mut container)?;
    for destination in ["/innocent", "/data/keys", "/data/../data/keys"] {
        let mounts = json!([{"destination": destination}]);
        let _ = change(case, "remove", &container.id, &mounts)?;
        equal(destination, targets(&mut container)?, before.clone())?;
    }
    Ok(())
}

/// The payload has no capability, but in namespaces that it has made for itself.
fn what_is_added_read_only_cannot_be_written_in_a_namespace_of_the_payloads(
    case: &Case,
) -> Verdict {
    case.need_root()?;
    let mut bundle = case.bundle()?;
    bundle.process()["user"] = json!({"uid": 1000, "gid": 1000});
    bundle.mkdir("/new")?;
    let mut container = case.started(&mut bundle)?;
    container.leaves_for_its_own(1000, libc::CLONE_NEWUSER | libc::CLONE_NEWNS)?;
    let folder = shared_folder(case)?;
    std::fs::set_permissions(folder.join("mark"), Permissions::from_mode(0o666))?;
    let mut mount = bind(&folder, "/new");
    mount["options"] = json!(["bind", "ro"]);
    let _ = change(case, "add", &container.id, &json!([mount]))?;
    let asks = [
        Ask::Mount {
            source: "none".into(),
            target: "/new".into(),
            kind: String::new(),
            flags: libc::MS_REMOUNT | libc::MS_BIND,
        },
        Ask::Write {
            path: "/new/mark".into(),
            text: "written".into(),
        },
    ];
    container.ask(&asks)?;
    let mark = std::fs::read_to_string(folder.join("mark"))?;
    equal("the file of the host", mark.as_str(), "of the host")
}
