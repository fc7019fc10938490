//! Devices that are to be moved, and low ports in a network that is not the container's own.
//!
//! Which port a payload will bind config.json does not say, so this is a note; a warning where
//! an argument or a variable names one.
//!
//! Runs in: parent.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use super::Finding;
use crate::bundle::Bundle;
use crate::diagnose::hints::{Situation, sysctl};
use crate::host::Host;
use crate::plan::Plan;
use crate::plan::namespaces::{Kind, Namespaces};
use crate::process::net_devices;
use crate::sys;

const SYSCTL: &str = "net.ipv4.ip_unprivileged_port_start";
const CAP_NET_BIND_SERVICE: u8 = 10;

pub fn findings(bundle: &Bundle, plan: &Plan, host: &Host) -> Option<Finding> {
    // Of a network namespace that is joined its engine knows more.
    if plan.namespaces.is_private(Kind::Network) || may_bind(&plan.namespaces, host) {
        return None;
    }
    let process = bundle.config.process.as_ref()?;
    judge(first_free_port()?, &process.args, &process.env)
}

/// Devices of linux.netDevices that are not there.
pub fn of_devices(plan: &Plan, situation: &Situation) -> Vec<Finding> {
    let errors = net_devices::foresee(&plan.net_devices).unwrap_or_else(|error| vec![error]);
    let errors = errors.iter();
    errors
        .map(|error| Finding::error("net-devices", error, situation))
        .collect()
}

/// What an ordinary user should know of the host's own network.
pub fn of_host(host: &Host) -> Vec<Finding> {
    if host.has_capability(CAP_NET_BIND_SERVICE) && host.in_initial_user_namespace() {
        return Vec::new();
    }
    let low_ports = first_free_port().filter(|start| *start > 0).map(|start| {
        let text = format!(
            "in the host's network ports below {start} are not for ordinary users ({SYSCTL} = {start})"
        );
        Finding::note("low-ports", text)
            .hint(format!("as root: sysctl -w {SYSCTL}=80"))
            .clause(Some("ip(7)"))
    });
    low_ports.into_iter().chain(no_ping(host)).collect()
}

/// Whether a capability of the container counts in the caller's network namespace.
fn may_bind(namespaces: &Namespaces, host: &Host) -> bool {
    !namespaces.is_private(Kind::User)
        && (host.in_initial_user_namespace() || owns_network().unwrap_or(true))
}

/// Whether the caller's user namespace owns its network namespace. None where that is not
/// known.
fn owns_network() -> Option<bool> {
    let network = File::open("/proc/self/ns/net").ok()?;
    let own = std::fs::metadata("/proc/self/ns/user").ok()?;
    match sys::namespace::owner(network.as_fd()) {
        Ok(owner) => Some(File::from(owner).metadata().ok()?.ino() == own.ino()),
        // It belongs to one further out.
        Err(nix::errno::Errno::EPERM) => Some(false),
        Err(_) => None,
    }
}

/// ip(7): the first port that may be bound without CAP_NET_BIND_SERVICE.
fn first_free_port() -> Option<u64> {
    sysctl("net/ipv4/ip_unprivileged_port_start")
}

fn judge(start: u64, args: &[String], env: &[String]) -> Option<Finding> {
    if start == 0 {
        return None;
    }
    let rule = format!(
        "the container shares the caller's network, where ports below {start} are not for ordinary users ({SYSCTL} = {start})"
    );
    let hint = |port: u64| {
        format!(
            "as root: sysctl -w {SYSCTL}={port}; or give the container a network of its own (slirp4netns or pasta connect it), or a higher port"
        )
    };
    let named = |(pointer, port): (String, u64)| {
        let place = crate::bundle::checks::place_in_words(&pointer);
        Finding::warning("low-ports", format!("{place}: names port {port}: {rule}"))
            .at(pointer)
            .hint(hint(port))
    };
    let note = || {
        Finding::note("low-ports", format!("linux.namespaces: {rule}"))
            .at("/linux/namespaces")
            .hint(hint(80))
    };
    let finding = low_port(start, args, env).map_or_else(note, named);
    Some(finding.clause(Some("ip(7)")))
}

/// The first argument or variable that names a port below `start`.
fn low_port(start: u64, args: &[String], env: &[String]) -> Option<(String, u64)> {
    let is_low = |port: &u64| (1..start).contains(port);
    let in_args = args.iter().enumerate().skip(1).find_map(|(n, argument)| {
        let before = &args[n - 1];
        let port = match argument.split_once('=') {
            Some((name, value)) if is_port_option(name) => number(value),
            _ if is_port_option(before) => number(argument),
            _ => None,
        };
        let port = port.or_else(|| address(argument));
        Some((format!("/process/args/{n}"), port.filter(is_low)?))
    });
    in_args.or_else(|| {
        env.iter().enumerate().find_map(|(n, entry)| {
            let (name, value) = entry.split_once('=')?;
            let port = match name == "PORT" || name.ends_with("_PORT") {
                true => number(value),
                false => None,
            };
            Some((format!("/process/env/{n}"), port.filter(is_low)?))
        })
    })
}

fn is_port_option(word: &str) -> bool {
    let name = word.trim_start_matches('-');
    word.starts_with('-') && (name == "port" || name.ends_with("-port"))
}

fn number(text: &str) -> Option<u64> {
    text.bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| text.parse().ok())?
}

/// The port of an address to listen at, `:80`, `0.0.0.0:80`, `[::]:80`, alone or behind `=`.
/// Another host's address is none: it will be called.
fn address(argument: &str) -> Option<u64> {
    let text = argument.rsplit_once('=').map_or(argument, |(_, text)| text);
    let (host, port) = text.rsplit_once(':')?;
    matches!(host, "" | "*" | "0.0.0.0" | "[::]").then(|| number(port))?
}

/// icmp(7): without a group in the range ping needs CAP_NET_RAW, which counts only in a network
/// namespace of the container's own.
fn no_ping(host: &Host) -> Option<Finding> {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ping_group_range").ok()?;
    judge_ping(&text, host.egid)
}

fn judge_ping(range: &str, gid: u32) -> Option<Finding> {
    let mut numbers = range.split_ascii_whitespace().map(str::parse::<u32>);
    let (first, last) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    if (first..=last).contains(&gid) {
        return None;
    }
    Some(
        Finding::note("ping", format!("ping needs CAP_NET_RAW here: group {gid} is not in net.ipv4.ping_group_range ({first} {last})"))
            .hint("as root: sysctl -w net.ipv4.ping_group_range=\"0 2147483647\"")
            .clause(Some("icmp(7)")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::check::Severity;

    fn words(list: &[&str]) -> Vec<String> {
        list.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn the_sysctl_is_named_with_its_value_and_what_to_do() {
        let found = judge(1024, &words(&["sh"]), &[]).unwrap();
        assert_eq!(found.severity, Severity::Note);
        assert!(
            found
                .message
                .contains("net.ipv4.ip_unprivileged_port_start = 1024")
        );
        assert!(
            found
                .hint
                .unwrap()
                .contains("sysctl -w net.ipv4.ip_unprivileged_port_start=80")
        );
        assert_eq!(judge(0, &words(&["httpd", "--port", "80"]), &[]), None);
    }

    #[test]
    fn a_low_port_that_is_named_is_a_warning_with_its_place() {
        for (args, pointer) in [
            (["httpd", "--port", "80"], "/process/args/2"),
            (["httpd", "--http-port=443", "x"], "/process/args/1"),
            (["caddy", "--listen", ":80"], "/process/args/2"),
            (["app", "--bind=0.0.0.0:22", ""], "/process/args/1"),
            (["app", "[::]:53", ""], "/process/args/1"),
        ] {
            let found = judge(1024, &words(&args), &[]).unwrap();
            assert_eq!(found.severity, Severity::Warning, "{args:?}");
            assert_eq!(found.pointer.as_deref(), Some(pointer), "{args:?}");
        }
        let found = judge(1024, &words(&["x"]), &words(&["A=1", "HTTP_PORT=80"])).unwrap();
        assert_eq!(found.pointer.as_deref(), Some("/process/env/1"));
    }

    #[test]
    fn what_is_no_low_port_to_listen_at_stays_a_note() {
        for args in [
            ["httpd", "--port", "8080"],
            ["curl", "http://example.org:80", "x"],
            ["app", "example.org:80", "12:30"],
            ["app", "--support", "80"],
            ["app", "--port", "0"],
        ] {
            let found = judge(1024, &words(&args), &[]).unwrap();
            assert_eq!(found.severity, Severity::Note, "{args:?}");
        }
    }

    #[test]
    fn ping_needs_a_group_in_the_range() {
        assert_eq!(judge_ping("0\t2147483647\n", 1000), None);
        let found = judge_ping("1\t0\n", 1000).unwrap();
        assert!(found.hint.unwrap().contains("net.ipv4.ping_group_range"));
    }
}
