//! config.md#posix-platform-hooks

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::harness::bundle::Bundle;
use crate::harness::case::Case;
use crate::harness::container::Container;
use crate::harness::verdict::{Doing, Stop, Verdict, equal, holds};
use crate::probe::ask::Ask;
use crate::probe::hook::HookReport;
use crate::tests;

tests! {
    "config.md#posix-platform-hooks" Must hooks_run_in_the_order_of_the_lifecycle;
    "config.md#posix-platform-hooks" Must hooks_of_one_kind_run_in_the_listed_order;
    "config.md#prestart" Must prestart_hooks_run_in_the_runtime_namespaces_at_create;
    "config.md#createruntime-hooks" Must create_runtime_hooks_run_in_the_runtime_namespaces_at_create;
    "config.md#createcontainer-hooks" Must create_container_hooks_run_in_the_container_namespaces_at_create;
    "config.md#startcontainer-hooks" Must start_container_hooks_run_in_the_container_at_start;
    "config.md#poststart" Must poststart_hooks_run_after_start;
    "config.md#poststop" Must poststop_hooks_run_after_delete;
    "config.md#posix-platform-hooks" Must hooks_get_the_state_on_standard_input;
    "config.md#posix-platform-hooks" Must hooks_get_their_own_args_and_env;
    "config.md#posix-platform-hooks" Must a_hook_that_takes_too_long_is_ended;
    "config.md#posix-platform-hooks" Must hooks_run_with_run_too;
    "runc" Compat create_container_hooks_begin_in_the_containers_root;
    "runc" Compat start_container_hooks_are_under_the_profile;
    "config.md#posix-platform-hooks" Should hooks_have_no_descriptors_of_the_runtime;
}

const KINDS: [&str; 6] = [
    "prestart",
    "createRuntime",
    "createContainer",
    "startContainer",
    "poststart",
    "poststop",
];

/// A hook that appends its report to `log` and ends with `status`.
fn reporting(probe: &Path, log: &Path, status: &str) -> Value {
    json!({"path": probe, "args": ["probe", "hook", log, status]})
}

/// The same for each kind: startContainer sees the container's paths, all others the host's.
pub(crate) fn report_from(case: &Case, bundle: &mut Bundle, kind: &str, status: &str) -> PathBuf {
    let (hook, log) = if kind == "startContainer" {
        (
            reporting(
                Path::new("/bin/probe"),
                Path::new("/tmp/startContainer"),
                status,
            ),
            bundle.inside("/tmp/startContainer"),
        )
    } else {
        let log = case.dir.join(format!("log-{kind}"));
        (reporting(case.host_probe(), &log, status), log)
    };
    bundle.hook(kind, hook);
    log
}

fn reports(log: &Path) -> Verdict<Vec<HookReport>> {
    let text =
        std::fs::read_to_string(log).doing(format!("report of the hook, {}", log.display()))?;
    text.lines()
        .map(|line| serde_json::from_str(line).map_err(Stop::from))
        .collect()
}

pub(super) fn only_report(log: &Path) -> Verdict<HookReport> {
    let mut all = reports(log)?;
    equal("reports", all.len(), 1)?;
    Ok(all.remove(0))
}

fn whole_life(case: &Case, bundle: &mut Bundle) -> Verdict {
    let container = case.started(bundle)?;
    container.stop()?;
    container.delete()
}

fn hooks_run_in_the_order_of_the_lifecycle(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let logs: Vec<PathBuf> = KINDS
        .iter()
        .map(|kind| report_from(case, &mut bundle, kind, "0"))
        .collect();
    whole_life(case, &mut bundle)?;
    let mut seen = Vec::new();
    for (kind, log) in KINDS.iter().zip(&logs) {
        seen.push((only_report(log)?.at_ns, *kind));
    }
    seen.sort_unstable();
    equal(
        "the order",
        seen.into_iter().map(|(_, kind)| kind).collect::<Vec<_>>(),
        KINDS,
    )
}

fn hooks_of_one_kind_run_in_the_listed_order(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let log = case.dir.join("log");
    for number in ["first", "second", "third"] {
        bundle.hook(
            "createRuntime",
            json!({"path": case.host_probe(), "args": ["probe", "hook", log, "0", number]}),
        );
    }
    case.create(&mut bundle)?;
    let seen: Vec<String> = reports(&log)?
        .iter()
        .map(|report| report.process.args[4].clone())
        .collect();
    equal("the order", seen, ["first", "second", "third"])
}

fn own_namespace(kind: &str) -> Verdict<String> {
    Ok(std::fs::read_link(format!("/proc/self/ns/{kind}"))?
        .to_string_lossy()
        .into_owned())
}

/// Runs after create: the report, and the container.
fn at_create<'a>(case: &'a Case, kind: &str) -> Verdict<(HookReport, Container<'a>)> {
    let mut bundle = case.bundle()?;
    let log = report_from(case, &mut bundle, kind, "0");
    let container = case.create(&mut bundle)?;
    Ok((only_report(&log)?, container))
}

fn runs_in_runtime_namespaces(report: &HookReport) -> Verdict {
    for kind in ["mnt", "pid", "uts", "net"] {
        let seen = report
            .process
            .namespaces
            .get(kind)
            .cloned()
            .unwrap_or_default();
        equal(
            &format!("the hook's {kind} namespace"),
            seen,
            own_namespace(kind)?,
        )?;
    }
    Ok(())
}

fn prestart_hooks_run_in_the_runtime_namespaces_at_create(case: &Case) -> Verdict {
    runs_in_runtime_namespaces(&at_create(case, "prestart")?.0)
}

fn create_runtime_hooks_run_in_the_runtime_namespaces_at_create(case: &Case) -> Verdict {
    runs_in_runtime_namespaces(&at_create(case, "createRuntime")?.0)
}

fn create_container_hooks_run_in_the_container_namespaces_at_create(case: &Case) -> Verdict {
    let (report, mut container) = at_create(case, "createContainer")?;
    container.start()?;
    let inside = container.ask_one(Ask::Process)?.process()?;
    for kind in ["mnt", "uts", "ipc"] {
        let (of_hook, of_payload) = (
            report.process.namespaces.get(kind),
            inside.namespaces.get(kind),
        );
        equal(&format!("the hook's {kind} namespace"), of_hook, of_payload)?;
    }
    Ok(())
}

fn start_container_hooks_run_in_the_container_at_start(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let log = report_from(case, &mut bundle, "startContainer", "0");
    let mut container = case.create(&mut bundle)?;
    holds(!log.exists(), "the hook ran at create")?;
    container.start()?;
    // The payload answers, so the hook is over.
    let inside = container.ask_one(Ask::Process)?.process()?;
    let report = only_report(&log)?;
    equal(
        "the hook's hostname",
        report.process.hostname.as_str(),
        "spec-tests",
    )?;
    for kind in ["mnt", "uts", "ipc", "pid"] {
        let (of_hook, of_payload) = (
            report.process.namespaces.get(kind),
            inside.namespaces.get(kind),
        );
        equal(&format!("the hook's {kind} namespace"), of_hook, of_payload)?;
    }
    Ok(())
}

fn poststart_hooks_run_after_start(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let log = report_from(case, &mut bundle, "poststart", "0");
    let container = case.create(&mut bundle)?;
    holds(!log.exists(), "the hook ran at create")?;
    container.start()?;
    runs_in_runtime_namespaces(&only_report(&log)?)
}

fn poststop_hooks_run_after_delete(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let log = report_from(case, &mut bundle, "poststop", "0");
    let container = case.started(&mut bundle)?;
    container.stop()?;
    holds(!log.exists(), "the hook ran before delete")?;
    container.delete()?;
    runs_in_runtime_namespaces(&only_report(&log)?)
}

fn hooks_get_the_state_on_standard_input(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.config["annotations"] = json!({"org.example.key": "value"});
    let logs: Vec<PathBuf> = KINDS
        .iter()
        .map(|kind| report_from(case, &mut bundle, kind, "0"))
        .collect();
    whole_life(case, &mut bundle)?;
    let allowed: [&[&str]; 6] = [
        &["creating", "created"],
        &["creating", "created"],
        &["creating", "created"],
        &["created"],
        &["running"],
        &["stopped"],
    ];
    for ((kind, log), statuses) in KINDS.iter().zip(&logs).zip(allowed) {
        let report = only_report(log)?;
        let state: Value =
            serde_json::from_str(&report.stdin).doing(format!("standard input of {kind}"))?;
        equal(&format!("id for {kind}"), &state["id"], &json!(case.id))?;
        equal(
            &format!("the annotation for {kind}"),
            &state["annotations"]["org.example.key"],
            &json!("value"),
        )?;
        let bundle_path = state["bundle"].as_str().unwrap_or_default();
        equal(
            &format!("bundle for {kind}"),
            std::fs::canonicalize(bundle_path).ok(),
            std::fs::canonicalize(&bundle.dir).ok(),
        )?;
        let status = state["status"].as_str().unwrap_or_default();
        holds(
            statuses.contains(&status),
            format!("status for {kind} is {status:?}, none of {statuses:?}"),
        )?;
    }
    Ok(())
}

fn hooks_get_their_own_args_and_env(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let log = case.dir.join("log");
    bundle.hook(
        "createRuntime",
        json!({"path": case.host_probe(), "args": ["/any/probe", "hook", log, "0", "last"], "env": ["A=b", "C="]}),
    );
    case.create(&mut bundle)?;
    let process = only_report(&log)?.process;
    equal(
        "args",
        process.args,
        [
            "/any/probe".to_owned(),
            "hook".into(),
            log.to_string_lossy().into(),
            "0".into(),
            "last".into(),
        ],
    )?;
    let mut env = process.env;
    env.sort();
    equal("env", env, ["A=b", "C="])
}

fn a_hook_that_takes_too_long_is_ended(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.hook(
        "createRuntime",
        json!({"path": case.host_probe(), "args": ["probe", "hang"], "timeout": 1}),
    );
    bundle.serves();
    // The hook would go on for ever, and this test's deadline then ends it.
    case.create_refused(&bundle).map(drop)
}

fn hooks_run_with_run_too(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let logs: Vec<PathBuf> = KINDS
        .iter()
        .map(|kind| report_from(case, &mut bundle, kind, "0"))
        .collect();
    case.run_process(&mut bundle)?;
    for log in &logs {
        only_report(log)?;
    }
    Ok(())
}

fn hooks_have_no_descriptors_of_the_runtime(case: &Case) -> Verdict {
    let (report, _container) = at_create(case, "createRuntime")?;
    let extra: Vec<(i32, String)> = report
        .process
        .fds
        .into_iter()
        .filter(|(fd, _)| *fd > 2)
        .collect();
    equal("descriptors above 2", extra, [])
}

/// They name files of the image by relative paths, `ldconfig -r .` for one.
fn create_container_hooks_begin_in_the_containers_root(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let log = report_from(case, &mut bundle, "createContainer", "0");
    case.create(&mut bundle)?;
    let root = std::fs::canonicalize(bundle.rootfs())?;
    let report = only_report(&log)?;
    equal("cwd", Path::new(&report.process.cwd), root.as_path())
}

/// Their programs are the image's.
fn start_container_hooks_are_under_the_profile(case: &Case) -> Verdict {
    for no_new_privileges in [true, false] {
        let mut bundle = case.bundle_named(&format!("bundle-{no_new_privileges}"))?;
        bundle.process()["noNewPrivileges"] = json!(no_new_privileges);
        let rules = json!([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]);
        bundle.linux()["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules});
        let log = report_from(case, &mut bundle, "startContainer", "0");
        let container = case.started(&mut bundle)?;
        let filter = only_report(&log)?.process.status.get("Seccomp").cloned();
        equal("Seccomp of the hook", filter.as_deref(), Some("2"))?;
        container.stop()?;
        container.delete()?;
    }
    Ok(())
}
