//! What will be said of a cgroup that is still to be made.
//!
//! The rights and the controllers on the way to it are looked at, nothing is made. What the
//! kernel has against a value it says only when that is written.
//!
//! Runs in: parent.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::settings::{Refusal, cannot_be_had, controller_of, controllers, lacks, refused};
use super::v2::Directory;
use super::{Privilege, confines, is_missing, systemd, threaded};
use crate::bundle::checks::place_in_words;
use crate::error::{Error, Result};
use crate::host::Cgroup2;
use crate::plan::cgroup::{Cgroup, Placement, Setting};
use crate::plan::scope::Bus;

/// Why the cgroup cannot be made, or its limits not be set.
pub fn foresee(cgroup: &Cgroup, privilege: Privilege, host: Option<&Cgroup2>) -> Vec<Error> {
    let looked = match (&cgroup.placement, host) {
        (Placement::Path { mount, path }, _) => of_path(cgroup, privilege, mount.as_path(), path),
        (Placement::Unit { mount, scope }, Some(host)) => systemd::Manager::connect(scope.bus)
            .and_then(|_| {
                let mount = Directory::open_mount(mount.as_path())?;
                let path = below_manager(scope.bus, &host.own);
                of_controllers(&mount, &path, &cgroup.settings, Above::IsSystemds)
            }),
        _ => Ok(Vec::new()),
    };
    looked.unwrap_or_else(|error| vec![error])
}

fn of_path(cgroup: &Cgroup, privilege: Privilege, mount: &Path, path: &Path) -> Result<Vec<Error>> {
    let mount = Directory::open_mount(mount)?;
    match can_be_made(&mount, path, privilege) {
        Ok(()) => match threaded::check(&mount, path, &cgroup.settings) {
            Ok(()) => of_controllers(&mount, path, &cgroup.settings, Above::IsOurs),
            Err(e) => Ok(vec![e]),
        },
        Err(e) if !is_missing(&e) => Err(e),
        Err(e) if cgroup.required || confines(cgroup, privilege) => {
            Err(cannot_be_had(e, cgroup.settings.first(), privilege))
        }
        // The container goes without one.
        Err(_) => Ok(Vec::new()),
    }
}

fn can_be_made(mount: &Directory, path: &Path, privilege: Privilege) -> Result<()> {
    let mut missing = None;
    for ancestor in path.ancestors() {
        let is_there = ancestor == Path::new("") || mount.open(ancestor)?.is_some();
        match (is_there, missing) {
            (true, Some(first)) => {
                mount.check_mkdir(first)?;
                break;
            }
            (true, None) => break,
            (false, _) => missing = Some(ancestor),
        }
    }
    match privilege {
        Privilege::Rootless => super::handle::check_enterable(mount, path),
        Privilege::Host => Ok(()),
    }
}

/// Who switches controllers on above the container's cgroup.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Above {
    IsOurs,
    IsSystemds,
}

/// The settings whose controllers do not come down to `path`.
fn of_controllers(
    mount: &Directory,
    path: &Path,
    settings: &[Setting],
    above: Above,
) -> Result<Vec<Error>> {
    let mut refusals: Vec<Refusal> = Vec::new();
    let names = controllers(settings);
    mount.each_above(path, |directory| {
        for name in lacks(directory, "cgroup.subtree_control", &names)? {
            if refusals.iter().all(|refusal| refusal.controller != name)
                && let Some(errno) = why_not(directory, name, above)?
            {
                refusals.push(Refusal {
                    controller: name.to_owned(),
                    error: directory.write_failed(
                        "cgroup.subtree_control",
                        &format!("+{name}"),
                        errno,
                    ),
                });
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    let without = |setting: &Setting| {
        let name = controller_of(setting)?;
        let refusal = refusals.iter().find(|refusal| refusal.controller == name)?;
        let error = refused(setting, refusal).with_pointer(&setting.pointer);
        Some(error.within(place_in_words(&setting.pointer)))
    };
    Ok(settings.iter().filter_map(without).collect())
}

/// Why `name` cannot be switched on for what is below.
fn why_not(directory: &Directory, name: &str, above: Above) -> Result<Option<Errno>> {
    if !lacks(directory, "cgroup.controllers", &[name])?.is_empty() {
        return Ok(Some(Errno::ENOENT));
    }
    if above == Above::IsSystemds {
        return Ok(None);
    }
    match directory.check_writable(Path::new("cgroup.subtree_control")) {
        Ok(()) => {}
        Err(e) => return Ok(Some(Errno::from_raw(e.errno().unwrap_or(libc::EACCES)))),
    }
    // cgroups(7), "no internal processes"; the root has no cgroup.type. Threads may compete
    // with those below them.
    let is_busy = !threaded::has(name)
        && directory.read("cgroup.type").is_ok()
        && !directory.read("cgroup.procs")?.is_empty();
    Ok(is_busy.then_some(Errno::EBUSY))
}

/// A cgroup that systemd could make: for a user below that of the user's own systemd.
fn below_manager(bus: Bus, own: &Path) -> PathBuf {
    let manager = match bus {
        Bus::System => PathBuf::from("system.slice"),
        Bus::User => {
            let is_manager = |path: &&Path| {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                name.starts_with("user@") && name.ends_with(".service")
            };
            let uid = nix::unistd::geteuid();
            own.ancestors().find(is_manager).map_or_else(
                || format!("user.slice/user-{uid}.slice/user@{uid}.service").into(),
                Path::to_owned,
            )
        }
    };
    manager.join("new.scope")
}
