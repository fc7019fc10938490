//! CRIU, the program that dumps processes to files and makes them again.
//!
//! Owns how it is found, what is said to it (`criu swrk`, its RPC over a socket whose
//! messages keep their borders) and what becomes of its answers and its log. What a
//! container's dump consists of is for [`crate::process::checkpoint`], what a restored one
//! needs around it for [`crate::process::restore`].
//!
//! Runs in: parent, with the rights of root.

mod log;
pub mod message;
pub mod options;
mod protobuf;
mod service;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};
use crate::host::Host;
use message::Version;

use log::{explanation, remedy};
pub use service::Service;

/// What crun asks for too; cgroup v2 and external pid namespaces work from here on.
pub const OLDEST: Version = Version {
    major: 3,
    minor: 15,
    sublevel: 0,
};

/// Where it lies though PATH may not say so: engines run with small environments.
const SYSTEM_FOLDERS: [&str; 3] = ["/usr/sbin", "/usr/local/sbin", "/sbin"];

/// The program: `given` by the caller, or the first of PATH.
pub fn find(given: Option<&Path>) -> Result<PathBuf> {
    if let Some(path) = given {
        return std::path::absolute(path).map_err(|e| Error::io("getcwd", path, &e));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .filter(|folder| folder.is_absolute())
        .chain(SYSTEM_FOLDERS.iter().map(PathBuf::from))
        .map(|folder| folder.join("criu"))
        .find(|program| is_program(program))
        .ok_or_else(|| {
            Error::new(
                Kind::Unsupported,
                "the program criu is not installed: neither in $PATH nor in /usr/sbin",
            )
            .with_hint("install CRIU 3.15 or later; the package is `criu` in every distribution")
        })
}

fn is_program(path: &Path) -> bool {
    std::fs::metadata(path)
        .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

/// Refuses a caller for whom the kernel does not let CRIU do its work on a container.
///
/// KERNEL(5.9): CAP_CHECKPOINT_RESTORE is enough for lone processes. Namespaces, mounts and
/// cgroups, which make a container, ask for CAP_SYS_ADMIN in the first user namespace.
pub fn require_rights(verb: &str, host: &Host) -> Result<()> {
    if host.in_initial_user_namespace() && host.is_privileged() {
        return Ok(());
    }
    Err(Error::unsupported(format!(
        "{verb} needs the rights of root on the host: CRIU reads and rebuilds the memory, the namespaces and the mounts of others, \
         for which the kernel wants CAP_CHECKPOINT_RESTORE and CAP_SYS_ADMIN outside of any user namespace"
    ))
    .with_hint(format!("{verb} a container of root, as root")))
}
