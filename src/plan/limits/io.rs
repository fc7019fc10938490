//! `blockIO` to io.bfq.weight or io.weight, and io.max.
//!
//! Runs in: parent.

use super::Collected;
use crate::bundle::resources::{BlockIo, ThrottleDevice};
use crate::plan::cgroup::Absent;

pub(super) fn plan(given: &BlockIo, collected: &mut Collected) {
    if let Some(weight @ 1..) = given.weight {
        set_weight(collected, "blockIO/weight", "", weight);
    }
    if given.leaf_weight.is_some_and(|weight| weight != 0) {
        collected.refuse("blockIO/leafWeight", "cgroup v2 has no leaf weights");
    }
    for (n, device) in given.weight_device.iter().enumerate() {
        let place = format!("blockIO/weightDevice/{n}");
        if let Some(weight @ 1..) = device.weight {
            let device = format!("{}:{} ", device.major, device.minor);
            set_weight(collected, &place, &device, weight);
        }
        if device.leaf_weight.is_some_and(|weight| weight != 0) {
            collected.refuse(
                format!("{place}/leafWeight"),
                "cgroup v2 has no leaf weights",
            );
        }
    }
    let throttles: [(&str, &str, &[ThrottleDevice]); 4] = [
        (
            "throttleReadBpsDevice",
            "rbps",
            &given.throttle_read_bps_device,
        ),
        (
            "throttleWriteBpsDevice",
            "wbps",
            &given.throttle_write_bps_device,
        ),
        (
            "throttleReadIOPSDevice",
            "riops",
            &given.throttle_read_iops_device,
        ),
        (
            "throttleWriteIOPSDevice",
            "wiops",
            &given.throttle_write_iops_device,
        ),
    ];
    for (name, key, devices) in throttles {
        for (n, device) in devices.iter().enumerate() {
            let rate = match device.rate {
                0 => "max".to_owned(),
                rate => rate.to_string(),
            };
            let value = format!("{}:{} {key}={rate}", device.major, device.minor);
            collected.set(format!("blockIO/{name}/{n}"), "io.max", value);
        }
    }
}

/// The BFQ scheduler, where it is there, has a file and a range of its own (1 to 1000).
fn set_weight(collected: &mut Collected, place: &str, device: &str, weight: u16) {
    collected.set(place, "io.bfq.weight", format!("{device}{weight}"));
    if let Some(setting) = collected.last() {
        setting.absent = Absent::Write {
            file: "io.weight".into(),
            value: format!("{device}{}", io_weight(weight)),
        };
    }
}

/// cgroup v1's weight of 10 to 1000 as cgroup v2's of 1 to 10000.
fn io_weight(weight: u16) -> u32 {
    1 + u32::from(weight).saturating_sub(10) * 9999 / 990
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn weights_and_rates_become_lines() {
        let given: BlockIo = serde_json::from_value(json!({
            "weight": 1000,
            "weightDevice": [{"major": 8, "minor": 0, "weight": 10}],
            "throttleWriteIOPSDevice": [{"major": 8, "minor": 16, "rate": 300}],
        }))
        .unwrap();
        let mut collected = Collected::new(super::super::Target::New);
        plan(&given, &mut collected);
        let lines: Vec<String> = collected
            .settings
            .iter()
            .map(|s| match &s.absent {
                Absent::Write { file, value } => {
                    format!("{}={} else {file}={value}", s.file, s.value)
                }
                _ => format!("{}={}", s.file, s.value),
            })
            .collect();
        assert_eq!(
            lines,
            [
                "io.bfq.weight=1000 else io.weight=10000",
                "io.bfq.weight=8:0 10 else io.weight=8:0 1",
                "io.max=8:16 wiops=300"
            ]
        );
        assert!(collected.impossible.is_empty());
    }
}
