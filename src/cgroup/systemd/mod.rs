//! The container's cgroup, where systemd makes it: a transient unit, asked for over D-Bus.
//!
//! Owns the unit from its start to its end. The client speaks as much of D-Bus as that takes,
//! and has no thread (docs/design/0010-systemd.md says why it is rt's own).
//!
//! systemd wants to know a process when it makes a scope. So the container's first one is
//! born in its parent's cgroup, systemd moves it while it waits, and then the limits that
//! systemd has no word for are written as with the other driver.
//!
//! Runs in: parent.

mod address;
mod connection;
mod manager;
mod marshal;
mod message;
#[cfg(test)]
mod tests;
mod unmarshal;

use std::path::Path;

use nix::errno::Errno;
use nix::unistd::Pid;

pub use manager::Manager;

use super::{Handle, oom, settings};
use crate::error::{Error, Result};
use crate::log;
use crate::plan::HostPath;
use crate::plan::scope::value::Value;
use crate::plan::scope::{Bus, Property, Scope};
use crate::trace;

/// A unit for a container. Dropped, it is ended with what is in it, unless it is kept.
pub struct Unit {
    manager: Manager,
    mount: HostPath,
    scope: Scope,
    started: bool,
    /// The container's cgroup, once it is there.
    handle: Option<Handle>,
    /// What had been counted above it before its process took memory.
    above: Option<oom::Above>,
    kept: bool,
}

impl Unit {
    /// Connects to systemd. Nothing is made yet.
    pub fn prepare(mount: &HostPath, scope: &Scope) -> Result<Unit> {
        Ok(Unit {
            manager: Manager::connect(scope.bus)?,
            mount: mount.clone(),
            scope: scope.clone(),
            started: false,
            handle: None,
            above: None,
            kept: false,
        })
    }

    /// Starts the unit with the process `pid` in it, and opens its cgroup.
    pub fn start(&mut self, pid: Pid) -> Result<&Handle> {
        let mut properties = self.scope.properties.clone();
        if !self.scope.is_slice() {
            let pid = Value::Uint32(pid.as_raw().unsigned_abs());
            properties.push(Property::new("PIDs", Value::Array("u".into(), vec![pid])));
        }
        let result = trace::during("unit of systemd", || {
            self.manager.start(&self.scope.unit, &properties)
        });
        // What is not done in time may be done later; what is refused may be somebody else's.
        self.started = match &result {
            Ok(()) => true,
            Err(e) => e.is(Errno::ETIMEDOUT),
        };
        result?;
        let handle = match self.scope.is_slice() {
            true => self.enter_slice(pid),
            false => self.find(pid),
        }?;
        let handle = self.handle.insert(handle);
        handle.check_running()?;
        // The process waits, and takes no memory yet.
        self.above = Some(oom::Above::of(handle));
        if let Some(name) = &self.scope.subgroup {
            let below = handle.enter_below(Path::new(name), pid)?;
            settings::hand_down(handle, &below)?;
            *handle = below;
        }
        Ok(handle)
    }

    /// Moves the process into the cgroup that is delegated to the container, if one is.
    pub fn enter_delegated(&self, pid: Pid) -> Result<Option<Handle>> {
        match (&self.handle, &self.scope.delegated) {
            (Some(handle), Some(name)) => handle.enter_below(Path::new(name), pid).map(Some),
            _ => Ok(None),
        }
    }

    fn enter_slice(&mut self, pid: Pid) -> Result<Handle> {
        let handle = match self.manager.control_group(&self.scope.unit)? {
            Some(path) => Handle::open(self.mount.as_path(), &path)?,
            None => None,
        };
        let handle = handle.ok_or_else(|| self.lost("its cgroup is not there"))?;
        handle.attach(pid)?;
        Ok(handle)
    }

    /// Only the kernel knows for sure: a user's systemd is somewhere below.
    fn find(&self, pid: Pid) -> Result<Handle> {
        let handle = Handle::of_process(self.mount.as_path(), pid)?;
        let handle = handle.ok_or_else(|| self.lost("its process has ended"))?;
        match handle.path().file_name() == self.scope.path.file_name() {
            true => Ok(handle),
            false => Err(self.lost(&format!("its process is in {:?}", handle.path()))),
        }
    }

    fn lost(&self, why: &str) -> Error {
        let unit = &self.scope.unit;
        Error::system(format!("systemd: {unit:?} is started, but {why}"))
    }

    /// The container's cgroup. None before the start.
    pub fn handle(&self) -> Option<&Handle> {
        self.handle.as_ref()
    }

    /// The limit, in words, where the kernel has killed in it for want of memory.
    pub fn out_of_memory(&self) -> Option<String> {
        self.handle
            .as_ref()
            .and_then(Handle::out_of_memory)
            .or_else(|| self.above.as_ref()?.out_of_memory())
    }

    /// The unit stays when this value goes.
    pub fn keep(mut self) {
        self.kept = true;
    }

    /// systemd would give what is left in it time to end by itself.
    fn undo(&mut self) -> Result<()> {
        if let Some(handle) = &self.handle {
            handle.kill_all()?;
        }
        self.manager.end(&self.scope.unit)
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        if self.started
            && !self.kept
            && let Err(e) = self.undo()
        {
            log::warning(|| format!("undoing: {e}"));
        }
    }
}

/// Ends the unit of a container, whatever state it is in. One that is not there is no error.
pub fn end_unit(unit: &str, bus: Bus) -> Result<()> {
    Manager::connect(bus)?.end(unit)
}
