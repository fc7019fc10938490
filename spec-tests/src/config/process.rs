//! config.md#process

use serde_json::json;

use crate::harness::case::Case;
use crate::harness::container::parse_line;
use crate::harness::verdict::{Verdict, equal, holds};
use crate::probe::ask::{Ask, Process};
use crate::tests;

tests! {
    "config.md#process" Must cwd_is_where_the_payload_starts;
    "config.md#process" Must a_relative_cwd_is_an_error;
    "config.md#process" Must env_is_exactly_what_config_says;
    "config.md#process" Must args_reach_the_payload_unchanged;
    "config.md#process" Must a_program_without_a_slash_is_found_in_path_of_env;
    "config.md#process" Must a_relative_program_is_found_from_cwd;
    "config.md#process" Must the_exit_status_of_a_missing_program_is_an_error;
    "config.md#posix-process" Must rlimits_are_set;
    "config.md#posix-process" Should a_limit_of_descriptors_binds_the_payload_alone;
    "config.md#posix-process" Must a_duplicate_rlimit_is_an_error;
    "config.md#posix-process" Must an_unknown_rlimit_is_an_error;
    "config.md#linux-process" Must no_new_privileges_is_set;
    "config.md#linux-process" Must no_new_privileges_is_not_set_unless_asked;
    "config.md#linux-process" Must oom_score_adj_is_set;
    "config.md#linux-process" Should a_score_that_may_not_be_lowered_is_no_obstacle_to_an_ordinary_user;
    "config.md#linux-process" Must oom_score_adj_is_unchanged_unless_asked;
    "config.md#linux-process" Must io_priority_is_set;
    "config.md#linux-process" Must the_scheduler_is_set;
    "config.md#linux-process" Must without_a_terminal_the_streams_are_the_callers;
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

fn a_relative_cwd_is_an_error(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.process()["cwd"] = json!("tmp");
    case.create_refused(&bundle).map(drop)
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
    let args = [
        "/bin/probe",
        "answer",
        "[\"Process\"]",
        "",
        "two words",
        "--flag",
        "ä\n$HOME",
    ];
    bundle.args(&args);
    let outcome = case.run_call(&bundle)?.run()?.succeeded()?;
    equal(
        "args",
        parse_line(&outcome.stdout, 1)?.remove(0).process()?.args,
        args,
    )
}

fn a_program_without_a_slash_is_found_in_path_of_env(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.mkdir("/opt/empty")?;
    std::fs::create_dir(bundle.inside("/opt/deep"))?;
    std::fs::rename(
        bundle.inside("/bin/probe"),
        bundle.inside("/opt/deep/probe"),
    )?;
    bundle.process()["env"] = json!(["PATH=/opt/empty:/opt/deep:/bin"]);
    bundle.args(&["probe", "answer", "[\"Process\"]"]);
    let outcome = case.run_call(&bundle)?.run()?.succeeded()?;
    equal(
        "argv[0]",
        parse_line(&outcome.stdout, 1)?.remove(0).process()?.args[0].as_str(),
        "probe",
    )
}

fn a_relative_program_is_found_from_cwd(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.mkdir("/work/tools")?;
    std::fs::rename(
        bundle.inside("/bin/probe"),
        bundle.inside("/work/tools/probe"),
    )?;
    bundle.process()["cwd"] = json!("/work");
    bundle.args(&["./tools/probe", "exit", "5"]);
    case.run_call(&bundle)?.run()?.ended_with(5).map(drop)
}

fn the_exit_status_of_a_missing_program_is_an_error(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.args(&["/bin/not-there"]);
    case.run_call(&bundle)?.run()?.refused().map(drop)
}

fn rlimits_are_set(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.process()["rlimits"] = json!([
        {"type": "RLIMIT_NOFILE", "soft": 512, "hard": 1000},
        {"type": "RLIMIT_CORE", "soft": 0, "hard": 4096},
        {"type": "RLIMIT_STACK", "soft": 1_048_576, "hard": 8_388_608},
    ]);
    let limits = case.run_process(&mut bundle)?.rlimits;
    equal(
        "RLIMIT_NOFILE",
        limits.get("RLIMIT_NOFILE"),
        Some(&(512, 1000)),
    )?;
    equal("RLIMIT_CORE", limits.get("RLIMIT_CORE"), Some(&(0, 4096)))?;
    equal(
        "RLIMIT_STACK",
        limits.get("RLIMIT_STACK"),
        Some(&(1_048_576, 8_388_608)),
    )
}

/// Three are open when it begins. Whoever makes the container needs more, and so do its hooks.
fn a_limit_of_descriptors_binds_the_payload_alone(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.file("/etc/passwd", "root:x:0:0::/from/passwd:/bin/sh\n")?;
    bundle.process()["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 3, "hard": 3}]);
    bundle.hook(
        "startContainer",
        json!({"path": "/bin/probe", "args": ["probe", "hook", "/tmp/hooked"]}),
    );
    let is_limited = |process: Process| -> Verdict {
        let limit = process.rlimits.get("RLIMIT_NOFILE");
        equal("RLIMIT_NOFILE", limit, Some(&(3, 3)))?;
        let home = process.env.iter().find(|entry| entry.starts_with("HOME="));
        let home = home.map(String::as_str);
        equal("the environment's HOME", home, Some("HOME=/from/passwd"))
    };
    is_limited(case.run_process(&mut bundle)?)?;
    equal(
        "the hook has run",
        bundle.inside("/tmp/hooked").exists(),
        true,
    )?;
    let mut container = case.create_named(&mut bundle, &format!("{}-created", case.id))?;
    container.start()?;
    is_limited(container.ask_one(Ask::Process)?.process()?)?;
    is_limited(container.exec_process(&[])?)
}

fn a_duplicate_rlimit_is_an_error(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let limit = json!({"type": "RLIMIT_NOFILE", "soft": 512, "hard": 512});
    bundle.process()["rlimits"] = json!([limit, limit]);
    case.create_refused(&bundle).map(drop)
}

fn an_unknown_rlimit_is_an_error(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.process()["rlimits"] = json!([{"type": "RLIMIT_NOSUCH", "soft": 1, "hard": 1}]);
    case.create_refused(&bundle).map(drop)
}

fn no_new_privileges_is_set(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.process()["noNewPrivileges"] = json!(true);
    equal(
        "no_new_privs",
        case.run_process(&mut bundle)?.no_new_privs,
        true,
    )
}

fn no_new_privileges_is_not_set_unless_asked(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.process()["noNewPrivileges"] = json!(false);
    equal(
        "no_new_privs",
        case.run_process(&mut bundle)?.no_new_privs,
        false,
    )
}

fn oom_score_adj_is_set(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    // Upwards: only CAP_SYS_RESOURCE may go down.
    bundle.process()["oomScoreAdj"] = json!(321);
    equal(
        "oom_score_adj",
        case.run_process(&mut bundle)?.oom_score_adj,
        Some(321),
    )
}

fn a_score_that_may_not_be_lowered_is_no_obstacle_to_an_ordinary_user(case: &Case) -> Verdict {
    case.need_rootless()?;
    let mut bundle = case.bundle()?;
    bundle.process()["oomScoreAdj"] = json!(-500);
    let own = std::fs::read_to_string("/proc/self/oom_score_adj")?;
    equal(
        "oom_score_adj",
        case.run_process(&mut bundle)?.oom_score_adj,
        own.trim().parse().ok(),
    )
}

fn oom_score_adj_is_unchanged_unless_asked(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let own = std::fs::read_to_string("/proc/self/oom_score_adj")?;
    equal(
        "oom_score_adj",
        case.run_process(&mut bundle)?.oom_score_adj,
        own.trim().parse().ok(),
    )
}

fn io_priority_is_set(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.process()["ioPriority"] = json!({"class": "IOPRIO_CLASS_BE", "priority": 6});
    const BEST_EFFORT: i32 = 2;
    equal(
        "the I/O priority",
        case.run_process(&mut bundle)?.io_priority,
        BEST_EFFORT << 13 | 6,
    )
}

fn the_scheduler_is_set(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.process()["scheduler"] = json!({"policy": "SCHED_BATCH", "nice": 7});
    const BATCH: u32 = 3;
    equal(
        "policy and nice value",
        case.run_process(&mut bundle)?.scheduler,
        (BATCH, 7),
    )
}

fn without_a_terminal_the_streams_are_the_callers(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.serves();
    let outcome = case
        .run_call(&bundle)?
        .input("[\"Process\"]\n")?
        .run()?
        .succeeded()?;
    let process = parse_line(&outcome.stdout, 1)?.remove(0).process()?;
    equal("terminals", process.terminals, [false; 3])?;
    holds(
        outcome.stderr.is_empty(),
        format!(
            "something was written to standard error: {}",
            outcome.stderr
        ),
    )
}
