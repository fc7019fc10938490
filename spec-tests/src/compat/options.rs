//! Options before and after the verb, as conmon, go-runc and people write them

use serde_json::Value;

use crate::harness::case::Case;
use crate::harness::verdict::{Doing, Verdict, equal, fail, holds};
use crate::tests;

tests! {
    "runc(8)" Compat root_may_be_written_with_an_equals_sign;
    "runc(8)" Compat the_bundle_is_the_current_folder_by_default;
    "runc-create(8)" Compat bundle_has_a_short_form;
    "runc(8)" Compat debug_is_accepted;
    "runc(8)" Compat an_unknown_option_is_an_error;
    "runc(8)" Compat an_unknown_verb_is_an_error;
    "runc(8)" Compat errors_go_to_the_log_as_one_json_line;
    "runc(8)" Compat errors_go_to_the_log_as_text;
    "runc(8)" Compat a_log_that_was_there_is_appended_to;
    "runc(8)" Compat success_writes_no_error_to_the_log;
    "runc(8)" Compat version_is_printed;
    "runc(8)" Compat help_ends_with_success;
    "runc(8)" Compat a_missing_state_directory_is_made;
}

fn root_may_be_written_with_an_equals_sign(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    case.create(&mut bundle)?;
    let root = format!("--root={}", case.root().display());
    let outcome = case
        .runtime(["state", &case.id])
        .bare()
        .globals([root])
        .run()?
        .succeeded()?;
    holds(
        outcome.stdout.contains(&case.id),
        format!("no such id in: {}", outcome.told()),
    )
}

fn the_bundle_is_the_current_folder_by_default(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.args(&["/bin/probe", "exit", "6"]).write()?;
    case.runtime(["run", &case.id])
        .cwd(&bundle.dir)
        .run()?
        .ended_with(6)
        .map(drop)
}

fn bundle_has_a_short_form(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.args(&["/bin/probe", "exit", "6"]).write()?;
    case.runtime(["run", "-b"])
        .arg(&bundle.dir)
        .arg(&case.id)
        .run()?
        .ended_with(6)
        .map(drop)
}

fn debug_is_accepted(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.args(&["/bin/probe", "exit", "6"]);
    case.run_call(&bundle)?
        .globals(["--debug"])
        .run()?
        .ended_with(6)
        .map(drop)
}

fn an_unknown_option_is_an_error(case: &Case) -> Verdict {
    case.runtime(["state", "--no-such-option", &case.id])
        .run()?
        .refused()
        .map(drop)
}

fn an_unknown_verb_is_an_error(case: &Case) -> Verdict {
    case.runtime(["no-such-verb"]).run()?.refused().map(drop)
}

/// What is in the log after an error.
fn log_after_an_error(case: &Case, format: &[&str]) -> Verdict<String> {
    let log = case.dir.join("log");
    let log_name = log.to_string_lossy();
    let globals = [&["--log", &*log_name], format].concat();
    let outcome = case
        .runtime(["start", &case.id])
        .globals(globals)
        .run()?
        .refused()?;
    std::fs::read_to_string(&log).doing(format!("the log after {}", outcome.told()))
}

fn errors_go_to_the_log_as_one_json_line(case: &Case) -> Verdict {
    let text = log_after_an_error(case, &["--log-format", "json"])?;
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    // podman reads the whole file as one object.
    equal("lines in the log", lines.len(), 1)?;
    let record: Value = serde_json::from_str(lines[0]).doing(&text)?;
    equal("level", record["level"].as_str(), Some("error"))?;
    holds(
        record["msg"]
            .as_str()
            .is_some_and(|msg| msg.contains("does not exist")),
        format!("msg of {record}"),
    )?;
    let time = record["time"].as_str().unwrap_or_default();
    // RFC 3339: containerd decodes it.
    holds(is_rfc3339(time), format!("time is {time:?}"))
}

/// A date, `T`, a time, an optional fraction, and `Z` or an offset.
pub fn is_rfc3339(text: &str) -> bool {
    let shape: String = text
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    let Some(rest) = shape.strip_prefix("0000-00-00T00:00:00") else {
        return false;
    };
    let rest = match rest.strip_prefix('.') {
        Some(fraction) => fraction.trim_start_matches('0'),
        None => rest,
    };
    rest == "Z" || rest == "+00:00" || rest == "-00:00"
}

fn errors_go_to_the_log_as_text(case: &Case) -> Verdict {
    let text = log_after_an_error(case, &["--log-format=text"])?;
    holds(
        text.contains("does not exist"),
        format!("the log is {text:?}"),
    )
}

fn a_log_that_was_there_is_appended_to(case: &Case) -> Verdict {
    case.file("log", "of another\n")?;
    let text = log_after_an_error(case, &["--log-format", "json"])?;
    holds(
        text.starts_with("of another\n"),
        format!("the log is {text:?}"),
    )
}

fn success_writes_no_error_to_the_log(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.args(&["/bin/probe", "exit", "6"]);
    let log = case.dir.join("log");
    let globals = ["--log", &log.to_string_lossy(), "--log-format", "json"].map(str::to_owned);
    case.run_call(&bundle)?
        .globals(globals)
        .run()?
        .ended_with(6)?;
    let text = std::fs::read_to_string(&log).unwrap_or_default();
    holds(!text.contains("\"error\""), format!("the log is {text:?}"))
}

fn version_is_printed(case: &Case) -> Verdict {
    let outcome = case.runtime(["--version"]).bare().run()?.succeeded()?;
    let first = outcome.stdout.lines().next().unwrap_or_default().to_owned();
    if !first.contains(" version ") {
        return fail(format!(
            "the first line is {first:?}, not NAME version NUMBER"
        ));
    }
    // docker looks for these two.
    let has = |start: &str| outcome.stdout.lines().any(|line| line.starts_with(start));
    holds(
        has("commit: "),
        format!("no line with the commit: {}", outcome.told()),
    )?;
    holds(
        has("spec: "),
        format!("no line with the specification: {}", outcome.told()),
    )
}

fn help_ends_with_success(case: &Case) -> Verdict {
    let outcome = case.runtime(["--help"]).bare().run()?.succeeded()?;
    holds(
        outcome.stdout.contains("create"),
        format!("help does not name the verbs: {}", outcome.told()),
    )
}

fn a_missing_state_directory_is_made(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.args(&["/bin/probe", "exit", "6"]).write()?;
    let root = case.dir.join("not/there/yet");
    let globals = ["--root".into(), root.into_os_string()];
    case.runtime(["run", "-b"])
        .bare()
        .globals(globals)
        .arg(&bundle.dir)
        .arg(&case.id)
        .run()?
        .ended_with(6)
        .map(drop)
}
