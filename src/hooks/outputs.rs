//! Files that take what hooks print, in place of rt's errors and log: crun's annotations
//! `run.oci.hooks.stdout` and `run.oci.hooks.stderr`.
//!
//! Runs in: parent, which opens them; init, which inherits them, since their paths are the
//! host's.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};

use crate::error::{Context, Error, Result};
use crate::plan::HostPath;
use crate::plan::annotations::{self, HOOKS_STDERR, HOOKS_STDOUT};
use crate::plan::hooks::Hooks;

/// None where no annotation names a file.
#[derive(Debug, Default)]
pub struct Outputs {
    stdout: Option<File>,
    stderr: Option<File>,
}

impl Outputs {
    /// Opens the files for appending, made where missing.
    pub fn open(hooks: &Hooks) -> Result<Outputs> {
        let open = |path: &Option<HostPath>, annotation: &str| -> Result<Option<File>> {
            let Some(path) = path.as_ref().map(HostPath::as_path) else {
                return Ok(None);
            };
            File::options()
                .append(true)
                .create(true)
                .open(path)
                .map(Some)
                .map_err(|e| Error::io("open", path, &e))
                .at(&annotations::pointer(annotation), || {
                    format!("annotations[{annotation:?}]")
                })
        };
        Ok(Outputs {
            stdout: open(&hooks.stdout, HOOKS_STDOUT)?,
            stderr: open(&hooks.stderr, HOOKS_STDERR)?,
        })
    }

    pub fn stdout(&self) -> Option<BorrowedFd<'_>> {
        self.stdout.as_ref().map(AsFd::as_fd)
    }

    pub fn stderr(&self) -> Option<BorrowedFd<'_>> {
        self.stderr.as_ref().map(AsFd::as_fd)
    }

    /// What a process has to keep open that runs hooks.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.stdout().into_iter().chain(self.stderr())
    }
}
