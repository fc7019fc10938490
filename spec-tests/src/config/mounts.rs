//! config.md#mounts: places, sources and order

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::harness::case::Case;
use crate::harness::container::mount_at;
use crate::harness::host_mount::HostMount;
use crate::harness::verdict::{Verdict, equal, holds};
use crate::probe::ask::Ask;
use crate::tests;

tests! {
    "config.md#mounts" Must mounts_are_made_in_the_listed_order;
    "config.md#mounts" Must a_later_mount_covers_an_earlier_one_at_the_same_place;
    "config.md#mounts" Must a_bind_mount_shows_the_source;
    "config.md#mounts" Must a_bind_mount_of_a_file_shows_the_file;
    "config.md#mounts" Must a_bind_source_may_be_relative_to_the_bundle;
    "config.md#mounts" Must a_missing_bind_source_is_an_error;
    "config.md#mounts" Must a_missing_destination_folder_is_made;
    "config.md#mounts" Must a_missing_destination_of_a_file_is_made_as_a_file;
    "config.md#mounts" Must a_destination_that_is_a_link_is_resolved_inside_the_root;
    "config.md#mounts" Must a_destination_with_dots_stays_inside_the_root;
    "config.md#mounts" Must an_unknown_file_system_type_is_an_error;
    "config.md#mounts" Must a_bind_mount_is_not_recursive;
    "config.md#mounts" Must an_rbind_mount_is_recursive;
    "config.md#mounts" Must tmpfs_gets_its_data;
    "config.md#mounts" Must devpts_is_an_instance_of_its_own;
    "config.md#mounts" Must proc_shows_the_new_pid_namespace;
    "config.md#mounts" Must mqueue_is_mounted;
    "config.md#mounts" Must overlay_is_mounted_with_its_data;
    "config.md#mounts" Should a_relative_destination_is_taken_from_the_root;
}

fn tmpfs(destination: &str, options: &[&str]) -> serde_json::Value {
    json!({"destination": destination, "type": "tmpfs", "source": "tmpfs", "options": options})
}

fn mounts_are_made_in_the_listed_order(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle
        .mount(tmpfs("/a", &[]))
        .mount(tmpfs("/a/b", &[]))
        .mount(tmpfs("/a/b/c", &[]))
        .mount(tmpfs("/z", &[]));
    let answer = case.run_one(&mut bundle, Ask::Mounts)?;
    let order: Vec<&str> = answer
        .mounts()?
        .iter()
        .map(|mount| mount.target.as_str())
        .filter(|target| target.starts_with("/a") || *target == "/z")
        .collect();
    equal("the order", order, ["/a", "/a/b", "/a/b/c", "/z"])
}

fn a_later_mount_covers_an_earlier_one_at_the_same_place(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let (one, two) = (case.folder("one")?, case.folder("two")?);
    std::fs::write(one.join("name"), "one")?;
    std::fs::write(two.join("name"), "two")?;
    bundle.bind(&one, "/at", &[]).bind(&two, "/at", &[]);
    equal(
        "/at/name",
        case.run_one(&mut bundle, Ask::Read("/at/name".into()))?
            .text()?,
        "two",
    )
}

fn a_bind_mount_shows_the_source(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let source = case.folder("source")?;
    std::fs::write(source.join("file"), "of the host")?;
    bundle.bind(&source, "/at", &["rw"]);
    let answers = case.run(
        &mut bundle,
        &[Ask::Read("/at/file".into()), Ask::Create("/at/new".into())],
    )?;
    equal("/at/file", answers[0].text()?, "of the host")?;
    answers[1].done()?;
    holds(
        source.join("new").exists(),
        "what was made inside is not in the source",
    )
}

fn a_bind_mount_of_a_file_shows_the_file(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let source = case.file("source", "of the host")?;
    bundle.file("/etc/name", "of the root")?;
    bundle.bind(&source, "/etc/name", &[]);
    equal(
        "/etc/name",
        case.run_one(&mut bundle, Ask::Read("/etc/name".into()))?
            .text()?,
        "of the host",
    )
}

fn a_bind_source_may_be_relative_to_the_bundle(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    std::fs::create_dir(bundle.dir.join("beside"))?;
    std::fs::write(bundle.dir.join("beside/file"), "beside config.json")?;
    bundle.bind(Path::new("beside"), "/at", &[]);
    equal(
        "/at/file",
        case.run_one(&mut bundle, Ask::Read("/at/file".into()))?
            .text()?,
        "beside config.json",
    )
}

fn a_missing_bind_source_is_an_error(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.bind(&case.dir.join("nothing"), "/at", &[]);
    case.create_refused(&bundle)?;
    holds(!case.dir.join("nothing").exists(), "the source was made")
}

fn a_missing_destination_folder_is_made(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.mount(tmpfs("/not/there/yet", &[]));
    let answer = case.run_one(&mut bundle, Ask::Stat("/not/there/yet".into()))?;
    equal("its kind", answer.stat()?.kind.as_str(), "dir")
}

fn a_missing_destination_of_a_file_is_made_as_a_file(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let source = case.file("source", "text")?;
    bundle.bind(&source, "/not/there/file", &["ro"]);
    equal(
        "the file",
        case.run_one(&mut bundle, Ask::Read("/not/there/file".into()))?
            .text()?,
        "text",
    )
}

fn a_destination_that_is_a_link_is_resolved_inside_the_root(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let outside = case.folder("outside")?;
    bundle.mkdir(&outside.to_string_lossy())?;
    bundle.symlink(&outside, "/link")?;
    bundle.mount(tmpfs("/link", &[]));
    let answer = case.run_one(&mut bundle, Ask::Mounts)?;
    // Inside, the absolute target of the link is a path below the container's own root.
    mount_at(answer.mounts()?, &outside.to_string_lossy()).map(drop)
}

fn a_destination_with_dots_stays_inside_the_root(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.mount(tmpfs("/../../../tmp/../dotted", &[]));
    mount_at(case.run_one(&mut bundle, Ask::Mounts)?.mounts()?, "/dotted").map(drop)
}

fn an_unknown_file_system_type_is_an_error(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.mount(json!({"destination": "/x", "type": "nosuchfs", "source": "none"}));
    case.create_refused(&bundle).map(drop)
}

/// A folder of the host with a tmpfs mounted below it; root only.
fn nested(case: &Case) -> Verdict<(PathBuf, HostMount)> {
    case.need_root()?;
    let source = case.folder("source")?;
    let below = HostMount::tmpfs(&case.folder("source/below")?)?;
    std::fs::write(below.path().join("deep"), "deep")?;
    Ok((source, below))
}

fn a_bind_mount_is_not_recursive(case: &Case) -> Verdict {
    let (source, _below) = nested(case)?;
    let mut bundle = case.bundle()?;
    bundle.bind(&source, "/at", &[]);
    let names = case.run_one(&mut bundle, Ask::List("/at/below".into()))?;
    equal("/at/below", names.names()?, &[] as &[String])
}

fn an_rbind_mount_is_recursive(case: &Case) -> Verdict {
    let (source, _below) = nested(case)?;
    let mut bundle = case.bundle()?;
    bundle.mount(
        json!({"destination": "/at", "type": "none", "source": source, "options": ["rbind"]}),
    );
    equal(
        "/at/below/deep",
        case.run_one(&mut bundle, Ask::Read("/at/below/deep".into()))?
            .text()?,
        "deep",
    )
}

fn tmpfs_gets_its_data(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.mount(tmpfs("/at", &["mode=1750", "size=128k", "nr_inodes=77"]));
    let answers = case.run(&mut bundle, &[Ask::Stat("/at".into()), Ask::Mounts])?;
    equal("the mode", answers[0].stat()?.mode, 0o1750)?;
    let mount = mount_at(answers[1].mounts()?, "/at")?;
    for wanted in ["size=128k", "nr_inodes=77"] {
        holds(
            mount.data.iter().any(|data| data == wanted),
            format!("{wanted} is not in {:?}", mount.data),
        )?;
    }
    equal("the type", mount.kind.as_str(), "tmpfs")
}

fn devpts_is_an_instance_of_its_own(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let names = case.run_one(&mut bundle, Ask::List("/dev/pts".into()))?;
    equal("/dev/pts", names.names()?, ["ptmx"])
}

fn proc_shows_the_new_pid_namespace(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let answers = case.run(&mut bundle, &[Ask::List("/proc".into()), Ask::Mounts])?;
    let pids: Vec<&String> = answers[0]
        .names()?
        .iter()
        .filter(|name| name.parse::<i32>().is_ok())
        .collect();
    equal("the processes in /proc", pids, ["1"])?;
    equal(
        "its type",
        mount_at(answers[1].mounts()?, "/proc")?.kind.as_str(),
        "proc",
    )
}

fn mqueue_is_mounted(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let answer = case.run_one(&mut bundle, Ask::Mounts)?;
    equal(
        "its type",
        mount_at(answer.mounts()?, "/dev/mqueue")?.kind.as_str(),
        "mqueue",
    )
}

fn overlay_is_mounted_with_its_data(case: &Case) -> Verdict {
    case.need_root()?;
    let mut bundle = case.bundle()?;
    // Layer directories with long names: such data does not fit into one fsconfig(2) value.
    let long = "x".repeat(90);
    let (lower, other) = (
        case.folder(&format!("lower-{long}"))?,
        case.folder(&format!("other-{long}"))?,
    );
    let (upper, work) = (
        case.folder(&format!("upper-{long}"))?,
        case.folder(&format!("work-{long}"))?,
    );
    std::fs::write(lower.join("low"), "low")?;
    std::fs::write(other.join("other"), "other")?;
    let options = [
        format!("lowerdir={}:{}", lower.display(), other.display()),
        format!("upperdir={}", upper.display()),
        format!("workdir={}", work.display()),
    ];
    bundle.mount(
        json!({"destination": "/at", "type": "overlay", "source": "overlay", "options": options}),
    );
    let asks = [
        Ask::Read("/at/low".into()),
        Ask::Read("/at/other".into()),
        Ask::Create("/at/new".into()),
    ];
    let answers = case.run(&mut bundle, &asks)?;
    equal("/at/low", answers[0].text()?, "low")?;
    equal("/at/other", answers[1].text()?, "other")?;
    answers[2].done()?;
    holds(
        upper.join("new").exists(),
        "the new file is not in upperdir",
    )
}

fn a_relative_destination_is_taken_from_the_root(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.mount(tmpfs("some/place", &[]));
    mount_at(
        case.run_one(&mut bundle, Ask::Mounts)?.mounts()?,
        "/some/place",
    )
    .map(drop)
}
