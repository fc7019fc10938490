//! Limits: rlimits, the OOM score, those of the cgroup, and the devices of the host.
//!
//! Runs in: parent.

use super::Finding;
use crate::cgroup::{self, Privilege};
use crate::diagnose::hints::{Situation, sysctl};
use crate::host::Host;
use crate::plan::Plan;
use crate::rootfs;
use crate::security;

const CAP_SYS_RESOURCE: u8 = 24;
const CAP_MKNOD: u8 = 27;

pub fn findings(plan: &Plan, host: &Host, situation: &Situation) -> Vec<Finding> {
    let may_raise = host.has_capability(CAP_SYS_RESOURCE) && host.in_initial_user_namespace();
    let rlimits = &plan.process.rlimits;
    let rlimits = security::limits::foresee(rlimits, may_raise, sysctl("fs/nr_open"));
    let privilege = match plan.rootless {
        true => Privilege::Rootless,
        false => Privilege::Host,
    };
    let limits = cgroup::foresee(&plan.cgroup, privilege, host.cgroup2.as_ref());
    // Then they are made, and not bound from the host.
    let makes_nodes = plan.namespaces.id_maps.is_some()
        && host.has_capability(CAP_MKNOD)
        && host.in_initial_user_namespace();
    let bound = plan.rootfs.devices.iter();
    let devices = rootfs::foresee_devices(bound.filter(|device| {
        let is_made = makes_nodes && device.index.is_some();
        !is_made
    }));
    let all = [
        ("rlimits", rlimits),
        ("cgroup", limits),
        ("devices", devices),
    ];
    let errors = all.iter().flat_map(|(check, errors)| {
        let of_error = |error| Finding::error(check, error, situation);
        errors.iter().map(of_error)
    });
    errors
        .chain(oom_score(
            plan.process.oom_score_adj,
            own_score(),
            may_raise,
            plan.rootless,
        ))
        .collect()
}

fn own_score() -> Option<i32> {
    let text = std::fs::read_to_string("/proc/self/oom_score_adj").ok()?;
    text.trim().parse().ok()
}

/// proc_pid_oom_score_adj(5). The lowest score that the caller may set is not to be seen: it
/// is at most the one it has.
fn oom_score(
    wanted: Option<i32>,
    own: Option<i32>,
    may_lower: bool,
    rootless: bool,
) -> Option<Finding> {
    let (wanted, own) = (wanted?, own?);
    if may_lower || wanted >= own {
        return None;
    }
    let then = match rootless {
        true => "it stays as it is",
        false => "create fails where the kernel refuses it",
    };
    Some(
        Finding::warning(
            "oom-score",
            format!("process.oomScoreAdj: {wanted} is below the caller's {own}, and a lower one takes CAP_SYS_RESOURCE on the host: {then}"),
        )
        .at("/process/oomScoreAdj")
        .hint("leave process.oomScoreAdj out, or raise it")
        .clause(Some("proc_pid_oom_score_adj(5)")),
    )
}

/// The controllers that the caller's own cgroup could hand on, for a caller whom systemd
/// delegates them.
pub fn of_host(host: &Host) -> Option<Finding> {
    let Some(cgroup2) = &host.cgroup2 else {
        let text = "no cgroup2 is mounted: containers have no limits, and cannot be paused";
        return Some(Finding::warning("cgroup", text).hint(
            "boot with systemd.unified_cgroup_hierarchy=1, or mount cgroup2 at /sys/fs/cgroup",
        ));
    };
    if host.is_privileged() && host.in_initial_user_namespace() {
        return None;
    }
    // A container's cgroup comes to lie beside the caller's own.
    let parent = cgroup2
        .mount
        .join(cgroup2.own.parent().unwrap_or(&cgroup2.own));
    let is_ours = nix::unistd::access(&parent, nix::unistd::AccessFlags::W_OK).is_ok();
    let controllers = std::fs::read_to_string(parent.join("cgroup.controllers"));
    judge_delegation(is_ours.then(|| controllers.unwrap_or_default()).as_deref())
}

fn judge_delegation(controllers: Option<&str>) -> Option<Finding> {
    /// What limits of engines' command lines want.
    const USUAL: [&str; 5] = ["cpu", "cpuset", "io", "memory", "pids"];
    let Some(controllers) = controllers else {
        let text =
            "the caller's cgroup is not delegated: containers have no limits, and cannot be paused";
        return Some(Finding::warning("cgroup", text).hint(
            "call rt in a session of systemd, or by systemd-run --user --scope --property=Delegate=yes COMMAND",
        ));
    };
    let there: Vec<&str> = controllers.split_ascii_whitespace().collect();
    let missing: Vec<&str> = USUAL
        .into_iter()
        .filter(|name| !there.contains(name))
        .collect();
    if missing.is_empty() {
        return None;
    }
    let text = format!("not delegated to the caller: {}", missing.join(", "));
    Some(Finding::note("cgroup", text).hint(format!(
        "write the lines [Service] and Delegate={} to /etc/systemd/system/user@.service.d/delegate.conf, then systemctl daemon-reload, and log in anew",
        missing.join(" ")
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::check::Severity;

    #[test]
    fn a_lower_oom_score_is_named_where_it_takes_a_right() {
        assert_eq!(oom_score(Some(-5), Some(0), true, false), None);
        assert_eq!(oom_score(Some(5), Some(0), false, true), None);
        let found = oom_score(Some(-5), Some(0), false, true).unwrap();
        assert!(found.message.contains("it stays as it is"), "{found:?}");
    }

    #[test]
    fn controllers_that_are_not_delegated_are_named_with_the_drop_in() {
        assert_eq!(
            judge_delegation(Some("cpuset cpu io memory pids hugetlb\n")),
            None
        );
        let found = judge_delegation(Some("memory pids")).unwrap();
        assert_eq!(found.severity, Severity::Note);
        assert!(found.message.ends_with("cpu, cpuset, io"), "{found:?}");
        assert!(
            found
                .hint
                .unwrap()
                .contains("Delegate=cpu cpuset io to /etc/systemd")
        );
        assert_eq!(judge_delegation(None).unwrap().severity, Severity::Warning);
    }
}
