//! Limits as properties of a unit, so that systemd knows them and keeps them
//! (systemd.resource-control(5)).
//!
//! Made from the (file, value) pairs that are written into the cgroup too: a property for each
//! file that systemd writes itself, whether `linux.resources` names it or its `unified` map.
//!
//! Runs in: parent.

use super::Property;
use super::value::Value;
use crate::plan::cgroup::{Absent, Setting};

/// systemd's "infinity".
const MAX: u64 = u64::MAX;

/// The microseconds of CPU time per second are kept as whole percents, so runc and crun round
/// up to the next.
const PERCENT_US: u64 = 10_000;

/// The properties, in the order of the settings: a later one of the same name takes the place
/// of an earlier one, or adds another device to its list. What systemd has no property for, or
/// a value that it would not take, is left to the file.
pub fn properties(settings: &[Setting]) -> Vec<Property> {
    settings.iter().flat_map(of_setting).collect()
}

fn of_setting(setting: &Setting) -> Vec<Property> {
    let value = setting.value.trim();
    let number = |name: &str| -> Vec<Property> {
        let value = limit(value).map(Value::Uint64);
        value.map(|v| Property::new(name, v)).into_iter().collect()
    };
    match setting.file.as_str() {
        "cpu.weight" => number("CPUWeight"),
        // CPUWeight=idle.
        "cpu.idle" if value == "1" => {
            vec![Property::new("CPUWeight", Value::Uint64(0)).since(252)]
        }
        "cpu.max" => cpu_quota(value),
        "cpuset.cpus" => bits("AllowedCPUs", value),
        "cpuset.mems" => bits("AllowedMemoryNodes", value),
        "memory.min" => number("MemoryMin"),
        "memory.low" => number("MemoryLow"),
        "memory.high" => number("MemoryHigh"),
        "memory.max" => number("MemoryMax"),
        "memory.swap.max" => number("MemorySwapMax"),
        "memory.zswap.max" => number("MemoryZSwapMax")
            .into_iter()
            .map(|property| property.since(253))
            .collect(),
        "memory.zswap.writeback" => match value {
            "0" | "1" => {
                let is_on = Value::Boolean(value == "1");
                vec![Property::new("MemoryZSwapWriteback", is_on).since(256)]
            }
            _ => Vec::new(),
        },
        "pids.max" => number("TasksMax"),
        // With the BFQ scheduler systemd turns the weight of io.weight into one of BFQ.
        "io.bfq.weight" => match &setting.absent {
            Absent::Write { value, .. } => io_weight(value),
            _ => Vec::new(),
        },
        "io.weight" => io_weight(value),
        "io.max" => io_max(value),
        _ => Vec::new(),
    }
}

fn limit(value: &str) -> Option<u64> {
    match value {
        "max" => Some(MAX),
        number => number.parse().ok(),
    }
}

/// `QUOTA PERIOD` in microseconds; the file takes `QUOTA` alone too.
fn cpu_quota(value: &str) -> Vec<Property> {
    let mut words = value.split_ascii_whitespace();
    let Some(quota) = words.next().and_then(limit) else {
        return Vec::new();
    };
    let Some(period @ 1..) = words.next().map_or(Some(100_000), |word| word.parse().ok()) else {
        return Vec::new();
    };
    let per_second = match quota {
        MAX => MAX,
        quota => {
            let exact = u128::from(quota) * 1_000_000 / u128::from(period);
            let exact = u64::try_from(exact).unwrap_or(MAX - PERCENT_US);
            exact.div_ceil(PERCENT_US) * PERCENT_US
        }
    };
    vec![
        Property::new("CPUQuotaPerSecUSec", Value::Uint64(per_second)),
        Property::new("CPUQuotaPeriodUSec", Value::Uint64(period)),
    ]
}

/// `0-3,7` as a set of bits, the lowest first.
fn bits(name: &str, list: &str) -> Vec<Property> {
    match set_of_bits(list) {
        Some(bytes) => vec![Property::new(name, Value::bytes(bytes))],
        None => Vec::new(),
    }
}

fn set_of_bits(list: &str) -> Option<Vec<u8>> {
    /// As many CPUs as systemd takes.
    const MOST: usize = 8192;
    let mut bytes = Vec::new();
    for range in list.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        if first > last || last >= MOST {
            return None;
        }
        if bytes.len() <= last / 8 {
            bytes.resize(last / 8 + 1, 0);
        }
        for n in first..=last {
            bytes[n / 8] |= 1 << (n % 8);
        }
    }
    Some(bytes)
}

/// `WEIGHT`, `default WEIGHT` or `MAJOR:MINOR WEIGHT`.
fn io_weight(value: &str) -> Vec<Property> {
    let (device, weight) = value
        .split_once(|c: char| c.is_ascii_whitespace())
        .unwrap_or(("default", value));
    let Ok(weight) = weight.trim().parse() else {
        return Vec::new();
    };
    match device {
        "default" => vec![Property::new("IOWeight", Value::Uint64(weight))],
        device => vec![of_device("IODeviceWeight", device, weight)],
    }
}

/// `MAJOR:MINOR rbps=N wbps=N riops=N wiops=N`, or some of these.
fn io_max(value: &str) -> Vec<Property> {
    let mut words = value.split_ascii_whitespace();
    let device = words.next().unwrap_or_default();
    words
        .filter_map(|word| {
            let (key, rate) = word.split_once('=')?;
            let name = match key {
                "rbps" => "IOReadBandwidthMax",
                "wbps" => "IOWriteBandwidthMax",
                "riops" => "IOReadIOPSMax",
                "wiops" => "IOWriteIOPSMax",
                _ => return None,
            };
            Some(of_device(name, device, limit(rate)?))
        })
        .collect()
}

/// systemd wants a device by a path, and reads the numbers out of one of this form.
fn of_device(name: &str, device: &str, value: u64) -> Property {
    let pair = vec![
        Value::string(format!("/dev/block/{device}")),
        Value::Uint64(value),
    ];
    Property::new(name, Value::Array("(st)".into(), vec![Value::Struct(pair)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> Vec<(String, Value)> {
        let settings: Vec<Setting> = pairs
            .iter()
            .map(|(file, value)| Setting::new("", *file, value))
            .collect();
        properties(&settings)
            .into_iter()
            .map(|property| (property.name, property.value))
            .collect()
    }

    fn number(name: &str, value: u64) -> (String, Value) {
        (name.to_owned(), Value::Uint64(value))
    }

    #[test]
    fn a_file_that_systemd_writes_has_its_property() {
        assert_eq!(
            of(&[
                ("cpu.weight", "39"),
                ("memory.max", "67108864"),
                ("memory.swap.max", "max"),
                ("memory.high", "5"),
                ("pids.max", "100"),
                ("hugetlb.2MB.max", "0"),
                ("cpu.max.burst", "5"),
                ("memory.low", "many"),
            ]),
            [
                number("CPUWeight", 39),
                number("MemoryMax", 67_108_864),
                number("MemorySwapMax", MAX),
                number("MemoryHigh", 5),
                number("TasksMax", 100),
            ]
        );
    }

    #[test]
    fn a_quota_is_told_per_second_in_whole_percents() {
        let quota = |value| of(&[("cpu.max", value)]);
        let expected = |quota, period| {
            [
                number("CPUQuotaPerSecUSec", quota),
                number("CPUQuotaPeriodUSec", period),
            ]
        };
        assert_eq!(quota("50000 100000"), expected(500_000, 100_000));
        assert_eq!(quota("33333 100000"), expected(340_000, 100_000));
        assert_eq!(quota("max 50000"), expected(MAX, 50_000));
        assert_eq!(quota("20000"), expected(200_000, 100_000));
        for strange in ["", "5 0", "x", "5 x", "-1 100000"] {
            assert_eq!(quota(strange), [], "{strange}");
        }
        assert_eq!(quota("18446744073709551614 1").len(), 2);
    }

    #[test]
    fn a_list_of_cpus_is_a_set_of_bits() {
        assert_eq!(set_of_bits("0-3,9"), Some(vec![0b1111, 0b10]));
        assert_eq!(set_of_bits("7"), Some(vec![0b1000_0000]));
        for strange in ["", "3-1", "x", "0-18446744073709551615", "1,", "8192"] {
            assert_eq!(set_of_bits(strange), None, "{strange}");
        }
    }

    #[test]
    fn limits_of_devices_name_them_by_path() {
        let one = |name: &str, path: &str, value| {
            let pair = vec![Value::string(path), Value::Uint64(value)];
            (
                name.to_owned(),
                Value::Array("(st)".into(), vec![Value::Struct(pair)]),
            )
        };
        assert_eq!(
            of(&[
                ("io.max", "8:0 wbps=5 riops=max"),
                ("io.max", "8:16 rbps=6 strange"),
                ("io.weight", "default 50"),
                ("io.weight", "8:0 70"),
            ]),
            [
                one("IOWriteBandwidthMax", "/dev/block/8:0", 5),
                one("IOReadIOPSMax", "/dev/block/8:0", MAX),
                one("IOReadBandwidthMax", "/dev/block/8:16", 6),
                number("IOWeight", 50),
                one("IODeviceWeight", "/dev/block/8:0", 70),
            ]
        );
    }

    #[test]
    fn an_idle_group_is_a_weight_of_newer_versions() {
        let idle = properties(&[Setting::new("", "cpu.idle", 1)]);
        assert_eq!((&idle[0].value, idle[0].since), (&Value::Uint64(0), 252));
        assert_eq!(properties(&[Setting::new("", "cpu.idle", 0)]), []);
    }

    #[test]
    fn whether_zswap_writes_back_is_a_truth_of_newer_versions() {
        let off = properties(&[Setting::new("", "memory.zswap.writeback", 0)]);
        assert_eq!((&off[0].value, off[0].since), (&Value::Boolean(false), 256));
        assert_eq!(of(&[("memory.zswap.writeback", "2")]), []);
    }

    #[test]
    fn the_weight_of_bfq_is_told_as_the_common_one() {
        let mut setting = Setting::new("", "io.bfq.weight", 500);
        setting.absent = Absent::Write {
            file: "io.weight".into(),
            value: "4950".into(),
        };
        assert_eq!(
            properties(&[setting]),
            [Property::new("IOWeight", Value::Uint64(4950))]
        );
    }
}
