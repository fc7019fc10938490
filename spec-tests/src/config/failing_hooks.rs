//! config.md#posix-platform-hooks: a hook that fails, or is not there

use serde_json::json;

use super::hooks::{only_report, report_from};
use crate::harness::case::Case;
use crate::harness::verdict::{Verdict, holds};
use crate::probe::ask::Ask;
use crate::tests;

tests! {
    "runtime.md#lifecycle" Must poststop_hooks_run_after_a_create_that_failed;
    "runtime.md#lifecycle" Must a_failing_prestart_hook_ends_create;
    "runtime.md#lifecycle" Must a_failing_create_runtime_hook_ends_create;
    "runtime.md#lifecycle" Must a_failing_create_container_hook_ends_create;
    "runtime.md#lifecycle" Must a_failing_start_container_hook_keeps_the_program_from_running;
    "runtime.md#lifecycle" Must a_failing_poststart_hook_is_reported;
    "runtime.md#lifecycle" Must a_failing_poststop_hook_does_not_keep_the_container;
    "config.md#posix-platform-hooks" Must a_missing_hook_program_is_an_error;
}

/// `create` must fail when a hook of this kind does.
fn failing_ends_create(case: &Case, kind: &str) -> Verdict {
    let mut bundle = case.bundle()?;
    let log = report_from(case, &mut bundle, kind, "3");
    case.create_refused(&bundle)?;
    only_report(&log).map(drop)
}

fn poststop_hooks_run_after_a_create_that_failed(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    report_from(case, &mut bundle, "createRuntime", "3");
    let log = report_from(case, &mut bundle, "poststop", "0");
    case.create_refused(&bundle)?;
    only_report(&log).map(drop)
}

fn a_failing_prestart_hook_ends_create(case: &Case) -> Verdict {
    failing_ends_create(case, "prestart")
}

fn a_failing_create_runtime_hook_ends_create(case: &Case) -> Verdict {
    failing_ends_create(case, "createRuntime")
}

fn a_failing_create_container_hook_ends_create(case: &Case) -> Verdict {
    failing_ends_create(case, "createContainer")
}

fn a_failing_start_container_hook_keeps_the_program_from_running(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    report_from(case, &mut bundle, "startContainer", "3");
    bundle.answers(&[Ask::Create("/tmp/ran".into())])?;
    case.create_call(&bundle)?.run()?.succeeded()?;
    // Whether start itself reports it differs; that the program does not run is what counts.
    case.runtime(["start", &case.id]).run()?;
    case.wait_for("status stopped", || {
        let outcome = case.runtime(["state", &case.id]).run()?;
        Ok((outcome.status != 0 || outcome.stdout.contains("stopped")).then_some(()))
    })?;
    holds(!bundle.inside("/tmp/ran").exists(), "the program ran")
}

fn a_failing_poststart_hook_is_reported(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let log = report_from(case, &mut bundle, "poststart", "3");
    bundle.serves();
    let created = case.create_call(&bundle)?.run()?;
    // runc runs these hooks at create; that is another test's matter.
    let outcome = if created.status == 0 {
        case.runtime(["start", &case.id]).run()?
    } else {
        created
    };
    only_report(&log)?;
    holds(
        outcome.status != 0 || !outcome.stderr.trim().is_empty(),
        format!("not a word: {}", outcome.told()),
    )
}

fn a_failing_poststop_hook_does_not_keep_the_container(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let log = report_from(case, &mut bundle, "poststop", "3");
    let container = case.started(&mut bundle)?;
    container.stop()?;
    // The specification wants a warning; runc makes it an error of delete.
    container.verb("delete").run()?;
    only_report(&log)?;
    holds(
        container.verb("state").run()?.status != 0,
        "state still knows the container",
    )
}

fn a_missing_hook_program_is_an_error(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.hook("createRuntime", json!({"path": "/no/such/hook"}));
    case.create_refused(&bundle).map(drop)
}
