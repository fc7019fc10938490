//! Id-mapped mounts across a restore.

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;

use serde_json::{Value, json};

use super::{again, checkpoint, need_criu, started};
use crate::harness::bundle::Bundle;
use crate::harness::case::Case;
use crate::harness::host_mount::HostMount;
use crate::harness::verdict::{Verdict, equal, holds};
use crate::probe::ask::{Answer, Ask};
use crate::tests;

tests! {
    "config.md#linux-mount-options" Must an_id_mapped_mount_is_mapped_again;
    "config.md#linux-mount-options" Must a_mount_mapped_to_the_containers_ids_is_mapped_again;
    "runc-restore(8)" Compat volumes_in_a_folder_of_roots_are_there_again_in_a_user_namespace;
    "config.md#linux-mount-options" Compat a_file_system_with_an_id_map_is_refused_and_the_payload_goes_on;
}

fn mapping(host: u32, size: u32) -> Value {
    json!([{"containerID": 0, "hostID": host, "size": size}])
}

fn owners(answers: &[Answer]) -> Verdict<Vec<(u32, u32)>> {
    let owner = |answer: &Answer| Ok((answer.stat()?.uid, answer.stat()?.gid));
    answers.iter().map(owner).collect()
}

/// `idmap` is for the mount alone; what is mounted below it comes along unmapped.
fn an_id_mapped_mount_is_mapped_again(case: &Case) -> Verdict {
    need_criu(case)?;
    let above = HostMount::tmpfs(&case.folder("volume")?)?;
    let file = above.path().join("file");
    std::fs::write(&file, "")?;
    std::fs::create_dir(above.path().join("below"))?;
    let below = HostMount::tmpfs(&above.path().join("below"))?;
    std::fs::write(below.path().join("file"), "")?;
    let mut bundle = case.bundle()?;
    for (source, at, options) in [
        (above.path(), "/idmap", ["rbind", "idmap"]),
        (above.path(), "/ridmap", ["rbind", "ridmap"]),
        (file.as_path(), "/etc/mapped", ["bind", "idmap"]),
    ] {
        bundle.mount(json!({"destination": at, "type": "bind", "source": source,
            "options": options, "uidMappings": mapping(1000, 1), "gidMappings": mapping(2000, 1)}));
    }
    let asks = [
        "/idmap/file",
        "/idmap/below/file",
        "/ridmap/file",
        "/ridmap/below/file",
        "/etc/mapped",
    ];
    let asks = asks.map(|path| Ask::Stat(path.into()));
    let (mapped, plain) = ((1000, 2000), (0, 0));
    let wanted = vec![mapped, plain, mapped, mapped, mapped];
    let mut container = started(case, &mut bundle)?;
    equal("owners", owners(&container.ask(&asks)?)?, wanted.clone())?;
    let mut restored = again(case, container, &bundle, &[])?;
    equal("owners", owners(&restored.ask(&asks)?)?, wanted)?;
    let on_host = std::fs::metadata(&file)?;
    equal("the owner on the host", on_host.uid(), 0)
}

/// A container of the ids 200000 and up.
fn in_user_namespace(case: &Case) -> Verdict<Bundle> {
    let mut bundle = case.bundle()?;
    bundle.own_probe(case)?;
    bundle.namespace("user");
    for maps in ["uidMappings", "gidMappings"] {
        bundle.linux()[maps] = mapping(200_000, 65536);
    }
    bundle.mkdir("/volume")?;
    let status = Command::new("chown")
        .args(["-R", "200000:200000"])
        .arg(bundle.rootfs())
        .status()?;
    holds(status.success(), "chown")?;
    Ok(bundle)
}

fn a_mount_mapped_to_the_containers_ids_is_mapped_again(case: &Case) -> Verdict {
    need_criu(case)?;
    let volume = HostMount::tmpfs(&case.folder("volume")?)?;
    std::fs::set_permissions(volume.path(), Permissions::from_mode(0o755))?;
    std::fs::write(volume.path().join("file"), "of the volume")?;
    let mut bundle = in_user_namespace(case)?;
    bundle.bind(volume.path(), "/volume", &["rw", "idmap"]);
    let mut container = started(case, &mut bundle)?;
    let asks = [
        Ask::Stat("/volume/file".into()),
        Ask::Create("/volume/before".into()),
    ];
    equal("owner", owners(&container.ask(&asks)?[..1])?, [(0, 0)])?;
    let mut restored = again(case, container, &bundle, &[])?;
    let answers = restored.ask(&[
        Ask::Stat("/volume/before".into()),
        Ask::Create("/volume/after".into()),
    ])?;
    equal("owner", owners(&answers[..1])?, [(0, 0)])?;
    answers[1].done()?;
    let after = std::fs::metadata(volume.path().join("after"))?;
    equal("the owner on the host", (after.uid(), after.gid()), (0, 0))
}

/// Engines keep volumes, and the container's hosts and resolv.conf, where root alone passes.
fn volumes_in_a_folder_of_roots_are_there_again_in_a_user_namespace(case: &Case) -> Verdict {
    need_criu(case)?;
    let folder = case.folder("closed/volume")?;
    std::fs::write(folder.join("file"), "of the volume")?;
    let hosts = case.file("closed/hosts", "of the host")?;
    std::fs::set_permissions(case.dir.join("closed"), Permissions::from_mode(0o700))?;
    let mut bundle = in_user_namespace(case)?;
    bundle.bind(&folder, "/volume", &["ro"]);
    bundle.bind(&hosts, "/etc/hosts", &["ro"]);
    let container = started(case, &mut bundle)?;
    let before = std::fs::read_to_string("/proc/self/mountinfo")?;
    let mut restored = again(case, container, &bundle, &[])?;
    let answers = restored.ask(&[
        Ask::Read("/volume/file".into()),
        Ask::Read("/etc/hosts".into()),
        Ask::Create("/volume/new".into()),
    ])?;
    equal("the volume", answers[0].text()?, "of the volume")?;
    equal("the file", answers[1].text()?, "of the host")?;
    answers[2].failed_with("writing to the volume", &[libc::EROFS])?;
    let after = std::fs::read_to_string("/proc/self/mountinfo")?;
    equal("mounts on the host", after, before)
}

/// CRIU would make it again with its files, and without the map.
fn a_file_system_with_an_id_map_is_refused_and_the_payload_goes_on(case: &Case) -> Verdict {
    need_criu(case)?;
    let mut bundle = case.bundle()?;
    bundle.mount(
        json!({"destination": "/own", "type": "tmpfs", "source": "tmpfs",
        "options": ["idmap"], "uidMappings": mapping(1000, 1), "gidMappings": mapping(1000, 1)}),
    );
    let mut container = started(case, &mut bundle)?;
    checkpoint(case, &case.id, &[])
        .run()?
        .refused()?
        .says(&["id map"])?;
    container.ask_one(Ask::Count)?.number().map(drop)
}
