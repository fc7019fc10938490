//! config-linux.md#sysctl

use serde_json::json;

use crate::harness::case::Case;
use crate::harness::verdict::{Verdict, equal};
use crate::probe::ask::Ask;
use crate::tests;

tests! {
    "config-linux.md#sysctl" Must a_network_sysctl_is_set;
    "config-linux.md#sysctl" Must an_ipc_sysctl_is_set;
    "config-linux.md#sysctl" Must a_sysctl_with_slashes_is_set;
    "config-linux.md#sysctl" Must an_unknown_sysctl_is_an_error;
    "config-linux.md#sysctl" Should a_sysctl_of_the_whole_host_is_an_error;
    "config-linux.md#sysctl" Should a_network_sysctl_without_the_namespace_is_an_error;
}

fn set(case: &Case, name: &str, path: &str, value: &str) -> Verdict {
    case.need_root()?;
    let mut bundle = case.bundle()?;
    bundle.linux()["sysctl"] = json!({name: value});
    equal(
        path,
        case.run_one(&mut bundle, Ask::Read(path.into()))?
            .text()?
            .trim(),
        value,
    )
}

fn a_network_sysctl_is_set(case: &Case) -> Verdict {
    set(
        case,
        "net.ipv4.ip_forward",
        "/proc/sys/net/ipv4/ip_forward",
        "1",
    )
}

fn an_ipc_sysctl_is_set(case: &Case) -> Verdict {
    set(case, "kernel.shmmni", "/proc/sys/kernel/shmmni", "1234")
}

fn a_sysctl_with_slashes_is_set(case: &Case) -> Verdict {
    set(
        case,
        "net/ipv4/conf/lo/forwarding",
        "/proc/sys/net/ipv4/conf/lo/forwarding",
        "1",
    )
}

fn refused(case: &Case, name: &str, value: &str) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.linux()["sysctl"] = json!({name: value});
    case.create_refused(&bundle).map(drop)
}

fn an_unknown_sysctl_is_an_error(case: &Case) -> Verdict {
    refused(case, "net.ipv4.no_such_thing", "1")
}

fn a_sysctl_of_the_whole_host_is_an_error(case: &Case) -> Verdict {
    let path = "/proc/sys/vm/swappiness";
    let before = std::fs::read_to_string(path)?;
    refused(case, "vm.swappiness", before.trim())
}

fn a_network_sysctl_without_the_namespace_is_an_error(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.without_namespace("network");
    if case.is_root() {
        bundle.without_mount("/sys");
    }
    let now = std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward")?;
    bundle.linux()["sysctl"] = json!({"net.ipv4.ip_forward": now.trim()});
    case.create_refused(&bundle).map(drop)
}
