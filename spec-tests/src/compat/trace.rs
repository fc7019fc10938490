//! --trace: where a start spends its time
//!
//! rt alone has this option; the tests skip where a runtime has it not.

use std::path::Path;

use serde_json::{Value, json};

use crate::harness::bundle::Bundle;
use crate::harness::call::Call;
use crate::harness::case::Case;
use crate::harness::verdict::{Doing, Verdict, equal, holds, skip};
use crate::probe::ask::Ask;
use crate::tests;

tests! {
    "rt(1)" Compat a_trace_names_the_steps_of_every_process;
    "rt(1)" Compat a_trace_as_events_goes_on_from_call_to_call;
    "rt(1)" Compat a_start_that_fails_is_traced_as_far_as_it_came;
    "rt(1)" Compat a_trace_that_cannot_be_written_is_an_error_before_anything_is_made;
    "rt(1)" Compat a_payload_gets_no_descriptor_of_the_trace;
}

fn need_trace(case: &Case) -> Verdict {
    let asked = case.runtime(["list", "--quiet"]).globals(["--trace", "-"]);
    match asked.run()?.status {
        0 => Ok(()),
        _ => skip("the runtime has no --trace"),
    }
}

/// `run` of the bundle, traced into `file`.
fn run_traced<'a>(case: &'a Case, bundle: &Bundle, file: &Path) -> Verdict<Call<'a>> {
    let call = case.run_call(bundle)?;
    Ok(call.globals(["--trace".as_ref(), file.as_os_str()]))
}

/// Every step of a trace as events: its process, its name, and when it began and ended.
fn steps(file: &Path) -> Verdict<Vec<(String, String, f64, f64)>> {
    let text = std::fs::read_to_string(file)?;
    // The array is left open for the next call.
    let whole = format!("{}]", text.trim_end().trim_end_matches(','));
    let events: Vec<Value> = serde_json::from_str(&whole).doing(&whole)?;
    let steps = events.iter().filter(|event| event["ph"] == "X");
    let word = |event: &Value, key: &str| event[key].as_str().unwrap_or_default().to_owned();
    let number = |event: &Value, key: &str| event[key].as_f64().unwrap_or(-1.0);
    Ok(steps
        .map(|event| {
            let began = number(event, "ts");
            let ended = began + number(event, "dur");
            (word(event, "cat"), word(event, "name"), began, ended)
        })
        .collect())
}

fn a_trace_names_the_steps_of_every_process(case: &Case) -> Verdict {
    need_trace(case)?;
    let mut bundle = case.bundle()?;
    bundle.mount(json!({"destination": "/somewhere", "type": "tmpfs", "source": "tmpfs"}));
    bundle.hook("createRuntime", json!({"path": "/bin/true"}));
    bundle.answers(&[Ask::Process])?;
    let file = case.dir.join("trace");
    run_traced(case, &bundle, &file)?.run()?.succeeded()?;
    let text = std::fs::read_to_string(&file)?;
    holds(
        text.starts_with(&format!("rt run {:?}: ", case.id)),
        format!("the title of {text}"),
    )?;
    let lines: Vec<Vec<&str>> = text
        .lines()
        .skip(2)
        .map(|line| line.split_whitespace().collect())
        .collect();
    for (who, what) in [
        ("parent", "config.json"),
        ("parent", "clone"),
        ("init", "(/somewhere)"),
        ("init", "pivot_root"),
        ("init", "execve"),
        ("parent", "hooks.createRuntime[0]"),
        ("parent", "payload"),
        ("parent", "removal"),
    ] {
        let found = lines.iter().any(|line| {
            let is_number = |word: &&&str| word.parse::<f64>().is_ok_and(|n| n >= 0.0);
            line.iter().take(2).filter(is_number).count() == 2
                && line.get(2) == Some(&who)
                && line[3..].contains(&what)
        });
        holds(found, format!("no line of {who} has {what:?} in {text}"))?;
    }
    Ok(())
}

fn a_trace_as_events_goes_on_from_call_to_call(case: &Case) -> Verdict {
    need_trace(case)?;
    let mut bundle = case.bundle()?;
    bundle.serves();
    let file = case.dir.join("trace.json");
    let trace = ["--trace".as_ref(), file.as_os_str()];
    let container = case.create_with(case.create_call(&bundle)?.globals(trace), &case.id)?;
    let created = steps(&file)?;
    let is_there = |steps: &[(String, String, f64, f64)], who: &str, what: &str| {
        let found = steps
            .iter()
            .any(|step| step.0 == who && step.1.contains(what));
        holds(found, format!("no step {what:?} of {who} in {steps:?}"))
    };
    is_there(&created, "init", "(/proc)")?;
    is_there(&created, "parent", "create")?;
    for (_, name, began, ended) in &created {
        holds(
            began <= ended && created[0].2 <= *began,
            format!("{name} goes from {began} to {ended}"),
        )?;
    }
    container.verb("start").globals(trace).run()?.succeeded()?;
    let with_start = steps(&file)?;
    is_there(&with_start[created.len()..], "parent", "execve")?;
    let call = case.runtime(["exec", &container.id, "/bin/probe", "answer", "[]"]);
    call.globals(trace).run()?.succeeded()?;
    let with_exec = steps(&file)?;
    for who in ["parent", "bridge", "enter"] {
        is_there(&with_exec[with_start.len()..], who, "")?;
    }
    Ok(())
}

fn a_start_that_fails_is_traced_as_far_as_it_came(case: &Case) -> Verdict {
    need_trace(case)?;
    let mut bundle = case.bundle()?;
    bundle.mount(json!({"destination": "/before", "type": "tmpfs", "source": "tmpfs"}));
    bundle.mount(json!({"destination": "/wrong", "type": "nosuchfs", "source": "x"}));
    bundle.mount(json!({"destination": "/after", "type": "tmpfs", "source": "tmpfs"}));
    bundle.write()?;
    let file = case.dir.join("trace.json");
    run_traced(case, &bundle, &file)?.run()?.refused()?;
    let steps = steps(&file)?;
    let is_there = |what: &str| steps.iter().any(|step| step.1.contains(what));
    equal(
        "the mounts that were begun",
        ["/before", "/wrong", "/after"].map(is_there),
        [true, true, false],
    )
}

fn a_trace_that_cannot_be_written_is_an_error_before_anything_is_made(case: &Case) -> Verdict {
    need_trace(case)?;
    let mut bundle = case.bundle()?;
    bundle.answers(&[Ask::Process])?;
    let file = case.dir.join("nowhere/trace");
    run_traced(case, &bundle, &file)?
        .run()?
        .refused()?
        .says(&["--trace", "No such file or directory"])?;
    equal("containers", case.ids_in_state(), Vec::<String>::new())
}

fn a_payload_gets_no_descriptor_of_the_trace(case: &Case) -> Verdict {
    need_trace(case)?;
    let mut bundle = case.bundle()?;
    bundle.answers(&[Ask::Process])?;
    let file = case.dir.join("trace");
    let outcome = run_traced(case, &bundle, &file)?.run()?.succeeded()?;
    let answers = crate::harness::container::parse_line(&outcome.stdout, 1)?;
    let fds = answers[0].process()?.fds;
    equal(
        "descriptors beyond the streams",
        fds.keys().filter(|fd| **fd > 2).count(),
        0,
    )
}
