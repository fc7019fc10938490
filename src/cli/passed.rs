//! What a caller passes beside the options, and the file that it waits for.
//!
//! Runs in: parent.

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;

use nix::unistd::Pid;

use crate::error::{Error, Result};
use crate::plan::{Descriptors, HostPath};
use crate::sys::descriptor;

/// An option's path, seen from the present directory.
pub fn absolute(path: Option<&Path>) -> Result<Option<HostPath>> {
    path.map(|path| {
        std::path::absolute(path)
            .map(HostPath::new)
            .map_err(|e| Error::io("getcwd", path, &e))
    })
    .transpose()
}

/// The descriptors that the payload keeps, up to the last one that the caller has passed.
///
/// Between those of `--preserve-fds` some may be missing (podman, for one, passes 9 alone with
/// seven to preserve). /dev/null holds their place up to execve, so that none becomes the number
/// of a file of rt's own, which init would then keep.
pub fn descriptors(preserve: u32) -> Result<Descriptors> {
    let listen = listen_fds();
    let asked = Descriptors { listen, preserve };
    let (announced, end) = (3_u32.saturating_add(listen), asked.first_closed());
    if let Some(fd) = (3..announced).find(|fd| !descriptor::was_passed(*fd as i32)) {
        return Err(Error::invalid(format!(
            "file descriptor {fd} was not passed to rt (LISTEN_FDS={listen})"
        ))
        .with_hint("open it in the caller and leave out close-on-exec, or ask for fewer"));
    }
    let end = end
        .min(descriptor::limit().saturating_add(1))
        .max(announced);
    let last = (announced..end).rfind(|fd| descriptor::was_passed(*fd as i32));
    let end = last.map_or(announced, |fd| fd + 1);
    for fd in announced..end {
        descriptor::hold_place(fd as i32)?;
    }
    Ok(Descriptors {
        listen,
        preserve: end - announced,
    })
}

/// Where a seccomp agent listens, for a profile that needs one and names none (crun).
pub fn seccomp_receiver() -> Option<String> {
    std::env::var("RUN_OCI_SECCOMP_RECEIVER")
        .ok()
        .filter(|path| !path.is_empty())
}

/// sd_listen_fds(3): the descriptors are this process's only if LISTEN_PID says so. crun's
/// callers leave it out.
fn listen_fds() -> u32 {
    let number = |name| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u32>().ok())
    };
    match number("LISTEN_PID") {
        Some(pid) if pid != std::process::id() => 0,
        _ => number("LISTEN_FDS").unwrap_or(0),
    }
}

/// The address of the caller's service manager, sd_notify(3).
pub fn notify_socket() -> Option<OsString> {
    std::env::var_os("NOTIFY_SOCKET").filter(|address| !address.is_empty())
}

/// A file with the pid of a process. Dropped, it is removed.
pub struct PidFile<'a> {
    path: &'a Path,
    kept: bool,
}

impl<'a> PidFile<'a> {
    /// Writes the file, in place at once: conmon and containerd read it as soon as it is there.
    pub fn write(path: &'a Path, pid: Pid) -> Result<PidFile<'a>> {
        write_at_once(path, &pid.to_string()).map_err(|e| e.within("--pid-file"))?;
        Ok(PidFile { path, kept: false })
    }

    /// Leaves it to the caller of `rt`.
    pub fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for PidFile<'_> {
    fn drop(&mut self) {
        if !self.kept {
            let _ = std::fs::remove_file(self.path);
        }
    }
}

fn write_at_once(path: &Path, content: &str) -> Result<()> {
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}", std::process::id()));
    let temporary = directory.join(name);
    // A remnant of an earlier process of this number; whoever else may write there has put
    // nothing in its place then, a link to another file say.
    let _ = std::fs::remove_file(&temporary);
    let written = std::fs::File::create_new(&temporary)
        .and_then(|mut file| file.write_all(content.as_bytes()))
        .map_err(|e| Error::io("write", path, &e))
        .and_then(|()| {
            std::fs::rename(&temporary, path).map_err(|e| Error::io("rename", path, &e))
        });
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    written
}
