//! Links in the root file system that lead to the host

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::harness::bundle::Bundle;
use crate::harness::case::Case;
use crate::harness::verdict::{Verdict, fail};
use crate::probe::ask::Ask;
use crate::tests;

tests! {
    "CVE-2026-41579, CVE-2026-47766" Attack an_absolute_dev_link_makes_nothing_on_the_host;
    "CVE-2026-41579, CVE-2026-47766" Attack a_relative_dev_link_makes_nothing_on_the_host;
    "CVE-2026-41579, CVE-2026-47766" Attack a_dev_link_below_a_tmpfs_makes_nothing_on_the_host;
    "CVE-2026-41579, CVE-2026-47766" Attack devices_of_config_are_not_made_on_the_host;
    "CVE-2019-18837" Attack mount_points_are_not_made_on_the_host;
    "CVE-2019-18837" Attack files_for_bind_mounts_are_not_made_on_the_host;
    "CVE-2019-18837" Attack a_dangling_link_as_destination_makes_nothing_on_the_host;
    "CVE-2023-27561, CVE-2023-28642" Attack a_proc_link_does_not_undo_the_masks;
    "CVE-2023-27561, CVE-2023-28642" Attack a_sys_link_does_not_undo_the_masks;
    "CVE-2025-52565, CVE-2026-88264" Attack a_console_link_makes_nothing_on_the_host;
    "CVE-2026-88265" Attack a_null_link_does_not_make_a_stream_of_a_file_of_the_host;
    "" Attack a_cwd_link_makes_nothing_on_the_host;
    "" Attack links_of_tmpcopyup_are_copied_as_links;
}

/// A folder of the host that must stay empty.
fn outside(case: &Case) -> Verdict<PathBuf> {
    case.folder("outside")
}

/// What is in it after the attack; the modes of what is there do not matter.
fn stayed_empty(outside: &Path) -> Verdict {
    let names: Vec<String> = std::fs::read_dir(outside)?
        .filter_map(Result::ok)
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    if names.is_empty() {
        Ok(())
    } else {
        fail(format!("the runtime made {names:?} on the host"))
    }
}

fn without_dev(bundle: &mut Bundle) -> Verdict {
    bundle
        .without_mount("/dev")
        .without_mount("/dev/pts")
        .without_mount("/dev/shm")
        .without_mount("/dev/mqueue");
    std::fs::remove_dir(bundle.inside("/dev"))?;
    Ok(())
}

/// Runs it whatever comes of it, then the folder outside must be empty.
fn run_and_look(case: &Case, bundle: &mut Bundle, outside: &Path) -> Verdict {
    bundle.answers(&[Ask::Process])?;
    case.run_call(bundle)?.run()?;
    stayed_empty(outside)
}

fn an_absolute_dev_link_makes_nothing_on_the_host(case: &Case) -> Verdict {
    let (outside, mut bundle) = (outside(case)?, case.bundle()?);
    without_dev(&mut bundle)?;
    bundle.symlink(&outside, "/dev")?;
    run_and_look(case, &mut bundle, &outside)
}

fn a_relative_dev_link_makes_nothing_on_the_host(case: &Case) -> Verdict {
    let (outside, mut bundle) = (outside(case)?, case.bundle()?);
    without_dev(&mut bundle)?;
    bundle.symlink("../../outside", "/dev")?;
    run_and_look(case, &mut bundle, &outside)
}

fn a_dev_link_below_a_tmpfs_makes_nothing_on_the_host(case: &Case) -> Verdict {
    let (outside, mut bundle) = (outside(case)?, case.bundle()?);
    std::fs::remove_dir(bundle.inside("/dev"))?;
    bundle.symlink(&outside, "/dev")?;
    // With the default mounts: /dev itself, pts, shm and mqueue below it.
    run_and_look(case, &mut bundle, &outside)
}

fn devices_of_config_are_not_made_on_the_host(case: &Case) -> Verdict {
    let (outside, mut bundle) = (outside(case)?, case.bundle()?);
    bundle.symlink(&outside, "/link")?;
    bundle.linux()["devices"] = json!([
        {"path": "/link/null", "type": "c", "major": 1, "minor": 3},
        {"path": "/dev/../../../outside/null", "type": "c", "major": 1, "minor": 3},
    ]);
    run_and_look(case, &mut bundle, &outside)
}

fn mount_points_are_not_made_on_the_host(case: &Case) -> Verdict {
    let (outside, mut bundle) = (outside(case)?, case.bundle()?);
    bundle.symlink(&outside, "/absolute")?;
    bundle.symlink("../../outside", "/relative")?;
    for destination in [
        "/absolute/one",
        "/relative/two",
        "/absolute/deep/er",
        "/../../outside/three",
    ] {
        bundle.mount(json!({"destination": destination, "type": "tmpfs", "source": "tmpfs"}));
    }
    run_and_look(case, &mut bundle, &outside)
}

fn files_for_bind_mounts_are_not_made_on_the_host(case: &Case) -> Verdict {
    let (outside, mut bundle) = (outside(case)?, case.bundle()?);
    let source = case.file("source", "text")?;
    bundle.symlink(&outside, "/absolute")?;
    bundle.symlink("../../../outside/hosts", "/etc/hosts")?;
    bundle
        .bind(&source, "/absolute/file", &[])
        .bind(&source, "/etc/hosts", &[]);
    run_and_look(case, &mut bundle, &outside)
}

fn a_dangling_link_as_destination_makes_nothing_on_the_host(case: &Case) -> Verdict {
    let (outside, mut bundle) = (outside(case)?, case.bundle()?);
    bundle.symlink(outside.join("not-there"), "/dangling")?;
    bundle.mount(json!({"destination": "/dangling", "type": "tmpfs", "source": "tmpfs"}));
    run_and_look(case, &mut bundle, &outside)
}

/// The bundle has this top folder as a link to another one, and these paths masked: none may be read by either name.
fn masks_hold(case: &Case, top: &str, masked: &[&str]) -> Verdict {
    // The second way leads to the same folder as long as nothing is mounted there, and nowhere afterwards.
    for (n, way) in ["/elsewhere", "/elsewhere/x/.."].iter().enumerate() {
        let mut bundle = case.bundle_named(&format!("bundle{n}"))?;
        std::fs::remove_dir(bundle.inside(top))?;
        bundle.mkdir("/elsewhere/x")?;
        bundle.symlink(way, top)?;
        bundle.linux()["maskedPaths"] = json!(masked);
        bundle.linux()["readonlyPaths"] = json!([]);
        let mut asks = Vec::new();
        for path in masked {
            asks.push(Ask::Read(path.into()));
            asks.push(Ask::Read(path.replacen(top, "/elsewhere", 1).into()));
        }
        bundle.answers(&asks)?;
        let outcome = case.run_call(&bundle)?.run()?;
        let Some(line) = outcome.stdout.lines().find(|line| line.starts_with('[')) else {
            continue;
        };
        for (ask, answer) in asks
            .iter()
            .zip(crate::harness::container::parse_line(line, asks.len())?)
        {
            if matches!(&answer, crate::probe::ask::Answer::Text(text) if !text.is_empty()) {
                return fail(format!(
                    "a masked file can be read: {ask:?}, {top} is {way}"
                ));
            }
        }
    }
    Ok(())
}

fn a_proc_link_does_not_undo_the_masks(case: &Case) -> Verdict {
    masks_hold(
        case,
        "/proc",
        &["/proc/version", "/proc/cmdline", "/proc/filesystems"],
    )
}

fn a_sys_link_does_not_undo_the_masks(case: &Case) -> Verdict {
    masks_hold(
        case,
        "/sys",
        &[
            "/sys/kernel/uevent_seqnum",
            "/sys/kernel/profiling",
            "/sys/kernel/notes",
        ],
    )
}

fn a_console_link_makes_nothing_on_the_host(case: &Case) -> Verdict {
    let outside = outside(case)?;
    let socket = crate::harness::console::FdSocket::listen(case)?;
    for readonly in [false, true] {
        let mut bundle = case.bundle_named(&format!("bundle-{readonly}"))?;
        bundle
            .without_mount("/dev")
            .without_mount("/dev/shm")
            .without_mount("/dev/mqueue");
        bundle.symlink(outside.join("console"), "/dev/console")?;
        bundle.symlink(outside.join("ptmx"), "/dev/ptmx")?;
        bundle.config["root"]["readonly"] = json!(readonly);
        bundle.process()["terminal"] = json!(true);
        bundle.answers(&[Ask::Process])?.write()?;
        let id = format!("{}-{readonly}", case.id);
        let call = case
            .runtime(["create", "--console-socket"])
            .arg(socket.path());
        call.arg("--bundle").arg(&bundle.dir).arg(&id).run()?;
        case.runtime(["delete", "--force", &id]).run()?;
        stayed_empty(&outside)?;
    }
    Ok(())
}

/// The runtime swaps the host's /dev/null among the streams for the container's, and gives streams to the payload's
/// user.
fn a_null_link_does_not_make_a_stream_of_a_file_of_the_host(case: &Case) -> Verdict {
    case.need_root()?;
    let file = case.file("null", "of the host")?;
    let owner = std::fs::metadata(&file)?.uid();
    let folder = case.dir.to_string_lossy().into_owned();
    let own = std::process::id();
    // By its path, and by a descriptor of the host's /proc that the runtime may still have.
    let mut ways = vec![folder.clone(), format!("../..{folder}")];
    ways.extend((3..8).map(|fd| format!("/proc/self/fd/{fd}/{own}/root{folder}")));
    for (n, way) in ways.iter().enumerate() {
        for place in ["/dev", "/dev/null", "volume"] {
            let mut bundle = case.bundle_named(&format!("bundle{n}{}", place.len()))?;
            without_dev(&mut bundle)?;
            match place {
                "/dev" => bundle.symlink(way, place)?,
                "volume" => {
                    // Devices are the bundle's own matter then.
                    let volume = bundle.dir.join(place);
                    std::fs::create_dir(&volume)?;
                    std::os::unix::fs::symlink(format!("{way}/null"), volume.join("null"))?;
                    bundle.bind(&volume, "/dev", &["rw"]);
                }
                _ => {
                    bundle.mkdir("/dev")?;
                    bundle.symlink(format!("{way}/null"), place)?;
                }
            }
            bundle.process()["user"] = json!({"uid": 1234, "gid": 1234});
            let fd = 0;
            bundle.answers(&[Ask::WriteFd {
                fd,
                text: "attack".into(),
            }])?;
            let null = std::process::Stdio::null();
            case.run_call(&bundle)?.stdin(null).run()?;
            let text = std::fs::read_to_string(&file)?;
            if std::fs::metadata(&file)?.uid() != owner || text != "of the host" {
                return fail(format!("{way}: the payload got a file of the host"));
            }
        }
    }
    Ok(())
}

fn a_cwd_link_makes_nothing_on_the_host(case: &Case) -> Verdict {
    let (outside, mut bundle) = (outside(case)?, case.bundle()?);
    bundle.symlink(&outside, "/absolute")?;
    bundle.process()["cwd"] = json!("/absolute/new/folder");
    run_and_look(case, &mut bundle, &outside)
}

fn links_of_tmpcopyup_are_copied_as_links(case: &Case) -> Verdict {
    let (outside, mut bundle) = (outside(case)?, case.bundle()?);
    case.file("secret", "secret of the host")?;
    bundle.mkdir("/full")?;
    bundle.symlink(case.dir.join("secret"), "/full/absolute")?;
    bundle.symlink("../../../secret", "/full/relative")?;
    bundle.symlink(&outside, "/full/folder")?;
    bundle.mount(json!({"destination": "/full", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"]}));
    bundle.answers(&[
        Ask::Read("/full/absolute".into()),
        Ask::Read("/full/relative".into()),
    ])?;
    let outcome = case.run_call(&bundle)?.run()?;
    if outcome.stdout.contains("secret of the host") {
        return fail("a file of the host was copied into the container");
    }
    stayed_empty(&outside)
}
