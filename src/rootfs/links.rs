//! The symbolic links of /dev.
//!
//! Runs in: init before pivot.

use std::ffi::CString;
use std::os::fd::AsFd;

use nix::errno::Errno;

use super::devices::Directories;
use crate::error::{Context as _, Result};
use crate::plan::ContainerPath;
use crate::sys;

/// Makes each link unless something of its name is there.
///
/// /dev/ptmx alone replaces what is there: a node of an image would reach the host's
/// terminals instead of the container's (runtime-spec config-linux.md#default-devices).
pub fn make(directories: &mut Directories<'_>, links: &[(ContainerPath, CString)]) -> Result<()> {
    for (path, target) in links {
        make_one(directories, path, target).context(|| format!("link {path}"))?;
    }
    Ok(())
}

fn make_one(
    directories: &mut Directories<'_>,
    path: &ContainerPath,
    target: &CString,
) -> Result<()> {
    let (directory, name) = directories.parent(path)?;
    let name = sys::file::c_name(name)?;
    match sys::file::symlinkat(target, directory.as_fd(), &name) {
        Err(e) if e.is(Errno::EEXIST) && path.as_str() == "/dev/ptmx" => {
            sys::file::unlinkat(directory.as_fd(), &name)?;
            sys::file::symlinkat(target, directory.as_fd(), &name)
        }
        Err(e) if e.is(Errno::EEXIST) => Ok(()),
        result => result,
    }
}
