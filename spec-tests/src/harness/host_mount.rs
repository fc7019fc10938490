//! A mount that a test makes in the worker's own mount namespace.
//!
//! Runs in: the worker, as root.

use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::verdict::Verdict;

/// Unmounted when it is dropped.
#[derive(Debug)]
pub struct HostMount(PathBuf);

impl HostMount {
    pub fn tmpfs(at: &Path) -> Verdict<Self> {
        mount(
            Some("tmpfs"),
            at,
            Some("tmpfs"),
            MsFlags::empty(),
            None::<&str>,
        )?;
        Ok(Self(at.to_owned()))
    }

    /// A tmpfs in a peer group of its own.
    pub fn shared_tmpfs(at: &Path) -> Verdict<Self> {
        let made = Self::tmpfs(at)?;
        mount(
            None::<&str>,
            at,
            None::<&str>,
            MsFlags::MS_SHARED,
            None::<&str>,
        )?;
        Ok(made)
    }

    /// A folder bound to itself, in a peer group of its own.
    pub fn shared_self_bind(at: &Path) -> Verdict<Self> {
        mount(Some(at), at, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
        let made = Self(at.to_owned());
        mount(
            None::<&str>,
            at,
            None::<&str>,
            MsFlags::MS_SHARED,
            None::<&str>,
        )?;
        Ok(made)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for HostMount {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}
