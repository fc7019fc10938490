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
    "runtime.md#create" Must create_without_an_id_is_an_error;
    "runtime.md#start" Must start_of_an_unknown_container_is_an_error;
    "runtime.md#start" Must start_without_an_id_is_an_error;
    "runtime.md#kill" Must kill_of_an_unknown_container_is_an_error;
    "runtime.md#kill" Must kill_without_an_id_is_an_error;
    "runtime.md#kill" Must kill_reaches_a_created_container;
    "runtime.md#delete" Must delete_without_an_id_is_an_error;
    "runtime.md#delete" Must delete_leaves_alone_what_create_did_not_make;
    "runtime.md#lifecycle" Must a_payload_that_ends_by_itself_makes_a_stopped_container;
    "runtime.md#errors" Must a_create_that_fails_late_leaves_nothing;
    "runtime.md#scope-of-a-container" Must two_containers_live_side_by_side;
}

fn create_does_not_run_the_program(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.answers(&[Ask::Create("/tmp/ran".into())])?;
    case.create_call(&bundle)?.run()?.succeeded()?;
    // Long enough for a program that was started by mistake.
    std::thread::sleep(std::time::Duration::from_millis(100));
    let ran = || bundle.inside("/tmp/ran").exists();
    holds(!ran(), "the program ran before start")?;
    case.runtime(["start", &case.id]).run()?.succeeded()?;
    case.wait_for("what the program makes after start", || {
        Ok(ran().then_some(()))
    })
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

fn create_without_an_id_is_an_error(case: &Case) -> Verdict {
    let bundle = case.bundle()?;
    bundle.write()?;
    case.runtime(["create", "--bundle"])
        .arg(&bundle.dir)
        .run()?
        .refused()
        .map(drop)
}

fn start_of_an_unknown_container_is_an_error(case: &Case) -> Verdict {
    case.runtime(["start", &case.id]).run()?.refused().map(drop)
}

fn start_without_an_id_is_an_error(case: &Case) -> Verdict {
    case.runtime(["start"]).run()?.refused().map(drop)
}

fn kill_of_an_unknown_container_is_an_error(case: &Case) -> Verdict {
    case.runtime(["kill", &case.id, "KILL"])
        .run()?
        .refused()
        .map(drop)
}

fn kill_without_an_id_is_an_error(case: &Case) -> Verdict {
    case.runtime(["kill"]).run()?.refused().map(drop)
}

fn kill_reaches_a_created_container(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let container = case.create(&mut bundle)?;
    container.stop()?;
    container.delete()
}

fn delete_without_an_id_is_an_error(case: &Case) -> Verdict {
    case.runtime(["delete"]).run()?.refused().map(drop)
}

fn delete_leaves_alone_what_create_did_not_make(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let volume = case.folder("volume")?;
    bundle.bind(&volume, "/volume", &["rw"]);
    let mut container = case.started(&mut bundle)?;
    container
        .ask_one(Ask::Create("/volume/made-inside".into()))?
        .done()?;
    container.stop()?;
    container.delete()?;
    holds(
        volume.join("made-inside").exists(),
        "a file of the volume is gone",
    )?;
    holds(
        bundle.inside("/bin/probe").exists(),
        "the root file system is gone",
    )?;
    holds(
        bundle.dir.join("config.json").exists(),
        "config.json is gone",
    )
}

fn a_payload_that_ends_by_itself_makes_a_stopped_container(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let mut container = case.started(&mut bundle)?;
    container.hang_up();
    container.wait_stopped()?;
    container.delete()
}

fn a_create_that_fails_late_leaves_nothing(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    // The last mount, so that everything else has been made by then.
    bundle.mount(serde_json::json!({"destination": "/late", "type": "nosuchfs", "source": "none"}));
    case.create_refused(&bundle)?;
    let ids = case.ids_in_state();
    holds(
        ids.is_empty(),
        format!("the state directory still has {ids:?}"),
    )
}

fn two_containers_live_side_by_side(case: &Case) -> Verdict {
    let (mut one, mut two) = (case.bundle_named("one")?, case.bundle_named("two")?);
    let first = case.create_named(&mut one, &format!("{}-1", case.id))?;
    let second = case.create_named(&mut two, &format!("{}-2", case.id))?;
    first.start()?;
    second.start()?;
    first.stop()?;
    first.delete()?;
    equal("status of the other", second.status()?, "running")
}
