//! What can be done with a cgroup that is there.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::unistd::Pid;

use super::tree;
use super::v2::{Directory, Watch};
use crate::error::{Error, Kind, Result};
use crate::sys;

/// How long the freezer may take: a process in an uninterruptible sleep is not stopped.
pub(super) const FREEZE: Duration = Duration::from_secs(10);
/// How long killed processes may take to go.
const DEATH: Duration = Duration::from_secs(10);

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
        Err(Error::new(
            Kind::WrongState,
            format!("the container's cgroup {:?} {state}", self.directory.path()),
        )
        .with_hint("give the container a linux.cgroupsPath of its own"))
    }

    /// Refuses a cgroup that a child of this process could not enter. The kernel lets an
    /// ordinary user move a process only within a tree that is delegated to it: it asks for
    /// the right to write to `cgroup.procs` of the nearest cgroup above both places
    /// (cgroups(7), "Cgroups v2 delegation").
    pub(super) fn check_enterable(&self) -> Result<()> {
        // Above the root of the cgroup namespace nothing can be looked at.
        let Some(own) = path_of("/proc/self/cgroup")?.filter(|own| !own.starts_with("..")) else {
            return Ok(());
        };
        let common: PathBuf = own
            .components()
            .zip(self.path.components())
            .take_while(|(own, path)| own == path)
            .map(|(part, _)| part)
            .collect();
        self.mount.check_writable(&common.join("cgroup.procs"))
    }

    /// Stops every process in the cgroup and below it, and waits until they stand. Where one
    /// does not within ten seconds, all run again.
    pub fn freeze(&self) -> Result<()> {
        self.directory.write("cgroup.freeze", "1")?;
        if self.directory.wait_for_event("frozen 1", FREEZE)? {
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

    #[cfg(test)]
    pub fn is_frozen(&self) -> Result<bool> {
        Ok(has_line(&self.directory.read("cgroup.events")?, "frozen 1"))
    }

    /// The processes in the cgroup and below it, by their numbers in the reader's pid
    /// namespace. Those that it cannot see are left out.
    pub fn processes(&self) -> Result<Vec<Pid>> {
        tree::processes(&self.directory)
    }

    /// Sends SIGKILL to every process in the cgroup and below it. It does not wait for them
    /// to end; [`Handle::remove`] does.
    ///
    /// KERNEL(5.14): without cgroup.kill the freezer keeps the processes from multiplying
    /// while they are killed one by one.
    pub fn kill_all(&self) -> Result<()> {
        match self.directory.write("cgroup.kill", "1") {
            Err(e) if e.is(Errno::ENOENT) => self.kill_each(),
            Err(e) if e.is(Errno::ENODEV) => Ok(()),
            result => result,
        }
    }

    pub(super) fn kill_each(&self) -> Result<()> {
        if is_gone(self.directory.write("cgroup.freeze", "1"))? {
            return Ok(());
        }
        let result = self.kill_until_empty();
        // A killed process ends although it is frozen; what a failure leaves must not stay so.
        let _ = self.directory.write("cgroup.freeze", "0");
        result
    }

    fn kill_until_empty(&self) -> Result<()> {
        let deadline = Instant::now() + DEATH;
        loop {
            let pids = self.processes()?;
            if pids.is_empty() {
                return Ok(());
            }
            for pid in pids {
                self.kill_one(pid)?;
            }
            if Instant::now() > deadline {
                return Err(Error::system(format!(
                    "{:?}: processes survive SIGKILL: {}",
                    self.directory.path(),
                    list(&self.processes()?)
                )));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Between the list and the kill the number may have gone to a stranger, so the process
    /// is held by a descriptor before the list is read again.
    fn kill_one(&self, pid: Pid) -> Result<()> {
        let pidfd = match sys::process::pidfd_open(pid) {
            Ok(pidfd) => pidfd,
            Err(e) if e.is(Errno::ESRCH) => return Ok(()),
            Err(e) => return Err(e),
        };
        if !self.processes()?.contains(&pid) {
            return Ok(());
        }
        match sys::process::pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL) {
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(errno) => Err(Error::syscall(
                "pidfd_send_signal",
                format_args!("{pid}, SIGKILL"),
                errno as i32,
            )),
        }
    }

    /// Removes the cgroup and those below it, and waits at most ten seconds for the killed
    /// processes in them to go. It kills none. What is gone already is no error.
    pub fn remove(&self) -> Result<()> {
        tree::remove(&self.mount, &self.path, Instant::now() + DEATH)
    }

    /// How many processes the out-of-memory killer has ended in the cgroup and below it.
    /// None where the memory controller is not enabled for it.
    pub fn oom_kills(&self) -> Result<Option<u64>> {
        match self.directory.read("memory.events") {
            Ok(text) => Ok(text
                .lines()
                .find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok())),
            Err(e) if e.is(Errno::ENOENT) || e.is(Errno::ENODEV) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// The limit, in words, where the kernel has killed in this cgroup for want of memory.
    pub fn out_of_memory(&self) -> Option<String> {
        self.oom_kills().ok()?.filter(|kills| *kills > 0)?;
        let limit = self.read("memory.max").ok()??;
        Some(match limit.trim() {
            "max" => "the limit is that of a cgroup above".to_owned(),
            bytes => format!("memory.max is {bytes} bytes"),
        })
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
        let mut levels: Vec<&Path> = name.ancestors().collect();
        // The last is the empty path.
        levels.pop();
        for level in levels.into_iter().rev() {
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
            .map_err(explain_attach)
    }
}

impl AsFd for Handle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

/// cgroups(7), "Cgroups v2 no internal processes rule", "Cgroups v2 delegation".
fn explain_attach(e: Error) -> Error {
    let hint = match e.errno().map(Errno::from_raw) {
        Some(Errno::EBUSY) => {
            "a cgroup that hands controllers down to others (cgroup.subtree_control) takes no process itself"
        }
        Some(Errno::EOPNOTSUPP) => {
            "the cgroup is in a threaded subtree or below one (cgroup.type) and takes no process"
        }
        Some(Errno::EACCES) => {
            "the caller needs to be able to write to cgroup.procs of the nearest cgroup above both the old place of the process and the new one: run under a systemd user manager with Delegate=yes"
        }
        _ => return e,
    };
    e.with_hint(hint)
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

/// Whether an operation found its cgroup removed.
fn is_gone(result: Result<()>) -> Result<bool> {
    match result {
        Ok(()) => Ok(false),
        Err(e) if e.is(Errno::ENODEV) || e.is(Errno::ENOENT) => Ok(true),
        Err(e) => Err(e),
    }
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
