//! delete, with --force and without

use super::kill::without_first_thread;
use crate::harness::case::Case;
use crate::harness::verdict::{Verdict, equal};
use crate::probe::ask::Ask;
use crate::tests;

tests! {
    "runc-delete(8)" Compat forced_delete_of_an_unknown_container_succeeds;
    "runc-delete(8)" Compat forced_delete_ends_a_running_container;
    "runc-delete(8)" Compat forced_delete_ends_a_created_container;
    "runc-delete(8)" Compat forced_delete_ends_every_process;
    "runc-delete(8)" Compat forced_delete_works_after_the_bundle_is_gone;
    "runc-delete(8)" Compat forced_delete_ends_a_container_that_ignores_signals;
    "pthread_exit(3)" Compat forced_delete_ends_a_process_without_its_first_thread;
    "runc-delete(8), crun(1)" Compat delete_ends_a_created_container;
    "runc-delete(8)" Compat delete_leaves_a_paused_container_alone;
    "crun(1)" Compat delete_by_a_pattern_removes_every_container_that_matches;
    "crun(1)" Compat delete_by_a_pattern_reports_what_cannot_be_removed;
}

fn forced_delete_of_an_unknown_container_succeeds(case: &Case) -> Verdict {
    case.runtime(["delete", "--force", &case.id])
        .run()?
        .succeeded()
        .map(drop)
}

/// `delete --force` must succeed and forget the id.
fn forced(case: &Case) -> Verdict {
    case.runtime(["delete", "--force", &case.id])
        .run()?
        .succeeded()?;
    case.runtime(["state", &case.id]).run()?.refused()?;
    equal(
        "entries in the state directory",
        case.ids_in_state().len(),
        0,
    )
}

fn forced_delete_ends_a_running_container(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let container = case.started(&mut bundle)?;
    let pid = container.pid()?;
    forced(case)?;
    equal(
        "the payload's exit status",
        case.exit_status(pid)?,
        128 + libc::SIGKILL,
    )
}

fn forced_delete_ends_a_created_container(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    case.create(&mut bundle)?;
    forced(case)
}

/// runtime.md#delete wants an error here. Both runtimes that engines know do it.
fn delete_ends_a_created_container(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let container = case.create(&mut bundle)?;
    let pid = container.pid()?;
    container.verb("delete").run()?.succeeded()?;
    case.runtime(["state", &case.id]).run()?.refused()?;
    equal(
        "init's exit status",
        case.exit_status(pid)?,
        128 + libc::SIGKILL,
    )
}

fn delete_leaves_a_paused_container_alone(case: &Case) -> Verdict {
    case.need_cgroup2()?;
    let mut bundle = case.bundle()?;
    let container = case.started(&mut bundle)?;
    container.verb("pause").run()?.succeeded()?;
    container.verb("delete").run()?.refused()?;
    equal("status after it", container.status()?, "paused")
}

fn forced_delete_ends_every_process(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let mut container = case.started(&mut bundle)?;
    container.ask_one(Ask::SpawnSleeper)?.number()?;
    // A sleeper that is left fails the test.
    forced(case)
}

fn forced_delete_works_after_the_bundle_is_gone(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let _container = case.started(&mut bundle)?;
    std::fs::rename(&bundle.dir, case.dir.join("elsewhere"))?;
    forced(case)
}

fn forced_delete_ends_a_container_that_ignores_signals(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let mut container = case.started(&mut bundle)?;
    container
        .ask_one(Ask::Block(vec![libc::SIGTERM, libc::SIGINT, libc::SIGHUP]))?
        .done()?;
    forced(case)
}

fn forced_delete_ends_a_process_without_its_first_thread(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let container = without_first_thread(case, &mut bundle)?;
    // A process that is left fails the test.
    drop(container);
    forced(case)
}

fn delete_by_a_pattern_removes_every_container_that_matches(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let ids = ["a1", "a2", "b1"].map(|end| format!("{}-{end}", case.id));
    for id in &ids {
        case.create_named(&mut bundle, id)?;
    }
    let pattern = format!("^{}-a.$", case.id);
    case.runtime(["delete", "--force", "--regex", &pattern])
        .run()?
        .succeeded()?;
    equal("what is left", case.ids_in_state(), [ids[2].clone()])?;
    case.runtime(["delete", "-f", "-r", &case.id])
        .run()?
        .succeeded()?;
    equal("what is left", case.ids_in_state().len(), 0)
}

fn delete_by_a_pattern_reports_what_cannot_be_removed(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let ids = ["a1", "a2"].map(|end| format!("{}-{end}", case.id));
    let running = case.create_named(&mut bundle, &ids[0])?;
    running.start()?;
    let stopped = case.create_named(&mut bundle, &ids[1])?;
    stopped.stop()?;
    let outcome = case.runtime(["delete", "--regex", &case.id]).run()?;
    equal("what is left", case.ids_in_state(), [ids[0].clone()])?;
    outcome.refused()?.says(&[&ids[0]]).map(drop)
}
