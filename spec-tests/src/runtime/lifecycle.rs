//! runtime.md#lifecycle and runtime.md#operations

use crate::harness::case::Case;
use crate::harness::verdict::{Verdict, equal, fail, holds};
use crate::probe::ask::Ask;
use crate::tests;

tests! {
    "runtime.md#create" Must create_does_not_run_the_program;
    "runtime.md#create" Must create_with_an_id_in_use_is_an_error;
    "runtime.md#create" Must create_without_a_bundle_is_an_error;
    "runtime.md#create" Must changes_of_config_after_create_have_no_effect;
    "runtime.md#start" Must start_runs_the_program;
    "runtime.md#start" Must start_of_a_running_container_is_an_error;
    "runtime.md#start" Must start_of_a_stopped_container_is_an_error;
    "runtime.md#kill" Must kill_sends_the_signal_to_the_payload;
    "runtime.md#kill" Must kill_of_a_stopped_container_is_an_error;
    "runtime.md#delete" Must delete_of_a_running_container_is_an_error;
    "runtime.md#delete" Must delete_frees_the_id;
    "runtime.md#delete" Must delete_of_an_unknown_container_is_an_error;
}

fn create_does_not_run_the_program(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.answers(&[Ask::Create("/tmp/ran".into())])?;
    case.create_call(&bundle)?.run()?.succeeded()?;
    // Long enough for a program that was started by mistake.
    std::thread::sleep(std::time::Duration::from_millis(100));
    holds(
        !bundle.inside("/tmp/ran").exists(),
        "the program ran before start",
    )
}

fn create_with_an_id_in_use_is_an_error(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let first = case.create(&mut bundle)?;
    case.create_call(&bundle)?.run()?.refused()?;
    equal("status of the first container", first.status()?, "created")
}

fn create_without_a_bundle_is_an_error(case: &Case) -> Verdict {
    case.runtime(["create", "--bundle"])
        .arg(case.dir.join("nothing"))
        .arg(&case.id)
        .run()?
        .refused()
        .map(drop)
}

fn changes_of_config_after_create_have_no_effect(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let mut container = case.create(&mut bundle)?;
    bundle.config["process"]["args"] = serde_json::json!(["/bin/probe", "exit", "7"]);
    bundle.config["process"]["cwd"] = serde_json::json!("/tmp");
    bundle.write()?;
    container.start()?;
    let process = container.ask_one(Ask::Process)?.process()?;
    equal("cwd", process.cwd.as_str(), "/")?;
    equal("args", process.args, ["/bin/probe", "serve"])
}

fn start_runs_the_program(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let mut container = case.create(&mut bundle)?;
    container.start()?;
    let process = container.ask_one(Ask::Process)?.process()?;
    equal("pid in the container", process.pid, 1)
}

fn start_of_a_running_container_is_an_error(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let container = case.started(&mut bundle)?;
    container.verb("start").run()?.refused()?;
    equal("status after it", container.status()?, "running")
}

fn start_of_a_stopped_container_is_an_error(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let container = case.started(&mut bundle)?;
    container.stop()?;
    container.verb("start").run()?.refused().map(drop)
}

fn kill_sends_the_signal_to_the_payload(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let mut container = case.started(&mut bundle)?;
    container
        .ask_one(Ask::Block(vec![libc::SIGUSR1, libc::SIGUSR2]))?
        .done()?;
    container.kill("USR2")?;
    let seen = container
        .ask_one(Ask::NextSignal { within_ms: 5000 })?
        .number()?;
    equal("the signal that came", seen, i64::from(libc::SIGUSR2))
}

fn kill_of_a_stopped_container_is_an_error(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let container = case.started(&mut bundle)?;
    container.stop()?;
    container
        .verb("kill")
        .arg("TERM")
        .run()?
        .refused()
        .map(drop)
}

fn delete_of_a_running_container_is_an_error(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let container = case.started(&mut bundle)?;
    container.verb("delete").run()?.refused()?;
    equal("status after it", container.status()?, "running")
}

fn delete_frees_the_id(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let container = case.started(&mut bundle)?;
    container.stop()?;
    container.delete()?;
    if container.verb("state").run()?.status == 0 {
        return fail("state still knows the container");
    }
    let again = case.started(&mut bundle)?;
    equal("status of the second container", again.status()?, "running")
}

fn delete_of_an_unknown_container_is_an_error(case: &Case) -> Verdict {
    case.runtime(["delete", &case.id])
        .run()?
        .refused()
        .map(drop)
}
