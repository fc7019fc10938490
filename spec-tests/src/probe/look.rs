//! Facts about the process and its world.
//!
//! Runs in: the container.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use nix::sys::resource::{Resource, getrlimit};
use nix::sys::stat::{Mode, umask};
use nix::unistd;

use super::ask::{Mount, Process, Stat};
use crate::sys;

const RLIMITS: &[(&str, Resource)] = &[
    ("RLIMIT_AS", Resource::RLIMIT_AS),
    ("RLIMIT_CORE", Resource::RLIMIT_CORE),
    ("RLIMIT_CPU", Resource::RLIMIT_CPU),
    ("RLIMIT_DATA", Resource::RLIMIT_DATA),
    ("RLIMIT_FSIZE", Resource::RLIMIT_FSIZE),
    ("RLIMIT_LOCKS", Resource::RLIMIT_LOCKS),
    ("RLIMIT_MEMLOCK", Resource::RLIMIT_MEMLOCK),
    ("RLIMIT_MSGQUEUE", Resource::RLIMIT_MSGQUEUE),
    ("RLIMIT_NICE", Resource::RLIMIT_NICE),
    ("RLIMIT_NOFILE", Resource::RLIMIT_NOFILE),
    ("RLIMIT_NPROC", Resource::RLIMIT_NPROC),
    ("RLIMIT_RSS", Resource::RLIMIT_RSS),
    ("RLIMIT_RTPRIO", Resource::RLIMIT_RTPRIO),
    ("RLIMIT_RTTIME", Resource::RLIMIT_RTTIME),
    ("RLIMIT_SIGPENDING", Resource::RLIMIT_SIGPENDING),
    ("RLIMIT_STACK", Resource::RLIMIT_STACK),
];

pub fn process() -> Process {
    // Descriptors first, before anything here opens one.
    let fds = fds();
    let mask = umask(Mode::empty());
    umask(mask);
    let names = nix::sys::utsname::uname().ok();
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    Process {
        pid: unistd::getpid().as_raw(),
        ppid: unistd::getppid().as_raw(),
        sid: unistd::getsid(None).map_or(-1, |sid| sid.as_raw()),
        uid: unistd::getuid().as_raw(),
        gid: unistd::getgid().as_raw(),
        groups: unistd::getgroups()
            .unwrap_or_default()
            .iter()
            .map(|gid| gid.as_raw())
            .collect(),
        umask: mask.bits(),
        args: std::env::args().collect(),
        env: std::env::vars_os()
            .map(|(key, value)| format!("{}={}", key.to_string_lossy(), value.to_string_lossy()))
            .collect(),
        cwd: std::env::current_dir().map_or_else(
            |error| error.to_string(),
            |path| path.to_string_lossy().into_owned(),
        ),
        hostname: names
            .as_ref()
            .map(|names| names.nodename().to_string_lossy().into_owned())
            .unwrap_or_default(),
        domainname: names
            .as_ref()
            .map(|names| names.domainname().to_string_lossy().into_owned())
            .unwrap_or_default(),
        no_new_privs: nix::sys::prctl::get_no_new_privs().unwrap_or(false),
        status: status
            .lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(key, value)| (key.to_owned(), value.trim().to_owned()))
            .collect(),
        fds,
        namespaces: links_in("/proc/self/ns"),
        rlimits: RLIMITS
            .iter()
            .filter_map(|(name, which)| Some(((*name).to_owned(), getrlimit(*which).ok()?)))
            .collect(),
        oom_score_adj: fs::read_to_string("/proc/self/oom_score_adj")
            .ok()
            .and_then(|text| text.trim().parse().ok()),
        personality: sys::personality(),
        io_priority: sys::io_priority(),
        scheduler: sys::scheduler(),
        terminals: [0, 1, 2].map(sys::is_terminal),
    }
}

fn fds() -> BTreeMap<i32, String> {
    // Without /proc the numbers alone are still a fact.
    let mut open: BTreeMap<i32, String> = (0..1024)
        .filter(|fd| sys::is_open(*fd))
        .map(|fd| (fd, String::new()))
        .collect();
    for (fd, target) in &mut open {
        if let Ok(path) = fs::read_link(format!("/proc/self/fd/{fd}")) {
            *target = path.to_string_lossy().into_owned();
        }
    }
    open
}

fn links_in(dir: &str) -> BTreeMap<String, String> {
    let Ok(entries) = fs::read_dir(dir) else {
        return BTreeMap::new();
    };
    entries
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let target = fs::read_link(entry.path()).ok()?;
            Some((
                entry.file_name().to_string_lossy().into_owned(),
                target.to_string_lossy().into_owned(),
            ))
        })
        .collect()
}

/// Reads /proc/self/mountinfo (proc_pid_mountinfo(5)).
pub fn mounts() -> io::Result<Vec<Mount>> {
    Ok(fs::read_to_string("/proc/self/mountinfo")?
        .lines()
        .filter_map(mount)
        .collect())
}

pub fn mount(line: &str) -> Option<Mount> {
    let (left, right) = line.split_once(" - ")?;
    let left: Vec<&str> = left.split(' ').collect();
    let right: Vec<&str> = right.split(' ').collect();
    let list = |text: &str| text.split(',').map(str::to_owned).collect();
    Some(Mount {
        root: (*left.get(3)?).to_owned(),
        target: (*left.get(4)?).to_owned(),
        flags: list(left.get(5)?),
        propagation: left
            .get(6..)?
            .iter()
            .map(|field| (*field).to_owned())
            .collect(),
        kind: (*right.first()?).to_owned(),
        source: (*right.get(1)?).to_owned(),
        data: list(right.get(2)?),
    })
}

pub fn stat(path: &Path) -> io::Result<Stat> {
    let meta = fs::symlink_metadata(path)?;
    let kind = meta.file_type();
    let kind = match () {
        () if kind.is_file() => "file",
        () if kind.is_dir() => "dir",
        () if kind.is_symlink() => "link",
        () if kind.is_char_device() => "char",
        () if kind.is_block_device() => "block",
        () if kind.is_fifo() => "fifo",
        () => "socket",
    };
    Ok(Stat {
        kind: kind.to_owned(),
        mode: meta.mode() & 0o7777,
        uid: meta.uid(),
        gid: meta.gid(),
        size: meta.size(),
        inode: meta.ino(),
        device: meta.dev(),
        major: libc::major(meta.rdev()),
        minor: libc::minor(meta.rdev()),
    })
}

pub fn list(path: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

pub fn window_size() -> io::Result<String> {
    let size = sys::window_size(stdin())?;
    Ok(format!("{}x{}", size.ws_row, size.ws_col))
}

fn stdin() -> BorrowedFd<'static> {
    std::os::fd::AsFd::as_fd(Box::leak(Box::new(std::io::stdin())))
}

pub fn clock(clock: i32) -> io::Result<i64> {
    sys::clock_ns(clock)
}
