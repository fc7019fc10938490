//! `rt events`: what a container uses, and when it runs out of memory.
//!
//! A line of JSON for each report, until the container has ended.
//!
//! Runs in: parent.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use clap::Args;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::{Value, json};

use super::{Global, Verb, print, processes};
use crate::cgroup::resctrl::usage;
use crate::cgroup::{Handle, stats};
use crate::error::{Context, Error, Kind, Result};
use crate::state::{Container, Status};

#[derive(Args, Debug)]
pub struct Events {
    /// Time between two reports, as Go writes it: 5s, 500ms
    #[arg(long, value_name = "DURATION", default_value = "5s")]
    interval: String,

    /// Print one report and end
    #[arg(long)]
    stats: bool,

    /// Name of the container
    #[arg(value_name = "CONTAINER")]
    id: String,
}

impl Verb for Events {
    const NAME: &'static str = "events";
    const ABOUT: &'static str = "Report what a container uses";

    fn run(self, global: &Global) -> Result<u8> {
        let interval = duration(&self.interval).filter(|interval| !interval.is_zero());
        let interval = interval.ok_or_else(|| {
            let wrong = format!(
                "--interval: {:?} is no time such as 5s or 500ms",
                self.interval
            );
            Error::new(Kind::Usage, wrong)
        })?;
        let mut container = global.root()?.open(&self.id)?;
        self.report(&mut container, interval)
            .context(|| format!("events of {:?}", self.id))
            .map(|()| 0)
    }
}

/// A time as Go writes it: numbers with units, one behind the other, `1m30s`.
fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut sum = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
        let (number, behind) = rest.split_at(end);
        let end = behind.find(|c: char| c.is_ascii_digit() || c == '.');
        let (unit, next) = behind.split_at(end.unwrap_or(behind.len()));
        let seconds = match unit {
            "ns" => 1e-9,
            "us" | "\u{b5}s" | "\u{3bc}s" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        sum += number.parse::<f64>().ok()? * seconds;
        rest = next;
    }
    Duration::try_from_secs_f64(sum)
        .ok()
        .filter(|_| !text.is_empty())
}

/// One line, in runc's order: people read it, and scripts that know no JSON.
#[derive(serde::Serialize)]
struct Event<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Value>,
}

impl Events {
    fn report(&self, container: &mut Container, interval: Duration) -> Result<()> {
        if container.status()? == Status::Stopped {
            return Err(processes::not_running());
        }
        let (handle, _) = processes::need_cgroup(&container.record, "which alone counts")?;
        if self.stats {
            return self.print_stats(container, &handle);
        }
        self.watch(container, &handle, interval)
    }

    fn print_stats(&self, container: &Container, handle: &Handle) -> Result<()> {
        let mut data = stats::read(handle)?;
        let resctrl = container.record.resctrl.as_ref();
        data["intel_rdt"] = resctrl.map_or_else(|| json!({}), usage::read);
        if let Some(init) = container.record.init {
            data["network_interfaces"] = interfaces(init.pid().as_raw());
        }
        self.print_event("stats", Some(data))
    }

    fn print_event(&self, kind: &str, data: Option<Value>) -> Result<()> {
        let event = Event {
            kind,
            id: &self.id,
            data,
        };
        let line = serde_json::to_string(&event);
        print(line.map_err(|e| Error::system(e.to_string()))? + "\n")
    }

    /// A report each `interval`, and `oom` as soon as the kernel has killed for want of memory.
    fn watch(&self, container: &Container, handle: &Handle, interval: Duration) -> Result<()> {
        let events = handle.watch("cgroup.events")?;
        let memory = handle.watch("memory.events")?;
        let mut kills = handle.oom_kills()?.unwrap_or(0);
        let mut next = Instant::now() + interval;
        loop {
            let text = match &events {
                Some(events) => events.read()?,
                None => None,
            };
            // Read anew, or poll would report at once what is known already.
            if let Some(memory) = &memory {
                memory.read()?;
            }
            let now = handle.oom_kills()?.unwrap_or(kills);
            for _ in kills..now {
                self.print_event("oom", None)?;
            }
            kills = now;
            if text.is_none_or(|text| text.lines().any(|line| line == "populated 0")) {
                return Ok(());
            }
            let left = next.saturating_duration_since(Instant::now());
            if left.is_zero() {
                self.print_stats(container, handle)?;
                next = Instant::now() + interval;
                continue;
            }
            let mut fds: Vec<PollFd<'_>> = [&events, &memory]
                .into_iter()
                .flatten()
                .map(|watch| PollFd::new(watch.as_fd(), PollFlags::POLLPRI))
                .collect();
            match poll(
                &mut fds,
                PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX),
            ) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(Error::syscall("poll", "cgroup.events", errno as i32)),
            }
        }
    }
}

/// The interfaces that a process sees, proc_pid_net(5), by runc's names. None where these are
/// the caller's own, too: what goes through them is not the container's.
fn interfaces(pid: i32) -> Value {
    let namespace = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/net")).ok();
    if namespace("self") == namespace(&pid.to_string()) {
        return Value::Null;
    }
    const NAMES: [(&str, usize); 8] = [
        ("RxBytes", 0),
        ("RxPackets", 1),
        ("RxErrors", 2),
        ("RxDropped", 3),
        ("TxBytes", 8),
        ("TxPackets", 9),
        ("TxErrors", 10),
        ("TxDropped", 11),
    ];
    let text = std::fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap_or_default();
    let lines = text.lines().skip(2).filter_map(|line| line.split_once(':'));
    lines
        .map(|(name, numbers)| {
            let numbers: Vec<u64> = numbers
                .split_ascii_whitespace()
                .filter_map(|n| n.parse().ok())
                .collect();
            let mut interface = json!({"Name": name.trim()});
            for (key, at) in NAMES {
                interface[key] = numbers.get(at).copied().unwrap_or(0).into();
            }
            interface
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_go_writes_them() {
        for (text, ms) in [
            ("5s", 5000),
            ("500ms", 500),
            ("1m30s", 90_000),
            ("1.5s", 1500),
        ] {
            assert_eq!(duration(text), Some(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "5", "s", "5 s", "-1s"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
