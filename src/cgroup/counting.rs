//! Controllers that no limit asks for: they count what a container uses.
//!
//! Runs in: parent.

use std::ops::ControlFlow;

use nix::errno::Errno;

use super::Handle;
use super::settings::lacks;
use super::v2::Directory;
use crate::error::Result;
use crate::log;

/// Has the use of a new cgroup counted as far as the hierarchy can: each cgroup above hands
/// down all of its controllers, as with runc and crun. Without, `docker stats` and cAdvisor would
/// see nothing of a container without limits.
///
/// What cannot be handed down is not counted, and is no error: a limit that needs it says why.
pub(super) fn switch_on(handle: &Handle) {
    if let Err(error) = hand_down_to(handle) {
        log::debug(|| format!("what the container uses is not counted in full: {error}"));
    }
}

fn hand_down_to(handle: &Handle) -> Result<()> {
    let offered = handle.mount().read("cgroup.controllers")?;
    let offered: Vec<&str> = offered.split_ascii_whitespace().collect();
    if lacks(handle.directory(), "cgroup.controllers", &offered)?.is_empty() {
        return Ok(());
    }
    handle.mount().each_above(handle.path(), |directory| {
        hand_down(directory).map(ControlFlow::Continue)
    })
}

/// All at once, since the kernel stops every fork for each write; where one is refused each alone.
///
/// Not of a cgroup with processes of its own: cgroups(7), "No internal processes". It would hand
/// on those controllers that tell threads apart, and no process could enter the one below.
fn hand_down(directory: &Directory) -> Result<()> {
    let own = directory.read("cgroup.controllers")?;
    let own: Vec<&str> = own.split_ascii_whitespace().collect();
    let lacking = lacks(directory, "cgroup.subtree_control", &own)?;
    if lacking.is_empty() || has_processes(directory) {
        return Ok(());
    }
    let Err(error) = directory.switch_on(&lacking) else {
        return Ok(());
    };
    log::debug(|| format!("{error}"));
    let forbidden = [Errno::EACCES, Errno::EPERM, Errno::EROFS];
    if lacking.len() > 1 && !forbidden.into_iter().any(|errno| error.is(errno)) {
        for name in lacking {
            // Said above; each is of use without the others.
            let _ = directory.switch_on(&[name]);
        }
    }
    Ok(())
}

/// The root of the hierarchy, which has no type, may have them.
fn has_processes(directory: &Directory) -> bool {
    match directory.read("cgroup.type") {
        Err(_) => false,
        // A threaded one does not list them.
        Ok(kind) if kind.trim_end() != "domain" => true,
        Ok(_) => directory
            .read("cgroup.procs")
            .is_ok_and(|processes| !processes.is_empty()),
    }
}
