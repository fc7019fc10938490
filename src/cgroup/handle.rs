//! What can be done with a cgroup that is there.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::unistd::Pid;

use super::tree;
use super::v2::{Directory, Watch, levels};
use crate::error::{Error, Kind, Result};
use crate::log;
use crate::state::CgroupRecord;

/// How long the freezer may take: a process in an uninterruptible sleep is not stopped.
pub(super) const FREEZE: Duration = Duration::from_secs(10);

/// An existing cgroup, by descriptor: what somebody else makes at its path later is another one.
pub struct Handle {
    mount: Directory,
    directory: Directory,
    /// Beneath the mount.
    path: PathBuf,
}

impl Handle {
    /// Opens the cgroup `path`, beneath the cgroup2 mount at `mount`. None where it is not
    /// there.
    pub fn open(mount: &Path, path: &Path) -> Result<Option<Handle>> {
        let mount = match Directory::open_mount(mount) {
            Ok(mount) => mount,
            Err(e) if e.is(Errno::ENOENT) => return Ok(None),
            Err(e) => return Err(e),
        };
        let directory = mount.open(path)?;
        Ok(directory.map(|directory| Handle::new(mount, directory, path)))
    }

    /// Opens the cgroup of a container. None where it is not there any more, and where another
    /// one has its name by now: whoever made that one has it for processes of their own.
    pub fn of_container(record: &CgroupRecord) -> Result<Option<Handle>> {
        let Some(handle) = Handle::open(&record.mount, &record.path)? else {
            return Ok(None);
        };
        match record.inode {
            Some(inode) if inode != handle.inode()? => {
                log::warning(|| {
                    format!(
                        "the container's cgroup {:?} is gone; another one has its name, and is left alone",
                        handle.directory.path()
                    )
                });
                Ok(None)
            }
            _ => Ok(Some(handle)),
        }
    }

    /// Opens the cgroup that a process is in. None where it has ended.
    pub fn of_process(mount: &Path, pid: Pid) -> Result<Option<Handle>> {
        match path_of(&format!("/proc/{pid}/cgroup"))? {
            Some(path) => Handle::open(mount, &path),
            None => Ok(None),
        }
    }

    pub(super) fn new(mount: Directory, directory: Directory, path: &Path) -> Handle {
        Handle {
            mount,
            directory,
            path: path.to_owned(),
        }
    }

    pub(super) fn mount(&self) -> &Directory {
        &self.mount
    }

    pub(super) fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Beneath the mount, without a leading slash.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Tells it from every other, one that had or gets its path among them.
    pub fn inode(&self) -> Result<u64> {
        self.directory.inode()
    }

    /// Refuses a cgroup that somebody uses: limits would hit strangers, and `delete` would
    /// kill them. A frozen one would stop init before its first step.
    pub(super) fn check_unused(&self) -> Result<()> {
        let events = self.directory.read("cgroup.events")?;
        let state = if has_line(&events, "populated 1") {
            format!(
                "is not empty: it holds processes {}",
                list(&self.processes()?)
            )
        } else if has_line(&events, "frozen 1") {
            "is frozen".to_owned()
        } else {
            return Ok(());
        };
        Err(self.unfit(&state))
    }

    /// Refuses a cgroup that lets no process run: one that systemd has found where its unit's
    /// is to be, and has put init into.
    pub(super) fn check_running(&self) -> Result<()> {
        match self.directory.read("cgroup.freeze")?.trim() {
            "1" => Err(self.unfit("is frozen")),
            _ => Ok(()),
        }
    }

    fn unfit(&self, state: &str) -> Error {
        let path = self.directory.path();
        Error::new(
            Kind::WrongState,
            format!("the container's cgroup {path:?} {state}"),
        )
        .with_hint("give the container a linux.cgroupsPath of its own")
    }

    /// Stops every process in the cgroup and below it, and waits until they stand. Where one
    /// does not within ten seconds, all run again.
    pub fn freeze(&self) -> Result<()> {
        self.directory.write("cgroup.freeze", "1")?;
        if tree::wait_until_frozen(&self.directory, Instant::now() + FREEZE)? {
            return Ok(());
        }
        let _ = self.directory.write("cgroup.freeze", "0");
        Err(Error::system(format!(
            "{:?}: not frozen after {} s",
            self.directory.path(),
            FREEZE.as_secs()
        ))
        .with_hint("a process that waits for a device or a network file system cannot be stopped"))
    }

    /// Lets the processes run again.
    pub fn thaw(&self) -> Result<()> {
        self.directory.write("cgroup.freeze", "0")?;
        if self.directory.wait_for_event("frozen 0", FREEZE)? {
            return Ok(());
        }
        Err(
            Error::system(format!("{:?} is still frozen", self.directory.path()))
                .with_hint("a cgroup above this one may be frozen"),
        )
    }

    /// Whether there are processes in it or below it.
    pub fn is_populated(&self) -> Result<bool> {
        match self.directory.read("cgroup.events") {
            Ok(events) => Ok(has_line(&events, "populated 1")),
            Err(e) if e.is(Errno::ENODEV) || e.is(Errno::ENOENT) => Ok(false),
            Err(e) => Err(e),
        }
    }

    #[cfg(test)]
    pub fn is_frozen(&self) -> Result<bool> {
        Ok(has_line(&self.directory.read("cgroup.events")?, "frozen 1"))
    }

    /// The processes in the cgroup and below it, by their numbers in the reader's pid
    /// namespace. Those that it cannot see are left out.
    pub fn processes(&self) -> Result<Vec<Pid>> {
        tree::processes(&self.directory)
    }

    /// The whole of one of its files. None where it has no such file.
    pub fn read(&self, file: &str) -> Result<Option<String>> {
        match self.directory.read(file) {
            Ok(text) => Ok(Some(text)),
            // Pressure files are there, and cannot be read, where the kernel was booted so.
            Err(e)
                if [Errno::ENOENT, Errno::ENODEV, Errno::EOPNOTSUPP]
                    .iter()
                    .any(|n| e.is(*n)) =>
            {
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }

    /// The names of its files.
    pub(super) fn files(&self) -> Result<Vec<String>> {
        let names = self.directory.files()?;
        Ok(names
            .into_iter()
            .filter_map(|name| name.into_os_string().into_string().ok())
            .collect())
    }

    /// One of its files, for poll(2). None where it has no such file.
    pub fn watch(&self, file: &str) -> Result<Option<Watch>> {
        match self.directory.open_to_watch(file) {
            Ok(watch) => Ok(Some(watch)),
            Err(e) if e.is(Errno::ENOENT) || e.is(Errno::ENODEV) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Makes a cgroup below this one and moves a process into it.
    pub(super) fn enter_below(&self, name: &Path, pid: Pid) -> Result<Handle> {
        super::v2::check_beneath(name)?;
        let path = self.path.join(name);
        for level in levels(name) {
            self.directory.make(level)?;
        }
        let below = Handle::open(self.mount.path(), &path)?.ok_or_else(|| {
            Error::system(format!("{path:?} was removed while it was being set up"))
        })?;
        below.attach(pid)?;
        Ok(below)
    }

    /// Moves a process into the cgroup.
    pub fn attach(&self, pid: Pid) -> Result<()> {
        self.directory
            .write("cgroup.procs", &pid.to_string())
            .map_err(explain_entry)
    }
}

impl AsFd for Handle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

/// Whether it is for the cgroup that a process could not be born there: one that hands
/// controllers down says EBUSY, one that would have to be threaded EOPNOTSUPP.
pub fn takes_no_process(error: &Error) -> bool {
    error.is(Errno::EBUSY) || error.is(Errno::EOPNOTSUPP)
}

/// Says why a process may not enter a cgroup, by cgroup.procs or at its birth (cgroups(7),
/// "Cgroups v2 no internal processes rule", "Thread mode", "Cgroups v2 delegation").
pub fn explain_entry(e: Error) -> Error {
    let hint = match e.errno().map(Errno::from_raw) {
        Some(Errno::EBUSY) => {
            "a cgroup that hands controllers down to others (cgroup.subtree_control) takes no process itself"
        }
        Some(Errno::EOPNOTSUPP) => {
            "below or beside a threaded cgroup only threaded ones take processes: write threaded to cgroup.type of this one, where it reads domain invalid"
        }
        Some(Errno::EINVAL) => {
            "a kernel built with CONFIG_RT_GROUP_SCHED keeps processes of a real-time class out of cgroups with the controller cpu: call rt with another one (chrt --other 0 rt …)"
        }
        Some(Errno::EACCES) => {
            "the caller needs to be able to write to cgroup.procs of the nearest cgroup above both the old place of the process and the new one: run under a systemd user manager with Delegate=yes"
        }
        _ => return e,
    };
    e.with_hint(hint)
}

/// Refuses a cgroup, at `path` below `mount`, that a child of this process could not enter. The
/// kernel lets an ordinary user move a process only within a tree that is delegated to it: it
/// asks for the right to write to `cgroup.procs` of the nearest cgroup above both places
/// (cgroups(7), "Cgroups v2 delegation").
pub(super) fn check_enterable(mount: &Directory, path: &Path) -> Result<()> {
    // Above the root of the cgroup namespace nothing can be looked at.
    let Some(own) = path_of("/proc/self/cgroup")?.filter(|own| !own.starts_with("..")) else {
        return Ok(());
    };
    let common: PathBuf = own
        .components()
        .zip(path.components())
        .take_while(|(own, path)| own == path)
        .map(|(part, _)| part)
        .collect();
    mount.check_writable(&common.join("cgroup.procs"))
}

/// The path in a file such as /proc/self/cgroup, without its leading slash. None where the
/// process has ended or has no cgroup of version 2.
fn path_of(file: &str) -> Result<Option<PathBuf>> {
    match std::fs::read_to_string(file) {
        Ok(text) => Ok(text
            .lines()
            .find_map(|line| line.strip_prefix("0::/"))
            .map(PathBuf::from)),
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ESRCH)) => Ok(None),
        Err(e) => Err(Error::io("open", file, &e)),
    }
}

fn has_line(text: &str, line: &str) -> bool {
    text.lines().any(|l| l == line)
}

/// Some of them, for a message.
pub(super) fn list(pids: &[Pid]) -> String {
    let shown: Vec<String> = pids.iter().take(10).map(Pid::to_string).collect();
    match pids.len() {
        0 => "that this process cannot see".to_owned(),
        n if n > shown.len() => format!("{}, …", shown.join(", ")),
        _ => shown.join(", "),
    }
}
