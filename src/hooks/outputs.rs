//! Files that take what hooks print, in place of rt's errors and log: crun's annotations
//! `run.oci.hooks.stdout` and `run.oci.hooks.stderr`.
//!
//! Runs in: parent, which opens them; init, which inherits them, since their paths are the
//! host's.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use crate::error::{Context, Error, Result};
use crate::plan::HostPath;
use crate::plan::annotations::{self, HOOKS_STDERR, HOOKS_STDOUT};
use crate::plan::hooks::Hooks;
use crate::sys::check;

/// None where no annotation names a file.
#[derive(Debug, Default)]
pub struct Outputs {
    stdout: Option<File>,
    stderr: Option<File>,
}

impl Outputs {
    /// Opens the files for appending, made where missing; none where there is no hook. ENXIO: a pipe
    /// that nobody reads.
    pub fn open(hooks: &Hooks) -> Result<Outputs> {
        if hooks.is_empty() {
            return Ok(Outputs::default());
        }
        let open = |path: &Option<HostPath>, annotation: &str| -> Result<Option<File>> {
            let Some(path) = path.as_ref().map(HostPath::as_path) else {
                return Ok(None);
            };
            open_to_append(path)
                .map(Some)
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

fn open_to_append(path: &Path) -> Result<File> {
    let file = File::options()
        .append(true)
        .create(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)
        .map_err(|e| Error::io("open", path, &e))?;
    // Not to wait was for the pipe's sake: hooks write as they are used to.
    let result = fcntl(&file, FcntlArg::F_SETFL(OFlag::O_APPEND));
    check(result, "fcntl", format_args!("{path:?}, F_SETFL, O_APPEND"))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use nix::sys::stat::Mode;

    use super::*;

    #[test]
    fn a_pipe_that_nobody_reads_is_not_waited_at() {
        let path = std::env::temp_dir().join(format!("rt-outputs-{}", std::process::id()));
        nix::unistd::mkfifo(&path, Mode::from_bits_truncate(0o600)).unwrap();
        let error = open_to_append(&path).unwrap_err();
        let reader = File::options().read(true).write(true).open(&path).unwrap();
        let opened = open_to_append(&path);
        std::fs::remove_file(&path).unwrap();
        assert!(error.is(nix::errno::Errno::ENXIO), "{error}");
        let flags = fcntl(opened.unwrap(), FcntlArg::F_GETFL).unwrap();
        assert_eq!(flags & libc::O_NONBLOCK, 0);
        drop(reader);
    }
}
