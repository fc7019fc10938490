//! config-linux.md#masked-paths and config-linux.md#readonly-paths

use serde_json::json;

use crate::harness::bundle::Bundle;
use crate::harness::case::Case;
use crate::harness::container::mount_at;
use crate::harness::verdict::{Verdict, equal, holds};
use crate::probe::ask::Ask;
use crate::tests;

tests! {
    "config-linux.md#masked-paths" Must a_masked_file_reads_as_empty;
    "config-linux.md#masked-paths" Must a_masked_folder_is_empty;
    "config-linux.md#masked-paths" Must nothing_can_be_written_to_what_is_masked;
    "config-linux.md#masked-paths" Must a_masked_path_that_is_missing_is_skipped;
    "config-linux.md#masked-paths" Must masked_folders_can_be_listed;
    "runc(8)" Should masked_folders_are_one_file_system_without_room;
    "config-linux.md#readonly-paths" Must a_readonly_path_refuses_writes;
    "config-linux.md#readonly-paths" Must a_readonly_path_can_be_read;
    "config-linux.md#readonly-paths" Must a_readonly_path_that_is_missing_is_skipped;
    "config-linux.md#readonly-paths" Must a_readonly_path_keeps_its_other_flags;
    "config-linux.md#masked-paths" Must kernel_files_are_masked;
}

fn with_secrets(case: &Case) -> Verdict<Bundle> {
    let mut bundle = case.bundle()?;
    bundle.file("/secret/file", "do not read")?;
    bundle.file("/secret-file", "do not read")?;
    bundle.linux()["maskedPaths"] = json!(["/secret", "/secret-file"]);
    Ok(bundle)
}

fn a_masked_file_reads_as_empty(case: &Case) -> Verdict {
    equal(
        "the file",
        case.run_one(&mut with_secrets(case)?, Ask::Read("/secret-file".into()))?
            .text()?,
        "",
    )
}

fn a_masked_folder_is_empty(case: &Case) -> Verdict {
    case.run_one(&mut with_secrets(case)?, Ask::Read("/secret/file".into()))?
        .failed_with("the file in it", &[libc::ENOENT, libc::EACCES])
}

fn masked_folders_can_be_listed(case: &Case) -> Verdict {
    let none: &[String] = &[];
    equal(
        "the folder",
        case.run_one(&mut with_secrets(case)?, Ask::List("/secret".into()))?
            .names()?,
        none,
    )
}

/// A pod masks some ten folders in each container; a file system for each cost the kernel dearly.
fn masked_folders_are_one_file_system_without_room(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.mkdir("/first")?;
    bundle.mkdir("/second")?;
    bundle.linux()["maskedPaths"] = json!(["/first", "/second"]);
    let asks = [
        Ask::Stat("/first".into()),
        Ask::Stat("/second".into()),
        Ask::Mounts,
    ];
    let answers = case.run(&mut bundle, &asks)?;
    equal(
        "the devices",
        answers[0].stat()?.device,
        answers[1].stat()?.device,
    )?;
    let mount = mount_at(answers[2].mounts()?, "/second")?;
    holds(
        mount.flags.iter().any(|flag| flag == "ro"),
        format!("it is mounted {:?}", mount.flags),
    )
}

fn nothing_can_be_written_to_what_is_masked(case: &Case) -> Verdict {
    let mut bundle = with_secrets(case)?;
    let asks = [
        Ask::Create("/secret/new".into()),
        Ask::Write {
            path: "/secret-file".into(),
            text: "x".into(),
        },
        Ask::Stat("/secret-file".into()),
    ];
    let answers = case.run(&mut bundle, &asks)?;
    answers[0].failed_with("a new file", &[libc::EROFS, libc::EACCES])?;
    // /dev/null may swallow it; the file itself must be untouched.
    equal(
        "the file",
        std::fs::read_to_string(bundle.inside("/secret-file"))?.as_str(),
        "do not read",
    )
}

fn a_masked_path_that_is_missing_is_skipped(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.linux()["maskedPaths"] = json!(["/not/there"]);
    case.run_process(&mut bundle)?;
    holds(!bundle.inside("/not").exists(), "it was made")
}

fn with_readonly(case: &Case) -> Verdict<Bundle> {
    let mut bundle = case.bundle()?;
    bundle.file("/kept/file", "read me")?;
    bundle.file("/kept-file", "read me")?;
    bundle.linux()["readonlyPaths"] = json!(["/kept", "/kept-file"]);
    Ok(bundle)
}

fn a_readonly_path_refuses_writes(case: &Case) -> Verdict {
    let mut bundle = with_readonly(case)?;
    let write = |path: &str| Ask::Write {
        path: path.into(),
        text: "x".into(),
    };
    let answers = case.run(
        &mut bundle,
        &[
            Ask::Create("/kept/new".into()),
            write("/kept/file"),
            write("/kept-file"),
        ],
    )?;
    for (answer, what) in answers
        .iter()
        .zip(["a new file", "the file in the folder", "the file"])
    {
        answer.failed_with(what, &[libc::EROFS])?;
    }
    Ok(())
}

fn a_readonly_path_can_be_read(case: &Case) -> Verdict {
    let answers = case.run(
        &mut with_readonly(case)?,
        &[
            Ask::Read("/kept/file".into()),
            Ask::Read("/kept-file".into()),
        ],
    )?;
    equal("the file in the folder", answers[0].text()?, "read me")?;
    equal("the file", answers[1].text()?, "read me")
}

fn a_readonly_path_that_is_missing_is_skipped(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.linux()["readonlyPaths"] = json!(["/not/there"]);
    case.run_process(&mut bundle)?;
    holds(!bundle.inside("/not").exists(), "it was made")
}

fn a_readonly_path_keeps_its_other_flags(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.mount(json!({"destination": "/at", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "noexec", "nodev"]}));
    bundle.linux()["readonlyPaths"] = json!(["/at"]);
    let answer = case.run_one(&mut bundle, Ask::Mounts)?;
    let flags = &crate::harness::container::mount_at(answer.mounts()?, "/at")?.flags;
    for flag in ["ro", "nosuid", "noexec", "nodev"] {
        holds(
            flags.iter().any(|have| have == flag),
            format!("{flag} is not in {flags:?}"),
        )?;
    }
    Ok(())
}

fn kernel_files_are_masked(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.linux()["maskedPaths"] =
        json!(["/proc/version", "/proc/bus", "/proc/sys/kernel/random"]);
    bundle.linux()["readonlyPaths"] = json!([]);
    let asks = [
        Ask::Read("/proc/version".into()),
        Ask::Read("/proc/sys/kernel/random/boot_id".into()),
    ];
    let answers = case.run(&mut bundle, &asks)?;
    equal("/proc/version", answers[0].text()?, "")?;
    answers[1].failed_with(
        "a file in a masked folder of /proc/sys",
        &[libc::ENOENT, libc::EACCES],
    )
}
