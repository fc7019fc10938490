//! `rt delete`: removes what a container leaves behind.
//!
//! Owns the end of a container: its processes, its cgroup, its state, then the poststop
//! hooks (runtime-spec runtime.md#lifecycle, steps 11 to 13). Everything may be repeated, so
//! a `delete` that was killed half-way is mended by another.
//!
//! Runs in: parent.

use std::time::{Duration, Instant};

use clap::Args;

use super::{Global, Verb, late_hooks, matching, processes};
use crate::cgroup::{Handle, resctrl, systemd};
use crate::error::{Context, Error, Kind, Result};
use crate::log;
use crate::plan::hooks::Hooks;
use crate::plan::scope::Bus;
use crate::process::foreground::Signals;
use crate::state::{CgroupRecord, Container, Manager, Phase, Record, Root, Status};
use crate::trace;

/// How long an init may need to see that its parent is gone.
const ORPHAN_LIFETIME: Duration = Duration::from_secs(2);

/// How long another command on the same container is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Args, Debug)]
pub struct Delete {
    /// Kill the container first if it still runs; one that does not exist is no error
    #[arg(short, long)]
    force: bool,

    /// CONTAINER is a regular expression, and every container that matches is meant
    #[arg(short, long)]
    regex: bool,

    /// Name of the container
    #[arg(value_name = "CONTAINER")]
    id: String,
}

impl Verb for Delete {
    const NAME: &'static str = "delete";
    const ABOUT: &'static str = "Remove a container that has ended, or was not started";

    fn run(self, global: &Global) -> Result<u8> {
        let root = global.root()?;
        match self.regex {
            true => matching::each(&root, &self.id, |id| self.delete(&root, id)),
            false => self.delete(&root, &self.id),
        }
        .map(|()| 0)
    }
}

impl Delete {
    fn delete(&self, root: &Root, id: &str) -> Result<()> {
        let result = match self.force {
            true => delete_whatever_it_does(root, id),
            false => remove_unused(root, id),
        };
        match result {
            Err(e) if e.kind() == Kind::NoSuchContainer => {
                // A `create` that was killed early leaves a directory without a record.
                let path = root.path().join(id);
                if !root.remove_remains(id, PATIENCE)? && path.exists() {
                    return Err(Error::new(
                        Kind::WrongState,
                        format!("container {id:?} is being made by another process"),
                    ));
                }
                if self.force { Ok(()) } else { Err(e) }
            }
            result => result,
        }
    }
}

/// The end of `run` and `restore`, which know the hooks already, and have `opened` the container
/// while its payload ran. Somebody else may have removed it meanwhile, and one of the same name
/// be there by now.
pub fn remove_own(
    root: &Root,
    opened: Result<Container>,
    own: &Record,
    hooks: &Hooks,
    signals: &Signals,
) -> Result<()> {
    // What kept it from being opened, as too many open files, may be over.
    let opened = match opened {
        Err(e) if e.kind() != Kind::NoSuchContainer => root.open(&own.id),
        opened => opened,
    };
    let removed = match opened {
        Ok(mut container) if container.record.created == own.created => container
            .lock(PATIENCE)
            .and_then(|()| refuse_if_used(&mut container))
            .and_then(|()| destroy_with(root, container, hooks, Some(signals))),
        opened => opened.map(drop),
    };
    match removed {
        Err(e) if e.kind() == Kind::NoSuchContainer => Ok(()),
        result => result,
    }
}

/// The end of `checkpoint`: CRIU has ended the processes. The container is locked.
pub fn remove_dumped(root: &Root, container: Container) -> Result<()> {
    processes::end_init(&container)?;
    destroy(root, container)
}

/// Removes a container whose payload has ended or never began; one in any other state stays
/// as it is.
fn remove_unused(root: &Root, id: &str) -> Result<()> {
    let container = lock_unused(root.open(id)?)?;
    processes::end_init(&container)
        .and_then(|()| destroy(root, container))
        .context(|| format!("delete {id:?}"))
}

/// Locks, so that no `start` comes between.
fn lock_unused(mut container: Container) -> Result<Container> {
    // Without the lock first, as its holder may be the `create` that has not ended yet.
    refuse_if_used(&mut container)?;
    container.lock(PATIENCE)?;
    refuse_if_used(&mut container)?;
    Ok(container)
}

/// SPEC: runtime.md#delete wants an error for a created container too; runc and crun end its
/// init, and their callers rely on it.
fn refuse_if_used(container: &mut Container) -> Result<()> {
    match container.status()? {
        Status::Created | Status::Stopped => Ok(()),
        status => Err(Error::new(
            Kind::WrongState,
            format!(
                "cannot delete container {} that is not stopped: {}",
                container.record.id,
                status.name()
            ),
        )
        .with_hint("kill it first, or use delete --force")),
    }
}

fn delete_whatever_it_does(root: &Root, id: &str) -> Result<()> {
    let mut container = root.open(id)?;
    // The end of init ends the `create` or `start` that may hold the lock.
    processes::end_init(&container).context(|| format!("delete {id:?}"))?;
    container.lock(PATIENCE)?;
    processes::end_init(&container)
        .and_then(|()| destroy(root, container))
        .context(|| format!("delete {id:?}"))
}

/// Undoes the container. Its init has ended and the lock is held.
fn destroy(root: &Root, container: Container) -> Result<()> {
    let hooks = late_hooks::read(&container, "poststop");
    destroy_with(root, container, &hooks, None)
}

fn destroy_with(
    root: &Root,
    container: Container,
    hooks: &Hooks,
    signals: Option<&Signals>,
) -> Result<()> {
    trace::during("cgroup", || remove_cgroup(root, &container.record))?;
    let _step = trace::step("state");
    if let Some(groups) = &container.record.resctrl {
        resctrl::remove(groups)?;
    }
    let record = container.record.clone();
    container.remove()?;
    late_hooks::run_poststop(hooks, &record, signals);
    Ok(())
}

/// The cgroups above it stay, those that rt had to make too, as with runc and crun: whoever
/// chose the path may have given them limits since then, or be about to put another container
/// there.
fn remove_cgroup(root: &Root, record: &Record) -> Result<()> {
    if let Some(CgroupRecord {
        manager: Manager::Systemd { unit, bus },
        ..
    }) = &record.cgroup
    {
        return end_unit(record, unit, *bus);
    }
    let Some(cgroup) = processes::cgroup(record)? else {
        return Ok(());
    };
    if may_be_anothers(record) {
        return match wait_until_empty(&cgroup, record)? {
            true => cgroup.remove(),
            false => Ok(()),
        };
    }
    if processes::has_successor(root, record, &cgroup)? {
        return Ok(());
    }
    // Without a pid namespace of its own, a container's processes outlive its init.
    cgroup.end()
}

/// Whether `create` was killed so early that the cgroup may have been there before, with
/// somebody else's processes. An init whose parent was killed before it noted the pid ends by
/// itself.
fn may_be_anothers(record: &Record) -> bool {
    record.phase == Phase::Creating && record.init.is_none()
}

fn end_unit(record: &Record, unit: &str, bus: Bus) -> Result<()> {
    let cgroup = match may_be_anothers(record) {
        true => None,
        false => processes::cgroup(record)?,
    };
    let ended = match &cgroup {
        Some(cgroup) => {
            cgroup.kill_all()?;
            systemd::end_unit(unit, bus)
        }
        // A unit without the container's cgroup may be another one by the same name.
        None => end_unused_unit(record, unit, bus),
    };
    // Where systemd is gone or out of reach, its units lose their cgroups all the same.
    if let Err(e) = ended {
        log::warning(|| e.to_string());
    }
    cgroup.map_or(Ok(()), |cgroup| cgroup.end())
}

/// Ends a unit if no process is in it. A unit goes with its last process, but not one that has
/// failed, nor one whose process ended while systemd was about to move it there.
fn end_unused_unit(record: &Record, unit: &str, bus: Bus) -> Result<()> {
    let mut systemd = systemd::Manager::connect(bus)?;
    let Some(path) = systemd.control_group(unit)? else {
        return systemd.reset_failed(unit);
    };
    let mount = record.cgroup.as_ref().map(|cgroup| cgroup.mount.as_path());
    let Some(mount) = mount else { return Ok(()) };
    match Handle::open(mount, &path)? {
        Some(cgroup) if !wait_until_empty(&cgroup, record)? => Ok(()),
        _ => systemd.end(unit),
    }
}

/// False, and a word about it, where processes stay. An init that was not noted yet is waited
/// for: it ends by itself.
fn wait_until_empty(cgroup: &Handle, record: &Record) -> Result<bool> {
    let wait = match may_be_anothers(record) {
        true => ORPHAN_LIFETIME,
        false => Duration::ZERO,
    };
    let deadline = Instant::now() + wait;
    while !cgroup.processes()?.is_empty() {
        if Instant::now() > deadline {
            log::warning(|| format!("cgroup {:?} is in use and stays", cgroup.path()));
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(true)
}
