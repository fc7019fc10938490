//! config.md#process

use serde_json::json;

use crate::harness::case::Case;
use crate::harness::verdict::{Verdict, equal};
use crate::tests;

tests! {
    "config.md#process" Must cwd_is_where_the_payload_starts;
    "config.md#process" Must env_is_exactly_what_config_says;
    "config.md#process" Must args_reach_the_payload_unchanged;
}

fn cwd_is_where_the_payload_starts(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.mkdir("/some/where")?;
    bundle.process()["cwd"] = json!("/some/where");
    equal(
        "cwd",
        case.run_process(&mut bundle)?.cwd.as_str(),
        "/some/where",
    )
}

fn env_is_exactly_what_config_says(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.process()["env"] = json!(["PATH=/bin", "HOME=/tmp", "EMPTY=", "WITH=a=b c"]);
    let mut seen = case.run_process(&mut bundle)?.env;
    seen.sort();
    equal(
        "env",
        seen,
        ["EMPTY=", "HOME=/tmp", "PATH=/bin", "WITH=a=b c"],
    )
}

fn args_reach_the_payload_unchanged(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.args(&[
        "/bin/probe",
        "answer",
        "[\"Process\"]",
        "",
        "two words",
        "--flag",
        "ä\n$HOME",
    ]);
    let outcome = case.run_call(&bundle)?.run()?.succeeded()?;
    let process = crate::harness::container::parse_line(&outcome.stdout, 1)?
        .remove(0)
        .process()?;
    equal(
        "args",
        process.args,
        [
            "/bin/probe",
            "answer",
            "[\"Process\"]",
            "",
            "two words",
            "--flag",
            "ä\n$HOME",
        ],
    )
}
