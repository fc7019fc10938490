//! crun's mount options for symbolic links: `copy-symlink`, `src-nofollow`, `dest-nofollow`.

use std::fs;
use std::os::unix::fs::symlink;

use crate::harness::case::Case;
use crate::harness::container::mount_at;
use crate::harness::verdict::{Verdict, equal, holds};
use crate::probe::ask::Ask;
use crate::tests;

tests! {
    "crun#mount-options" Compat copy_symlink_makes_a_link_like_the_source;
    "crun#mount-options" Compat copy_symlink_accepts_the_same_link;
    "crun#mount-options" Compat copy_symlink_binds_what_is_no_link;
    "crun#mount-options" Compat copy_symlink_stays_in_the_root;
    "crun#mount-options" Compat src_nofollow_binds_the_link_itself;
    "crun#mount-options" Compat dest_nofollow_mounts_on_the_link_itself;
    "crun#mount-options" Compat dest_nofollow_does_not_follow_a_link_out;
}

fn copy_symlink_makes_a_link_like_the_source(case: &Case) -> Verdict {
    let link = case.dir.join("link");
    symlink("../etc/target", &link)?;
    let mut bundle = case.bundle()?;
    bundle.bind(&link, "/new/place", &["copy-symlink"]);
    let answers = case.run(
        &mut bundle,
        &[Ask::ReadLink("/new/place".into()), Ask::Mounts],
    )?;
    equal("the link inside", answers[0].text()?, "../etc/target")?;
    holds(
        mount_at(answers[1].mounts()?, "/new/place").is_err(),
        "something is mounted there",
    )
}

fn copy_symlink_accepts_the_same_link(case: &Case) -> Verdict {
    let link = case.dir.join("link");
    symlink("target", &link)?;
    let mut bundle = case.bundle()?;
    bundle.symlink("target", "/place")?;
    bundle.bind(&link, "/place", &["copy-symlink"]);
    let answer = case.run_one(&mut bundle, Ask::ReadLink("/place".into()))?;
    equal("the link inside", answer.text()?, "target")
}

fn copy_symlink_binds_what_is_no_link(case: &Case) -> Verdict {
    let file = case.file("file", "of the host")?;
    let mut bundle = case.bundle()?;
    bundle.bind(&file, "/place", &["copy-symlink"]);
    let answer = case.run_one(&mut bundle, Ask::Read("/place".into()))?;
    equal("the file", answer.text()?, "of the host")
}

fn copy_symlink_stays_in_the_root(case: &Case) -> Verdict {
    let (link, outside) = (case.dir.join("link"), case.folder("outside")?);
    symlink("target", &link)?;
    let mut bundle = case.bundle()?;
    bundle.symlink(&outside, "/out")?;
    bundle.bind(&link, "/out/place", &["copy-symlink"]);
    bundle.answers(&[Ask::Process])?;
    // Refused or made inside: both are right.
    case.run_call(&bundle)?.run()?;
    holds(
        fs::read_dir(&outside)?.next().is_none(),
        "the link was made on the host",
    )
}

fn src_nofollow_binds_the_link_itself(case: &Case) -> Verdict {
    let link = case.dir.join("link");
    symlink("target", &link)?;
    let mut bundle = case.bundle()?;
    bundle.file("/place", "")?;
    bundle.bind(&link, "/place", &["src-nofollow"]);
    let answer = case.run_one(&mut bundle, Ask::ReadLink("/place".into()))?;
    equal("the link inside", answer.text()?, "target")
}

fn dest_nofollow_mounts_on_the_link_itself(case: &Case) -> Verdict {
    let file = case.file("file", "of the host")?;
    let mut bundle = case.bundle()?;
    bundle.file("/behind", "of the image")?;
    bundle.symlink("behind", "/place")?;
    bundle.bind(&file, "/place", &["dest-nofollow"]);
    let asks = ["/place", "/behind"].map(|path| Ask::Read(path.into()));
    let answers = case.run(&mut bundle, &asks)?;
    equal("what lies over the link", answers[0].text()?, "of the host")?;
    equal("what the link led to", answers[1].text()?, "of the image")
}

fn dest_nofollow_does_not_follow_a_link_out(case: &Case) -> Verdict {
    let file = case.file("file", "of the host")?;
    let outside = case.file("outside", "")?;
    let mut bundle = case.bundle()?;
    bundle.symlink(&outside, "/place")?;
    bundle.bind(&file, "/place", &["dest-nofollow"]);
    let answer = case.run_one(&mut bundle, Ask::Read("/place".into()))?;
    equal("what lies over the link", answer.text()?, "of the host")?;
    equal("the host's file", fs::read_to_string(outside)?, "")
}
