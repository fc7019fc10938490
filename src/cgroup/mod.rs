//! The container's cgroup, version 2.
//!
//! Owns the making, the filling in and the removal of the cgroup that
//! [`plan::cgroup`](crate::plan::cgroup) has decided on, by rt itself or by systemd, and what
//! can be done to the processes in it: freeze, kill, list. Everything is looked up beneath a
//! descriptor of the cgroup2 mount by names without `..`; the file system itself has no
//! symbolic links.
//!
//! Version 1 is not driven: where both are mounted, cgroup2 is used alone.
//!
//! Runs in: parent, with the caller's privileges; verbs use [`Handle`]. Init never.

mod counting;
mod device_bpf;
mod end;
mod foresight;
mod handle;
pub mod oom;
mod ownership;
pub mod resctrl;
mod settings;
pub mod stats;
pub mod systemd;
mod threaded;
mod tree;
mod v2;

#[cfg(test)]
mod tests;

use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::Pid;

pub use foresight::foresee;
pub use handle::{Handle, explain_entry, takes_no_process};

use crate::error::{Context, Error, Kind, Result};
use crate::log;
use crate::plan::cgroup::{Cgroup, Change, DeviceRule, Placement, Setting};
use crate::state::Manager;
use crate::sys;
use v2::Directory;

/// How often a parent directory that another `rt` removes meanwhile is made again.
const ATTEMPTS: u32 = 16;

/// Whether this process has the host's privileges: then what it may not do is a fault of
/// the host, else it is what a user's containers go without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privilege {
    Host,
    Rootless,
}

/// A new cgroup. It is removed on drop, with what is in it, unless it is kept.
pub enum Guard {
    Directory(Made),
    Unit(Box<systemd::Unit>),
}

/// The directories of a cgroup that rt has made.
pub struct Made {
    handle: Handle,
    /// Those that were not there before, outermost first.
    made: Vec<PathBuf>,
    kept: bool,
}

/// Makes the cgroup and writes its settings, or with the systemd driver gets ready to; see
/// [`Guard::enter`]. [`Guard::confine`] does the rest. None where the container goes without
/// one: because the plan says so, or because the right to make one is missing and nothing in
/// config.json needs it.
///
/// A directory that is there already is taken if there is no process in it, as runc does.
pub fn create(cgroup: &Cgroup, privilege: Privilege) -> Result<Option<Guard>> {
    let required = cgroup.required || confines(cgroup, privilege);
    let result = match &cgroup.placement {
        Placement::Unit { mount, scope } => {
            let unit = systemd::Unit::prepare(mount, scope)?;
            return Ok(Some(Guard::Unit(Box::new(unit))));
        }
        Placement::Path { mount, path } => make(mount.as_path(), path, &cgroup.settings, privilege),
        without => Err(Error::unsupported(
            without.why_none().unwrap_or_default().to_owned(),
        )),
    };
    let guard = match result {
        Ok(guard) => guard,
        Err(e) if !is_missing(&e) => return Err(e),
        Err(e) if required => {
            return Err(settings::cannot_be_had(
                e,
                cgroup.settings.first(),
                privilege,
            ));
        }
        Err(e) => {
            log::debug(|| format!("no cgroup: {e}"));
            return Ok(None);
        }
    };
    counting::switch_on(&guard.handle);
    fill_in(&guard.handle, cgroup, privilege)?;
    Ok(Some(Guard::Directory(guard)))
}

/// Whether there are device rules that have to be enforced.
fn confines(cgroup: &Cgroup, privilege: Privilege) -> bool {
    privilege == Privilege::Host
        && cgroup.placement != Placement::Disabled
        && cgroup
            .devices
            .as_deref()
            .and_then(device_bpf::compile)
            .is_some()
}

/// Writes the settings of a new cgroup, and gives it to whom it is meant for.
fn fill_in(handle: &Handle, cgroup: &Cgroup, privilege: Privilege) -> Result<()> {
    settings::apply(handle, &cgroup.settings)?;
    give_away(handle, cgroup, privilege)
}

fn give_away(handle: &Handle, cgroup: &Cgroup, privilege: Privilege) -> Result<()> {
    match cgroup.owner {
        Some(uid) => ownership::give(handle, uid, privilege),
        None => Ok(()),
    }
}

/// Gives a cgroup in use other settings and device rules: all of them, or where one is refused
/// none.
///
/// systemd is told of them once the kernel has taken them. It then writes them itself, those
/// that it rounds too, and so they are written once more.
pub fn update(
    handle: &Handle,
    change: &Change,
    manager: &Manager,
    privilege: Privilege,
) -> Result<()> {
    let confine = || match &change.devices {
        Some(rules) => confine_devices(handle, rules, privilege),
        None => Ok(()),
    };
    let Manager::Systemd { unit, bus } = manager else {
        return settings::replace(handle, &change.settings, confine);
    };
    let properties = change.properties(*bus);
    let mut systemd = systemd::Manager::connect(*bus)?;
    let mut former = Vec::new();
    for file in WRITTEN_OVER {
        former.extend(handle.read(file)?.map(|value| (file, value)));
    }
    let result = settings::replace(handle, &change.settings, || {
        systemd.replace(unit, &properties, || {
            settings::apply(handle, &change.settings)?;
            confine()
        })
    });
    let is_meant = |file| result.is_ok() && change.settings.iter().any(|s| s.file == file);
    former.retain(|(file, _)| !is_meant(*file));
    let kept = former.iter().try_for_each(|(file, value)| {
        match handle.read(file)?.is_some_and(|now| now != *value) {
            true => handle.directory().write(file, value.trim()),
            false => Ok(()),
        }
    });
    result.and(kept)
}

/// What systemd writes with any change of a unit, and not as it was: a quota in whole percents, and
/// (253) what it takes from OOMPolicy=, a property that would also end the unit when only a cgroup
/// below it runs out of memory.
const WRITTEN_OVER: [&str; 2] = ["cpu.max", "memory.oom.group"];

/// Whether a cgroup cannot be had at all: no mount of cgroup2, or no right.
fn is_missing(e: &Error) -> bool {
    let errno = [Errno::EACCES, Errno::EPERM, Errno::EROFS];
    e.kind() == Kind::Unsupported || errno.into_iter().any(|errno| e.is(errno))
}

fn make(mount: &Path, path: &Path, settings: &[Setting], privilege: Privilege) -> Result<Made> {
    let mount = Directory::open_mount(mount)?;
    v2::check_beneath(path)?;
    let mut made = Vec::new();
    let result = make_with_parents(&mount, path, &mut made).and_then(|()| {
        mount
            .open(path)?
            .ok_or_else(|| Error::system(format!("{path:?} was removed while it was being set up")))
    });
    let directory = match result {
        Ok(directory) => directory,
        Err(e) => {
            remove_made(&mount, &made);
            return Err(e);
        }
    };
    let guard = Made {
        handle: Handle::new(mount, directory, path),
        made,
        kept: false,
    };
    if !guard.is_new() {
        guard.handle.check_unused()?;
    }
    if privilege == Privilege::Rootless {
        handle::check_enterable(guard.handle.mount(), path)?;
    }
    threaded::join(
        guard.handle.mount(),
        path,
        guard.handle.directory(),
        settings,
    )?;
    Ok(guard)
}

/// Makes `path` and its parents, noting each in `made`. Another `rt` may remove a parent
/// that it had made, as long as it is empty, so what has gone is made again.
fn make_with_parents(mount: &Directory, path: &Path, made: &mut Vec<PathBuf>) -> Result<()> {
    for _ in 0..ATTEMPTS {
        match mount.make(path) {
            Ok(true) => {
                made.push(path.to_owned());
                return Ok(());
            }
            Ok(false) => return Ok(()),
            Err(e) if e.is(Errno::ENOENT) => match path.parent() {
                Some(parent) if parent != Path::new("") => {
                    made.retain(|p| p != parent);
                    make_with_parents(mount, parent, made)?;
                }
                _ => return Err(e),
            },
            Err(e) => return Err(e),
        }
    }
    Err(Error::system(format!(
        "{path:?}: its parent is removed again and again"
    )))
}

fn remove_made(mount: &Directory, made: &[PathBuf]) {
    for path in made.iter().rev() {
        // Another container may have moved in below a parent meanwhile.
        let _ = mount.remove_empty(path);
    }
}

impl Guard {
    /// For CLONE_INTO_CGROUP. None where a process has to be there before the cgroup.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.handle().map(AsFd::as_fd)
    }

    /// None before [`Guard::enter`], with the systemd driver.
    pub fn handle(&self) -> Option<&Handle> {
        match self {
            Guard::Directory(made) => Some(&made.handle),
            Guard::Unit(unit) => unit.handle(),
        }
    }

    /// With the systemd driver: makes the cgroup with the process `pid` in it and writes the
    /// settings. It is called before that process takes ids that are not the caller's, as an
    /// ordinary user's systemd may move only processes of its user.
    pub fn enter(&mut self, cgroup: &Cgroup, privilege: Privilege, pid: Pid) -> Result<()> {
        let Guard::Unit(unit) = self else {
            return Ok(());
        };
        let handle = unit.start(pid)?;
        fill_in(handle, cgroup, privilege)
    }

    /// Moves the process `pid` on into the cgroup below that the container is to have for itself,
    /// where config.json asks for one.
    pub fn enter_delegated(&self, cgroup: &Cgroup, privilege: Privilege, pid: Pid) -> Result<()> {
        let Guard::Unit(unit) = self else {
            return Ok(());
        };
        match unit.enter_delegated(pid)? {
            Some(handle) => give_away(&handle, cgroup, privilege),
            None => Ok(()),
        }
    }

    /// Loads and attaches the device program, where there are rules. It takes the kernel as
    /// long to verify one as to make a namespace, so this is for the time while init is at
    /// work on its mounts: what holds before is no narrower than what init needs.
    pub fn confine(&self, cgroup: &Cgroup, privilege: Privilege) -> Result<()> {
        match (&cgroup.devices, self.handle()) {
            (Some(rules), Some(handle)) => confine_devices(handle, rules, privilege),
            _ => Ok(()),
        }
    }

    /// The limit, in words, where the kernel has killed in it for want of memory.
    pub fn out_of_memory(&self) -> Option<String> {
        match self {
            Guard::Directory(made) => made.handle.out_of_memory(),
            Guard::Unit(unit) => unit.out_of_memory(),
        }
    }

    /// The cgroup stays when the guard goes.
    pub fn keep(self) {
        match self {
            Guard::Directory(mut made) => made.kept = true,
            Guard::Unit(unit) => unit.keep(),
        }
    }
}

impl Made {
    fn is_new(&self) -> bool {
        self.made
            .last()
            .is_some_and(|last| last == self.handle.path())
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        // Whatever runs in a cgroup that did not exist before belongs to the container.
        if self.is_new()
            && let Err(e) = self.handle.end()
        {
            log::warning(|| format!("undoing: {e}"));
        }
        remove_made(self.handle.mount(), &self.made);
    }
}

/// Loads the program for the device rules and attaches it to the cgroup, in place of those
/// that were attached to a directory that is taken over.
///
/// Rootless, where the kernel does not let a user load it, the container goes without, as
/// runc's does: a user's process cannot make nodes of devices that it may not use anyway.
fn confine_devices(handle: &Handle, rules: &[DeviceRule], privilege: Privilege) -> Result<()> {
    let Some(program) = device_bpf::compile(rules) else {
        return Ok(());
    };
    match load_and_attach(handle.as_fd(), &program) {
        Err(e)
            if privilege == Privilege::Rootless && (e.is(Errno::EPERM) || e.is(Errno::ENOSYS)) =>
        {
            log::debug(|| format!("no device rules: {e}"));
            Ok(())
        }
        result => result.at("/linux/resources/devices", || "linux.resources.devices"),
    }
}

fn load_and_attach(cgroup: BorrowedFd<'_>, program: &[sys::bpf::Instruction]) -> Result<()> {
    let former = sys::bpf::attached_device_programs(cgroup)?;
    let program = sys::bpf::load_device_program(program)?;
    sys::bpf::attach_device_program(cgroup, program.as_fd())?;
    // All attached programs have to agree to an access, so the former ones go last: nothing
    // is allowed in between that one of the two forbids.
    for id in former {
        sys::bpf::detach_device_program(cgroup, id)?;
    }
    Ok(())
}
