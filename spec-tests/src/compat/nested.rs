//! Inside a user namespace of the caller's, as podman runs a runtime, and what a user's own ids make possible

use serde_json::json;

use crate::harness::bundle::Bundle;
use crate::harness::case::Case;
use crate::harness::container::parse_line;
use crate::harness::verdict::{Verdict, equal, holds, skip};
use crate::probe::ask::{Answer, Ask};
use crate::tests;

tests! {
    "proc_pid_loginuid(5)" Compat the_login_uid_is_the_callers;
    "podman" Compat inside_the_callers_user_namespace_no_other_is_needed;
    "podman" Compat inside_the_callers_user_namespace_another_can_be_made;
    "podman" Compat inside_the_callers_user_namespace_exec_and_delete_work;
    "crun(1)" Compat without_mappings_the_subordinate_ids_are_used;
    "seccomp(2)" Compat without_the_calls_of_new_kernels_it_works;
    "seccomp(2)" Compat a_call_that_an_outer_profile_does_not_permit_counts_as_missing;
    "runc(8)" Compat without_pivot_root_the_root_is_the_containers;
    "runc-run(8)" Compat a_kept_container_is_there_after_its_end;
}

fn the_login_uid_is_the_callers(case: &Case) -> Verdict {
    let Ok(own) = std::fs::read_to_string("/proc/self/loginuid") else {
        return skip("the kernel has no audit");
    };
    let mut bundle = case.bundle()?;
    let answer = case.run_one(&mut bundle, Ask::Read("/proc/self/loginuid".into()))?;
    // Seen from inside a user namespace an unset one stays unset, and an unmapped one is the overflow id.
    let allowed = [own.trim(), "65534", "0"];
    holds(
        allowed.contains(&answer.text()?.trim()),
        format!("loginuid is {}, not {}", answer.text()?, own.trim()),
    )
}

/// As uid 0 of a new user and mount namespace, which is what podman makes for an ordinary user.
const INSIDE: [&str; 3] = ["unshare", "--map-root-user", "--mount"];

fn without_user_namespace(bundle: &mut Bundle) {
    bundle.without_namespace("user");
    if let Some(linux) = bundle.linux().as_object_mut() {
        linux.remove("uidMappings");
        linux.remove("gidMappings");
    }
}

fn run_inside(case: &Case, bundle: &mut Bundle, asks: &[Ask]) -> Verdict<Vec<Answer>> {
    bundle.answers(asks)?;
    let outcome = case.run_call(bundle)?.through(INSIDE).run()?.succeeded()?;
    parse_line(&outcome.stdout, asks.len())
}

fn inside_the_callers_user_namespace_no_other_is_needed(case: &Case) -> Verdict {
    case.need_rootless()?;
    let mut bundle = case.bundle()?;
    without_user_namespace(&mut bundle);
    let answers = run_inside(
        case,
        &mut bundle,
        &[Ask::Process, Ask::Open("/dev/null".into())],
    )?;
    equal(
        "uid and pid",
        (answers[0].process()?.uid, answers[0].process()?.pid),
        (0, 1),
    )?;
    answers[1].done()
}

fn inside_the_callers_user_namespace_another_can_be_made(case: &Case) -> Verdict {
    case.need_rootless()?;
    let mut bundle = case.bundle()?;
    for field in ["uidMappings", "gidMappings"] {
        bundle.linux()[field] = json!([{"containerID": 0, "hostID": 0, "size": 1}]);
    }
    let answers = run_inside(case, &mut bundle, &[Ask::Process])?;
    equal(
        "uid and pid",
        (answers[0].process()?.uid, answers[0].process()?.pid),
        (0, 1),
    )
}

fn inside_the_callers_user_namespace_exec_and_delete_work(case: &Case) -> Verdict {
    case.need_rootless()?;
    let mut bundle = case.bundle()?;
    without_user_namespace(&mut bundle);
    bundle.args(&["/bin/probe", "hang"]).write()?;
    // One namespace for the whole life, as podman's pause process keeps it.
    let script = "set -e; \"$@\" run --detach --bundle \"$BUNDLE\" \"$ID\"; \"$@\" exec \"$ID\" /bin/probe exit 0; \
                  \"$@\" kill \"$ID\" KILL; \"$@\" delete --force \"$ID\"";
    let through = INSIDE.into_iter().chain(["sh", "-c", script, "sh"]);
    let call = case
        .runtime([""; 0])
        .through(through)
        .env("ID", &case.id)
        .env("BUNDLE", &bundle.dir.to_string_lossy());
    call.run()?.succeeded().map(drop)
}

fn without_mappings_the_subordinate_ids_are_used(case: &Case) -> Verdict {
    let user = case.need_rootless()?;
    let (Some(_), Some(_)) = (user.subuids, user.subgids) else {
        return skip("the user has no subordinate ids");
    };
    let mut bundle = case.bundle()?;
    without_user_namespace(&mut bundle);
    bundle.namespace("user");
    let answers = case.run(
        &mut bundle,
        &[Ask::Process, Ask::Read("/proc/self/uid_map".into())],
    )?;
    equal("uid", answers[0].process()?.uid, 0)?;
    let ids: u64 = answers[1]
        .text()?
        .lines()
        .filter_map(|line| line.split_whitespace().nth(2)?.parse::<u64>().ok())
        .sum();
    holds(ids > 1, format!("the mapping has {ids} ids only"))
}

fn run_without(case: &Case, numbers: std::ops::RangeInclusive<u32>, errno: i32) -> Verdict {
    let mut bundle = case.bundle_named(&format!("without{}", numbers.start()))?;
    let asks = [Ask::Process, Ask::Open("/dev/null".into())];
    bundle.answers(&asks)?.write()?;
    let call = case.run_call(&bundle)?.without_calls(numbers, errno);
    let answers = parse_line(&call.run()?.succeeded()?.stdout, asks.len())?;
    equal("pid", answers[0].process()?.pid, 1)?;
    answers[1].done()
}

/// As on Linux 5.3, or inside a container whose profile knows no later calls.
fn without_the_calls_of_new_kernels_it_works(case: &Case) -> Verdict {
    case.need_root()?;
    run_without(case, number(libc::SYS_clone3)..=999, libc::ENOSYS)?;
    run_without(case, number(libc::SYS_close_range)..=999, libc::EPERM)
}

/// Profiles of engines from before 2021 answer so to what they do not know.
fn a_call_that_an_outer_profile_does_not_permit_counts_as_missing(case: &Case) -> Verdict {
    case.need_root()?;
    let calls = [
        libc::SYS_clone3,
        libc::SYS_close_range,
        libc::SYS_openat2,
        libc::SYS_faccessat2,
        libc::SYS_mount_setattr,
    ];
    calls
        .into_iter()
        .map(number)
        .try_for_each(|number| run_without(case, number..=number, libc::EPERM))
}

fn number(call: libc::c_long) -> u32 {
    u32::try_from(call).unwrap_or(u32::MAX)
}

fn without_pivot_root_the_root_is_the_containers(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.file("/etc/mark", "of this root")?;
    let asks = [Ask::Read("/../../etc/mark".into()), Ask::List("/".into())];
    bundle.answers(&asks)?.write()?;
    let call = case
        .runtime(["run", "--no-pivot", "--bundle"])
        .arg(&bundle.dir)
        .arg(&case.id);
    let answers = parse_line(&call.run()?.succeeded()?.stdout, asks.len())?;
    equal("/../../etc/mark", answers[0].text()?, "of this root")?;
    equal(
        "/",
        answers[1].names()?,
        ["bin", "dev", "etc", "proc", "sys", "tmp"],
    )
}

fn a_kept_container_is_there_after_its_end(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.args(&["/bin/probe", "exit", "4"]).write()?;
    let call = case
        .runtime(["run", "--keep", "--bundle"])
        .arg(&bundle.dir)
        .arg(&case.id);
    call.run()?.ended_with(4)?;
    let outcome = case.runtime(["state", &case.id]).run()?.succeeded()?;
    holds(
        outcome.stdout.contains("stopped"),
        format!("it is not stopped: {}", outcome.told()),
    )?;
    case.runtime(["delete", &case.id])
        .run()?
        .succeeded()
        .map(drop)
}
