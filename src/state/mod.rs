//! State: what is on disk about each container.
//!
//! Owns the state directory: `ROOT/ID/` with `state.json` (the [`Record`]), a copy of
//! `config.json`, `gate`, the socket that init waits at until `start`, and where a service manager
//! called, `notify/notify.sock`. The parent alone writes, under a lock, and each change replaces the file as a whole; so `delete --force`
//! finds everything after a kill -9 at any moment.
//!
//! A status is never stored. It is read from what is there: the process with its start
//! time, the gate, the freezer (see [`Container::status`]).
//!
//! Two `rt` processes on one id meet at the lock of the container's directory (flock(2)).
//! Who has waited for it looks whether the directory is still the one by that name, since a
//! `delete` may have been faster.
//!
//! Runs in: parent, and every verb. Init has the descriptors until it starts the payload,
//! and never unlocks or removes anything.

mod container;
mod directory;
mod identity;
mod record;
mod report;
mod root;
#[cfg(test)]
mod tests;

pub use container::{Container, Status};
pub use identity::Identity;
pub use record::{CgroupRecord, Manager, Phase, Record, ResctrlRecord};
pub use report::{OCI_VERSION, Report};
pub use root::{Root, Slot, default_root};

use crate::error::{Error, Result};

/// The socket in a container's directory that `start` connects to. Who opens the gate
/// removes it: a container without one has been started.
pub const GATE: &str = "gate";

/// The directory in a container's directory that holds its socket for sd_notify(3).
pub const NOTIFY: &str = "notify";

/// Refuses what cannot be a container's id: other than letters, digits, `_`, `+`, `,`, `-`
/// and `.`, the names `.` and `..`, and what is longer than a file name may be.
///
/// The characters are those that runc allows, the comma among them. runc allows 1024 of
/// them and then fails to make the directory; 255 bytes is what a file system takes.
pub fn validate_id(id: &str) -> Result<()> {
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"_+,-.".contains(&b);
    let reason = if id.is_empty() {
        "it is empty"
    } else if id == "." || id == ".." {
        "it names a directory"
    } else if !id.bytes().all(legal) {
        "it may have letters, digits, and any of _ + , - ."
    } else if id.len() > 255 {
        "it is longer than 255 bytes"
    } else {
        return Ok(());
    };
    Err(Error::invalid(format!(
        "invalid container ID format: {id:?}: {reason}"
    )))
}
