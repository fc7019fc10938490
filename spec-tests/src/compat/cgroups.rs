//! The verbs that work by the container's cgroup: exec --cgroup, kill --all, ps, events

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
    "runc-kill(8)" Compat kill_all_sends_any_signal_to_every_process;
    "runc-ps(8)" Compat ps_as_table_shows_the_processes;
    "runc-events(8)" Compat events_once_prints_what_is_used;
    "runc-events(8)" Compat events_have_what_the_kernel_counts;
    "runc-events(8)" Compat events_leave_out_the_hosts_network;
    "runc-events(8)" Compat events_tell_of_an_oom_kill_and_of_the_end;
    "runc-pause(8)" Compat a_cgroup_below_is_paused_too;
    "config-linux.md#memory" Should a_limit_too_low_for_a_start_is_named;
    "config-linux.md#memory" Should an_init_that_ends_for_want_of_memory_is_said_to;
    "config-linux.md#cgroups" Should a_limit_without_delegation_is_an_error_with_a_remedy;
    "config-linux.md#cgroups" Should a_controller_that_is_not_delegated_is_named;
}

fn with<'a>(
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

fn ps_as_table_shows_the_processes(case: &Case) -> Verdict {
    if !["/bin/ps", "/usr/bin/ps"]
        .iter()
        .any(|ps| fs::metadata(ps).is_ok())
    {
        return skip("there is no ps on this host");
    }
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

fn event(line: &str) -> Verdict<Value> {
    serde_json::from_str(line).doing(line)
}

fn events_once_prints_what_is_used(case: &Case) -> Verdict {
    let resources = json!({"pids": {"limit": 40}, "memory": {"limit": 64 << 20}});
    let (container, _) = with(case, &["pids", "memory", "cpu"], &resources)?;
    let call = case.runtime(["events", "--stats", &container.id]);
    let outcome = call.run()?.succeeded()?;
    let event = event(outcome.stdout.trim())?;
    equal("type", &event["type"], "stats")?;
    equal("id", &event["id"], container.id.as_str())?;
    let data = &event["data"];
    equal("pids.limit", data["pids"]["limit"].as_u64(), Some(40))?;
    equal("pids.current", data["pids"]["current"].as_u64(), Some(1))?;
    let memory = &data["memory"]["usage"];
    equal(
        "memory.usage.limit",
        memory["limit"].as_u64(),
        Some(64 << 20),
    )?;
    let used = memory["usage"].as_u64().unwrap_or(0);
    holds(
        used > 0 && used < 64 << 20,
        format!("memory.usage.usage is {memory}"),
    )?;
    let cpu = &data["cpu"]["usage"]["total"];
    holds(
        cpu.as_u64().is_some_and(|ns| ns > 0),
        format!("cpu.usage.total is {cpu}"),
    )
}

/// In the names of runc's types, which containerd and cAdvisor read: a number that is not there
/// counts as 0.
fn events_have_what_the_kernel_counts(case: &Case) -> Verdict {
    let resources = json!({"cpu": {"quota": 10_000, "period": 100_000}});
    let (mut container, cgroup) = with(case, &["pids", "memory", "cpu"], &resources)?;
    case.wait_for("a period without a rest", || {
        container.ask_one(Ask::Process)?.process()?;
        let throttled = cgroup.number("cpu.stat", "nr_throttled")?;
        Ok((throttled > 0).then_some(()))
    })?;
    let mut least: Vec<(String, u64)> = Vec::new();
    for (pointer, file, key, factor) in [
        ("cpu/usage/kernel", "cpu.stat", "system_usec", 1000),
        ("cpu/usage/user", "cpu.stat", "user_usec", 1000),
        ("cpu/throttling/periods", "cpu.stat", "nr_periods", 1),
        (
            "cpu/throttling/throttledPeriods",
            "cpu.stat",
            "nr_throttled",
            1,
        ),
        (
            "cpu/throttling/throttledTime",
            "cpu.stat",
            "throttled_usec",
            1000,
        ),
        ("memory/raw/pgfault", "memory.stat", "pgfault", 1),
    ] {
        least.push((format!("/{pointer}"), cgroup.number(file, key)? * factor));
    }
    let call = case.runtime(["events", "--stats", &container.id]);
    let outcome = call.run()?.succeeded()?;
    let data = event(outcome.stdout.trim())?["data"].take();
    for (pointer, least) in least {
        let seen = data.pointer(&pointer).and_then(Value::as_u64).unwrap_or(0);
        holds(seen >= least, format!("{pointer}: {seen} of {least}"))?;
    }
    for (part, file) in [
        ("cpu", "cpu.pressure"),
        ("memory", "memory.pressure"),
        ("blkio", "io.pressure"),
    ] {
        // Without CONFIG_PSI, or where it is switched off, it is not there or cannot be read.
        for line in cgroup.read(file).unwrap_or_default().lines() {
            let kind = line.split(' ').next().unwrap_or_default();
            for key in ["avg10", "avg60", "avg300", "total"] {
                let seen = &data[part]["psi"][kind][key];
                holds(seen.is_number(), format!("{part}: {kind} {key} is {seen}"))?;
            }
        }
    }
    let interfaces = data["network_interfaces"].as_array();
    let lo = interfaces.and_then(|all| all.iter().find(|one| one["Name"] == "lo"));
    holds(lo.is_some(), format!("interfaces: {interfaces:?}"))
}

/// A container in the host's network namespace sees the traffic of all.
fn events_leave_out_the_hosts_network(case: &Case) -> Verdict {
    case.need_cgroups()?;
    let mut bundle = case.bundle()?;
    bundle.without_namespace("network").without_mount("/sys");
    let container = case.started(&mut bundle)?;
    let call = case.runtime(["events", "--stats", &container.id]);
    let event = event(call.run()?.succeeded()?.stdout.trim())?;
    let seen = &event["data"]["network_interfaces"];
    let none = seen.is_null() || seen.as_array().is_some_and(Vec::is_empty);
    holds(none, format!("network_interfaces are {seen}"))
}

fn events_tell_of_an_oom_kill_and_of_the_end(case: &Case) -> Verdict {
    let resources = json!({"memory": {"limit": 32 << 20, "swap": 32 << 20}});
    let (mut container, cgroup) = with(case, &["memory"], &resources)?;
    let (read, write) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
    let call = case.runtime(["events", "--interval", "200ms", &container.id]);
    let running = call.stdout(write).start()?;
    let mut lines = Lines::new(read, case);
    // Once it reports it watches.
    lines.until(|event| event["type"] == "stats")?;
    let hog = Ask::Allocate { bytes: 128 << 20 };
    container.ask_one(hog)?.number()?;
    holds(
        cgroup.number("memory.events", "oom_kill")? > 0,
        "nothing was killed",
    )?;
    lines.until(|event| event["type"] == "oom")?;
    container.stop()?;
    running.wait()?.succeeded().map(drop)
}

/// Events as they come.
struct Lines<'a> {
    pipe: fs::File,
    case: &'a Case,
    rest: Vec<u8>,
}

impl<'a> Lines<'a> {
    fn new(pipe: std::os::fd::OwnedFd, case: &'a Case) -> Self {
        Self {
            pipe: pipe.into(),
            case,
            rest: Vec::new(),
        }
    }

    fn until(&mut self, is_meant: impl Fn(&Value) -> bool) -> Verdict {
        use std::io::Read;
        use std::os::fd::AsFd;
        let mut buffer = [0u8; 65536];
        loop {
            while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                if is_meant(&event(&String::from_utf8_lossy(&line))?) {
                    return Ok(());
                }
            }
            if !crate::sys::readable_before(self.pipe.as_fd(), self.case.deadline)? {
                return fail("the event did not come before the test's deadline");
            }
            match self.pipe.read(&mut buffer)? {
                0 => return Err(Stop::Fail("events ended".into())),
                got => self.rest.extend_from_slice(&buffer[..got]),
            }
        }
    }
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
