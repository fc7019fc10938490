//! State: what is on disk about each container.
//!
//! Owns the state directory: `ROOT/ID/` with `state.json` (the [`Record`]), a copy of
//! `config.json`, and `gate`, the socket that init waits at until `start`. The parent alone
//! writes, under a lock, and each change replaces the file as a whole; so `delete --force`
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

pub use container::{Container, Status};
pub use identity::Identity;
pub use record::{CgroupRecord, Manager, Phase, Record};
pub use report::Report;
pub use root::{Root, Slot, default_root};

use crate::error::{Error, Result};

/// The socket in a container's directory that `start` connects to. Who opens the gate
/// removes it: a container without one has been started.
pub const GATE: &str = "gate";

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

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;

    /// A directory that goes with the test.
    pub struct Scratch(PathBuf);

    impl Scratch {
        pub fn new(name: &str) -> Scratch {
            let path = std::env::temp_dir().join(format!("rt-{name}-{}", std::process::id()));
            std::fs::create_dir(&path).unwrap();
            Scratch(path)
        }

        pub fn path(&self) -> &Path {
            &self.0
        }

        pub fn root(&self) -> Root {
            Root::new(&self.0.join("root")).unwrap()
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    pub fn record(id: &str) -> Record {
        Record::new(id, "/bundle".into(), "/bundle/rootfs".into())
    }

    #[test]
    fn an_id_is_checked_as_runc_does() {
        for id in ["web", "a.b", "..a", "a+b_c-d,e", "0", &"x".repeat(255)] {
            assert!(validate_id(id).is_ok(), "{id}");
        }
        for id in [
            "",
            ".",
            "..",
            "a/b",
            "/",
            "a b",
            "a\n",
            "ü",
            "a\0",
            "a:b",
            &"x".repeat(256),
        ] {
            let e = validate_id(id).unwrap_err().to_string();
            assert!(e.starts_with("invalid container ID format"), "{e}");
        }
    }
}
