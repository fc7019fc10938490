//! config.md#linux-process: capabilities

use serde_json::json;

use crate::harness::capability::{NAMES, own_bounding};
use crate::harness::case::Case;
use crate::harness::verdict::{Verdict, equal};
use crate::probe::ask::Process;
use crate::tests;

tests! {
    "config.md#linux-process" Must each_capability_set_is_set;
    "config.md#linux-process" Must sets_that_are_left_out_are_empty;
    "config.md#linux-process" Must without_capabilities_there_are_none;
    "config.md#linux-process" Must ambient_capabilities_reach_another_user;
    "config.md#linux-process" Should an_unknown_capability_is_no_error;
    "config.md#linux-process" Must all_capabilities_can_be_given;
}

const CAP_CHOWN: u64 = 1 << 0;
const CAP_KILL: u64 = 1 << 5;
const CAP_NET_BIND_SERVICE: u64 = 1 << 10;
const CAP_NET_RAW: u64 = 1 << 13;

/// Inheritable, permitted, effective, bounding, ambient.
fn sets(process: &Process) -> [Option<u64>; 5] {
    ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"].map(|field| process.bits(field))
}

fn each_capability_set_is_set(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.process()["capabilities"] = json!({
        "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_NET_RAW"],
        "permitted": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_NET_RAW"],
        "effective": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_NET_RAW"],
        "inheritable": ["CAP_CHOWN", "CAP_KILL"],
        "ambient": ["CAP_KILL"],
    });
    let all = CAP_CHOWN | CAP_KILL | CAP_NET_BIND_SERVICE | CAP_NET_RAW;
    let wanted = [CAP_CHOWN | CAP_KILL, all, all, all, CAP_KILL].map(Some);
    equal(
        "inheritable, permitted, effective, bounding, ambient",
        sets(&case.run_process(&mut bundle)?),
        wanted,
    )
}

fn sets_that_are_left_out_are_empty(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.capabilities(&["CAP_KILL"]);
    let wanted = [0, CAP_KILL, CAP_KILL, CAP_KILL, 0].map(Some);
    equal(
        "inheritable, permitted, effective, bounding, ambient",
        sets(&case.run_process(&mut bundle)?),
        wanted,
    )
}

fn without_capabilities_there_are_none(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.process()["capabilities"] = json!({});
    let wanted = [0; 5].map(Some);
    equal(
        "inheritable, permitted, effective, bounding, ambient",
        sets(&case.run_process(&mut bundle)?),
        wanted,
    )
}

fn ambient_capabilities_reach_another_user(case: &Case) -> Verdict {
    case.need_root()?;
    let mut bundle = case.bundle()?;
    let names = ["CAP_NET_BIND_SERVICE"];
    bundle.process()["user"] = json!({"uid": 1000, "gid": 1000});
    bundle.process()["capabilities"] = json!({"bounding": names, "permitted": names, "effective": names, "inheritable": names, "ambient": names});
    let wanted = [CAP_NET_BIND_SERVICE; 5].map(Some);
    equal(
        "inheritable, permitted, effective, bounding, ambient",
        sets(&case.run_process(&mut bundle)?),
        wanted,
    )
}

fn an_unknown_capability_is_no_error(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.capabilities(&["CAP_KILL", "CAP_OF_TOMORROW"]);
    equal(
        "effective",
        case.run_process(&mut bundle)?.bits("CapEff"),
        Some(CAP_KILL),
    )
}

fn all_capabilities_can_be_given(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    // What the caller has to give; in a user namespace of its own a container may have every one.
    let bounding = own_bounding();
    let given = |number: usize| bounding >> number & 1 == 1;
    let names: Vec<&str> = (0..NAMES.len())
        .filter(|number| given(*number))
        .map(|number| NAMES[number])
        .collect();
    let wanted = (0..NAMES.len())
        .filter(|number| given(*number))
        .fold(0, |bits, number| bits | 1 << number);
    bundle.capabilities(&names);
    equal(
        "effective",
        case.run_process(&mut bundle)?.bits("CapEff"),
        Some(wanted),
    )
}
