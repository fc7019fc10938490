//! The bridge: a short-lived process that joins what init has to be born into.
//!
//! A pid namespace holds only processes born after setns(2), and a new user namespace takes
//! away the right to join namespaces that the caller owns. So where one of these is asked
//! for, the bridge joins first and then makes init, as a child of its own parent
//! (`CLONE_PARENT`): the runtime, or conmon's subreaper after it, inherits init as usual.
//!
//! Runs in: bridge, with the caller's rights at first.

use crate::error::Result;
use crate::plan::Plan;
use crate::plan::namespaces::{Kind, Namespaces};
use crate::security::capabilities;
use crate::sys::entry;
use crate::sys::process::{self, Cloned};
use crate::trace;

use super::join::{self, Pending};
use super::wire::{Frame, Wire};

/// Whether these namespaces need a bridge.
pub fn is_needed(namespaces: &Namespaces) -> bool {
    namespaces.joins(Kind::Pid)
        || namespaces.joins(Kind::User)
        || (namespaces.is_new(Kind::User) && namespaces.joined().next().is_some())
}

/// Joins, makes init with `flags`, tells the parent its pid, and ends. In init it returns
/// what is left to be joined.
pub fn cross(plan: &Plan, flags: u64, wire: &Wire, in_cgroup: bool) -> Result<Vec<Pending>> {
    process::set_name(c"rt:bridge");
    trace::rename("bridge");
    let joining = trace::step("setns");
    // Processes of a pid namespace that is joined see init.
    entry::hide_arguments();
    let namespaces = &plan.namespaces;
    let mut pending = join::try_all(join::open(namespaces)?)?;
    if pending.iter().any(Pending::is_user) {
        if plan.process.groups.is_some() {
            capabilities::give_up_groups()?;
        }
        join::user(&mut pending)?;
        pending = join::try_all(pending)?;
        if !namespaces.is_new(Kind::User) {
            join::rest(std::mem::take(&mut pending))?;
        }
    }
    drop(joining);
    trace::hand_over();
    match process::clone(flags | libc::CLONE_PARENT as u64, None)? {
        Cloned::Child { .. } => {
            wire.await_answer()?;
            Ok(pending)
        }
        Cloned::Parent(init) => {
            let born = Frame::Born {
                pid: init.pid().as_raw(),
                in_cgroup,
            };
            let sent = wire.send(&born, None);
            process::exit_now(i32::from(sent.is_err()));
        }
    }
}
