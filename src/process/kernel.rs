//! Values of the container's own namespaces: time offsets, loopback, names, sysctls.
//!
//! Runs in: init, with all capabilities in the container's user namespace.

use std::os::fd::AsFd;
use std::path::Path;

use nix::errno::Errno;

use crate::error::{Context, Error, Result};
use crate::plan::namespaces::{Kind, Namespaces};
use crate::plan::{Plan, Sysctl};
use crate::sys::{check, net, process, procfs as sys_procfs};

use super::procfs::Procfs;

/// Makes a new time namespace with its offsets, time_namespaces(7), and enters it. The
/// offsets can be written only as long as no process is in it.
pub fn enter_time_namespace(namespaces: &Namespaces, procfs: &Procfs) -> Result<()> {
    if !namespaces.is_new(Kind::Time) {
        return Ok(());
    }
    process::unshare(Kind::Time.flag()).context(|| "linux.namespaces (time)")?;
    let offsets: String = namespaces
        .time_offsets
        .iter()
        .map(|(clock, seconds, nanoseconds)| format!("{clock} {seconds} {nanoseconds}\n"))
        .collect();
    if !offsets.is_empty() {
        procfs
            .write_own("timens_offsets", &offsets)
            .at("/linux/timeOffsets", || "linux.timeOffsets")?;
    }
    let file = procfs.own_namespace("time_for_children")?;
    check(
        process::setns(file.as_fd(), Kind::Time.flag()),
        "setns",
        "time_for_children, CLONE_NEWTIME",
    )
}

/// Brings the loopback device of a new network namespace up.
pub fn bring_loopback_up(namespaces: &Namespaces) -> Result<()> {
    if namespaces.is_new(Kind::Network) {
        net::loopback_up().context(|| "linux.namespaces (network)")?;
    }
    Ok(())
}

/// sethostname(2) and setdomainname(2).
pub fn set_names(plan: &Plan) -> Result<()> {
    if let Some(name) = &plan.hostname {
        let name = name.to_string_lossy();
        check(
            nix::unistd::sethostname(&*name),
            "sethostname",
            format_args!("{name:?}"),
        )
        .at("/hostname", || "hostname")?;
    }
    if let Some(name) = &plan.domainname {
        check(
            process::set_domainname(name),
            "setdomainname",
            format_args!("{name:?}"),
        )
        .at("/domainname", || "domainname")?;
    }
    Ok(())
}

/// Writes the sysctls of config.json.
pub fn write_sysctls(plan: &Plan, procfs: &Procfs) -> Result<()> {
    for sysctl in &plan.sysctls {
        procfs
            .write(&format!("sys/{}", sysctl.path), &sysctl.value)
            .map_err(|e| explain_sysctl(e, &sysctl.key))?;
    }
    Ok(())
}

/// What [`write_sysctls`] will say of those that this kernel has not. Runs in the parent: a new
/// namespace has no more of them than the host, but for those of devices that come into it.
pub fn foresee_sysctls(sysctls: &[Sysctl]) -> Vec<Error> {
    let are_seen = |path: &str| Path::new("/proc/sys").join(path).exists();
    let absent = sysctls.iter().filter(|sysctl| {
        let kind = sysctl.path.split('/').next().unwrap_or_default();
        are_seen(kind) && !are_seen(&sysctl.path) && !is_of_device(&sysctl.path)
    });
    absent
        .map(|sysctl| {
            let failed = sys_procfs::open_failed(&format!("sys/{}", sysctl.path), Errno::ENOENT);
            explain_sysctl(failed, &sysctl.key)
        })
        .collect()
}

/// `net/ipv4/conf/eth0/…`, `net/ipv6/neigh/eth0/…`
fn is_of_device(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    matches!(parts.as_slice(), ["net", _, "conf" | "neigh", name, ..]
        if !matches!(*name, "all" | "default" | "lo"))
}

fn explain_sysctl(error: Error, key: &str) -> Error {
    let error = match error.errno() {
        Some(libc::ENOENT) => error.with_hint(format!(
            "this kernel has no sysctl {key}, or it is not visible in a namespace"
        )),
        Some(libc::EXDEV) => error.with_hint(
            "something is mounted over /proc/sys of the host (an outer container's mask): this sysctl cannot be set here",
        ),
        Some(libc::EACCES | libc::EPERM) => error.with_hint(format!(
            "{key} belongs to a namespace that the container does not own: make that namespace new in linux.namespaces, or set the value on the host"
        )),
        _ => error,
    };
    error
        .with_pointer(format!("/linux/sysctl/{}", key.replace('/', "~1")))
        .within(format!("linux.sysctl ({key})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sysctl_that_no_kernel_has_is_foreseen() {
        let sysctl = |path: &str| Sysctl {
            key: path.replace('/', "."),
            path: path.to_owned(),
            value: "1".to_owned(),
        };
        let found = foresee_sysctls(&[
            sysctl("kernel/shmmax"),
            sysctl("net/ipv4/ip_forwards"),
            sysctl("net/ipv4/conf/eth99/forwarding"),
            sysctl("net/ipv4/conf/lo/forwarding"),
        ]);
        let texts: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "linux.sysctl (net.ipv4.ip_forwards): openat(procfs, \"sys/net/ipv4/ip_forwards\"): No such file or directory"
            ]
        );
    }
}
