//! A container that is there: its record, its status, its lock.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, fstatfs};
use serde::Serialize;

use super::directory::{self, Directory, Lock};
use super::{CgroupRecord, GATE, Phase, Record};
use crate::error::{Error, Kind, Result};
use crate::sys::{check, file, socket};

/// runtime-spec runtime.md#state, and `paused`, which all callers know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Creating,
    Created,
    Running,
    Paused,
    Stopped,
}

impl Status {
    pub fn name(self) -> &'static str {
        match self {
            Status::Creating => "creating",
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Stopped => "stopped",
        }
    }
}

/// A container that is on record, and the directory that holds the record.
pub struct Container {
    pub record: Record,
    directory: Directory,
    lock: Option<Lock>,
}

impl Container {
    /// None where the directory has no record: a container that is just being made, or the
    /// remains of one that was never finished.
    pub(super) fn read(directory: Directory) -> Result<Option<Container>> {
        Ok(read_record(&directory)?.map(|record| Container {
            record,
            directory,
            lock: None,
        }))
    }

    pub(super) fn require_own(&self) -> Result<()> {
        self.directory.require_own()
    }

    /// Keeps every other `rt` from changing this container until this value goes, and reads
    /// the record anew. Waits for another holder, a `create` say, at most for `wait`.
    ///
    /// Only what changes the container takes the lock: `start`, `delete`, `update`; `kill`,
    /// `exec` and everything that reads do not.
    pub fn lock(&mut self, wait: Duration) -> Result<()> {
        let Some(lock) = self.directory.lock(wait)? else {
            return Err(Error::new(
                Kind::WrongState,
                format!(
                    "container {:?} is being changed by another process",
                    self.directory.id()
                ),
            )
            .with_hint("wait for the other rt command on this container to end"));
        };
        if !self.directory.is_linked()? {
            return Err(directory::no_such_container(self.directory.id()));
        }
        let record = read_record(&self.directory)?;
        self.record = record.ok_or_else(|| directory::no_such_container(self.directory.id()))?;
        self.lock = Some(lock);
        Ok(())
    }

    /// Lets others change the container again.
    pub fn unlock(&mut self) {
        self.lock = None;
    }

    /// The directory of the socket for sd_notify(3), which the container sees. None where it
    /// was made without one.
    pub fn notify_directory(&self) -> Result<Option<OwnedFd>> {
        self.directory.open_notify()
    }

    /// What the container is doing now. Reads the record anew where it has just changed.
    ///
    /// A `start` that was killed half-way leaves the gate's name, while the payload runs; whoever
    /// has become that does not listen there any more.
    pub fn status(&mut self) -> Result<Status> {
        match self.status_by_name()? {
            Status::Created if !self.is_gate_kept()? => Ok(Status::Running),
            status => Ok(status),
        }
    }

    /// The same for `start`, which finds out by itself whether somebody is at the gate.
    pub fn status_by_name(&mut self) -> Result<Status> {
        let mut is_alive = self.is_alive()?;
        if self.record.phase == Phase::Creating && !is_alive {
            if !self.is_abandoned()? {
                return Ok(Status::Creating);
            }
            is_alive = self.is_alive()?;
        }
        Ok(match self.record.phase {
            _ if !is_alive => Status::Stopped,
            Phase::Creating => Status::Creating,
            Phase::Created if self.is_frozen() => Status::Paused,
            Phase::Created if self.directory.contains(GATE)? => Status::Created,
            Phase::Created => Status::Running,
        })
    }

    fn is_gate_kept(&self) -> Result<bool> {
        match socket::is_listened_to(self.directory.as_fd(), GATE) {
            // Another user's, who alone may come to it.
            Err(e) if e.is(Errno::EACCES) || e.is(Errno::EPERM) => Ok(true),
            kept => kept,
        }
    }

    fn is_alive(&self) -> Result<bool> {
        self.record.init.map_or(Ok(false), |init| init.is_alive())
    }

    /// Whether nobody is making this container any more. Its maker has the lock until the
    /// record says that it is made, so what is on disk while the lock is free is final.
    fn is_abandoned(&mut self) -> Result<bool> {
        if self.lock.is_some() {
            return Ok(true);
        }
        let Some(_lock) = self.directory.lock(Duration::ZERO)? else {
            return Ok(false);
        };
        if let Some(record) = read_record(&self.directory)? {
            self.record = record;
        }
        Ok(true)
    }

    /// Whether the freezer stops the processes.
    fn is_frozen(&self) -> bool {
        let cgroup = self.record.cgroup.as_ref();
        cgroup.is_some_and(|cgroup| says_frozen(cgroup).unwrap_or(false))
    }

    /// A descriptor of init. None where it has ended, or is not known yet.
    pub fn pidfd(&self) -> Result<Option<OwnedFd>> {
        match self.record.init {
            Some(init) => init.pidfd(),
            None => Ok(None),
        }
    }

    /// Replaces the record on disk by the one in `self`. The caller has the lock.
    #[cfg(test)]
    pub fn save(&self) -> Result<()> {
        self.directory
            .write(directory::STATE, &self.record.to_json()?)
    }

    /// config.json as it was at `create`.
    pub fn config(&self) -> Result<Vec<u8>> {
        self.directory.read(directory::CONFIG)?.ok_or_else(|| {
            Error::system(format!(
                "{:?} has no copy of config.json",
                self.directory.path()
            ))
        })
    }

    /// Opens the gate for good: from now on the container counts as started.
    pub fn remove_gate(&self) -> Result<()> {
        match nix::unistd::unlinkat(
            &self.directory,
            GATE,
            nix::unistd::UnlinkatFlags::NoRemoveDir,
        ) {
            Ok(()) | Err(nix::errno::Errno::ENOENT) => Ok(()),
            Err(errno) => Err(Error::syscall(
                "unlinkat",
                format_args!("{:?}", self.directory.path().join(GATE)),
                errno as i32,
            )),
        }
    }

    /// Removes what is on disk about the container. The caller has the lock, and has ended
    /// the processes and removed the cgroup.
    pub fn remove(self) -> Result<()> {
        self.directory.remove()
    }

    /// The container's directory, for the gate's address.
    pub fn dir(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

/// Those of the container's cgroup, as cgroup.freeze says also while one of them cannot be stopped,
/// or all of a cgroup above it, as cgroup.events says. A cgroup that is gone has neither.
///
/// The record may be another user's, who names anything there: a pipe, at which root would wait.
fn says_frozen(cgroup: &CgroupRecord) -> Result<bool> {
    let path = cgroup.mount.join(&cgroup.path);
    let directory = file::open_host(&path, OFlag::O_PATH | OFlag::O_DIRECTORY)?;
    let directory = directory.as_fd();
    let is_another = |inode| file::stat(directory).is_ok_and(|now| now.st_ino != inode);
    let system = check(fstatfs(directory), "fstatfs", format_args!("{path:?}"))?;
    if system.filesystem_type() != CGROUP2_SUPER_MAGIC || cgroup.inode.is_some_and(is_another) {
        return Ok(false);
    }
    let says = |name, line| {
        let file = file::open_entry(directory, name, OFlag::O_RDONLY);
        let text = file.map(|file| std::io::read_to_string(std::fs::File::from(file)));
        matches!(text, Ok(Ok(text)) if text.lines().any(|l| l == line))
    };
    Ok(says(c"cgroup.events", "frozen 1") || says(c"cgroup.freeze", "1"))
}

fn read_record(directory: &Directory) -> Result<Option<Record>> {
    let Some(bytes) = directory.read(directory::STATE)? else {
        return Ok(None);
    };
    let record = Record::from_json(&bytes)
        .map_err(|e| e.within(format!("container {:?}", directory.id())))?;
    match record.id == directory.id() {
        true => Ok(Some(record)),
        false => Err(Error::system(format!(
            "{:?} holds the state of another container, {:?}",
            directory.path(),
            record.id
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Identity;
    use crate::state::tests::{Scratch, record};

    fn status(scratch: &Scratch) -> Status {
        scratch.root().open("a").unwrap().status().unwrap()
    }

    #[test]
    fn the_status_follows_the_process_and_the_gate() {
        let scratch = Scratch::new("status");
        let slot = scratch.root().reserve("a").unwrap();
        let mut record = record("a");
        slot.save(&record).unwrap();
        assert_eq!(status(&scratch), Status::Creating);
        record.init = Identity::of(nix::unistd::Pid::this()).unwrap();
        slot.save(&record).unwrap();
        assert_eq!(status(&scratch), Status::Creating);
        let gate = socket::listen(slot.dir(), GATE).unwrap();
        record.phase = Phase::Created;
        slot.save(&record).unwrap();
        slot.keep();
        assert_eq!(status(&scratch), Status::Created);
        drop(gate);
        assert_eq!(status(&scratch), Status::Running);
        scratch.root().open("a").unwrap().remove_gate().unwrap();
        assert_eq!(status(&scratch), Status::Running);
        let mut container = scratch.root().open("a").unwrap();
        container.lock(Duration::ZERO).unwrap();
        container.record.init.as_mut().unwrap().start_time -= 1;
        container.save().unwrap();
        assert_eq!(status(&scratch), Status::Stopped);
    }

    #[test]
    fn a_container_whose_maker_was_killed_is_stopped_and_can_be_removed() {
        let scratch = Scratch::new("abandoned");
        let slot = scratch.root().reserve("a").unwrap();
        slot.save(&record("a")).unwrap();
        slot.save_config(b"{}").unwrap();
        assert_eq!(status(&scratch), Status::Creating);
        slot.keep();
        assert_eq!(status(&scratch), Status::Stopped);
        let mut container = scratch.root().open("a").unwrap();
        container.lock(Duration::ZERO).unwrap();
        assert_eq!(container.status().unwrap(), Status::Stopped);
        assert_eq!(container.config().unwrap(), b"{}");
        container.remove().unwrap();
        assert!(!scratch.root().path().join("a").exists());
    }

    #[test]
    fn a_second_holder_of_the_lock_is_told_so() {
        let scratch = Scratch::new("lock");
        let slot = scratch.root().reserve("a").unwrap();
        slot.save(&record("a")).unwrap();
        let mut container = scratch.root().open("a").unwrap();
        let e = container.lock(Duration::from_millis(5)).unwrap_err();
        assert_eq!(e.kind(), Kind::WrongState);
        slot.keep();
        container.lock(Duration::ZERO).unwrap();
    }
}
