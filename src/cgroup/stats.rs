//! What a cgroup uses, in the JSON that runc's `events` prints and containerd and cAdvisor
//! read.
//!
//! The names are cgroup v1's, since the form is older than v2. What this kernel does not
//! count, or the cgroup's controllers do not, is left out.
//!
//! Runs in: parent.

use serde_json::{Map, Value, json};

use super::Handle;
use crate::error::Result;

/// "No limit" where a number has to stand, as runc prints it.
const NO_LIMIT: u64 = u64::MAX;

/// All of it.
pub fn read(handle: &Handle) -> Result<Value> {
    let mut all = Map::new();
    all.insert("cpu".into(), cpu(handle)?);
    all.insert("cpuset".into(), cpuset(handle)?);
    all.insert("memory".into(), memory(handle)?);
    all.insert("pids".into(), pids(handle)?);
    all.insert("blkio".into(), block_io(handle)?);
    all.insert("hugetlb".into(), hugepages(handle)?);
    Ok(Value::Object(all))
}

/// A file of lines `key number`.
fn table(handle: &Handle, file: &str) -> Result<Map<String, Value>> {
    let text = handle.read(file)?.unwrap_or_default();
    Ok(text.lines().filter_map(pair).collect())
}

fn pair(line: &str) -> Option<(String, Value)> {
    let (key, number) = line.split_once(' ')?;
    Some((key.to_owned(), number.trim().parse::<u64>().ok()?.into()))
}

fn get(table: &Map<String, Value>, key: &str) -> u64 {
    table.get(key).and_then(Value::as_u64).unwrap_or(0)
}

/// A file of one number or the word `max`. None where it is not there.
fn number(handle: &Handle, file: &str) -> Result<Option<u64>> {
    let text = handle.read(file)?;
    Ok(text.map(|text| text.trim().parse().unwrap_or(NO_LIMIT)))
}

fn add_pressure(handle: &Handle, file: &str, object: &mut Value) -> Result<()> {
    if let Some(text) = handle.read(file)?
        && let Some(pressure) = pressure(&text)
    {
        object["psi"] = pressure;
    }
    Ok(())
}

/// `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`, and the same of `full`; total is in
/// microseconds (the kernel's Documentation/accounting/psi.rst).
fn pressure(text: &str) -> Option<Value> {
    let mut all = Map::new();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let kind = words.next()?;
        let mut values = Map::new();
        for word in words {
            let (key, value) = word.split_once('=')?;
            let value: Value = match key {
                "total" => value.parse::<u64>().ok()?.into(),
                _ => value.parse::<f64>().ok()?.into(),
            };
            values.insert(key.to_owned(), value);
        }
        all.insert(kind.to_owned(), values.into());
    }
    (!all.is_empty()).then_some(Value::Object(all))
}

fn cpu(handle: &Handle) -> Result<Value> {
    let stat = table(handle, "cpu.stat")?;
    let nanoseconds = |key| get(&stat, key).saturating_mul(1000);
    let mut cpu = json!({
        "usage": {
            "total": nanoseconds("usage_usec"),
            "kernel": nanoseconds("system_usec"),
            "user": nanoseconds("user_usec"),
        },
        "throttling": {
            "periods": get(&stat, "nr_periods"),
            "throttledPeriods": get(&stat, "nr_throttled"),
            "throttledTime": nanoseconds("throttled_usec"),
        },
        "burst": {
            "burstsPeriods": get(&stat, "nr_bursts"),
            "burstTime": nanoseconds("burst_usec"),
        },
    });
    add_pressure(handle, "cpu.pressure", &mut cpu)?;
    Ok(cpu)
}

fn cpuset(handle: &Handle) -> Result<Value> {
    let mut sets = Map::new();
    for (key, file) in [
        ("cpus", "cpuset.cpus.effective"),
        ("mems", "cpuset.mems.effective"),
    ] {
        if let Some(text) = handle.read(file)? {
            sets.insert(key.into(), list(text.trim()).into());
        }
    }
    Ok(sets.into())
}

/// `0-2,5` as numbers, cpuset(7).
fn list(text: &str) -> Vec<u16> {
    let mut numbers = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.parse::<u16>(), last.parse::<u16>()) {
            numbers.extend(first..=last);
        }
    }
    numbers
}

fn memory(handle: &Handle) -> Result<Value> {
    let stat = table(handle, "memory.stat")?;
    let usage = number(handle, "memory.current")?.unwrap_or(0);
    let limit = number(handle, "memory.max")?.unwrap_or(NO_LIMIT);
    let swap = number(handle, "memory.swap.current")?.unwrap_or(0);
    let swap_limit = number(handle, "memory.swap.max")?.unwrap_or(NO_LIMIT);
    let events = table(handle, "memory.events")?;
    let none = json!({"limit": 0, "failcnt": 0});
    let mut memory = json!({
        "cache": get(&stat, "file"),
        "usage": {
            "limit": limit,
            "usage": usage,
            "max": number(handle, "memory.peak")?.unwrap_or(0),
            "failcnt": get(&events, "max"),
        },
        // Readers expect memory and swap together, as cgroup v1 counted.
        "swap": {
            "limit": limit.saturating_add(swap_limit),
            "usage": usage.saturating_add(swap),
            "failcnt": get(&table(handle, "memory.swap.events")?, "fail"),
        },
        "kernel": none,
        "kernelTCP": none,
        "raw": stat,
    });
    add_pressure(handle, "memory.pressure", &mut memory)?;
    Ok(memory)
}

fn pids(handle: &Handle) -> Result<Value> {
    let limit = number(handle, "pids.max")?.unwrap_or(0);
    let current = match number(handle, "pids.current")? {
        Some(current) => current,
        // Without the controller, as runc does: processes in place of tasks.
        None => handle.processes()?.len() as u64,
    };
    Ok(json!({
        "current": current,
        // 0 is "no limit" to the readers.
        "limit": if limit == NO_LIMIT { 0 } else { limit },
    }))
}

fn block_io(handle: &Handle) -> Result<Value> {
    let text = handle.read("io.stat")?.unwrap_or_default();
    let mut io = json!({});
    for (name, keys) in [
        (
            "ioServiceBytesRecursive",
            [
                ("rbytes", "Read"),
                ("wbytes", "Write"),
                ("dbytes", "Discard"),
            ],
        ),
        (
            "ioServicedRecursive",
            [("rios", "Read"), ("wios", "Write"), ("dios", "Discard")],
        ),
    ] {
        let entries: Vec<Value> = text.lines().flat_map(|line| entries(line, keys)).collect();
        if !entries.is_empty() {
            io[name] = entries.into();
        }
    }
    add_pressure(handle, "io.pressure", &mut io)?;
    Ok(io)
}

/// A line of io.stat: `8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6`.
fn entries(line: &str, keys: [(&str, &str); 3]) -> Vec<Value> {
    let mut words = line.split_ascii_whitespace();
    let device = words.next().and_then(|word| word.split_once(':'));
    let Some((Ok(major), Ok(minor))) =
        device.map(|(major, minor)| (major.parse::<u64>(), minor.parse::<u64>()))
    else {
        return Vec::new();
    };
    words
        .filter_map(|word| {
            let (key, value) = word.split_once('=')?;
            let (_, op) = keys.iter().find(|(name, _)| *name == key)?;
            let value: u64 = value.parse().ok()?;
            Some(json!({"major": major, "minor": minor, "op": op, "value": value}))
        })
        .collect()
}

fn hugepages(handle: &Handle) -> Result<Value> {
    let mut sizes = Map::new();
    for file in handle.files()? {
        let Some(size) = file
            .strip_prefix("hugetlb.")
            .and_then(|rest| rest.strip_suffix(".current"))
            .filter(|size| !size.contains('.'))
        else {
            continue;
        };
        let events = table(handle, &format!("hugetlb.{size}.events"))?;
        let usage = number(handle, &file)?.unwrap_or(0);
        let max = number(handle, &format!("hugetlb.{size}.max"))?.unwrap_or(NO_LIMIT);
        let value = json!({"usage": usage, "max": max, "failcnt": get(&events, "max")});
        sizes.insert(size.to_owned(), value);
    }
    Ok(sizes.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_lines_become_json() {
        assert_eq!(list("0-2,5"), [0, 1, 2, 5]);
        assert!(list("").is_empty());
        assert_eq!(pair("nr_periods 7"), Some(("nr_periods".into(), json!(7))));
        assert_eq!(pair("nonsense"), None);
        let text = "some avg10=1.50 avg60=0.00 avg300=0.00 total=9\n";
        assert_eq!(
            pressure(text),
            Some(json!({"some": {"avg10": 1.5, "avg60": 0.0, "avg300": 0.0, "total": 9}}))
        );
        let line = "8:16 rbytes=5 wbytes=6 rios=1";
        assert_eq!(
            entries(
                line,
                [
                    ("rbytes", "Read"),
                    ("wbytes", "Write"),
                    ("dbytes", "Discard")
                ]
            ),
            [
                json!({"major": 8, "minor": 16, "op": "Read", "value": 5}),
                json!({"major": 8, "minor": 16, "op": "Write", "value": 6}),
            ]
        );
    }
}
