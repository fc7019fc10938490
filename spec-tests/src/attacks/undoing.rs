//! Additions to a running container that fail half-way, while the payload moves the places that are to be cleaned up

use std::path::Path;

use serde_json::{Value, json};

use crate::harness::case::Case;
use crate::harness::swapper::Swapper;
use crate::harness::verdict::{Verdict, fail, holds};
use crate::probe::ask::Ask;
use crate::tests;

tests! {
    "" Attack what_a_failed_addition_undoes_is_no_mask;
    "" Attack what_a_failed_addition_undoes_is_nothing_of_the_payloads;
}

/// Enough that a runtime that looks the places up again loses several times.
const ROUNDS: usize = 30;

/// A list whose last mount is refused after the others are made.
fn refused_at_last(mounts: &[Value]) -> Value {
    let refused = json!({"destination": "/refused", "type": "tmpfs", "source": "tmpfs",
        "options": ["nonsense=1"]});
    Value::Array([mounts, &[refused]].concat())
}

fn bind(source: &Path, destination: &str) -> Value {
    json!({"destination": destination, "type": "bind", "source": source, "options": ["bind"]})
}

/// The place of the addition becomes that of a masked file, by a link to the folder above it.
fn what_a_failed_addition_undoes_is_no_mask(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.linux()["maskedPaths"] = json!(["/proc/timer_list", "/proc/keys"]);
    bundle.mkdir("/swap")?;
    std::fs::write(bundle.inside("/swap/keys"), "")?;
    bundle.symlink("/proc", "/link")?;
    let mut container = case.started(&mut bundle)?;
    let source = case.file("source", "text")?;
    let mounts = refused_at_last(&[bind(&source, "/swap/keys")]);
    let file = case.file("mounts.json", &mounts.to_string())?;
    let _swapper = Swapper::start(&bundle.inside("/swap"), &bundle.inside("/link"))?;
    for round in 0..ROUNDS {
        let call = case.runtime(["mounts", "add", &container.id]);
        let _ = call.arg(&file).run()?;
        let answer = container.ask_one(Ask::Mounts)?;
        let is_masked = answer
            .mounts()?
            .iter()
            .any(|mount| mount.target == "/proc/keys");
        holds(is_masked, format!("in round {round} the mask went"))?;
    }
    Ok(())
}

/// What is made for a mount has the names of an empty file and an empty folder elsewhere.
fn what_a_failed_addition_undoes_is_nothing_of_the_payloads(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.mkdir("/swap")?;
    bundle.mkdir("/precious/folder")?;
    std::fs::write(bundle.inside("/precious/file"), "")?;
    bundle.symlink("/precious", "/link")?;
    let container = case.started(&mut bundle)?;
    let (file, folder) = (case.file("source", "text")?, case.folder("shared")?);
    let mounts = refused_at_last(&[bind(&file, "/swap/file"), bind(&folder, "/swap/folder")]);
    let list = case.file("mounts.json", &mounts.to_string())?;
    let _swapper = Swapper::start(&bundle.inside("/swap"), &bundle.inside("/link"))?;
    for round in 0..ROUNDS {
        let call = case.runtime(["mounts", "add", &container.id]);
        let _ = call.arg(&list).run()?;
        for name in ["file", "folder"] {
            if !bundle.inside("/precious").join(name).exists() {
                return fail(format!("in round {round} the payload's {name} went"));
            }
            // Both names in turn are the folder: the next round begins without what this one left.
            for place in ["/swap", "/link"] {
                let place = bundle.inside(place);
                if place.is_symlink() {
                    continue;
                }
                let _ = std::fs::remove_file(place.join(name));
                let _ = std::fs::remove_dir(place.join(name));
            }
        }
    }
    Ok(())
}
