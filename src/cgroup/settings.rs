//! Limits: controllers switched on down the path, then one file after the other written.

use std::path::Path;

use nix::errno::Errno;

use super::Handle;
use super::v2::Directory;
use crate::error::{Context, Error, Result};
use crate::plan::cgroup::Setting;

/// Writes the settings in their order, after the controllers that they belong to are
/// switched on. A setting that cannot be written is an error that names its place in
/// config.json, the file, and what is missing.
pub(super) fn apply(handle: &Handle, settings: &[Setting]) -> Result<()> {
    let refusals = enable(handle, &controllers(settings))?;
    for setting in settings {
        handle
            .directory()
            .write(&setting.file, &setting.value)
            .map_err(|e| explain(e, handle, setting, &refusals))
            .at(&setting.pointer, || {
                setting.pointer.trim_start_matches('/').replace('/', ".")
            })?;
    }
    Ok(())
}

/// The controllers that the files belong to, each once: `pids.max` is of `pids`. The files
/// of the core, `cgroup.*`, are always there.
fn controllers(settings: &[Setting]) -> Vec<&str> {
    let mut names: Vec<&str> = settings
        .iter()
        .filter_map(|setting| setting.file.split_once('.'))
        .map(|(name, _)| name)
        .filter(|name| *name != "cgroup")
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// A controller that could not be switched on somewhere above the cgroup.
struct Refusal {
    controller: String,
    error: Error,
}

/// Switches controllers on in every cgroup from the mount down to the parent, where they
/// are not. A refusal is no error yet: only a setting that needs the controller makes it one.
fn enable(handle: &Handle, controllers: &[&str]) -> Result<Vec<Refusal>> {
    let mut refusals = Vec::new();
    if controllers.is_empty()
        || lacks(handle.directory(), "cgroup.controllers", controllers)?.is_empty()
    {
        return Ok(refusals);
    }
    let above: Vec<&Path> = handle.path().ancestors().skip(1).collect();
    for ancestor in above.into_iter().rev() {
        let below;
        let directory = if ancestor == Path::new("") {
            handle.mount()
        } else {
            match handle.mount().open(ancestor)? {
                Some(directory) => {
                    below = directory;
                    &below
                }
                None => continue,
            }
        };
        for controller in lacks(directory, "cgroup.subtree_control", controllers)? {
            if let Err(error) = directory.write("cgroup.subtree_control", &format!("+{controller}"))
            {
                refusals.push(Refusal {
                    controller: controller.to_owned(),
                    error,
                });
            }
        }
    }
    Ok(refusals)
}

fn lacks<'a>(directory: &Directory, file: &str, controllers: &[&'a str]) -> Result<Vec<&'a str>> {
    let text = directory.read(file)?;
    let there: Vec<&str> = text.split_ascii_whitespace().collect();
    Ok(controllers
        .iter()
        .copied()
        .filter(|name| !there.contains(name))
        .collect())
}

fn explain(e: Error, handle: &Handle, setting: &Setting, refusals: &[Refusal]) -> Error {
    let controller = setting.file.split_once('.').map_or("", |(name, _)| name);
    let refusal = refusals
        .iter()
        .find(|refusal| refusal.controller == controller);
    match (e.errno().map(Errno::from_raw), refusal) {
        (Some(Errno::ENOENT | Errno::EACCES), Some(refusal)) => {
            let hint = match refusal.error.errno().map(Errno::from_raw) {
                Some(Errno::ENOENT | Errno::EINVAL) => format!(
                    "this cgroup hierarchy has no controller {controller:?}: cgroup version 1 has it, or the kernel was built or booted without it"
                ),
                Some(Errno::EBUSY) => format!(
                    "processes in a cgroup above keep it from handing down {controller:?}: move them into a cgroup below it"
                ),
                _ => format!(
                    "the caller may not switch on the controller {controller:?}: delegate it, in a drop-in of user@.service with [Service] Delegate={controller}"
                ),
            };
            refusal.error.clone().within(setting.file.clone()).with_hint(hint)
        }
        (Some(Errno::ENOENT), None) => e.with_hint(format!(
            "{:?} has no such file: this kernel has not this setting of the controller {controller:?}",
            handle.directory().path()
        )),
        (Some(Errno::EINVAL | Errno::ERANGE), _) => {
            e.with_hint(format!("the kernel does not take this value for {}", setting.file))
        }
        _ => e,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_controller_is_named_once_and_the_core_is_none() {
        let settings: Vec<Setting> = [
            "pids.max",
            "cpu.weight",
            "cgroup.freeze",
            "cpu.max",
            "hugetlb.2MB.max",
        ]
        .into_iter()
        .map(|file| Setting {
            pointer: String::new(),
            file: file.into(),
            value: String::new(),
        })
        .collect();
        assert_eq!(controllers(&settings), ["cpu", "hugetlb", "pids"]);
    }
}
