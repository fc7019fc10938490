//! delete --force

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
