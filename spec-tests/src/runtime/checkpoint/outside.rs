//! What a container has of the host, before and after.

use std::os::unix::fs::MetadataExt;

use serde_json::json;

use super::{again, checkpoint, need_criu, restore, started};
use crate::harness::case::Case;
use crate::harness::container::mount_at;
use crate::harness::host_mount::HostMount;
use crate::harness::verdict::{Doing, Verdict, equal, holds};
use crate::probe::ask::{Ask, Mount};
use crate::tests;

tests! {
    "runc-restore(8)" Compat a_joined_network_namespace_is_joined_again;
    "runc-restore(8)" Compat mounts_are_as_they_were;
    "runc-restore(8)" Compat what_is_mounted_below_a_volume_comes_along_again;
    "runc-restore(8)" Compat a_stream_that_is_a_file_of_the_host_is_written_again;
    "runc-restore(8)" Compat missing_mount_points_are_made_again;
    "CVE-2019-18837" Attack a_mount_point_that_became_a_link_makes_nothing_on_the_host;
}

/// What can be compared before and after: CRIU gives peer groups and devices new numbers.
fn shape(mounts: &[Mount]) -> Vec<String> {
    let mut all: Vec<String> = mounts
        .iter()
        .map(|mount| {
            let mut flags = mount.flags.clone();
            flags.sort();
            format!("{} {} {flags:?}", mount.target, mount.kind)
        })
        .collect();
    all.sort();
    all
}

fn a_joined_network_namespace_is_joined_again(case: &Case) -> Verdict {
    need_criu(case)?;
    let mut pod = case.bundle_named("pod")?;
    let sandbox = case.create_named(&mut pod, &format!("{}-pod", case.id))?;
    let path = format!("/proc/{}/ns/net", sandbox.pid()?);
    let inode = std::fs::metadata(&path)?.ino();
    let mut bundle = case.bundle()?;
    bundle.join_namespace("network", &path);
    let mut container = started(case, &mut bundle)?;
    container.ask_one(Ask::Loopback)?.done()?;
    let mut restored = again(case, container, &bundle, &[])?;
    let process = restored.ask_one(Ask::Process)?.process()?;
    let joined = process.namespaces.get("net").cloned().unwrap_or_default();
    equal("the namespace", joined, format!("net:[{inode}]"))?;
    restored.ask_one(Ask::Loopback)?.done()
}

fn mounts_are_as_they_were(case: &Case) -> Verdict {
    need_criu(case)?;
    let folder = case.folder("volume")?;
    std::fs::write(folder.join("file"), "of the volume")?;
    let file = case.file("single", "of the file")?;
    let mut bundle = case.bundle()?;
    bundle
        .bind(&folder, "/volume", &["rw"])
        .bind(&file, "/etc/single", &["ro"])
        .bind(&folder, "/tmp/link/below", &["ro", "nosuid", "nodev"])
        .symlink("../etc", "/tmp/link")?;
    let mut container = started(case, &mut bundle)?;
    let before = shape(container.ask_one(Ask::Mounts)?.mounts()?);
    let mut restored = again(case, container, &bundle, &[])?;
    let answers = restored.ask(&[
        Ask::Mounts,
        Ask::Read("/volume/file".into()),
        Ask::Read("/etc/single".into()),
        Ask::Write {
            path: "/etc/single".into(),
            text: "x".into(),
        },
        Ask::Read("/etc/below/file".into()),
        Ask::Create("/volume/new".into()),
        Ask::Read("/proc/timer_list".into()),
        Ask::List("/sys/firmware".into()),
        Ask::Write {
            path: "/proc/sys/kernel/hostname".into(),
            text: "x".into(),
        },
    ])?;
    let after = shape(answers[0].mounts()?);
    let differs = |a: &[String], b: &[String]| -> Vec<String> {
        a.iter().filter(|line| !b.contains(line)).cloned().collect()
    };
    equal(
        "what is lost",
        differs(&before, &after),
        Vec::<String>::new(),
    )?;
    equal(
        "what is new",
        differs(&after, &before),
        Vec::<String>::new(),
    )?;
    equal("the volume", answers[1].text()?, "of the volume")?;
    equal("the file", answers[2].text()?, "of the file")?;
    answers[3].failed_with("writing to the file", &[libc::EROFS])?;
    equal("through the link", answers[4].text()?, "of the volume")?;
    answers[5].done()?;
    holds(folder.join("new").exists(), "it is not the same folder")?;
    equal("the masked file", answers[6].text()?, "")?;
    equal("the masked folder", answers[7].names()?.len(), 0)?;
    answers[8].failed_with("writing to a read-only path", &[libc::EROFS])
}

fn what_is_mounted_below_a_volume_comes_along_again(case: &Case) -> Verdict {
    need_criu(case)?;
    let folder = case.folder("volume/with blank")?;
    let top = case.dir.join("volume");
    let _mounted = HostMount::tmpfs(&folder)?;
    std::fs::write(folder.join("file"), "below")?;
    let mut bundle = case.bundle()?;
    bundle.mount(
        json!({"destination": "/volume", "type": "bind", "source": top, "options": ["rbind"]}),
    );
    let mut container = started(case, &mut bundle)?;
    let read = Ask::Read("/volume/with blank/file".into());
    equal(
        "the file",
        container.ask_one(read.clone())?.text()?,
        "below",
    )?;
    let mut restored = again(case, container, &bundle, &[])?;
    // Not a copy of it.
    std::fs::write(folder.join("file"), "later")?;
    equal("the file", restored.ask_one(read)?.text()?, "later")
}

fn missing_mount_points_are_made_again(case: &Case) -> Verdict {
    need_criu(case)?;
    let folder = case.folder("volume")?;
    std::fs::write(folder.join("file"), "inner")?;
    let outer = case.folder("outer")?;
    let mut bundle = case.bundle()?;
    bundle
        .bind(&outer, "/made/outer", &["rw"])
        .bind(&folder, "/made/outer/inner", &["ro"]);
    let _saved = started(case, &mut bundle)?;
    checkpoint(case, &case.id, &[]).run()?.succeeded()?;
    // As on another host, where the image was just unpacked.
    std::fs::remove_dir(outer.join("inner")).doing("the mount point in the volume")?;
    std::fs::remove_dir_all(bundle.inside("/made")).doing("the mount point in the root")?;
    let call = restore(case, &bundle, &["--detach"]);
    let mut restored = case.create_with(call, &case.id)?;
    let answers = restored.ask(&[Ask::Read("/made/outer/inner/file".into()), Ask::Mounts])?;
    equal("the inner volume", answers[0].text()?, "inner")?;
    mount_at(answers[1].mounts()?, "/made/outer/inner").map(drop)
}

/// A mount point of the root is a link to a folder of the host by the time of the restore.
fn a_mount_point_that_became_a_link_makes_nothing_on_the_host(case: &Case) -> Verdict {
    need_criu(case)?;
    let host = case.folder("host")?;
    let volume = case.folder("volume")?;
    std::fs::write(volume.join("file"), "x")?;
    let mut bundle = case.bundle()?;
    bundle.bind(&volume, "/data/inner/volume", &["rw"]);
    let _saved = started(case, &mut bundle)?;
    checkpoint(case, &case.id, &[]).run()?.succeeded()?;
    std::fs::remove_dir_all(bundle.inside("/data")).doing("the mount point")?;
    bundle.symlink(&host, "/data")?;
    let before = std::fs::read_to_string("/proc/self/mountinfo")?;
    // It may be refused, or made below the root.
    restore(case, &bundle, &["--detach"]).run()?;
    let made: Vec<_> = std::fs::read_dir(&host)?.filter_map(Result::ok).collect();
    holds(made.is_empty(), format!("on the host: {made:?}"))?;
    let after = std::fs::read_to_string("/proc/self/mountinfo")?;
    equal("mounts on the host", after, before)
}

fn a_stream_that_is_a_file_of_the_host_is_written_again(case: &Case) -> Verdict {
    need_criu(case)?;
    let path = case.file("errors", "")?;
    let mut bundle = case.bundle()?;
    bundle.serves().write()?;
    let appended = format!("exec \"$@\" 2>>{}", path.display());
    let through = ["sh", "-c", appended.as_str(), "sh"];
    let call = case
        .runtime(["run", "--detach", "--bundle"])
        .arg(&bundle.dir);
    let call = call.arg(&case.id).through(through);
    let mut container = case.create_with(call, &case.id)?;
    let say = |text: &str| Ask::WriteFd {
        fd: 2,
        text: text.into(),
    };
    container.ask_one(say("before "))?.done()?;
    checkpoint(case, &case.id, &[]).run()?.succeeded()?;
    drop(container);
    let call = restore(case, &bundle, &["--detach"]).through(through);
    let mut restored = case.create_with(call, &case.id)?;
    restored.ask_one(say("after"))?.done()?;
    equal(
        "the file",
        std::fs::read_to_string(path)?.as_str(),
        "before after",
    )
}
