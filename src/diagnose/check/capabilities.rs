//! Capabilities that are given and have no effect.
//!
//! The kernel asks for most of them in the user namespace that owns what is acted upon
//! (`ns_capable`, `capable_wrt_inode_uidgid`), for the rest in its first one (`capable`): what
//! these protect is the host's, and belongs to no namespace. user_namespaces(7), "Effect of
//! capabilities within a user namespace".
//!
//! Runs in: parent.

use super::Finding;
use crate::host::Host;
use crate::plan::Plan;
use crate::plan::namespaces::Kind;
use crate::security::capabilities::names;

/// Those that the kernel asks for in its first user namespace alone, wherever it asks, in
/// Linux 6.18. SYS_ADMIN, SYS_RESOURCE, SYS_NICE, SYS_BOOT, IPC_LOCK, DAC_READ_SEARCH and MAC_ADMIN
/// are not among them, since some of what they allow is a namespace's.
const HOSTS_ALONE: u64 = bits(&[
    9,  // LINUX_IMMUTABLE: vfs_fileattr_set
    16, // SYS_MODULE: init_module, delete_module
    17, // SYS_RAWIO: iopl, /dev/mem, mmap_min_addr
    20, // SYS_PACCT: acct
    25, // SYS_TIME: settimeofday, adjtimex, RTC_SET_TIME
    26, // SYS_TTY_CONFIG: vhangup, ioctl_vt
    27, // MKNOD: vfs_mknod
    28, // LEASE: F_SETLEASE on files of others
    29, // AUDIT_WRITE: audit_netlink_ok turns other user namespaces away first
    30, // AUDIT_CONTROL: the same, and /proc/PID/loginuid
    32, // MAC_OVERRIDE: smack_privileged
    34, // SYSLOG: syslog, /dev/kmsg
    35, // WAKE_ALARM: CLOCK_*_ALARM
    36, // BLOCK_SUSPEND: EPOLLWAKEUP, /sys/power/wake_lock
    37, // AUDIT_READ: audit_multicast_bind
    38, // PERFMON: perf_event_open; through a BPF token (Linux 6.9) only what the host lends
    39, // BPF: the same
]);

/// Those of them that engines give to every container (docker's default list, `rt spec`): that
/// they do nothing surprises nobody.
const USUAL: u64 = bits(&[27, 29]);

/// What a network namespace asks its owner for: NET_BIND_SERVICE, NET_ADMIN, NET_RAW.
const NETWORKS: u64 = bits(&[10, 12, 13]);
const NET_BIND_SERVICE: u64 = bits(&[10]);

const fn bits(numbers: &[u8]) -> u64 {
    let mut mask = 0;
    let mut n = 0;
    while n < numbers.len() {
        mask |= 1 << numbers[n];
        n += 1;
    }
    mask
}

pub fn findings(plan: &Plan, host: &Host) -> Vec<Finding> {
    let in_user_namespace =
        plan.namespaces.is_private(Kind::User) || !host.in_initial_user_namespace();
    if !in_user_namespace {
        return Vec::new();
    }
    let sets = &plan.process.capabilities;
    let given = sets.effective | sets.permitted | sets.ambient | sets.inheritable;
    let known = (1_u64 << (u32::from(host.last_capability) + 1)) - 1;
    without_effect(given, known)
        .into_iter()
        .chain(over_shared_network(plan, given))
        .collect()
}

fn without_effect(given: u64, known: u64) -> Option<Finding> {
    let idle = given & HOSTS_ALONE;
    if idle == 0 {
        return None;
    }
    let text = format!(
        "process.capabilities: {} {} nothing inside a user namespace: the kernel asks for {} in the host's first one",
        names(idle),
        if idle.count_ones() == 1 { "does" } else { "do" },
        if idle.count_ones() == 1 { "it" } else { "them" },
    );
    let place = |finding: Finding| {
        finding
            .at("/process/capabilities")
            .clause(Some("user_namespaces(7), capabilities(7)"))
    };
    if idle & !USUAL == 0 {
        return Some(place(Finding::note("idle-capabilities", text)));
    }
    let more = match HOSTS_ALONE & known & !idle {
        0 => String::new(),
        others => format!("; of that kind are also {}", names(others)),
    };
    Some(place(Finding::warning("idle-capabilities", text)).hint(format!(
        "let a process of the host do what needs them, or let root run the container without a user namespace{more}"
    )))
}

/// A network namespace that is not the container's own belongs to another user namespace.
fn over_shared_network(plan: &Plan, given: u64) -> Option<Finding> {
    let shared = plan.namespaces.is_new(Kind::User) && !plan.namespaces.is_private(Kind::Network);
    // The list of every engine has NET_BIND_SERVICE; ports are a finding of their own.
    let idle = given & NETWORKS & !NET_BIND_SERVICE;
    if !shared || idle == 0 {
        return None;
    }
    let text = format!(
        "process.capabilities: {} reach nothing: the network namespace is the caller's, and the container's user namespace does not own it",
        names(idle)
    );
    Some(
        Finding::warning("idle-capabilities", text)
            .at("/process/capabilities")
            .clause(Some("network_namespaces(7)"))
            .hint("add {\"type\": \"network\"} to linux.namespaces (podman: not --network=host)"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::{example, example_for};
    use crate::plan::{CreateOptions, golden};

    const ALL: u64 = (1 << 41) - 1;

    #[test]
    fn what_does_nothing_is_named_and_so_are_the_others() {
        let found = without_effect(bits(&[25, 0]), ALL).unwrap();
        assert!(
            found.message.contains("CAP_SYS_TIME does nothing"),
            "{found:?}"
        );
        assert!(!found.message.contains("CAP_CHOWN"));
        let hint = found.hint.unwrap();
        assert!(hint.contains("CAP_SYS_MODULE") && !hint.contains("CAP_SYS_TIME"));
        assert_eq!(without_effect(bits(&[0, 10, 21]), ALL), None);
    }

    #[test]
    fn what_every_container_gets_is_a_note() {
        use crate::diagnose::check::Severity;
        let severity = |numbers: &[u8]| without_effect(bits(numbers), ALL).unwrap().severity;
        assert_eq!(severity(&[27, 29]), Severity::Note);
        assert_eq!(severity(&[27, 25]), Severity::Warning);
    }

    #[test]
    fn a_capability_that_the_kernel_does_not_know_is_not_listed() {
        let hint = without_effect(bits(&[25]), (1 << 38) - 1).unwrap().hint;
        assert!(!hint.unwrap().contains("CAP_BPF"));
    }

    #[test]
    fn it_depends_on_the_namespaces() {
        let plan = |config: String, host: &Host| {
            let config = config.replace("\"CAP_KILL\"", "\"CAP_SYS_TIME\", \"CAP_NET_ADMIN\"");
            let plan = golden::plan(config, CreateOptions::default(), host);
            findings(&plan, host)
        };
        assert_eq!(plan(example(false), &golden::root()), []);
        // Without a user namespace of its own, in podman's.
        assert_eq!(plan(example(false), &golden::podman()).len(), 1);
        // With one, over the caller's network.
        let found = plan(example_for(1000, 1000), &golden::user());
        assert_eq!(found.len(), 2);
        assert!(
            found[1].message.contains("CAP_NET_ADMIN reach"),
            "{found:?}"
        );
    }
}
