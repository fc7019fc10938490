//! Values of the container's own namespaces: time offsets, loopback, names, sysctls.
//!
//! Runs in: init, with all capabilities in the container's user namespace.

use std::os::fd::AsFd;

use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

use crate::error::{Context, Error, Result};
use crate::plan::Plan;
use crate::plan::namespaces::{Kind, Namespaces};
use crate::sys::{check, net, process};

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
    let file = check(
        nix::fcntl::openat(
            procfs.own(),
            "ns/time_for_children",
            OFlag::O_RDONLY | OFlag::O_CLOEXEC,
            Mode::empty(),
        ),
        "openat",
        "\"/proc/self/ns/time_for_children\"",
    )?;
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
        let pointer = format!("/linux/sysctl/{}", sysctl.key.replace('/', "~1"));
        procfs
            .write(&format!("sys/{}", sysctl.path), &sysctl.value)
            .map_err(|e| explain_sysctl(e, &sysctl.key))
            .at(&pointer, || format!("linux.sysctl ({})", sysctl.key))?;
    }
    Ok(())
}

fn explain_sysctl(error: Error, key: &str) -> Error {
    match error.errno() {
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
    }
}
