//! What `checkpoint` leaves in files, and what of the container.

use std::path::PathBuf;
use std::process::Command;

use serde_json::json;

use super::{again, checkpoint, images, need_criu, refused_in, restore, started};
use crate::harness::case::Case;
use crate::harness::verdict::{Doing, Verdict, equal, holds, skip};
use crate::probe::ask::Ask;
use crate::tests;

tests! {
    "runc-checkpoint(8)" Compat a_checkpoint_ends_the_container_and_frees_its_id;
    "runc-checkpoint(8)" Compat leave_running_leaves_it_running;
    "runc-checkpoint(8)" Compat what_a_pre_dump_has_saved_is_restored_with_the_rest;
    "runc-checkpoint(8)" Compat a_parent_that_is_not_there_is_an_error;
    "runc-checkpoint(8)" Compat a_failed_dump_says_why_and_the_payload_goes_on;
    "runc-checkpoint(8)" Compat a_restored_container_can_be_saved_again;
    "runc-checkpoint(8)" Compat a_paused_container_can_be_saved;
    "runc-checkpoint(8)" Compat a_created_container_is_refused;
    "runc-checkpoint(8)" Compat the_log_is_in_the_work_path;
    "crun(1)" Compat crius_settings_are_those_of_the_annotations_file;
    "runc-checkpoint(8)" Compat an_ordinary_user_is_told_that_it_takes_root;
    "podman" Compat checkpoint_help_tells_that_it_works;
}

/// Skips where the kernel does not note which pages change.
fn need_memory_tracking() -> Verdict {
    let checked = Command::new("criu")
        .args(["check", "--feature", "mem_dirty_track"])
        .output()?;
    match checked.status.success() {
        true => Ok(()),
        false => skip("this kernel does not track changed pages (CONFIG_MEM_SOFT_DIRTY)"),
    }
}

fn a_checkpoint_ends_the_container_and_frees_its_id(case: &Case) -> Verdict {
    need_criu(case)?;
    let mut bundle = case.bundle()?;
    let container = started(case, &mut bundle)?;
    let pid = container.pid()?;
    checkpoint(case, &case.id, &[]).run()?.succeeded()?;
    case.runtime(["state", &case.id]).run()?.refused()?;
    equal(
        "entries in the state directory",
        case.ids_in_state().len(),
        0,
    )?;
    case.wait_for("the end of the payload", || {
        let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        Ok((state.is_empty() || state.contains(") Z ")).then_some(()))
    })
}

fn leave_running_leaves_it_running(case: &Case) -> Verdict {
    need_criu(case)?;
    let mut bundle = case.bundle()?;
    let mut container = started(case, &mut bundle)?;
    let pid = container.pid()?;
    checkpoint(case, &case.id, &["--leave-running"])
        .run()?
        .succeeded()?;
    equal("pid", container.pid()?, pid)?;
    equal("the count", container.ask_one(Ask::Count)?.number()?, 1)?;
    container.stop()?;
    container.delete()?;
    let mut restored = case.create_with(restore(case, &bundle, &["--detach"]), &case.id)?;
    // What was counted after the dump is not in it.
    equal("the count", restored.ask_one(Ask::Count)?.number()?, 1)
}

fn what_a_pre_dump_has_saved_is_restored_with_the_rest(case: &Case) -> Verdict {
    need_criu(case)?;
    need_memory_tracking()?;
    let mut bundle = case.bundle()?;
    let mut container = started(case, &mut bundle)?;
    let first = case.dir.join("first");
    let call = case.runtime(["checkpoint", "--pre-dump", "--image-path"]);
    call.arg(&first).arg(&case.id).run()?.succeeded()?;
    equal("the count", container.ask_one(Ask::Count)?.number()?, 1)?;
    checkpoint(case, &case.id, &["--parent-path", "../first"])
        .run()?
        .succeeded()?;
    let parent = std::fs::read_link(images(case).join("parent")).doing("the link to the parent")?;
    equal("the parent", parent, PathBuf::from("../first"))?;
    let mut restored = case.create_with(restore(case, &bundle, &["--detach"]), &case.id)?;
    equal("the count", restored.ask_one(Ask::Count)?.number()?, 2)
}

fn a_parent_that_is_not_there_is_an_error(case: &Case) -> Verdict {
    need_criu(case)?;
    let mut bundle = case.bundle()?;
    let mut container = started(case, &mut bundle)?;
    for parent in ["../missing", "/absolute"] {
        let flags = ["--parent-path", parent];
        checkpoint(case, &case.id, &flags).run()?.refused()?;
    }
    container.ask_one(Ask::Count)?.number().map(drop)
}

fn a_failed_dump_says_why_and_the_payload_goes_on(case: &Case) -> Verdict {
    need_criu(case)?;
    let mut bundle = case.bundle()?;
    let mut container = started(case, &mut bundle)?;
    container.ask_one(Ask::TcpOpen)?.done()?;
    let outcome = checkpoint(case, &case.id, &[]).run()?;
    refused_in(case, outcome, "dump.log", &["Connected TCP socket"])?;
    equal("status", container.status()?, "running")?;
    container.ask_one(Ask::TcpUse)?.done()
}

fn a_restored_container_can_be_saved_again(case: &Case) -> Verdict {
    need_criu(case)?;
    let mut bundle = case.bundle()?;
    let mut container = started(case, &mut bundle)?;
    for count in 1..3 {
        equal("the count", container.ask_one(Ask::Count)?.number()?, count)?;
        container = again(case, container, &bundle, &[])?;
        std::fs::remove_dir_all(images(case))?;
    }
    Ok(())
}

fn a_paused_container_can_be_saved(case: &Case) -> Verdict {
    need_criu(case)?;
    let mut bundle = case.bundle()?;
    let mut container = started(case, &mut bundle)?;
    equal("the count", container.ask_one(Ask::Count)?.number()?, 1)?;
    container.verb("pause").run()?.succeeded()?;
    let mut restored = again(case, container, &bundle, &[])?;
    equal("status", restored.status()?, "running")?;
    equal("the count", restored.ask_one(Ask::Count)?.number()?, 2)
}

fn a_created_container_is_refused(case: &Case) -> Verdict {
    need_criu(case)?;
    let mut bundle = case.bundle()?;
    let container = case.create(&mut bundle)?;
    checkpoint(case, &case.id, &[]).run()?.refused()?;
    equal("status", container.status()?, "created")
}

fn the_log_is_in_the_work_path(case: &Case) -> Verdict {
    need_criu(case)?;
    let mut bundle = case.bundle()?;
    let _saved = started(case, &mut bundle)?;
    let work = case.dir.join("work");
    let path = work.to_string_lossy().into_owned();
    checkpoint(case, &case.id, &["--work-path", &path])
        .run()?
        .succeeded()?;
    holds(work.join("dump.log").exists(), "no dump.log")?;
    let call = restore(case, &bundle, &["--detach", "--work-path", &path]);
    let _restored = case.create_with(call, &case.id)?;
    holds(work.join("restore.log").exists(), "no restore.log")?;
    let inside = images(case).join("dump.log").exists();
    holds(!inside, "there is a log in the images too")
}

/// `org.criu.config`: a lock that is held is refused, unless they say otherwise.
fn crius_settings_are_those_of_the_annotations_file(case: &Case) -> Verdict {
    need_criu(case)?;
    let mut bundle = case.bundle()?;
    bundle.file("/tmp/lock", "")?;
    let settings = case.file("criu.conf", "")?;
    bundle.config["annotations"]["org.criu.config"] = json!(settings);
    let mut container = started(case, &mut bundle)?;
    let hold = Ask::HoldLock("/tmp/lock".into());
    container.ask_one(hold)?.done()?;
    checkpoint(case, &case.id, &[]).run()?.refused()?;
    std::fs::write(&settings, "file-locks\n")?;
    let mut restored = again(case, container, &bundle, &[])?;
    equal("the count", restored.ask_one(Ask::Count)?.number()?, 1)
}

fn checkpoint_help_tells_that_it_works(case: &Case) -> Verdict {
    need_criu(case)?;
    let outcome = case.runtime(["checkpoint", "--help"]).run()?.succeeded()?;
    holds(outcome.stdout.contains("--leave-running"), outcome.told())
}

fn an_ordinary_user_is_told_that_it_takes_root(case: &Case) -> Verdict {
    case.need_rootless()?;
    if case.runtime(["checkpoint", "--help"]).run()?.status != 0 {
        return skip("the runtime has no CRIU");
    }
    let mut bundle = case.bundle()?;
    let mut container = case.started(&mut bundle)?;
    let outcome = checkpoint(case, &case.id, &[]).run()?.refused()?;
    outcome.says(&["root"])?;
    container.ask_one(Ask::Count)?.number().map(drop)
}
