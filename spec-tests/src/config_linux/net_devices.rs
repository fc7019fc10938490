//! config-linux.md#network-devices
//!
//! Each test has a network namespace of its own in place of the host's, with one end of a veth pair to be moved.

use std::process::Command;

use nix::sched::{CloneFlags, unshare};
use serde_json::{Value, json};

use crate::harness::case::Case;
use crate::harness::container::Container;
use crate::harness::verdict::{Doing, Verdict, equal, fail, holds, skip};
use crate::tests;

tests! {
    "config-linux.md#network-devices" Must a_device_is_moved_into_the_container;
    "config-linux.md#network-devices" Must a_device_is_renamed_on_the_way;
    "config-linux.md#network-devices" Must permanent_global_addresses_come_along;
    "config-linux.md#network-devices" Must other_addresses_stay_behind;
    "config-linux.md#network-devices" Must a_device_is_up_inside;
    "config-linux.md#network-devices" Must what_belongs_to_the_device_is_kept;
    "config-linux.md#network-devices" Must a_template_finds_a_free_name;
    "config-linux.md#network-devices" Must a_device_goes_into_a_joined_namespace;
    "config-linux.md#network-devices" Must a_device_goes_into_a_container_with_a_user_namespace;
    "config-linux.md#network-devices" Must a_name_that_is_taken_is_an_error;
    "config-linux.md#network-devices" Must a_device_that_is_not_there_is_an_error;
    "config-linux.md#network-devices" Must devices_without_a_network_namespace_are_an_error;
    "config-linux.md#network-devices" Compat devices_for_the_callers_own_namespace_are_an_error;
    "runtime.md#create" Compat a_create_that_fails_gives_the_device_back;
    "network_namespaces(7)" Compat an_ordinary_user_is_told_what_it_takes;
}

const V4: &str = "10.123.0.1/24";
const V6: &str = "fd00:123::1/64";

fn ip(args: &[&str]) -> Verdict<String> {
    let output = Command::new("ip").args(args).output().doing("ip")?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        let said = String::from_utf8_lossy(&output.stderr);
        fail(format!("ip {}: {}", args.join(" "), said.trim()))
    }
}

/// `ip -json` in the network namespace of a process, or here.
fn ip_of(container: Option<&Container<'_>>, args: &[&str]) -> Verdict<Value> {
    let Some(container) = container else {
        return Ok(serde_json::from_str(&ip(&[&["-json"], args].concat())?)?);
    };
    let target = format!("--net=/proc/{}/ns/net", container.pid()?);
    let output = Command::new("nsenter")
        .args([target.as_str(), "ip", "-json"])
        .args(args)
        .output()
        .doing("nsenter")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return fail(format!("inside: ip {}: {}", args.join(" "), said.trim()));
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The device `st0`, up and with an address of each family, in a namespace that stands for the host's.
fn with_device(case: &Case) -> Verdict {
    case.need_root()?;
    if Command::new("ip").arg("-V").output().is_err() {
        return skip("iproute2 is not installed");
    }
    unshare(CloneFlags::CLONE_NEWNET)?;
    if ip(&["link", "add", "st0", "type", "veth", "peer", "name", "st1"]).is_err() {
        return skip("this kernel has no veth devices");
    }
    ip(&["link", "set", "st1", "up"])?;
    ip(&["link", "set", "st0", "up", "mtu", "1420"])?;
    ip(&["address", "add", V4, "dev", "st0"])?;
    ip(&["-6", "address", "add", V6, "dev", "st0", "nodad"]).map(drop)
}

/// A created container that gets these devices.
fn created(case: &Case, devices: Value) -> Verdict<Container<'_>> {
    let mut bundle = case.bundle()?;
    bundle.linux()["netDevices"] = devices;
    case.create(&mut bundle)
}

fn names(list: &Value) -> Vec<&str> {
    let list = list.as_array().map_or(&[][..], Vec::as_slice);
    list.iter()
        .filter_map(|link| link["ifname"].as_str())
        .collect()
}

/// The addresses of the only device that was asked for, with prefix.
fn addresses(of: &Value) -> Vec<String> {
    let list = of[0]["addr_info"].as_array().map_or(&[][..], Vec::as_slice);
    list.iter()
        .filter(|a| a["local"].is_string())
        .map(|a| format!("{}/{}", a["local"].as_str().unwrap_or(""), a["prefixlen"]))
        .collect()
}

fn delete(case: &Case, container: &Container<'_>) -> Verdict {
    case.runtime(["delete", "--force", &container.id])
        .run()?
        .succeeded()
        .map(drop)
}

fn a_device_is_moved_into_the_container(case: &Case) -> Verdict {
    with_device(case)?;
    let container = created(case, json!({"st0": {}}))?;
    let inside = ip_of(Some(&container), &["link"])?;
    let outside = ip_of(None, &["link"])?;
    delete(case, &container)?;
    holds(
        names(&inside).contains(&"st0"),
        format!("inside there is {:?}", names(&inside)),
    )?;
    holds(!names(&outside).contains(&"st0"), "it is still on the host")
}

fn a_device_is_renamed_on_the_way(case: &Case) -> Verdict {
    with_device(case)?;
    let container = created(case, json!({"st0": {"name": "eth0"}}))?;
    let inside = ip_of(Some(&container), &["address", "show", "dev", "eth0"])?;
    let all = ip_of(Some(&container), &["link"])?;
    delete(case, &container)?;
    holds(!names(&all).contains(&"st0"), "it has the old name too")?;
    holds(
        addresses(&inside).contains(&V4.to_owned()),
        "it has lost its address",
    )
}

fn permanent_global_addresses_come_along(case: &Case) -> Verdict {
    with_device(case)?;
    let container = created(case, json!({"st0": {}}))?;
    let inside = addresses(&ip_of(
        Some(&container),
        &["address", "show", "dev", "st0"],
    )?);
    delete(case, &container)?;
    for address in [V4, V6] {
        holds(
            inside.iter().any(|have| have == address),
            format!("{address} is not among {inside:?}"),
        )?;
    }
    Ok(())
}

fn other_addresses_stay_behind(case: &Case) -> Verdict {
    with_device(case)?;
    ip(&[
        "address",
        "add",
        "10.124.0.1/24",
        "dev",
        "st0",
        "scope",
        "link",
    ])?;
    ip(&[
        "address",
        "add",
        "10.125.0.1/24",
        "dev",
        "st0",
        "valid_lft",
        "600",
        "preferred_lft",
        "600",
    ])?;
    let container = created(case, json!({"st0": {}}))?;
    let inside = addresses(&ip_of(
        Some(&container),
        &["-4", "address", "show", "dev", "st0"],
    )?);
    delete(case, &container)?;
    equal("the addresses inside", inside, [V4])
}

fn a_device_is_up_inside(case: &Case) -> Verdict {
    with_device(case)?;
    ip(&["link", "set", "st0", "down"])?;
    let container = created(case, json!({"st0": {}}))?;
    let inside = ip_of(Some(&container), &["link", "show", "dev", "st0"])?;
    delete(case, &container)?;
    let flags = &inside[0]["flags"];
    holds(
        flags
            .as_array()
            .is_some_and(|flags| flags.contains(&json!("UP"))),
        format!("its flags are {flags}"),
    )
}

fn what_belongs_to_the_device_is_kept(case: &Case) -> Verdict {
    with_device(case)?;
    let before = ip_of(None, &["link", "show", "dev", "st0"])?;
    let container = created(case, json!({"st0": {"name": "eth0"}}))?;
    let after = ip_of(Some(&container), &["link", "show", "dev", "eth0"])?;
    delete(case, &container)?;
    for field in ["mtu", "address"] {
        equal(field, &after[0][field], &before[0][field])?;
    }
    Ok(())
}

fn a_template_finds_a_free_name(case: &Case) -> Verdict {
    with_device(case)?;
    let devices = json!({"st0": {"name": "net%d"}, "st1": {"name": "net%d"}});
    let container = created(case, devices)?;
    let inside = ip_of(Some(&container), &["link"])?;
    delete(case, &container)?;
    let inside = names(&inside);
    holds(
        inside.contains(&"net0") && inside.contains(&"net1"),
        format!("inside there is {inside:?}"),
    )
}

fn a_device_goes_into_a_joined_namespace(case: &Case) -> Verdict {
    with_device(case)?;
    let mut first = case.bundle_named("first")?;
    let holder = case.create_named(&mut first, &format!("{}-holder", case.id))?;
    let mut bundle = case.bundle()?;
    bundle.join_namespace("network", &format!("/proc/{}/ns/net", holder.pid()?));
    bundle.linux()["netDevices"] = json!({"st0": {}});
    let container = case.create(&mut bundle)?;
    let inside = ip_of(Some(&holder), &["link"])?;
    delete(case, &container)?;
    delete(case, &holder)?;
    holds(
        names(&inside).contains(&"st0"),
        format!("there is {:?}", names(&inside)),
    )
}

fn a_device_goes_into_a_container_with_a_user_namespace(case: &Case) -> Verdict {
    with_device(case)?;
    let mut bundle = case.bundle()?;
    let map = json!([{"containerID": 0, "hostID": 200_000, "size": 1000}]);
    bundle.namespace("user");
    bundle.linux()["uidMappings"] = map.clone();
    bundle.linux()["gidMappings"] = map;
    bundle.linux()["netDevices"] = json!({"st0": {}});
    let container = case.create(&mut bundle)?;
    let inside = addresses(&ip_of(
        Some(&container),
        &["address", "show", "dev", "st0"],
    )?);
    delete(case, &container)?;
    holds(
        inside.contains(&V4.to_owned()),
        format!("its addresses are {inside:?}"),
    )
}

/// The device is where it was, as it was.
fn is_back() -> Verdict {
    let here = ip_of(None, &["address", "show", "dev", "st0"])?;
    let have = addresses(&here);
    for address in [V4, V6] {
        holds(
            have.iter().any(|have| have == address),
            format!("back on the host it has {have:?}"),
        )?;
    }
    let flags = &here[0]["flags"];
    holds(
        flags
            .as_array()
            .is_some_and(|flags| flags.contains(&json!("UP"))),
        format!("back on the host its flags are {flags}"),
    )
}

/// The first device has been moved when the second one is refused.
fn a_name_that_is_taken_is_an_error(case: &Case) -> Verdict {
    with_device(case)?;
    let mut bundle = case.bundle()?;
    bundle.linux()["netDevices"] = json!({"st0": {}, "st1": {"name": "lo"}});
    case.create_refused(&bundle)?;
    is_back()
}

fn a_device_that_is_not_there_is_an_error(case: &Case) -> Verdict {
    with_device(case)?;
    let mut bundle = case.bundle()?;
    bundle.linux()["netDevices"] = json!({"st0": {}, "st7": {}});
    case.create_refused(&bundle)?;
    is_back()
}

fn devices_without_a_network_namespace_are_an_error(case: &Case) -> Verdict {
    with_device(case)?;
    let mut bundle = case.bundle()?;
    bundle.without_namespace("network").without_mount("/sys");
    bundle.linux()["netDevices"] = json!({"st0": {"name": "eth0"}});
    case.create_refused(&bundle)?;
    is_back()
}

fn devices_for_the_callers_own_namespace_are_an_error(case: &Case) -> Verdict {
    with_device(case)?;
    let mut bundle = case.bundle()?;
    bundle
        .join_namespace("network", "/proc/self/ns/net")
        .without_mount("/sys");
    bundle.linux()["netDevices"] = json!({"st0": {"name": "eth0"}});
    case.create_refused(&bundle)?;
    is_back()
}

fn a_create_that_fails_gives_the_device_back(case: &Case) -> Verdict {
    with_device(case)?;
    let mut bundle = case.bundle()?;
    bundle.linux()["netDevices"] = json!({"st0": {"name": "eth0"}});
    let missing = case.dir.join("missing");
    bundle.bind(&missing, "/at", &[]);
    case.create_refused(&bundle)?;
    is_back()
}

fn an_ordinary_user_is_told_what_it_takes(case: &Case) -> Verdict {
    case.need_rootless()?;
    let mut bundle = case.bundle()?;
    bundle.namespace("network");
    bundle.linux()["netDevices"] = json!({"lo": {"name": "eth0"}});
    let said = case.create_refused(&bundle)?;
    holds(
        said.stderr.contains("CAP_NET_ADMIN"),
        format!("nothing of CAP_NET_ADMIN: {}", said.told()),
    )
}
