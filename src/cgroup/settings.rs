//! Limits: controllers switched on down the path, then one file after the other written.

use std::ops::ControlFlow;

use nix::errno::Errno;

use super::v2::Directory;
use super::{Handle, Privilege, threaded};
use crate::bundle::checks::place_in_words;
use crate::error::{Context, Error, Result};
use crate::plan::cgroup::{Absent, Setting};

/// What was in a file before: written back, it undoes a setting.
#[derive(Debug, PartialEq, Eq)]
struct Former {
    file: String,
    value: String,
}

/// Writes the settings in their order, after the controllers that they belong to are
/// switched on. A setting that cannot be written is an error that names its place in
/// config.json, the file, and what is missing.
pub(super) fn apply(handle: &Handle, settings: &[Setting]) -> Result<()> {
    switch_on(handle, settings)?;
    for setting in settings {
        write(handle, setting, &mut None)?;
    }
    Ok(())
}

/// As [`apply`], of a cgroup in use: all of them are written or, where one cannot be or
/// `last` fails, none stays. What is written back may fail in its turn; then that is said too.
pub(super) fn replace(
    handle: &Handle,
    settings: &[Setting],
    last: impl FnOnce() -> Result<()>,
) -> Result<()> {
    switch_on(handle, settings)?;
    for setting in settings {
        refuse_if_in_use(handle, setting)?;
    }
    let mut former = Some(Vec::new());
    let written = settings
        .iter()
        .try_for_each(|setting| write(handle, setting, &mut former));
    written.and_then(|()| last()).map_err(|mut error| {
        for former in former.iter().flatten().rev() {
            if let Err(e) = handle.directory().write(&former.file, &former.value) {
                error = error.with_hint(format!("the former value is not back: {e}"));
            }
        }
        error
    })
}

/// Writes one setting; what was there before goes into `former`, if there is one.
fn write(handle: &Handle, setting: &Setting, former: &mut Option<Vec<Former>>) -> Result<()> {
    let directory = handle.directory();
    let mut put = |file: &str, value: &str| -> Result<()> {
        if let Some(former) = former {
            let text = directory.read(file)?;
            former.push(former_value(file, value, &text));
        }
        // A write of no bytes does nothing.
        directory.write(file, if value.is_empty() { "\n" } else { value })
    };
    let result = match (put(&setting.file, &setting.value), &setting.absent) {
        (Err(e), Absent::Skip) if is_absent(&e, handle, setting)? => Ok(()),
        (Err(e), Absent::Write { file, value }) if is_absent(&e, handle, setting)? => {
            put(file, value)
        }
        (result, _) => result,
    };
    result
        .map_err(|e| explain(e, handle, setting))
        .at(&setting.pointer, || place_in_words(&setting.pointer))
}

/// Whether the cgroup has the controller, and not this file of it.
fn is_absent(e: &Error, handle: &Handle, setting: &Setting) -> Result<bool> {
    // Open of a file that is not there, for writing, is EACCES in some cgroup file systems.
    if !(e.is(Errno::ENOENT) || e.is(Errno::EACCES)) {
        return Ok(false);
    }
    let controller = setting.file.split('.').next().unwrap_or_default();
    Ok(lacks(handle.directory(), "cgroup.controllers", &[controller])?.is_empty())
}

fn refuse_if_in_use(handle: &Handle, setting: &Setting) -> Result<()> {
    let Some(file) = setting.in_use else {
        return Ok(());
    };
    let text = match handle.directory().read(file) {
        Ok(text) => text,
        Err(e) if e.is(Errno::ENOENT) => return Ok(()),
        Err(e) => return Err(e),
    };
    let used: Option<u64> = text.trim().parse().ok();
    let limit: Option<u64> = setting.value.parse().ok();
    match (used, limit) {
        (Some(used), Some(limit)) if used > limit => Err(Error::invalid(format!(
            "{}: {limit} is below what is in use, {used} ({file}), and checkBeforeUpdate is set",
            place_in_words(&setting.pointer)
        ))
        .with_pointer(setting.pointer.clone())),
        _ => Ok(()),
    }
}

/// What has to be written to have back what `text` says, once `value` is written. Files of a
/// line per device take one line at a time, and do not list a device without a limit.
fn former_value(file: &str, value: &str, text: &str) -> Former {
    let key = value.split_ascii_whitespace().next().unwrap_or_default();
    let line = |key: &str| {
        text.lines()
            .find(|line| line.split_ascii_whitespace().next() == Some(key))
            .map(str::to_owned)
    };
    let value = match file {
        "io.max" => {
            line(key).unwrap_or_else(|| format!("{key} rbps=max wbps=max riops=max wiops=max"))
        }
        "io.latency" => line(key).unwrap_or_else(|| format!("{key} target=0")),
        "rdma.max" => line(key).unwrap_or_else(|| format!("{key} hca_handle=max hca_object=max")),
        "misc.max" => line(key).unwrap_or_else(|| format!("{key} max")),
        "io.weight" | "io.bfq.weight" if key.contains(':') => {
            line(key).unwrap_or_else(|| format!("{key} default"))
        }
        "io.weight" | "io.bfq.weight" => line("default").unwrap_or_else(|| text.trim().to_owned()),
        _ => text.trim().to_owned(),
    };
    Former {
        file: file.to_owned(),
        value: if value.is_empty() { "\n".into() } else { value },
    }
}

/// The controller that the file belongs to: `pids.max` is of `pids`. None for the files of the
/// core, `cgroup.*`, which are always there.
pub(super) fn controller_of(setting: &Setting) -> Option<&str> {
    let (name, _) = setting.file.split_once('.')?;
    (name != "cgroup").then_some(name)
}

/// The controllers of the settings, each once: those that threaded cgroups cannot have first.
pub(super) fn controllers(settings: &[Setting]) -> Vec<&str> {
    let mut names: Vec<&str> = settings.iter().filter_map(controller_of).collect();
    names.sort_unstable_by_key(|name| (threaded::has(name), *name));
    names.dedup();
    names
}

/// A controller that could not be switched on somewhere above the cgroup.
pub(super) struct Refusal {
    pub controller: String,
    pub error: Error,
}

/// Switches on what the settings need, all the way down to the cgroup. An error for the first
/// of them that cannot have it.
fn switch_on(handle: &Handle, settings: &[Setting]) -> Result<()> {
    let refusals = enable(handle, &controllers(settings))?;
    let refusal = settings.iter().find_map(|setting| {
        let controller = controller_of(setting)?;
        let refusal = refusals.iter().find(|r| r.controller == controller)?;
        Some((setting, refusal))
    });
    let Some((setting, refusal)) = refusal else {
        return Ok(());
    };
    threaded::check(handle.mount(), handle.path(), settings)?;
    Err(refused(setting, refusal)).at(&setting.pointer, || place_in_words(&setting.pointer))
}

/// Switches on in `below` whatever `above` has: what its users count and limit is the same then
/// as in `above`. A controller that is not handed down is missed by the setting that needs it.
pub(super) fn hand_down(above: &Handle, below: &Handle) -> Result<()> {
    let text = above.directory().read("cgroup.controllers")?;
    let mut controllers: Vec<&str> = text.split_ascii_whitespace().collect();
    controllers.sort_unstable_by_key(|name| threaded::has(name));
    enable(below, &controllers).map(drop)
}

/// Switches controllers on in every cgroup from the mount down to the parent, where they
/// are not; it ends where some are refused.
///
/// One with processes of its own hands on those that tell threads apart, and is thereby made a
/// domain of threaded cgroups: that is not done to it once another controller is refused.
fn enable(handle: &Handle, controllers: &[&str]) -> Result<Vec<Refusal>> {
    let mut refusals = Vec::new();
    if controllers.is_empty()
        || lacks(handle.directory(), "cgroup.controllers", controllers)?.is_empty()
    {
        return Ok(refusals);
    }
    handle.mount().each_above(handle.path(), |directory| {
        enable_below(directory, controllers, &mut refusals)?;
        Ok(match refusals.is_empty() {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        })
    })?;
    if refusals.is_empty() {
        threaded::follow(handle.directory())?;
    }
    Ok(refusals)
}

fn enable_below(
    directory: &Directory,
    controllers: &[&str],
    refusals: &mut Vec<Refusal>,
) -> Result<()> {
    let lacking = lacks(directory, "cgroup.subtree_control", controllers)?;
    if lacking.is_empty() {
        return Ok(());
    }
    threaded::follow(directory)?;
    // The kernel takes all or none, and stops all forks for each write: so together first.
    if lacking.len() > 1 && directory.switch_on(&lacking).is_ok() {
        return Ok(());
    }
    for controller in lacking {
        if threaded::has(controller) && !refusals.is_empty() {
            break;
        }
        if let Err(error) = directory.switch_on(&[controller]) {
            refusals.push(Refusal {
                controller: controller.to_owned(),
                error,
            });
        }
    }
    Ok(())
}

pub(super) fn lacks<'a>(
    directory: &Directory,
    file: &str,
    controllers: &[&'a str],
) -> Result<Vec<&'a str>> {
    let text = directory.read(file)?;
    let is_there = |name: &str| text.split_ascii_whitespace().any(|word| word == name);
    let lacking = controllers.iter().copied().filter(|name| !is_there(name));
    Ok(lacking.collect())
}

/// `pids.max needs the controller "pids"`
pub(super) fn needs(setting: &Setting) -> String {
    let controller = controller_of(setting).unwrap_or_default();
    format!("{} needs the controller {controller:?}", setting.file)
}

/// The file that makes systemd hand a controller down to its users, whole: what it says comes
/// on top of what the unit delegates anyway.
fn drop_in(controller: &str) -> String {
    format!(
        "write the lines [Service] and Delegate={controller} to /etc/systemd/system/user@.service.d/delegate.conf, then systemctl daemon-reload, and log in anew (restart user@UID.service)"
    )
}

/// The error of a container that needs a cgroup where the caller can make none: `first` is a
/// limit that config.json asks for, none where only device rules do.
pub(super) fn cannot_be_had(e: Error, first: Option<&Setting>, privilege: Privilege) -> Error {
    let hint = match privilege {
        Privilege::Rootless => {
            "the caller's cgroup is not delegated: call rt in a session of systemd, or by systemd-run --user --scope --property=Delegate=yes COMMAND".to_owned()
        }
        Privilege::Host => {
            "mount cgroup2 so that it can be written to, or take out what needs a cgroup".to_owned()
        }
    };
    let Some(first) = first else {
        return e
            .within("linux.resources.devices needs a cgroup")
            .with_pointer("/linux/resources/devices")
            .with_hint(hint);
    };
    let hint = match (privilege, first.file.split_once('.')) {
        (Privilege::Rootless, Some((controller, _))) if controller != "cgroup" => format!(
            "{hint}; if {controller:?} is not delegated then: {}",
            drop_in(controller)
        ),
        _ => hint,
    };
    e.within(format!(
        "{} in a cgroup of the container's own",
        needs(first)
    ))
    .within(place_in_words(&first.pointer))
    .with_pointer(first.pointer.clone())
    .with_hint(hint)
}

fn explain(e: Error, handle: &Handle, setting: &Setting) -> Error {
    let controller = setting.file.split_once('.').map_or("", |(name, _)| name);
    match e.errno().map(Errno::from_raw) {
        Some(Errno::ENOENT)
            if let Err(e) = threaded::check_one(handle.mount(), handle.path(), setting) =>
        {
            e
        }
        Some(Errno::ENOENT) => {
            not_there(format!("there is no {}", setting.file), &e).with_hint(format!(
                "the controller {controller:?} of this kernel has no such setting in {:?}",
                handle.directory().path()
            ))
        }
        Some(Errno::EINVAL | Errno::ERANGE) => e.with_hint(format!(
            "the kernel does not take this value for {}",
            setting.file
        )),
        _ => e,
    }
}

/// What is said of a setting whose controller could not be switched on.
pub(super) fn refused(setting: &Setting, refusal: &Refusal) -> Error {
    let controller = &refusal.controller;
    let hint = match refusal.error.errno().map(Errno::from_raw) {
        Some(Errno::EOPNOTSUPP) => threaded::REMEDY.to_owned(),
        Some(Errno::EINVAL) if controller == "cpu" => {
            "the kernel was built without it; or, where it was built with CONFIG_RT_GROUP_SCHED, processes of a real-time class outside of the root cgroup keep it off: give them another class (chrt --other --pid 0 PID)".to_owned()
        }
        Some(Errno::ENOENT | Errno::EINVAL) => format!(
            "this cgroup hierarchy has no controller {controller:?}: cgroup version 1 has it, or the kernel was built or booted without it"
        ),
        Some(Errno::EBUSY) => format!(
            "processes in a cgroup above keep it from handing down {controller:?}: move them into a cgroup below it"
        ),
        _ => format!(
            "the controller {controller:?} is not delegated to the caller; as root: {}",
            drop_in(controller)
        ),
    };
    match refusal.error.is(Errno::ENOENT) {
        true => not_there(
            format!("{}, which is not there", needs(setting)),
            &refusal.error,
        ),
        false => refusal.error.clone().within(needs(setting)),
    }
    .with_hint(hint)
}

/// `e` in words without the kernel's for ENOENT: engines take these for those of a program
/// that is not there (podman and docker then end with 127).
fn not_there(message: String, e: &Error) -> Error {
    let said = Error::unsupported(message);
    e.path().map_or(said.clone(), |path| said.with_path(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_controller_that_is_not_there_reads_as_no_missing_program() {
        let setting = Setting::new("/linux/resources/pids/limit", "pids.max", "1");
        let error = Error::syscall("write", r#""/x", "+pids", 5"#, libc::ENOENT);
        let controller = "pids".to_owned();
        let e = refused(&setting, &Refusal { controller, error }).to_string();
        assert_eq!(
            e,
            r#"pids.max needs the controller "pids", which is not there"#
        );
    }

    #[test]
    fn what_was_there_can_be_written_back() {
        let former = |file, value, text| former_value(file, value, text).value;
        assert_eq!(former("memory.max", "5", "max\n"), "max");
        assert_eq!(former("cpuset.cpus", "0", "\n"), "\n");
        let io = "8:0 rbps=1 wbps=max riops=max wiops=max\n";
        assert_eq!(former("io.max", "8:0 wbps=2", io), io.trim());
        assert_eq!(
            former("io.max", "8:16 wbps=2", io),
            "8:16 rbps=max wbps=max riops=max wiops=max"
        );
        let weights = "default 100\n8:0 7\n";
        assert_eq!(former("io.weight", "5", weights), "default 100");
        assert_eq!(former("io.weight", "8:0 9", weights), "8:0 7");
        assert_eq!(former("io.weight", "8:16 9", weights), "8:16 default");
    }

    #[test]
    fn each_controller_is_named_once_those_of_domains_first_and_the_core_is_none() {
        let settings: Vec<Setting> = [
            "pids.max",
            "cpu.weight",
            "cgroup.freeze",
            "cpu.max",
            "hugetlb.2MB.max",
        ]
        .into_iter()
        .map(|file| Setting::new("", file, ""))
        .collect();
        assert_eq!(controllers(&settings), ["hugetlb", "cpu", "pids"]);
    }
}
