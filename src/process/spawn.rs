//! Makes init: which flags, in which cgroup, by a bridge or not.
//!
//! Runs in: parent; the closure runs in init.

use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::wait::WaitStatus;
use nix::unistd::Pid;

use crate::error::{Error, Phase, Result};
use crate::plan::Plan;
use crate::plan::namespaces::Kind;
use crate::sys::descriptor;
use crate::sys::process::{self, Cloned, OwnedProcess};

use super::bridge;
use super::join::{self, Pending};
use super::wire::{Frame, Wire};

/// init as its parent sees it.
pub struct Spawned {
    pub process: OwnedProcess,
    pub wire: Wire,
}

/// What init is born with.
pub struct Birth {
    pub wire: Wire,
    /// Namespaces that are still to be joined.
    pub pending: Vec<Pending>,
    /// Whether the cgroup was entered by the clone; if one was given and it was not, init has
    /// to ask for it, and to make its own cgroup namespace then.
    pub in_cgroup: bool,
}

/// What a process made here keeps of its parent's descriptors, beside its end of the wire.
pub struct Inheritance<'a> {
    /// The lowest descriptor that is not the payload's.
    pub first: u32,
    pub keep: &'a [BorrowedFd<'a>],
}

impl Inheritance<'_> {
    /// Closes all the rest at once, what the caller of `rt` has leaked too: as long as one is
    /// open, /proc/self/fd leads out of the container (CVE-2024-21626).
    pub fn take(&self, wire: &Wire) -> Result<()> {
        wire.carry_asides();
        let mut keep = self.keep.to_vec();
        keep.push(wire.as_fd());
        descriptor::close_all_but(self.first, &keep)
    }
}

/// Where init is born.
#[derive(Clone, Copy)]
pub enum Birthplace<'a> {
    /// In its parent's cgroup, where it stays.
    Parents,
    /// The same, and it will be moved: its cgroup namespace has to wait for that.
    ParentsAtFirst,
    Cgroup(BorrowedFd<'a>),
}

/// Clones init into the plan's new namespaces and runs `init` there, which does not return.
#[allow(
    unreachable_code,
    reason = "the empty match only says that init does not return"
)]
pub fn spawn(
    plan: &Plan,
    birthplace: Birthplace<'_>,
    inheritance: &Inheritance<'_>,
    init: impl FnOnce(Birth) -> std::convert::Infallible,
) -> Result<Spawned> {
    let namespaces = &plan.namespaces;
    let (ours, theirs) = Wire::pair()?;
    // The time namespace is made by init: its offsets are frozen once a process is born in it.
    let flags = namespaces
        .list
        .iter()
        .filter(|(kind, _)| namespaces.is_new(*kind) && *kind != Kind::Time)
        .fold(0, |flags, (kind, _)| flags | kind.flag());
    let bridged = bridge::is_needed(namespaces);
    let cgroup = match birthplace {
        Birthplace::Cgroup(cgroup) => Some(cgroup),
        Birthplace::Parents | Birthplace::ParentsAtFirst => None,
    };
    match process::clone(if bridged { 0 } else { flags }, cgroup)? {
        Cloned::Child { in_cgroup } => {
            drop(ours);
            let in_cgroup = in_cgroup && cgroup.is_some();
            let placed = in_cgroup || matches!(birthplace, Birthplace::Parents);
            let flags = if placed {
                flags
            } else {
                flags & !Kind::Cgroup.flag()
            };
            let enter = || {
                inheritance.take(&theirs)?;
                // Processes of a pid namespace that is joined see init from its birth, with the
                // host's file system behind /proc/PID/root (CVE-2016-9962).
                process::set_dumpable(false)?;
                if bridged {
                    bridge::cross(plan, flags, &theirs, in_cgroup)
                } else {
                    join::open(namespaces)
                }
            };
            let pending = enter();
            match pending {
                Ok(pending) => match init(Birth {
                    wire: theirs,
                    pending,
                    in_cgroup,
                }) {},
                Err(error) => {
                    let who = if bridged { "bridge" } else { "init" };
                    let _ = theirs.send_failure(error.within(who));
                    process::exit_now(1)
                }
            }
        }
        Cloned::Parent(process) => {
            drop(theirs);
            if !bridged {
                return Ok(Spawned {
                    process,
                    wire: ours,
                });
            }
            across(ours, process, |_, wire| wire.answer(None))
        }
    }
}

/// Waits until the bridge has made its process, lets `greet` answer that, and reaps the bridge.
/// The process says nothing before it has an answer to its birth: its words could overtake those
/// of the bridge. While the bridge ends it works already.
pub fn across(
    wire: Wire,
    mut bridge: OwnedProcess,
    greet: impl FnOnce(&OwnedProcess, &Wire) -> Result<()>,
) -> Result<Spawned> {
    let process = loop {
        match wire.receive()? {
            Some((Frame::Aside(aside), _)) => aside.pass_on(),
            Some((Frame::Born { pid, .. }, _)) => break OwnedProcess::adopt(Pid::from_raw(pid))?,
            Some((Frame::Failed(error), _)) => return Err(error.in_phase(Phase::Bridge)),
            Some((frame @ Frame::Request(_), _)) => {
                return Err(Error::system(format!("the bridge sent {frame:?}")));
            }
            None => return Err(Error::system("bridge: it ended without a word")),
        }
    };
    greet(&process, &wire)?;
    let status = bridge.wait()?;
    if !matches!(status, WaitStatus::Exited(_, 0)) {
        return Err(Error::system(format!("bridge: it ended with {status:?}")));
    }
    Ok(Spawned { process, wire })
}
