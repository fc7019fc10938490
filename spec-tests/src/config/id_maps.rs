//! config.md#posix-platform-mounts, uidMappings and gidMappings; config.md#linux-mount-options, idmap and ridmap.
//!
//! Sources lie on a tmpfs: it has id-mapped mounts since Linux 6.3, and the temporary directory may be of any kind.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::bundle::Bundle;
use crate::harness::case::Case;
use crate::harness::container::mount_at;
use crate::harness::host_mount::HostMount;
use crate::harness::verdict::{Verdict, equal, fail, holds};
use crate::probe::ask::{Answer, Ask};
use crate::tests;

tests! {
    "config.md#posix-platform-mounts" Must files_of_a_mapped_mount_belong_to_the_containers_ids;
    "config.md#posix-platform-mounts" Must what_is_written_belongs_to_the_id_on_disk;
    "config.md#posix-platform-mounts" Must mappings_count_without_a_user_namespace;
    "config.md#posix-platform-mounts" Must mappings_count_without_the_option;
    "config.md#posix-platform-mounts" Must each_mount_has_its_own_mapping;
    "config.md#linux-mount-options" Must idmap_alone_takes_the_containers_mapping;
    "config.md#linux-mount-options" Must idmap_alone_takes_the_mapping_of_a_joined_namespace;
    "config.md#linux-mount-options" Must idmap_does_not_reach_below;
    "config.md#linux-mount-options" Must ridmap_reaches_below;
    "config.md#linux-mount-options" Must a_mapped_mount_keeps_its_flags;
    "config.md#linux-mount-options" Must idmap_without_any_mapping_is_an_error;
    "config.md#posix-platform-mounts" Must mappings_of_one_kind_alone_are_an_error;
    "crun.1#idmap-mount-options" Compat idmap_can_hold_its_mapping;
    "crun.1#idmap-mount-options" Compat idmap_can_count_from_the_containers_ids;
    "crun.1#idmap-mount-options" Compat an_idmap_that_is_no_mapping_is_an_error;
    "crun.1#idmap-mount-options" Compat a_new_tmpfs_can_be_mapped;
    "mount_setattr(2)" Compat a_file_system_without_id_maps_is_an_error;
    "mount_setattr(2)" Compat an_ordinary_user_is_told_what_it_takes;
}

const INSIDE: u32 = 200_000;

fn mapping(on_disk: u32, host: u32, size: u32) -> Value {
    json!([{"containerID": on_disk, "hostID": host, "size": size}])
}

/// A folder of the host with a file of its root's.
fn source(case: &Case) -> Verdict<HostMount> {
    case.need_root()?;
    let source = HostMount::tmpfs(&case.folder("source")?)?;
    fs::write(source.path().join("file"), "")?;
    Ok(source)
}

/// The container's ids are 200000 and up, none of which may make a mount point in the root.
fn in_user_namespace(case: &Case) -> Verdict<Bundle> {
    let mut bundle = case.bundle()?;
    bundle.namespace("user");
    bundle.mkdir("/at")?;
    bundle.linux()["uidMappings"] = mapping(0, INSIDE, 65536);
    bundle.linux()["gidMappings"] = mapping(0, INSIDE, 65536);
    Ok(bundle)
}

/// A bind mount at /at with these options and, unless they are null, mappings.
fn bind(bundle: &mut Bundle, source: &Path, options: &[&str], mappings: &Value) {
    let mut mount =
        json!({"destination": "/at", "type": "bind", "source": source, "options": options});
    if !mappings.is_null() {
        mount["uidMappings"] = mappings.clone();
        mount["gidMappings"] = mappings.clone();
    }
    bundle.mount(mount);
}

fn owner(answer: &Answer) -> Verdict<(u32, u32)> {
    Ok((answer.stat()?.uid, answer.stat()?.gid))
}

fn owner_of(case: &Case, bundle: &mut Bundle, path: &str) -> Verdict<(u32, u32)> {
    owner(&case.run_one(bundle, Ask::Stat(path.into()))?)
}

fn files_of_a_mapped_mount_belong_to_the_containers_ids(case: &Case) -> Verdict {
    let source = source(case)?;
    chown(source.path().join("file"), Some(7), Some(8))?;
    let mut bundle = in_user_namespace(case)?;
    bind(
        &mut bundle,
        source.path(),
        &["bind", "idmap"],
        &mapping(0, INSIDE, 65536),
    );
    equal(
        "the owner inside",
        owner_of(case, &mut bundle, "/at/file")?,
        (7, 8),
    )
}

fn what_is_written_belongs_to_the_id_on_disk(case: &Case) -> Verdict {
    let source = source(case)?;
    let mut bundle = in_user_namespace(case)?;
    bind(
        &mut bundle,
        source.path(),
        &["bind", "idmap"],
        &mapping(0, INSIDE, 65536),
    );
    case.run_one(&mut bundle, Ask::Create("/at/new".into()))?
        .done()?;
    let new = fs::metadata(source.path().join("new"))?;
    equal("the owner on the host", (new.uid(), new.gid()), (0, 0))
}

fn mappings_count_without_a_user_namespace(case: &Case) -> Verdict {
    let source = source(case)?;
    fs::set_permissions(source.path(), fs::Permissions::from_mode(0o755))?;
    let mut bundle = case.bundle()?;
    bundle.process()["user"] = json!({"uid": 1000, "gid": 1000});
    bind(
        &mut bundle,
        source.path(),
        &["bind", "idmap"],
        &mapping(0, 1000, 1),
    );
    let asks = [
        Ask::Stat("/at/file".into()),
        Ask::Create("/at/new".into()),
        Ask::Stat("/at/new".into()),
    ];
    let answers = case.run(&mut bundle, &asks)?;
    equal("the owner inside", owner(&answers[0])?, (1000, 1000))?;
    answers[1].done()?;
    equal("the new file's", owner(&answers[2])?, (1000, 1000))?;
    let new = fs::metadata(source.path().join("new"))?;
    equal("its owner on the host", (new.uid(), new.gid()), (0, 0))
}

fn mappings_count_without_the_option(case: &Case) -> Verdict {
    let source = source(case)?;
    let mut bundle = case.bundle()?;
    bind(&mut bundle, source.path(), &["bind"], &mapping(0, 1000, 1));
    equal(
        "the owner inside",
        owner_of(case, &mut bundle, "/at/file")?,
        (1000, 1000),
    )
}

fn each_mount_has_its_own_mapping(case: &Case) -> Verdict {
    let source = source(case)?;
    let mut bundle = in_user_namespace(case)?;
    for (place, to) in [("/a", 5), ("/b", 6), ("/c", 5)] {
        bundle.mkdir(place)?;
        let maps = mapping(0, INSIDE + to, 1);
        bundle.mount(
            json!({"destination": place, "type": "bind", "source": source.path(),
            "options": ["bind", "idmap"], "uidMappings": maps, "gidMappings": maps}),
        );
    }
    let asks = ["/a/file", "/b/file", "/c/file"].map(|path| Ask::Stat(path.into()));
    let answers = case.run(&mut bundle, &asks)?;
    for (answer, to) in answers.iter().zip([5, 6, 5]) {
        equal("the owner inside", owner(answer)?, (to, to))?;
    }
    Ok(())
}

fn idmap_alone_takes_the_containers_mapping(case: &Case) -> Verdict {
    let source = source(case)?;
    let mut bundle = in_user_namespace(case)?;
    bind(&mut bundle, source.path(), &["bind", "idmap"], &Value::Null);
    equal(
        "the owner inside",
        owner_of(case, &mut bundle, "/at/file")?,
        (0, 0),
    )
}

fn idmap_alone_takes_the_mapping_of_a_joined_namespace(case: &Case) -> Verdict {
    let source = source(case)?;
    let mut first = in_user_namespace(case)?;
    let holder = case.create(&mut first)?;
    let mut bundle = case.bundle_named("second")?;
    bundle.mkdir("/at")?;
    bundle.join_namespace("user", &format!("/proc/{}/ns/user", holder.pid()?));
    bind(&mut bundle, source.path(), &["bind", "idmap"], &Value::Null);
    let mut second = case.create_named(&mut bundle, &format!("{}-second", case.id))?;
    second.start()?;
    let answer = second.ask_one(Ask::Stat("/at/file".into()))?;
    for id in [&second.id, &holder.id] {
        case.runtime(["delete", "--force", id]).run()?.succeeded()?;
    }
    equal("the owner inside", owner(&answer)?, (0, 0))
}

/// The owners of a file on top and of one on a mount below.
fn above_and_below(case: &Case, option: &str) -> Verdict<[(u32, u32); 2]> {
    let source = source(case)?;
    let below = source.path().join("below");
    fs::create_dir(&below)?;
    let below = HostMount::tmpfs(&below)?;
    fs::write(below.path().join("file"), "")?;
    let mut bundle = case.bundle()?;
    bind(
        &mut bundle,
        source.path(),
        &["rbind", option],
        &mapping(0, 1000, 1),
    );
    let asks = ["/at/file", "/at/below/file"].map(|path| Ask::Stat(path.into()));
    let answers = case.run(&mut bundle, &asks)?;
    Ok([owner(&answers[0])?, owner(&answers[1])?])
}

fn idmap_does_not_reach_below(case: &Case) -> Verdict {
    equal(
        "the owners",
        above_and_below(case, "idmap")?,
        [(1000, 1000), (0, 0)],
    )
}

fn ridmap_reaches_below(case: &Case) -> Verdict {
    equal(
        "the owners",
        above_and_below(case, "ridmap")?,
        [(1000, 1000); 2],
    )
}

fn a_mapped_mount_keeps_its_flags(case: &Case) -> Verdict {
    let source = source(case)?;
    let mut bundle = in_user_namespace(case)?;
    let options = ["bind", "ro", "nosuid", "nodev", "idmap"];
    bind(&mut bundle, source.path(), &options, &Value::Null);
    let asks = [
        Ask::Mounts,
        Ask::Stat("/at/file".into()),
        Ask::Create("/at/new".into()),
    ];
    let answers = case.run(&mut bundle, &asks)?;
    let flags = &mount_at(answers[0].mounts()?, "/at")?.flags;
    for flag in ["ro", "nosuid", "nodev"] {
        holds(
            flags.iter().any(|have| have == flag),
            format!("{flag} is not in {flags:?}"),
        )?;
    }
    equal("the owner inside", owner(&answers[1])?, (0, 0))?;
    answers[2].failed_with("a new file", &[libc::EROFS])
}

fn idmap_without_any_mapping_is_an_error(case: &Case) -> Verdict {
    let source = source(case)?;
    let mut bundle = case.bundle()?;
    bind(&mut bundle, source.path(), &["bind", "idmap"], &Value::Null);
    case.create_refused(&bundle).map(drop)
}

fn mappings_of_one_kind_alone_are_an_error(case: &Case) -> Verdict {
    let source = source(case)?;
    for kind in ["uidMappings", "gidMappings"] {
        let mut bundle = case.bundle_named(kind)?;
        bundle.mount(
            json!({"destination": "/at", "type": "bind", "source": source.path(),
            "options": ["bind", "idmap"], kind: mapping(0, 1000, 1)}),
        );
        case.create_refused(&bundle)?;
    }
    Ok(())
}

fn idmap_can_hold_its_mapping(case: &Case) -> Verdict {
    let source = source(case)?;
    chown(source.path().join("file"), Some(11), Some(0))?;
    let mut bundle = case.bundle()?;
    let option = "idmap=uids=0-1000-1#10-2000-5;gids=0-3000-1";
    bind(&mut bundle, source.path(), &["bind", option], &Value::Null);
    equal(
        "the owner inside",
        owner_of(case, &mut bundle, "/at/file")?,
        (2001, 3000),
    )
}

fn idmap_can_count_from_the_containers_ids(case: &Case) -> Verdict {
    let source = source(case)?;
    let mut bundle = in_user_namespace(case)?;
    let option = "idmap=uids=@0-5-1;gids=@0-6-1";
    bind(&mut bundle, source.path(), &["bind", option], &Value::Null);
    equal(
        "the owner inside",
        owner_of(case, &mut bundle, "/at/file")?,
        (5, 6),
    )
}

fn an_idmap_that_is_no_mapping_is_an_error(case: &Case) -> Verdict {
    let source = source(case)?;
    let options = ["idmap=uids=0;gids=0", "idmap=users=0-1-1", "idmap=uids=x"];
    for (n, option) in options.iter().enumerate() {
        let mut bundle = case.bundle_named(&n.to_string())?;
        bind(&mut bundle, source.path(), &["bind", option], &Value::Null);
        case.create_refused(&bundle)?;
    }
    Ok(())
}

fn a_new_tmpfs_can_be_mapped(case: &Case) -> Verdict {
    case.need_root()?;
    let mut bundle = in_user_namespace(case)?;
    let options = ["mode=755", "noexec", "idmap"];
    bundle.mount(
        json!({"destination": "/at", "type": "tmpfs", "source": "tmpfs", "options": options}),
    );
    let asks = [
        Ask::Stat("/at".into()),
        Ask::Mounts,
        Ask::Create("/at/new".into()),
    ];
    let answers = case.run(&mut bundle, &asks)?;
    equal("the owner inside", owner(&answers[0])?, (0, 0))?;
    let mount = mount_at(answers[1].mounts()?, "/at")?;
    equal("its type", mount.kind.as_str(), "tmpfs")?;
    holds(
        mount.flags.iter().any(|flag| flag == "noexec"),
        "it lacks noexec",
    )?;
    answers[2].done()
}

/// procfs keeps no owners that could be mapped.
fn a_file_system_without_id_maps_is_an_error(case: &Case) -> Verdict {
    case.need_root()?;
    let mut bundle = in_user_namespace(case)?;
    bind(
        &mut bundle,
        Path::new("/proc"),
        &["bind", "idmap"],
        &Value::Null,
    );
    let said = case.create_refused(&bundle)?;
    if said.stderr.contains("Invalid argument") || said.stderr.contains("invalid argument") {
        Ok(())
    } else {
        fail(format!("the kernel's word is not there: {}", said.told()))
    }
}

fn an_ordinary_user_is_told_what_it_takes(case: &Case) -> Verdict {
    case.need_rootless()?;
    let mut bundle = case.bundle()?;
    let source = case.folder("source")?;
    bundle.bind(&source, "/at", &["idmap"]);
    let said = case.create_refused(&bundle)?;
    holds(
        said.stderr.contains("CAP_SYS_ADMIN"),
        format!("nothing of CAP_SYS_ADMIN: {}", said.told()),
    )
}
