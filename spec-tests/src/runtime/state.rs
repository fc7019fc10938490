//! runtime.md#state and runtime.md#query-state

use serde_json::json;

use crate::harness::case::Case;
use crate::harness::verdict::{Doing, Verdict, equal, holds};
use crate::tests;

tests! {
    "runtime.md#state" Must state_has_the_fields_of_the_specification;
    "runtime.md#state" Must pid_is_the_payloads_pid_on_the_host;
    "runtime.md#state" Must annotations_of_config_appear_in_state;
    "runtime.md#query-state" Must state_of_an_unknown_container_is_an_error;
    "runtime.md#query-state" Must state_without_an_id_is_an_error;
    "runtime.md#state" Must status_goes_from_created_over_running_to_stopped;
}

fn state_has_the_fields_of_the_specification(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let container = case.create(&mut bundle)?;
    let state = container.state()?;
    equal("id", &state["id"], &json!(case.id))?;
    equal("status", &state["status"], &json!("created"))?;
    let bundle_path = state["bundle"].as_str().unwrap_or_default();
    equal(
        "bundle",
        std::fs::canonicalize(bundle_path).doing("bundle of the state")?,
        std::fs::canonicalize(&bundle.dir)?,
    )?;
    holds(
        bundle_path.starts_with('/'),
        format!("bundle is {bundle_path}, not absolute"),
    )?;
    let version = state["ociVersion"].as_str().unwrap_or_default();
    holds(
        version.starts_with("1."),
        format!("ociVersion is {version:?}"),
    )
}

fn pid_is_the_payloads_pid_on_the_host(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let container = case.started(&mut bundle)?;
    let pid = container.pid()?;
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).doing("cmdline of the state's pid")?;
    equal(
        "its command line",
        String::from_utf8_lossy(&line).as_ref(),
        "/bin/probe\0serve\0",
    )
}

fn annotations_of_config_appear_in_state(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.config["annotations"] = json!({"org.example.first": "one", "org.example.second": ""});
    let state = case.create(&mut bundle)?.state()?;
    equal(
        "the first annotation",
        &state["annotations"]["org.example.first"],
        &json!("one"),
    )?;
    equal(
        "the empty annotation",
        &state["annotations"]["org.example.second"],
        &json!(""),
    )
}

fn state_of_an_unknown_container_is_an_error(case: &Case) -> Verdict {
    let outcome = case.runtime(["state", &case.id]).run()?.refused()?;
    equal("standard output", outcome.stdout.as_str(), "")
}

fn state_without_an_id_is_an_error(case: &Case) -> Verdict {
    case.runtime(["state"]).run()?.refused().map(drop)
}

fn status_goes_from_created_over_running_to_stopped(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let container = case.create(&mut bundle)?;
    equal("status after create", container.status()?, "created")?;
    container.start()?;
    equal("status after start", container.status()?, "running")?;
    container.stop()?;
    equal("status after the end", container.status()?, "stopped")?;
    container.delete()
}
