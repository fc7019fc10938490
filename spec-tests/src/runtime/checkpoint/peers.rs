//! Images of one runtime in the hands of another: archives of podman's move between hosts.

use std::path::PathBuf;

use super::{checkpoint, need_criu, restore, started};
use crate::harness::bundle::Bundle;
use crate::harness::case::Case;
use crate::harness::verdict::{Verdict, equal, skip};
use crate::probe::ask::Ask;
use crate::tests;

tests! {
    "runc-restore(8)" Compat what_runc_has_saved_is_restored;
    "runc-restore(8)" Compat what_is_saved_can_be_restored_by_runc;
}

/// The runtime `name` of this host, where it can save containers.
fn peer(case: &Case, name: &str) -> Verdict<PathBuf> {
    need_criu(case)?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let program = std::env::split_paths(&path).map(|folder| folder.join(name));
    let Some(program) = program.into_iter().find(|program| program.is_file()) else {
        return skip(format!("there is no {name} in PATH"));
    };
    let works = case.runtime(["checkpoint", "--help"]).program(&program);
    match works.run()?.status {
        0 => Ok(program),
        _ => skip(format!("{name} was built without CRIU")),
    }
}

/// A volume and a masked file, which have names in the images.
fn bundle(case: &Case) -> Verdict<Bundle> {
    let folder = case.folder("volume")?;
    std::fs::write(folder.join("file"), "of the volume")?;
    let mut bundle = case.bundle()?;
    bundle.bind(&folder, "/volume", &["rw"]);
    Ok(bundle)
}

fn restored_from(case: &Case, name: &str) -> Verdict {
    let theirs = peer(case, name)?;
    let mut bundle = bundle(case)?;
    bundle.serves().write()?;
    let call = case
        .runtime(["run", "--detach", "--bundle"])
        .arg(&bundle.dir);
    let quiet = ["sh", "-c", "exec \"$@\" 2>/dev/null", "sh"];
    let call = call.arg(&case.id).program(&theirs).through(quiet);
    let mut container = case.create_with(call, &case.id)?;
    equal("the count", container.ask_one(Ask::Count)?.number()?, 1)?;
    let saving = checkpoint(case, &case.id, &[]).program(&theirs);
    saving.run()?.succeeded()?;
    drop(container);
    let mut restored = case.create_with(restore(case, &bundle, &["--detach"]), &case.id)?;
    let asks = [Ask::Count, Ask::Read("/volume/file".into())];
    let answers = restored.ask(&asks)?;
    equal("the count", answers[0].number()?, 2)?;
    equal("the volume", answers[1].text()?, "of the volume")
}

fn restored_by(case: &Case, name: &str) -> Verdict {
    let theirs = peer(case, name)?;
    let mut bundle = bundle(case)?;
    let mut container = started(case, &mut bundle)?;
    equal("the count", container.ask_one(Ask::Count)?.number()?, 1)?;
    checkpoint(case, &case.id, &[]).run()?.succeeded()?;
    drop(container);
    let call = restore(case, &bundle, &["--detach"]).program(&theirs);
    let mut restored = case.create_with(call, &case.id)?;
    let asks = [Ask::Count, Ask::Read("/volume/file".into())];
    let answers = restored.ask(&asks);
    let deleted = case.runtime(["delete", "--force", &case.id]);
    deleted.program(&theirs).run()?.succeeded()?;
    let answers = answers?;
    equal("the count", answers[0].number()?, 2)?;
    equal("the volume", answers[1].text()?, "of the volume")
}

fn what_runc_has_saved_is_restored(case: &Case) -> Verdict {
    restored_from(case, "runc")
}

fn what_is_saved_can_be_restored_by_runc(case: &Case) -> Verdict {
    restored_by(case, "runc")
}
