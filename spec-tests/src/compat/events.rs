//! events: what a cgroup counts, and what happens in it

use std::fs;

use serde_json::{Value, json};

use super::cgroups::with;
use crate::harness::case::Case;
use crate::harness::verdict::{Doing, Stop, Verdict, equal, fail, holds};
use crate::probe::ask::Ask;
use crate::tests;

tests! {
    "runc-events(8)" Compat events_once_prints_what_is_used;
    "runc-events(8)" Compat events_have_what_the_kernel_counts;
    "runc-events(8)" Compat events_leave_out_the_hosts_network;
    "runc-events(8)" Compat events_tell_of_an_oom_kill_and_of_the_end;
}

fn event(line: &str) -> Verdict<Value> {
    serde_json::from_str(line).doing(line)
}

fn events_once_prints_what_is_used(case: &Case) -> Verdict {
    let resources = json!({"pids": {"limit": 40}, "memory": {"limit": 64 << 20}});
    let (container, _) = with(case, &["pids", "memory", "cpu"], &resources)?;
    let call = case.runtime(["events", "--stats", &container.id]);
    let outcome = call.run()?.succeeded()?;
    let start = format!(
        "{{\"type\":\"stats\",\"id\":\"{}\",\"data\":{{",
        container.id
    );
    holds(outcome.stdout.starts_with(&start), outcome.stdout.clone())?;
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
    // The default bundle of an ordinary user shares the network, and so tells nothing of it.
    if !case.is_root() {
        return Ok(());
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
