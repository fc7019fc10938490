//! config-linux.md#allowed-device-list

use serde_json::{Value, json};

use crate::harness::bundle::Bundle;
use crate::harness::case::Case;
use crate::harness::verdict::Verdict;
use crate::probe::ask::Ask;
use crate::tests;

tests! {
    "config-linux.md#allowed-device-list" Must a_denied_device_cannot_be_opened;
    "config-linux.md#allowed-device-list" Must an_allowed_device_can_be_opened;
    "config-linux.md#allowed-device-list" Must later_rules_override_earlier_ones;
    "config-linux.md#allowed-device-list" Must access_bits_are_kept_apart;
    "config-linux.md#allowed-device-list" Must the_default_devices_stay_allowed;
    "config-linux.md#allowed-device-list" Must a_rule_without_numbers_covers_all_of_its_type;
    "config-linux.md#allowed-device-list" Must rules_hold_for_exec_too;
    "config-linux.md#allowed-device-list" Should rootless_rules_are_no_error;
}

// /dev/kmsg of the kernel's own memory devices: there on every host and not among the defaults.
const MAJOR: u64 = 1;
const MINOR: u64 = 11;

/// Deny all, then these rules, and the device as a node that could be opened.
fn with_rules(case: &Case, rules: &[Value]) -> Verdict<Bundle> {
    case.need_cgroup2()?;
    let mut bundle = case.bundle()?;
    let mut all = vec![json!({"allow": false, "access": "rwm"})];
    all.extend_from_slice(rules);
    bundle.linux()["resources"] = json!({"devices": all});
    bundle.capabilities(&["CAP_MKNOD", "CAP_SYSLOG", "CAP_DAC_OVERRIDE"]);
    let node = bundle.inside("/tmp/device");
    use nix::sys::stat::{Mode, SFlag, makedev, mknod};
    mknod(
        &node,
        SFlag::S_IFCHR,
        Mode::from_bits_truncate(0o666),
        makedev(MAJOR, MINOR),
    )?;
    Ok(bundle)
}

fn rule(allow: bool, access: &str) -> Value {
    json!({"allow": allow, "type": "c", "major": MAJOR, "minor": MINOR, "access": access})
}

fn open() -> Ask {
    Ask::Open("/tmp/device".into())
}

fn write() -> Ask {
    Ask::Write {
        path: "/tmp/device".into(),
        text: String::new(),
    }
}

fn node(path: &str) -> Ask {
    Ask::Mknod {
        path: path.into(),
        kind: 'c',
        major: MAJOR,
        minor: MINOR,
    }
}

fn a_denied_device_cannot_be_opened(case: &Case) -> Verdict {
    let mut bundle = with_rules(case, &[])?;
    let answers = case.run(&mut bundle, &[open(), write(), node("/tmp/new")])?;
    answers[0].failed_with("reading", &[libc::EPERM])?;
    answers[1].failed_with("writing", &[libc::EPERM])
}

fn an_allowed_device_can_be_opened(case: &Case) -> Verdict {
    let mut bundle = with_rules(case, &[rule(true, "rwm")])?;
    let answers = case.run(&mut bundle, &[open(), write(), node("/tmp/new")])?;
    answers[0].done()?;
    answers[1].done()?;
    answers[2].done()
}

fn later_rules_override_earlier_ones(case: &Case) -> Verdict {
    let mut bundle = with_rules(case, &[rule(true, "rwm"), rule(false, "rwm")])?;
    case.run_one(&mut bundle, open())?
        .failed_with("reading", &[libc::EPERM])
}

fn access_bits_are_kept_apart(case: &Case) -> Verdict {
    let mut bundle = with_rules(case, &[rule(true, "r")])?;
    let answers = case.run(&mut bundle, &[open(), write()])?;
    answers[0].done()?;
    answers[1].failed_with("writing", &[libc::EPERM])
}

fn the_default_devices_stay_allowed(case: &Case) -> Verdict {
    let mut bundle = with_rules(case, &[])?;
    let asks: Vec<Ask> = [
        "/dev/null",
        "/dev/zero",
        "/dev/full",
        "/dev/random",
        "/dev/urandom",
        "/dev/ptmx",
    ]
    .map(|path| Ask::Open(path.into()))
    .to_vec();
    for answer in case.run(&mut bundle, &asks)? {
        answer.done()?;
    }
    Ok(())
}

fn a_rule_without_numbers_covers_all_of_its_type(case: &Case) -> Verdict {
    let mut bundle = with_rules(case, &[json!({"allow": true, "type": "c", "access": "rw"})])?;
    case.run_one(&mut bundle, open())?.done()
}

fn rules_hold_for_exec_too(case: &Case) -> Verdict {
    let mut bundle = with_rules(case, &[])?;
    let container = case.started(&mut bundle)?;
    container.exec(&[], &[open()])?[0].failed_with("reading", &[libc::EPERM])
}

fn rootless_rules_are_no_error(case: &Case) -> Verdict {
    case.need_rootless()?;
    let mut bundle = case.bundle()?;
    bundle.linux()["resources"] = json!({"devices": [{"allow": false, "access": "rwm"}]});
    case.run_process(&mut bundle).map(drop)
}
