//! What this kernel has not, or not for a user namespace: security modules, system calls of a
//! seccomp profile, procfs and sysfs.
//!
//! Runs in: parent.

use std::borrow::Cow;

use super::{Finding, hooks};
use crate::bundle::Bundle;
use crate::diagnose::hints::Situation;
use crate::error::Error;
use crate::host::Host;
use crate::host::mountinfo::{self, Mounted};
use crate::plan::Plan;
use crate::plan::namespaces::Kind;
use crate::plan::rootfs::{Mount, Source};
use crate::process::kernel::foresee_sysctls;
use crate::seccomp::{self, Arch};
use crate::security;

pub fn findings(bundle: &Bundle, plan: &Plan, host: &Host, situation: &Situation) -> Vec<Finding> {
    let supported = [
        security::require_support(&plan.process),
        security::require_mount_label_support(plan.rootfs.mount_label.as_ref()),
    ];
    let errors = supported.into_iter().filter_map(Result::err);
    let mut findings: Vec<Finding> = errors
        .map(|error| Finding::error("labels", &error, situation))
        .collect();
    let profile = plan.process.apparmor_profile.as_deref();
    let absent = profile.and_then(security::apparmor::foresee);
    let of_absent = |(check, error): (_, Error)| {
        hooks::may_mend(Finding::error(check, &error, situation), plan)
    };
    findings.extend(absent.map(|error| of_absent(("labels", error))));
    let sysctls = foresee_sysctls(&plan.sysctls).into_iter();
    findings.extend(sysctls.map(|error| of_absent(("sysctl", error))));
    findings.extend(of_profile(bundle));
    let types = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let mounts = plan.rootfs.mounts.iter();
    findings.extend(mounts.filter_map(|mount| of_file_system(mount, &types)));
    let in_user_namespace =
        plan.namespaces.is_private(Kind::User) || !host.in_initial_user_namespace();
    if in_user_namespace {
        let here = mountinfo::read("/proc/self/mountinfo").unwrap_or_default();
        let of_mount = |mount| of_pseudo(mount, plan, &here, situation);
        findings.extend(plan.rootfs.mounts.iter().filter_map(of_mount));
    }
    findings
}

/// The kernel's release, where it is older than what rt needs for all that it does.
pub fn of_host() -> Option<Finding> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").ok()?;
    judge_release(release.trim())
}

fn judge_release(release: &str) -> Option<Finding> {
    const WHOLE: (u32, u32) = (5, 14);
    let mut numbers = release.split(['.', '-']).map(str::parse);
    let version = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    (version < WHOLE).then(|| {
        Finding::warning(
            "kernel",
            format!("Linux {release}: rt does all that it can from 5.14 on"),
        )
    })
}

/// SPEC: config-linux.md#seccomp leaves open what an unknown name means: it is passed over, as
/// with runc and crun.
fn of_profile(bundle: &Bundle) -> Option<Finding> {
    let profile = bundle.config.linux().seccomp.as_ref()?;
    let (_, skipped) = seccomp::compile(profile, Arch::native()?).ok()?;
    let names = skipped.names;
    if names.is_empty() {
        return None;
    }
    let text = format!(
        "linux.seccomp.syscalls: unknown system calls, passed over: {}",
        names.join(", ")
    );
    Some(
        Finding::note("unknown-system-calls", text)
            .at("/linux/seccomp/syscalls")
            .clause(Some("config-linux.md#seccomp")),
    )
}

/// A module may still bring the type, as soon as it is mounted.
fn of_file_system(mount: &Mount, types: &str) -> Option<Finding> {
    let index = mount.index?;
    let (Source::New(new) | Source::CopyUp(new)) = &mount.source else {
        return None;
    };
    let kind = new.kind.to_string_lossy();
    // `fuse.sshfs` is of the type `fuse`.
    let (wanted, _) = kind.split_once('.').unwrap_or((&kind, ""));
    let mut there = types.lines().filter_map(|line| line.split('\t').nth(1));
    if types.is_empty() || there.any(|kind| kind == wanted) {
        return None;
    }
    let place = format!("mounts[{index}] ({})", mount.destination);
    let text =
        format!("{place}: this kernel has no file system {wanted:?} unless a module brings it");
    Some(
        Finding::note("file-system", text)
            .at(format!("/mounts/{index}/type"))
            .clause(Some("filesystems(5)")),
    )
}

fn of_pseudo(
    mount: &Mount,
    plan: &Plan,
    here: &[Mounted],
    situation: &Situation,
) -> Option<Finding> {
    let index = mount.index?;
    let place = format!("mounts[{index}] ({})", mount.destination);
    let finding = match &mount.source {
        Source::Proc(_) if plan.namespaces.is_new(Kind::Pid) => {
            let covered = covered_in_proc(here);
            let first = covered.first()?;
            let error = Error::unsupported(format!(
                "{place}: parts of this host's procfs are covered ({first} for one), as inside another container: a user namespace may not mount one that shows them"
            ))
            .with_hint("give the outer container an unmasked /proc, or share its pid namespace");
            Finding::error("proc-covered", &error, situation)
                .clause(Some("mount_namespaces(7), Restrictions on mount namespaces"))
        }
        Source::Sysfs(_)
            if plan.namespaces.is_new(Kind::User) && !plan.namespaces.is_private(Kind::Network) =>
        {
            Finding::warning(
                "sysfs-bound",
                format!("{place}: sysfs belongs to the network namespace, which is the caller's: the host's /sys is bound in its place"),
            )
            .hint("add {\"type\": \"network\"} to linux.namespaces, or bind /sys as `rt spec --rootless` does")
        }
        _ => return None,
    };
    Some(finding.at(format!("/mounts/{index}")))
}

/// The mounts on the procfs at /proc, less those on directories that the kernel keeps empty for
/// other file systems: it does not mind these.
fn covered_in_proc(mounts: &[Mounted]) -> Vec<String> {
    const KEPT_EMPTY: [&str; 3] = [
        "/proc/sys/fs/binfmt_misc",
        "/proc/fs/nfsd",
        "/proc/openprom",
    ];
    let points = mounts.iter().map(|mount| mount.point.to_string_lossy());
    points
        .filter(|point| point.starts_with("/proc/") && !KEPT_EMPTY.contains(&point.as_ref()))
        .map(Cow::into_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::example;
    use crate::plan::{CreateOptions, golden};

    const HOST: &str = "\
22 1 0:21 / /proc rw,nosuid - proc proc rw
30 22 0:27 / /proc/sys/fs/binfmt_misc rw - autofs systemd-1 rw
";

    #[test]
    fn a_covered_procfs_is_an_error_that_names_what_covers_it() {
        let config = example(false);
        let plan = golden::plan(config, CreateOptions::default(), &golden::podman());
        let judge = |mountinfo: &str| {
            let here = mountinfo::parse(mountinfo.as_bytes());
            let judge = |mount| of_pseudo(mount, &plan, &here, &Situation::default());
            let findings: Vec<Finding> = plan.rootfs.mounts.iter().filter_map(judge).collect();
            findings
        };
        assert_eq!(judge(HOST), []);
        let masked = format!("{HOST}31 22 0:5 /null /proc/kcore rw - devtmpfs udev rw\n");
        let found = judge(&masked);
        assert!(
            matches!(found.as_slice(), [one] if one.message.contains("/proc/kcore")),
            "{found:?}"
        );
    }

    #[test]
    fn a_type_that_the_kernel_does_not_list_is_a_note() {
        let mounts = r#""mounts": [
            {"destination": "/a", "type": "tmpfs", "source": "a"},
            {"destination": "/b", "type": "fuse.sshfs", "source": "b"},
            {"destination": "/c", "type": "ext4", "source": "/dev/c"},"#;
        let config = example(false).replacen("\"mounts\": [", mounts, 1);
        let plan = golden::plan(config, CreateOptions::default(), &golden::root());
        let found = |types: &str| -> Vec<Option<String>> {
            let mounts = plan.rootfs.mounts.iter();
            let findings = mounts.filter_map(|mount| of_file_system(mount, types));
            findings.map(|finding| finding.pointer).collect()
        };
        let types = "nodev\ttmpfs\nnodev\tfuse\nnodev\tdevpts\nnodev\tmqueue\n";
        assert_eq!(found(types), [Some("/mounts/2/type".to_owned())]);
        assert_eq!(found(&format!("{types}\text4\n")), []);
        assert_eq!(found(""), []);
    }

    #[test]
    fn unknown_system_calls_are_named() {
        let profile = r#""linux": {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls":
            [{"names": ["mkdir", "make_coffee"], "action": "SCMP_ACT_ERRNO"}]},"#;
        let config = example(false).replacen("\"linux\": {", profile, 1);
        let bundle = Bundle::from_config(config.into_bytes(), "/b".into()).unwrap();
        let found = of_profile(&bundle).unwrap();
        assert!(
            found.message.ends_with("passed over: make_coffee"),
            "{found:?}"
        );
    }

    #[test]
    fn an_old_kernel_is_named() {
        assert_eq!(judge_release("6.18.1-amd64"), None);
        assert_eq!(judge_release("5.14.0-503.el9"), None);
        assert!(
            judge_release("5.10.0-30-amd64")
                .unwrap()
                .message
                .contains("5.10.0")
        );
        assert!(judge_release("4.18.0").is_some());
    }
}
