//! config.md#root, config.md#hostname, config.md#domainname, config.md#extensibility

use serde_json::json;

use crate::harness::case::Case;
use crate::harness::container::mount_at;
use crate::harness::verdict::{Verdict, equal, holds};
use crate::probe::ask::Ask;
use crate::tests;

tests! {
    "config.md#root" Must root_path_may_be_relative_to_the_bundle;
    "config.md#root" Must root_path_may_be_absolute;
    "config.md#root" Must a_missing_root_is_an_error;
    "config.md#root" Must a_file_as_root_is_an_error;
    "config.md#root" Must a_readonly_root_refuses_writes;
    "config.md#root" Must the_root_is_writable_by_default;
    "config.md#root" Must nothing_of_the_host_is_above_the_root;
    "config.md#hostname" Must hostname_is_set_in_the_uts_namespace;
    "config.md#domainname" Must domainname_is_set_in_the_uts_namespace;
    "config.md#extensibility" Must unknown_properties_are_ignored;
    "config.md#annotations" Must unknown_annotations_are_ignored;
    "config.md#specification-version" Must every_minor_version_of_the_same_major_is_accepted;
}

fn root_path_may_be_relative_to_the_bundle(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    std::fs::create_dir(bundle.dir.join("deeper"))?;
    std::fs::rename(bundle.rootfs(), bundle.dir.join("deeper/tree"))?;
    bundle.config["root"]["path"] = json!("deeper/tree");
    // From another directory: the bundle counts, not the caller's place.
    case.run_process(&mut bundle).map(drop)
}

fn root_path_may_be_absolute(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let elsewhere = case.dir.join("elsewhere");
    std::fs::rename(bundle.rootfs(), &elsewhere)?;
    bundle.config["root"]["path"] = json!(elsewhere);
    case.run_process(&mut bundle).map(drop)
}

fn a_missing_root_is_an_error(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.config["root"]["path"] = json!("not-there");
    case.create_refused(&bundle).map(drop)
}

fn a_file_as_root_is_an_error(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    std::fs::write(bundle.dir.join("file"), "")?;
    bundle.config["root"]["path"] = json!("file");
    case.create_refused(&bundle).map(drop)
}

fn a_readonly_root_refuses_writes(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.config["root"]["readonly"] = json!(true);
    let answers = case.run(
        &mut bundle,
        &[
            Ask::Create("/etc/new".into()),
            Ask::Create("/dev/shm/new".into()),
            Ask::Mounts,
        ],
    )?;
    answers[0].failed_with("a new file in the root", &[libc::EROFS])?;
    // Other mounts keep their own flags.
    answers[1].done()?;
    let root = mount_at(answers[2].mounts()?, "/")?;
    holds(
        root.flags.iter().any(|flag| flag == "ro"),
        format!("the root mount's flags are {:?}", root.flags),
    )
}

fn the_root_is_writable_by_default(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    if let Some(root) = bundle.config["root"].as_object_mut() {
        root.remove("readonly");
    }
    case.run_one(&mut bundle, Ask::Create("/etc/new".into()))?
        .done()?;
    holds(
        bundle.inside("/etc/new").exists(),
        "the file is not in the bundle's root",
    )
}

fn nothing_of_the_host_is_above_the_root(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.file("/etc/mark", "of this root")?;
    let answers = case.run(
        &mut bundle,
        &[
            Ask::Stat("/".into()),
            Ask::Stat("/..".into()),
            Ask::Read("/../../etc/mark".into()),
            Ask::Mounts,
        ],
    )?;
    equal(
        "the inode of /..",
        answers[1].stat()?.inode,
        answers[0].stat()?.inode,
    )?;
    equal(
        "the device of /..",
        answers[1].stat()?.device,
        answers[0].stat()?.device,
    )?;
    equal("/../../etc/mark", answers[2].text()?, "of this root")?;
    let mounts = answers[3].mounts()?;
    equal(
        "mounts at /",
        mounts.iter().filter(|mount| mount.target == "/").count(),
        1,
    )
}

fn hostname_is_set_in_the_uts_namespace(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let before = nix::unistd::gethostname()?;
    bundle.config["hostname"] = json!("a-name.example");
    equal(
        "hostname",
        case.run_process(&mut bundle)?.hostname.as_str(),
        "a-name.example",
    )?;
    equal("the host's own name", nix::unistd::gethostname()?, before)
}

fn domainname_is_set_in_the_uts_namespace(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.config["domainname"] = json!("example.org");
    equal(
        "domainname",
        case.run_process(&mut bundle)?.domainname.as_str(),
        "example.org",
    )
}

fn unknown_properties_are_ignored(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.config["unknownProperty"] = json!({"a": [1, 2]});
    bundle.process()["unknownProperty"] = json!("text");
    bundle.linux()["unknownProperty"] = json!(true);
    bundle.config["root"]["unknownProperty"] = json!(null);
    bundle.config["mounts"][0]["unknownProperty"] = json!(1.5);
    case.run_process(&mut bundle).map(drop)
}

fn unknown_annotations_are_ignored(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.config["annotations"] = json!({"com.example.unknown/key": "value", "x": "y"});
    case.run_process(&mut bundle).map(drop)
}

fn every_minor_version_of_the_same_major_is_accepted(case: &Case) -> Verdict {
    for version in ["1.0.0", "1.0.2-dev", "1.1.0", "1.2.1", "1.3.0+build.1"] {
        let mut bundle = case.bundle_named(version)?;
        bundle.config["ociVersion"] = json!(version);
        case.run_process(&mut bundle)?;
    }
    Ok(())
}
