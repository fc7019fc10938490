//! The phrases that callers look for, each in its place, on standard error and in the log

use serde_json::Value;

use crate::harness::bundle::Bundle;
use crate::harness::call::Call;
use crate::harness::case::Case;
use crate::harness::verdict::{Doing, Verdict, equal, fail, holds};
use crate::tests;

tests! {
    "podman, moby, kubelet" Compat a_missing_program_is_told_in_the_callers_words;
    "podman, moby" Compat a_missing_path_is_told_in_the_callers_words;
    "podman, moby" Compat a_folder_as_program_is_told_in_the_callers_words;
    "podman, moby" Compat a_file_without_execute_right_is_told_in_the_callers_words;
    "podman, moby, kubelet" Compat a_missing_program_of_exec_is_told_in_the_callers_words;
    "podman, moby" Compat a_missing_path_of_exec_is_told_in_the_callers_words;
    "podman, moby" Compat a_folder_of_exec_is_told_in_the_callers_words;
    "podman, moby" Compat a_file_without_execute_right_of_exec_is_told_in_the_callers_words;
    "podman" Compat a_missing_directory_of_exec_is_told_in_the_callers_words;
    "moby" Compat a_file_on_a_folder_is_told_in_the_callers_words;
    "containerd, podman" Compat state_of_nothing_is_told_in_the_callers_words;
    "containerd, cri-o" Compat kill_of_nothing_is_told_in_the_callers_words;
    "containerd" Compat delete_of_nothing_is_told_in_the_callers_words;
    "containerd, cri-o, podman" Compat kill_of_what_has_ended_is_told_in_the_callers_words;
    "runc(8)" Compat start_of_what_runs_is_told_in_the_callers_words;
    "runc(8)" Compat start_of_what_has_ended_is_told_in_the_callers_words;
    "runc(8)" Compat exec_in_what_has_ended_is_told_in_the_callers_words;
    "runc(8)" Compat delete_of_what_runs_is_told_in_the_callers_words;
    "runc(8)" Compat an_id_in_use_is_told_in_the_callers_words;
}

/// What fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    MissingProgram,
    MissingPath,
    FolderAsProgram,
    NoExecuteRight,
    MissingDirectory,
    FileOnFolder,
    NoContainer,
    KillOfEnded,
    StartOfRunning,
    StartOfEnded,
    ExecInEnded,
    DeleteOfRunning,
    IdInUse,
}

use Failure::*;

/// Who looks for what. One of the words has to be there, in any case of letters unless the
/// caller is strict; podman's exit status follows from all of the text.
struct Row {
    failure: Failure,
    caller: &'static str,
    one_of: &'static [&'static str],
    strict: bool,
}

const fn row(failure: Failure, caller: &'static str, one_of: &'static [&'static str]) -> Row {
    Row {
        failure,
        caller,
        one_of,
        strict: false,
    }
}

const fn strict(failure: Failure, caller: &'static str, one_of: &'static [&'static str]) -> Row {
    Row {
        failure,
        caller,
        one_of,
        strict: true,
    }
}

const NOT_FOUND: &[&str] = &["executable file not found", "no such file or directory"];
const DENIED: &[&str] = &["permission denied"];
const GONE: &[&str] = &[
    "no such process",
    "os: process already finished",
    "container not running",
];

const PHRASES: &[Row] = &[
    row(
        MissingProgram,
        "podman, libpod/oci_util.go",
        &["executable file not found in", "no such file or directory"],
    ),
    row(MissingProgram, "moby, daemon/errors.go", NOT_FOUND),
    row(
        MissingProgram,
        "kubelet's tests",
        &["executable file not found", "not found"],
    ),
    row(
        MissingPath,
        "podman, libpod/oci_util.go",
        &["no such file or directory"],
    ),
    row(MissingPath, "moby, daemon/errors.go", NOT_FOUND),
    row(
        FolderAsProgram,
        "podman, libpod/oci_util.go",
        &["permission denied", "operation not permitted"],
    ),
    row(NoExecuteRight, "podman, libpod/oci_util.go", DENIED),
    row(NoExecuteRight, "moby, daemon/errors.go", DENIED),
    row(
        MissingDirectory,
        "podman, libpod/oci_util.go",
        &["no such file or directory"],
    ),
    row(
        FileOnFolder,
        "moby, daemon/errors.go",
        &["not a directory", "is a directory"],
    ),
    row(
        NoContainer,
        "containerd, cmd/containerd-shim-runc-v2/process",
        &["does not exist"],
    ),
    strict(
        NoContainer,
        "podman 4, libpod/oci_conmon_common.go",
        &["does not exist"],
    ),
    row(KillOfEnded, "containerd, pkg/process/utils.go", GONE),
    strict(
        KillOfEnded,
        "cri-o, internal/oci/runtime_oci.go",
        &[
            "no such process",
            "container not running",
            "invalid process",
        ],
    ),
    strict(
        KillOfEnded,
        "podman 4, libpod/oci_conmon_linux.go",
        &[
            "container not running",
            "open pidfd: No such process",
            "kill container: No such process",
        ],
    ),
    row(
        StartOfRunning,
        "runc's users",
        &["cannot start an already running container"],
    ),
    row(
        StartOfEnded,
        "runc's users",
        &["cannot start a container that has stopped"],
    ),
    row(
        ExecInEnded,
        "runc's users",
        &[
            "cannot exec in a stopped container",
            "cannot exec",
            "is not running",
        ],
    ),
    row(DeleteOfRunning, "runc's users", &["that is not stopped"]),
    row(IdInUse, "runc's users", &["already exist"]),
];

/// The exit status that podman makes of the runtime's words, where it looks at them.
fn podmans_status(failure: Failure) -> Option<i32> {
    match failure {
        MissingProgram | MissingPath | MissingDirectory => Some(127),
        FolderAsProgram | NoExecuteRight => Some(126),
        _ => None,
    }
}

/// Runs a call that fails so, and looks for what its callers look for, in both places.
fn told(case: &Case, failure: Failure, names: &str, call: Call<'_>) -> Verdict {
    let log = case.dir.join("phrases.log");
    let log_name = log.to_string_lossy();
    let outcome = call
        .globals(["--log", &*log_name, "--log-format", "json"])
        .run()?
        .refused()?;
    let text = std::fs::read_to_string(&log).doing(outcome.told())?;
    let errors: Vec<Value> = text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .filter(|line: &Value| line["level"] == "error")
        .collect();
    equal(&format!("error records in {text:?}"), errors.len(), 1)?;
    let message = errors[0]["msg"].as_str().unwrap_or_default();
    for (place, text) in [("stderr", outcome.stderr.as_str()), ("the log", message)] {
        look_for(failure, place, text)?;
        holds(
            text.to_lowercase().contains(&names.to_lowercase()),
            format!("{names:?} is not named on {place}: {text:?}"),
        )?;
    }
    Ok(())
}

fn look_for(failure: Failure, place: &str, text: &str) -> Verdict {
    let lower = text.to_lowercase();
    let mut callers = 0;
    for row in PHRASES.iter().filter(|row| row.failure == failure) {
        let seen = if row.strict { text } else { &lower };
        callers += 1;
        if !row.one_of.iter().any(|phrase| seen.contains(phrase)) {
            return fail(format!(
                "{} looks on {place} for one of {:?}: {text:?}",
                row.caller, row.one_of
            ));
        }
    }
    holds(callers > 0, "nobody looks for anything here")?;
    match podmans_status(failure) {
        Some(status) => equal(
            &format!("podman's exit status for {text:?}"),
            super::errors::podmans_status(&lower),
            status,
        ),
        None => Ok(()),
    }
}

/// A bundle with a file that may not be executed.
fn bundle(case: &Case) -> Verdict<Bundle> {
    let bundle = case.bundle()?;
    bundle.file_with_mode("/etc/data", "no program", 0o644)?;
    Ok(bundle)
}

fn run_of(case: &Case, failure: Failure, program: &str) -> Verdict {
    let mut bundle = bundle(case)?;
    bundle.args(&[program]);
    let call = case.run_call(&bundle)?;
    told(case, failure, name_of(failure, program), call)
}

fn exec_of(case: &Case, failure: Failure, program: &str) -> Verdict {
    let container = case.started(&mut bundle(case)?)?;
    let call = container.verb("exec").arg(program);
    told(case, failure, name_of(failure, program), call)
}

/// moby takes a text for one about the program only where it names it.
fn name_of(failure: Failure, program: &str) -> &str {
    match failure {
        MissingProgram | MissingPath => program,
        _ => "",
    }
}

fn a_missing_program_is_told_in_the_callers_words(case: &Case) -> Verdict {
    run_of(case, MissingProgram, "no-such-program")
}

fn a_missing_path_is_told_in_the_callers_words(case: &Case) -> Verdict {
    run_of(case, MissingPath, "/no/such/program")
}

fn a_folder_as_program_is_told_in_the_callers_words(case: &Case) -> Verdict {
    run_of(case, FolderAsProgram, "/etc")
}

fn a_file_without_execute_right_is_told_in_the_callers_words(case: &Case) -> Verdict {
    run_of(case, NoExecuteRight, "/etc/data")
}

fn a_missing_program_of_exec_is_told_in_the_callers_words(case: &Case) -> Verdict {
    exec_of(case, MissingProgram, "no-such-program")
}

fn a_missing_path_of_exec_is_told_in_the_callers_words(case: &Case) -> Verdict {
    exec_of(case, MissingPath, "/no/such/program")
}

fn a_folder_of_exec_is_told_in_the_callers_words(case: &Case) -> Verdict {
    exec_of(case, FolderAsProgram, "/etc")
}

fn a_file_without_execute_right_of_exec_is_told_in_the_callers_words(case: &Case) -> Verdict {
    exec_of(case, NoExecuteRight, "/etc/data")
}

fn a_missing_directory_of_exec_is_told_in_the_callers_words(case: &Case) -> Verdict {
    let container = case.started(&mut case.bundle()?)?;
    let call = case.runtime(["exec", "--cwd", "/not/there", &container.id, "/bin/probe"]);
    told(case, MissingDirectory, "/not/there", call.arg("serve"))
}

fn a_file_on_a_folder_is_told_in_the_callers_words(case: &Case) -> Verdict {
    let mut bundle = bundle(case)?;
    let file = case.file("source", "text")?;
    bundle.bind(&file, "/etc", &[]);
    let call = case.run_call(&bundle)?;
    told(case, FileOnFolder, "", call)
}

fn state_of_nothing_is_told_in_the_callers_words(case: &Case) -> Verdict {
    told(case, NoContainer, "", case.runtime(["state", &case.id]))
}

fn kill_of_nothing_is_told_in_the_callers_words(case: &Case) -> Verdict {
    told(case, NoContainer, "", case.runtime(["kill", &case.id, "9"]))
}

fn delete_of_nothing_is_told_in_the_callers_words(case: &Case) -> Verdict {
    told(case, NoContainer, "", case.runtime(["delete", &case.id]))
}

fn kill_of_what_has_ended_is_told_in_the_callers_words(case: &Case) -> Verdict {
    let container = case.started(&mut case.bundle()?)?;
    container.stop()?;
    told(case, KillOfEnded, "", container.verb("kill").arg("15"))
}

fn start_of_what_runs_is_told_in_the_callers_words(case: &Case) -> Verdict {
    let container = case.started(&mut case.bundle()?)?;
    told(case, StartOfRunning, "", container.verb("start"))
}

fn start_of_what_has_ended_is_told_in_the_callers_words(case: &Case) -> Verdict {
    let container = case.started(&mut case.bundle()?)?;
    container.stop()?;
    told(case, StartOfEnded, "", container.verb("start"))
}

fn exec_in_what_has_ended_is_told_in_the_callers_words(case: &Case) -> Verdict {
    let container = case.started(&mut case.bundle()?)?;
    container.stop()?;
    let call = container.verb("exec").arg("/bin/probe");
    told(case, ExecInEnded, "", call.args(["exit", "0"]))
}

fn delete_of_what_runs_is_told_in_the_callers_words(case: &Case) -> Verdict {
    let container = case.started(&mut case.bundle()?)?;
    told(case, DeleteOfRunning, "", container.verb("delete"))
}

fn an_id_in_use_is_told_in_the_callers_words(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let _first = case.create(&mut bundle)?;
    let call = case.create_call(&bundle)?;
    told(case, IdInUse, "", call)
}
