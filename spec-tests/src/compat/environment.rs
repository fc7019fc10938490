//! What the payload finds although config.json does not say it

use std::path::PathBuf;

use serde_json::json;

use crate::harness::case::Case;
use crate::harness::container::parse_line;
use crate::harness::verdict::{Doing, Verdict, equal};
use crate::probe::ask::Ask;
use crate::probe::hook::HookReport;
use crate::tests;

tests! {
    "runc(8)" Compat home_comes_from_the_containers_passwd;
    "runc(8)" Compat home_is_the_root_without_an_entry;
    "runc(8)" Compat home_of_config_is_kept;
    "runc(8)" Compat of_duplicate_variables_the_last_one_wins;
    "runc(8)" Compat nothing_of_the_callers_environment_gets_in;
    "runc(8), crun(1)" Compat hooks_outside_without_env_have_the_callers;
    "runc(8), crun(1)" Compat hooks_at_start_without_env_have_the_payloads;
    "runc(8)" Compat the_default_umask_is_022;
    "runc(8)" Compat a_missing_cwd_is_made;
    "runc-exec(8)" Compat exec_has_home_too;
    "runc(8)" Compat files_made_for_mounts_do_not_follow_the_callers_umask;
}

fn home_comes_from_the_containers_passwd(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.file(
        "/etc/passwd",
        "first:x:7:7::/wrong:/bin/sh\nroot:x:0:0:root:/home/of-root:/bin/sh\nroot2:x:0:0::/late:\n",
    )?;
    equal(
        "HOME",
        case.run_process(&mut bundle)?.env_of("HOME"),
        ["/home/of-root"],
    )
}

/// What the hook of this kind that config.json gives no environment finds in `variable`, where
/// caller and payload set it to their own names.
fn found_by_hook(case: &Case, kind: &str) -> Verdict<Vec<String>> {
    let mut bundle = case.bundle()?;
    let inside = kind == "startContainer";
    let (probe, log, written) = match inside {
        true => (
            PathBuf::from("/bin/probe"),
            PathBuf::from("/tmp/log"),
            bundle.inside("/tmp/log"),
        ),
        false => (
            case.host_probe().to_owned(),
            case.dir.join("log"),
            case.dir.join("log"),
        ),
    };
    bundle.hook(
        kind,
        json!({"path": probe, "args": ["probe", "hook", log, "0"]}),
    );
    bundle.env("WHOSE=payload");
    bundle.answers(&[Ask::Process])?;
    let call = case.run_call(&bundle)?.env("WHOSE", "caller");
    call.run()?.succeeded()?;
    let text = std::fs::read_to_string(&written).doing("the hook's report")?;
    let report: HookReport = serde_json::from_str(text.trim())?;
    Ok(report
        .process
        .env_of("WHOSE")
        .into_iter()
        .map(str::to_owned)
        .collect())
}

fn hooks_outside_without_env_have_the_callers(case: &Case) -> Verdict {
    equal("WHOSE", found_by_hook(case, "createRuntime")?, ["caller"])
}

fn hooks_at_start_without_env_have_the_payloads(case: &Case) -> Verdict {
    equal("WHOSE", found_by_hook(case, "startContainer")?, ["payload"])
}

fn home_is_the_root_without_an_entry(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.file("/etc/passwd", "other:x:7:7::/wrong:/bin/sh\n")?;
    equal("HOME", case.run_process(&mut bundle)?.env_of("HOME"), ["/"])
}

fn home_of_config_is_kept(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.file("/etc/passwd", "root:x:0:0:root:/home/of-root:/bin/sh\n")?;
    bundle.env("HOME=/of-config");
    equal(
        "HOME",
        case.run_process(&mut bundle)?.env_of("HOME"),
        ["/of-config"],
    )
}

fn of_duplicate_variables_the_last_one_wins(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.process()["env"] = json!(["PATH=/nowhere", "A=1", "A=2", "PATH=/bin", "A=3"]);
    let process = case.run_process(&mut bundle)?;
    equal("A", process.env_of("A"), ["3"])?;
    equal("PATH", process.env_of("PATH"), ["/bin"])
}

fn nothing_of_the_callers_environment_gets_in(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.process()["env"] = json!(["PATH=/bin", "HOME=/"]);
    bundle.answers(&[Ask::Process])?;
    let outcome = case
        .run_call(&bundle)?
        .env("SECRET", "of the caller")
        .env("LD_PRELOAD", "")
        .run()?
        .succeeded()?;
    let mut env = parse_line(&outcome.stdout, 1)?.remove(0).process()?.env;
    env.sort();
    equal("env", env, ["HOME=/", "PATH=/bin"])
}

fn the_default_umask_is_022(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.answers(&[Ask::Process])?;
    let call = case
        .run_call(&bundle)?
        .through(["sh", "-c", "umask 0077; exec \"$@\"", "sh"]);
    let outcome = call.run()?.succeeded()?;
    equal(
        "umask",
        parse_line(&outcome.stdout, 1)?.remove(0).process()?.umask,
        0o022,
    )
}

fn a_missing_cwd_is_made(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.process()["cwd"] = json!("/not/there/yet");
    equal(
        "cwd",
        case.run_process(&mut bundle)?.cwd.as_str(),
        "/not/there/yet",
    )
}

fn exec_has_home_too(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.file(
        "/etc/passwd",
        "root:x:0:0:root:/home/of-root:/bin/sh\nu:x:1000:1000::/home/u:/bin/sh\n",
    )?;
    let container = case.started(&mut bundle)?;
    if case.is_root() {
        equal(
            "HOME of uid 1000",
            container
                .exec_process(&["--user", "1000:1000"])?
                .env_of("HOME"),
            ["/home/u"],
        )?;
    }
    equal(
        "HOME",
        container.exec_process(&[])?.env_of("HOME"),
        ["/home/of-root"],
    )
}

fn files_made_for_mounts_do_not_follow_the_callers_umask(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let source = case.file("source", "text")?;
    bundle.bind(&source, "/made/for/file", &[]);
    bundle.answers(&[
        Ask::Stat("/made".into()),
        Ask::Stat("/made/for".into()),
        Ask::Stat("/dev/null".into()),
    ])?;
    let call = case
        .run_call(&bundle)?
        .through(["sh", "-c", "umask 0077; exec \"$@\"", "sh"]);
    let outcome = call.run()?.succeeded()?;
    let answers = parse_line(&outcome.stdout, 3)?;
    for (answer, (what, mode)) in
        answers
            .iter()
            .zip([("/made", 0o755), ("/made/for", 0o755), ("/dev/null", 0o666)])
    {
        equal(&format!("mode of {what}"), answer.stat()?.mode, mode)?;
    }
    Ok(())
}
