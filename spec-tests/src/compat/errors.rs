//! Words and statuses that engines match

use serde_json::json;

use crate::harness::bundle::Bundle;
use crate::harness::case::Case;
use crate::harness::verdict::{Verdict, equal, fail, holds};
use crate::tests;

tests! {
    "podman, moby" Compat a_missing_program_in_path_says_so;
    "podman, moby" Compat a_missing_program_by_path_says_so;
    "podman, moby" Compat a_folder_as_program_may_not_be_run;
    "podman, moby" Compat a_file_that_may_not_be_run_says_permission_denied;
    "podman, moby" Compat a_missing_program_fails_at_create;
    "containerd, cri-o" Compat an_unknown_container_does_not_exist;
    "containerd" Compat kill_of_a_stopped_container_says_not_running;
    "runc(8)" Compat errors_end_with_status_1;
    "runc(8)" Compat a_usage_error_ends_with_status_1;
    "runc-exec(8)" Compat an_exec_that_never_began_ends_with_status_255;
    "runc(8)" Compat ids_that_are_no_names_are_refused;
    "conmon" Compat an_error_is_one_short_text;
    "runc(8)" Compat an_id_in_use_says_exists;
    "" Compat an_error_holds_nothing_that_a_terminal_obeys;
}

/// Names of an image or a bundle come into errors, and those onto somebody's screen.
fn an_error_holds_nothing_that_a_terminal_obeys(case: &Case) -> Verdict {
    let name = "/a\u{1b}]0;title\u{7}\u{1b}[31m\nb";
    for what in ["destination", "program", "path", "cwd"] {
        let mut bundle = case.bundle_named(what)?;
        match what {
            "destination" => {
                bundle.mount(json!({"destination": name, "type": "nosuchfs", "source": "none"}));
            }
            "program" => drop(bundle.args(&[name])),
            "path" => drop(bundle.args(&["nope"]).env(&format!("PATH={name}"))),
            _ => bundle.process()["cwd"] = json!(format!("/bin/probe{name}")),
        }
        let outcome = case.run_call(&bundle)?.run()?.refused()?;
        let is_obeyed = |c: char| c.is_control() && c != '\n';
        holds(
            !outcome.stderr.contains(is_obeyed),
            format!("a control character of the {what}: {:?}", outcome.stderr),
        )?;
    }
    Ok(())
}

/// What `run` of this program says.
fn words_for(case: &Case, bundle: &mut Bundle, program: &str) -> Verdict<String> {
    bundle.args(&[program]);
    let outcome = case.run_call(bundle)?.run()?.refused()?;
    Ok(outcome.stderr.to_lowercase())
}

/// The exit status that podman makes of the runtime's words: the first pattern that matches decides.
pub fn podmans_status(text: &str) -> i32 {
    const DENIED: [&str; 2] = ["permission denied", "operation not permitted"];
    const NOT_FOUND: [&str; 3] = [
        "executable file not found in",
        "no such file or directory",
        "open executable",
    ];
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    match () {
        () if has(&DENIED) => 126,
        () if has(&NOT_FOUND) => 127,
        () => 125,
    }
}

fn classified(words: &str, status: i32) -> Verdict {
    equal(
        &format!("podman's status for {words:?}"),
        podmans_status(words),
        status,
    )
}

fn missing(case: &Case, program: &str) -> Verdict {
    let words = words_for(case, &mut case.bundle()?, program)?;
    classified(&words, 127)?;
    holds(
        words.contains(program),
        format!("the program is not named in {words:?}"),
    )
}

fn a_missing_program_in_path_says_so(case: &Case) -> Verdict {
    missing(case, "no-such-program")
}

fn a_missing_program_by_path_says_so(case: &Case) -> Verdict {
    missing(case, "/no/such/program")
}

fn a_folder_as_program_may_not_be_run(case: &Case) -> Verdict {
    classified(&words_for(case, &mut case.bundle()?, "/etc")?, 126)
}

fn a_file_that_may_not_be_run_says_permission_denied(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.file_with_mode("/etc/data", "no program", 0o644)?;
    classified(&words_for(case, &mut bundle, "/etc/data")?, 126)
}

fn a_missing_program_fails_at_create(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.args(&["no-such-program"]);
    classified(&case.create_refused(&bundle)?.stderr.to_lowercase(), 127)
}

fn an_unknown_container_does_not_exist(case: &Case) -> Verdict {
    for verb in ["state", "start", "kill", "delete", "pause", "resume", "ps"] {
        case.runtime([verb, &case.id])
            .run()?
            .refused()?
            .says(&["does not exist"])?;
    }
    Ok(())
}

fn kill_of_a_stopped_container_says_not_running(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let container = case.started(&mut bundle)?;
    container.stop()?;
    let words = [
        "container not running",
        "no such process",
        "process already finished",
    ];
    container
        .verb("kill")
        .arg("TERM")
        .run()?
        .refused()?
        .says(&words)
        .map(drop)
}

fn errors_end_with_status_1(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.args(&["no-such-program"]);
    case.run_call(&bundle)?.run()?.ended_with(1)?;
    for verb in ["state", "start", "kill", "delete"] {
        case.runtime([verb, &case.id]).run()?.ended_with(1)?;
    }
    Ok(())
}

fn a_usage_error_ends_with_status_1(case: &Case) -> Verdict {
    for args in [
        &["state", "--no-such-option", &case.id][..],
        &["state"],
        &["create", "--preserve-fds", "x", &case.id],
    ] {
        case.runtime(args.iter().copied()).run()?.ended_with(1)?;
    }
    Ok(())
}

/// So that a caller can tell it from most statuses of the program.
fn an_exec_that_never_began_ends_with_status_255(case: &Case) -> Verdict {
    case.runtime(["exec", &case.id, "/bin/probe", "exit", "0"])
        .run()?
        .ended_with(255)?;
    let mut bundle = case.bundle()?;
    let container = case.started(&mut bundle)?;
    for args in [&["no-such-program"][..], &["/etc"]] {
        case.runtime(["exec", &container.id])
            .args(args.iter().copied())
            .run()?
            .ended_with(255)?;
    }
    Ok(())
}

fn ids_that_are_no_names_are_refused(case: &Case) -> Verdict {
    let bundle = case.bundle()?;
    bundle.write()?;
    for id in [
        "",
        ".",
        "..",
        "../out",
        "a/b",
        "/abs",
        "with space",
        "new\nline",
        "ä",
    ] {
        let outcome = case
            .runtime(["create", "--bundle"])
            .arg(&bundle.dir)
            .arg(id)
            .run()?;
        if outcome.status == 0 {
            case.runtime(["delete", "--force", id]).run()?;
            return fail(format!("the id {id:?} was accepted"));
        }
    }
    holds(
        !case.dir.join("out").exists(),
        "something was made outside of the state directory",
    )
}

fn an_error_is_one_short_text(case: &Case) -> Verdict {
    let outcome = case.runtime(["start", &case.id]).run()?.refused()?;
    let lines = outcome.stderr.trim_end().lines().count();
    // conmon forwards what one read(2) brings; a hint may follow the error.
    holds(lines <= 2, format!("{lines} lines: {}", outcome.told()))?;
    equal("standard output", outcome.stdout.as_str(), "")
}

fn an_id_in_use_says_exists(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let _first = case.create(&mut bundle)?;
    case.create_call(&bundle)?
        .run()?
        .refused()?
        .says(&["exist"])
        .map(drop)
}
