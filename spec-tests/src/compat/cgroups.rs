//! The verbs that work by the container's cgroup: exec --cgroup, kill --all, ps

use std::fs;

use serde_json::{Value, json};

use crate::harness::call::Outcome;
use crate::harness::case::Case;
use crate::harness::cgroup::Cgroup;
use crate::harness::container::Container;
use crate::harness::verdict::{Doing, Stop, Verdict, equal, fail, holds, skip};
use crate::probe::ask::Ask;
use crate::tests;

tests! {
    "runc-exec(8)" Compat exec_can_enter_a_cgroup_below;
    "runc-exec(8)" Compat exec_enters_no_cgroup_outside_or_absent;
    "runc-exec(8)" Compat exec_enters_the_cgroup_of_init_where_the_containers_takes_no_process;
    "runc-kill(8)" Compat kill_all_sends_any_signal_to_every_process;
    "runc-ps(8)" Compat ps_as_table_shows_the_processes;
    "runc-ps(8)" Compat what_stands_behind_the_id_is_for_the_hosts_ps;
    "runc-pause(8)" Compat a_cgroup_below_is_paused_too;
    "config-linux.md#memory" Should a_limit_too_low_for_a_start_is_named;
    "config-linux.md#memory" Should an_init_that_ends_for_want_of_memory_is_said_to;
    "config-linux.md#cgroups" Should a_limit_without_delegation_is_an_error_with_a_remedy;
    "config-linux.md#cgroups" Should a_controller_that_is_not_delegated_is_named;
}

/// A started container in a cgroup of its own, with limits of these controllers.
pub(super) fn with<'a>(
    case: &'a Case,
    controllers: &[&str],
    resources: &Value,
) -> Verdict<(Container<'a>, Cgroup)> {
    let mut place = case.need_cgroups()?;
    for controller in controllers {
        place = case.need_controller(controller)?;
    }
    let mut bundle = case.limited(&place, "verbs", resources)?;
    let container = case.started(&mut bundle)?;
    let cgroup = container.cgroup()?;
    Ok((container, cgroup))
}

fn exec_can_enter_a_cgroup_below(case: &Case) -> Verdict {
    let (container, cgroup) = with(case, &[], &json!({}))?;
    let below = cgroup.make("below")?;
    for path in ["below", "/below"] {
        let own = [Ask::Read("/proc/self/cgroup".into())];
        let answers = container.exec(&["--cgroup", path], &own)?;
        let text = answers[0].text()?;
        holds(
            text.lines()
                .any(|line| line.starts_with("0::") && line.ends_with("/below")),
            format!("with {path} it is in {text}"),
        )?;
    }
    fs::remove_dir(&below).doing(below.display())
}

fn exec_enters_no_cgroup_outside_or_absent(case: &Case) -> Verdict {
    let (container, _) = with(case, &[], &json!({}))?;
    for path in ["absent", "..", "../..", "below/../.."] {
        let call = case.runtime([
            "exec",
            "--cgroup",
            path,
            &container.id,
            "/bin/probe",
            "exit",
            "0",
        ]);
        call.run()?.refused()?;
    }
    Ok(())
}

/// As with systemd in the container: init has moved down, and controllers are enabled above it.
fn exec_enters_the_cgroup_of_init_where_the_containers_takes_no_process(case: &Case) -> Verdict {
    let (container, cgroup) = with(case, &[], &json!({}))?;
    let controllers = cgroup.read("cgroup.controllers")?;
    let threaded = ["cpu", "cpuset", "perf_event", "pids"];
    let Some(of_processes) = controllers
        .split_whitespace()
        .find(|name| !threaded.contains(name))
    else {
        return skip(format!("of {controllers:?} none keeps processes out"));
    };
    let below = cgroup.make("init.scope")?;
    let pid = container.pid()?.to_string();
    fs::write(below.join("cgroup.procs"), pid).doing("moving init")?;
    let enable = cgroup.path().join("cgroup.subtree_control");
    fs::write(enable, format!("+{of_processes}")).doing("enabling a controller")?;
    let own = [Ask::Read("/proc/self/cgroup".into())];
    let answers = container.exec(&[], &own)?;
    let text = answers[0].text()?;
    holds(
        text.lines()
            .any(|line| line.starts_with("0::") && line.ends_with("/init.scope")),
        format!("it is in {text}"),
    )?;
    container.stop()?;
    container.delete()
}

fn processes(case: &Case) -> Verdict<Vec<i32>> {
    let call = case.runtime(["ps", "--format", "json", &case.id]);
    let outcome = call.run()?.succeeded()?;
    serde_json::from_str(&outcome.stdout).doing(outcome.told())
}

/// The payload holds the signal back, the other process does not.
fn kill_all_sends_any_signal_to_every_process(case: &Case) -> Verdict {
    let (mut container, _) = with(case, &[], &json!({}))?;
    container.ask_one(Ask::SpawnSleeper)?.number()?;
    container.ask_one(Ask::Block(vec![libc::SIGUSR1]))?.done()?;
    equal("processes before", processes(case)?.len(), 2)?;
    case.runtime(["kill", "--all", &container.id, "USR1"])
        .run()?
        .succeeded()?;
    let seen = container
        .ask_one(Ask::NextSignal { within_ms: 5000 })?
        .number()?;
    equal("the payload's signal", seen, i64::from(libc::SIGUSR1))?;
    // The sleeper's end is the payload's child that nobody waits for: a zombie at most.
    case.wait_for("the end of the other process", || {
        let pids = processes(case)?;
        let alive = pids.iter().filter(|pid| {
            fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
        });
        Ok((alive.count() == 1).then_some(()))
    })
}

fn need_ps() -> Verdict {
    let there = |ps: &&str| fs::metadata(ps).is_ok();
    match ["/bin/ps", "/usr/bin/ps"].iter().any(there) {
        true => Ok(()),
        false => skip("there is no ps on this host"),
    }
}

fn what_stands_behind_the_id_is_for_the_hosts_ps(case: &Case) -> Verdict {
    need_ps()?;
    let (container, _) = with(case, &[], &json!({}))?;
    let call = container.verb("ps").args(["-o", "pid,comm"]);
    let outcome = call.run()?.succeeded()?;
    let lines: Vec<Vec<&str>> = outcome
        .stdout
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    let pid = container.pid()?.to_string();
    holds(
        lines.len() == 2 && lines[0] == ["PID", "COMMAND"] && lines[1].first() == Some(&&*pid),
        format!("{lines:?} of {pid}"),
    )
}

fn ps_as_table_shows_the_processes(case: &Case) -> Verdict {
    need_ps()?;
    let (mut container, _) = with(case, &[], &json!({}))?;
    container.ask_one(Ask::SpawnSleeper)?.number()?;
    let outcome = container.verb("ps").run()?.succeeded()?;
    let header = outcome.stdout.lines().next().unwrap_or_default();
    let Some(column) = header.split_whitespace().position(|title| title == "PID") else {
        return fail(format!("no column PID in {header:?}"));
    };
    let mut seen: Vec<i32> = outcome
        .stdout
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().nth(column)?.parse().ok())
        .collect();
    let mut wanted = processes(case)?;
    seen.sort_unstable();
    wanted.sort_unstable();
    equal("the processes", seen, wanted)
}

fn a_cgroup_below_is_paused_too(case: &Case) -> Verdict {
    let (container, cgroup) = with(case, &[], &json!({}))?;
    let below = cgroup.make("below")?;
    let call = case.runtime([
        "exec",
        "--cgroup",
        "below",
        "--detach",
        &container.id,
        "/bin/probe",
        "hang",
    ]);
    call.run()?.succeeded()?;
    container.verb("pause").run()?.succeeded()?;
    let events = fs::read_to_string(below.join("cgroup.events")).doing("cgroup.events")?;
    holds(events.contains("frozen 1"), format!("below: {events}"))?;
    container.verb("resume").run()?.succeeded()?;
    container.stop()
}

/// Only a runtime that looks into the cgroup knows why its child is gone.
fn a_limit_too_low_for_a_start_is_named(case: &Case) -> Verdict {
    let place = case.need_controller("memory")?;
    let bundle = case.limited(
        &place,
        "low",
        &json!({"memory": {"limit": 4096, "swap": 4096}}),
    )?;
    let outcome = case.run_call(&bundle)?.run()?.refused()?;
    outcome
        .says(&["memory.max", "memory.limit"])?
        .says(&["4096"])
        .map(drop)
}

/// It has come far, as far as its hooks, which need more than there is. One process that is killed
/// is the end of all.
fn an_init_that_ends_for_want_of_memory_is_said_to(case: &Case) -> Verdict {
    let place = case.need_controller("memory")?;
    let resources = json!({
        "memory": {"limit": 64 << 20, "swap": 64 << 20}, "unified": {"memory.oom.group": "1"},
    });
    let mut bundle = case.limited(&place, "hooks", &resources)?;
    let asks = serde_json::to_string(&[Ask::Allocate { bytes: 256 << 20 }])?;
    let hook = json!({"path": "/bin/probe", "args": ["probe", "answer", asks]});
    bundle.hook("startContainer", hook);
    let named = |outcome: Outcome| -> Verdict {
        let outcome = outcome.refused()?.says(&["out of memory"])?;
        outcome.says(&["67108864"]).map(drop)
    };
    named(case.run_call(&bundle)?.run()?)?;
    case.runtime(["delete", "--force", &case.id]).run()?;
    let container = case.create(&mut bundle)?;
    named(container.verb("start").run()?)
}

fn a_limit_without_delegation_is_an_error_with_a_remedy(case: &Case) -> Verdict {
    case.need_rootless()?;
    match case.need_cgroups() {
        Err(Stop::Skip(_)) if case.cgroup_root.is_some() => {}
        Err(other) => return Err(other),
        Ok(_) => return skip("the suite's own cgroup is delegated to this user"),
    }
    let mut bundle = case.bundle()?;
    bundle.linux()["resources"] = json!({"memory": {"limit": 64 << 20}});
    let outcome = case.create_refused(&bundle)?;
    for words in ["memory.max", "controller", "Delegate="] {
        outcome.clone().says(&[words])?;
    }
    Ok(())
}

fn a_controller_that_is_not_delegated_is_named(case: &Case) -> Verdict {
    case.need_rootless()?;
    let place = case.need_cgroups()?;
    let root =
        fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").doing("cgroup.controllers")?;
    let missing = [
        ("hugetlb", "hugetlb.2MB.max", "0"),
        ("rdma", "rdma.max", "x"),
        ("misc", "misc.max", "x 0"),
    ]
    .into_iter()
    .find(|(name, ..)| root.split_whitespace().any(|there| there == *name) && !place.has(name));
    let Some((controller, file, value)) = missing else {
        return skip("every controller of this host is delegated");
    };
    let resources = json!({"unified": {file: value}});
    let bundle = case.limited(&place, "missing", &resources)?;
    let outcome = case.create_refused(&bundle)?;
    for words in [
        file,
        "user@.service.d/delegate.conf",
        &format!("Delegate={controller}"),
    ] {
        outcome.clone().says(&[words])?;
    }
    Ok(())
}
