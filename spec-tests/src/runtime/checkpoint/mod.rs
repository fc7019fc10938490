//! runc-checkpoint(8), runc-restore(8): a container's processes as files, and back. Neither verb is in the
//! specification; engines call them as runc has them. Where CRIU cannot work, all of this is skipped.

pub mod going_on;
pub mod labels;
pub mod mapped;
pub mod outside;
pub mod pages;
pub mod peers;
pub mod saving;

use std::path::PathBuf;
use std::process::Command;

use crate::harness::bundle::Bundle;
use crate::harness::call::{Call, Outcome};
use crate::harness::case::Case;
use crate::harness::container::Container;
use crate::harness::verdict::{Verdict, holds, skip};
use crate::probe::ask::Ask;

/// Skips where CRIU is not there or says that this kernel is not for it.
fn need_criu(case: &Case) -> Verdict {
    case.need_root()?;
    case.need_cgroup2()?;
    let checked = match Command::new("criu").arg("check").output() {
        Ok(checked) => checked,
        Err(error) => return skip(format!("needs criu in PATH: {error}")),
    };
    if !checked.status.success() {
        let said = String::from_utf8_lossy(&checked.stderr).into_owned();
        let last = said.lines().last().unwrap_or("without a word").to_owned();
        return skip(format!("`criu check` fails here: {last}"));
    }
    match case.runtime(["checkpoint", "--help"]).run()?.status {
        0 => Ok(()),
        _ => skip("the runtime was built without CRIU"),
    }
}

fn images(case: &Case) -> PathBuf {
    case.dir.join("images")
}

fn checkpoint<'a>(case: &'a Case, id: &str, flags: &[&str]) -> Call<'a> {
    let call = case.runtime(["checkpoint", "--image-path"]);
    call.arg(images(case)).args(flags.iter().copied()).arg(id)
}

fn restore<'a>(case: &'a Case, bundle: &Bundle, flags: &[&str]) -> Call<'a> {
    let call = case.runtime(["restore", "--image-path"]);
    let call = call.arg(images(case)).arg("--bundle").arg(&bundle.dir);
    call.args(flags.iter().copied()).arg(&case.id)
}

/// A started container whose standard error is not a file of the host, which CRIU refuses.
fn started<'a>(case: &'a Case, bundle: &mut Bundle) -> Verdict<Container<'a>> {
    bundle.serves().write()?;
    let call = case.runtime(["create", "--bundle"]).arg(&bundle.dir);
    let quiet = ["sh", "-c", "exec \"$@\" 2>/dev/null", "sh"];
    let mut container = case.create_with(call.arg(&case.id).through(quiet), &case.id)?;
    container.start()?;
    container.ask_one(Ask::Process)?;
    Ok(container)
}

/// Saves the container and restores it, with new pipes to the probe. The end of the old ones before that
/// would be the probe's own end.
fn again<'a>(
    case: &'a Case,
    container: Container<'a>,
    bundle: &Bundle,
    flags: &[&str],
) -> Verdict<Container<'a>> {
    checkpoint(case, &case.id, flags).run()?.succeeded()?;
    drop(container);
    let mut all = vec!["--detach"];
    all.extend(flags);
    case.create_with(restore(case, bundle, &all), &case.id)
}

fn refused_in(case: &Case, outcome: Outcome, log: &str, words: &[&str]) -> Verdict {
    let outcome = outcome.refused()?;
    let log = images(case).join(log);
    holds(log.exists(), format!("there is no {}", log.display()))?;
    outcome.says(words).map(drop)
}
