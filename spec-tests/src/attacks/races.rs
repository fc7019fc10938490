//! Names that change between a check and its use

use std::os::unix::fs::MetadataExt;

use serde_json::json;

use crate::harness::case::Case;
use crate::harness::container::parse_line;
use crate::harness::swapper::Swapper;
use crate::harness::verdict::{Verdict, fail, holds};
use crate::probe::ask::{Answer, Ask};
use crate::tests;

tests! {
    "CVE-2021-30465" Attack a_destination_that_changes_does_not_move_the_mount_out;
    "CVE-2024-45310" Attack a_folder_that_changes_does_not_make_folders_on_the_host;
    "CVE-2025-52881" Attack a_dev_that_changes_makes_nothing_on_the_host;
    "" Attack a_node_that_changes_gives_no_other_file_away;
}

/// Enough that a runtime without protection loses several times.
const ROUNDS: usize = 40;

fn a_destination_that_changes_does_not_move_the_mount_out(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let outside = case.folder("outside")?;
    std::fs::create_dir(outside.join("at"))?;
    bundle.mkdir("/swap/at")?;
    bundle.symlink(&outside, "/link")?;
    bundle.mount(json!({"destination": "/swap/at", "type": "tmpfs", "source": "the-attack"}));
    bundle.answers(&[Ask::Mounts])?;
    let _swapper = Swapper::start(&bundle.inside("/swap"), &bundle.inside("/link"))?;
    for round in 0..ROUNDS {
        let outcome = case.run_call(&bundle)?.run()?;
        let Some(line) = outcome.stdout.lines().find(|line| line.starts_with('[')) else {
            continue;
        };
        let Answer::Mounts(mounts) = parse_line(line, 1)?.remove(0) else {
            continue;
        };
        // A mount that went to the host's tree is not in the container's any more.
        let inside = mounts.iter().any(|mount| mount.source == "the-attack");
        holds(
            inside,
            format!("in round {round} the mount went out of the root"),
        )?;
    }
    Ok(())
}

fn a_folder_that_changes_does_not_make_folders_on_the_host(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let outside = case.folder("outside")?;
    bundle.mkdir("/swap")?;
    bundle.symlink(&outside, "/link")?;
    let source = case.file("source", "text")?;
    bundle.mount(json!({"destination": "/swap/new/folder", "type": "tmpfs", "source": "tmpfs"}));
    bundle.bind(&source, "/swap/file", &[]);
    bundle.answers(&[Ask::Process])?;
    let _swapper = Swapper::start(&bundle.inside("/swap"), &bundle.inside("/link"))?;
    for round in 0..ROUNDS {
        case.run_call(&bundle)?.run()?;
        let made: Vec<String> = std::fs::read_dir(&outside)?
            .filter_map(Result::ok)
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        if !made.is_empty() {
            return fail(format!(
                "in round {round} the runtime made {made:?} on the host"
            ));
        }
        // Both names in turn are the folder: the next round begins without what this one made.
        for name in [
            "/swap/new/folder",
            "/swap/new",
            "/link/new/folder",
            "/link/new",
        ] {
            let _ = std::fs::remove_dir(bundle.inside(name));
        }
    }
    Ok(())
}

fn a_dev_that_changes_makes_nothing_on_the_host(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let outside = case.folder("outside")?;
    bundle
        .without_mount("/dev")
        .without_mount("/dev/pts")
        .without_mount("/dev/shm")
        .without_mount("/dev/mqueue");
    bundle.symlink(&outside, "/link")?;
    bundle.answers(&[Ask::Process])?;
    let _swapper = Swapper::start(&bundle.inside("/dev"), &bundle.inside("/link"))?;
    for round in 0..ROUNDS {
        case.run_call(&bundle)?.run()?;
        if let Some(entry) = std::fs::read_dir(&outside)?.next() {
            return fail(format!(
                "in round {round} the runtime made {:?} on the host",
                entry?.file_name()
            ));
        }
    }
    Ok(())
}

/// The node is made in a folder that somebody else has, too.
fn a_node_that_changes_gives_no_other_file_away(case: &Case) -> Verdict {
    case.need_root()?;
    let mut bundle = case.bundle()?;
    let shared = case.folder("shared")?;
    bundle.bind(&shared, "/shared", &["rbind"]);
    bundle.linux()["devices"] = json!([{"path": "/shared/node", "type": "c", "major": 1, "minor": 5,
        "uid": 1000, "gid": 1000}]);
    bundle.args(&["/bin/probe", "exit", "0"]);
    let (node, precious) = (shared.join("node"), shared.join("precious"));
    let _swapper = Swapper::start(&node, &precious)?;
    for round in 0..2 * ROUNDS {
        for place in [&node, &precious] {
            let _ = std::fs::remove_file(place);
        }
        std::fs::write(&precious, "of root")?;
        case.run_call(&bundle)?.run()?;
        // Each name is now one of the two, now the other.
        let files = std::fs::read_dir(&shared)?.filter_map(Result::ok);
        let held: Vec<_> = files
            .filter_map(|file| std::fs::File::open(file.path()).ok()?.metadata().ok())
            .collect();
        for found in held.iter().filter(|found| found.is_file()) {
            holds(
                found.uid() == 0,
                format!("in round {round} a file of root's became the payload's"),
            )?;
        }
    }
    Ok(())
}
