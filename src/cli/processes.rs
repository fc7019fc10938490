//! The processes of a container, as `kill`, `delete`, `ps`, `pause` and `resume` reach them:
//! init by its pidfd, all of them by the cgroup.
//!
//! Runs in: parent.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;

use crate::cgroup::Handle;
use crate::error::{Error, Kind, Result};
use crate::log;
use crate::state::{CgroupRecord, Container, Record, Root, Status};
use crate::sys::process;

/// How long a killed process may take to go.
const DEATH: Duration = Duration::from_secs(10);

/// The words that containerd, cri-o and podman look for.
pub fn not_running() -> Error {
    Error::new(Kind::WrongState, "container not running")
}

/// The container's cgroup. None where it has none, or it is gone.
pub fn cgroup(record: &Record) -> Result<Option<Handle>> {
    match &record.cgroup {
        Some(cgroup) => Handle::of_container(cgroup),
        None => Ok(None),
    }
}

/// The same, where nothing can be done without one: `need` says in the error what for.
pub fn need_cgroup<'r>(record: &'r Record, need: &str) -> Result<(Handle, &'r CgroupRecord)> {
    let Some(cgroup) = &record.cgroup else {
        return Err(Error::unsupported(format!(
            "the container has no cgroup, {need}"
        )));
    };
    match Handle::of_container(cgroup)? {
        Some(handle) => Ok((handle, cgroup)),
        None => Err(Error::system(format!(
            "the container's cgroup {:?} is gone, {need}",
            cgroup.mount.join(&cgroup.path)
        ))),
    }
}

/// Whether the processes in the cgroup of a container that has ended are another's, which was
/// given the same path and has taken the empty cgroup over.
pub fn has_successor(root: &Root, record: &Record, cgroup: &Handle) -> Result<bool> {
    let inode = |record: &Record| record.cgroup.as_ref()?.inode;
    if inode(record).is_none() || !cgroup.is_populated()? {
        return Ok(false);
    }
    for mut other in root.list()? {
        if other.record.id != record.id
            && inode(&other.record) == inode(record)
            && other.status()? != Status::Stopped
        {
            log::warning(|| {
                let (path, id) = (cgroup.path(), &other.record.id);
                format!("cgroup {path:?} is that of container {id:?} by now, and is left alone")
            });
            return Ok(true);
        }
    }
    Ok(false)
}

/// Sends `signal` to init. The pidfd was opened before the start time was compared, so no
/// other process can get it.
pub fn signal_init(container: &Container, signal: i32) -> Result<()> {
    let pidfd = container.pidfd()?.ok_or_else(not_running)?;
    let pid = container.record.init.map_or(0, |init| init.pid);
    match send(pidfd.as_fd(), Pid::from_raw(pid), signal)? {
        true => Ok(()),
        false => Err(not_running()),
    }
}

/// Sends `signal` to every process in the cgroup and below it.
pub fn signal_all(cgroup: &Handle, signal: i32) -> Result<()> {
    match signal {
        libc::SIGKILL => cgroup.kill_all(),
        _ => cgroup.signal_each(signal),
    }
}

/// False where the process has ended.
fn send(pidfd: BorrowedFd<'_>, pid: Pid, signal: i32) -> Result<bool> {
    match process::pidfd_send_signal(pidfd, signal) {
        Ok(()) => Ok(true),
        Err(Errno::ESRCH) => Ok(false),
        Err(errno) => Err(process::not_sent(pid, signal, errno)),
    }
}

/// Kills init, and waits until it has gone.
pub fn end_init(container: &Container) -> Result<()> {
    let (Some(pidfd), Some(init)) = (container.pidfd()?, container.record.init) else {
        return Ok(());
    };
    if !send(pidfd.as_fd(), init.pid(), libc::SIGKILL)? {
        return Ok(());
    }
    let timeout = PollTimeout::try_from(DEATH).unwrap_or(PollTimeout::MAX);
    loop {
        let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, timeout) {
            Ok(0) => break,
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(Error::syscall("poll", "pidfd", errno as i32)),
        }
    }
    Err(Error::system(format!(
        "process {} is still there {} s after SIGKILL",
        init.pid,
        DEATH.as_secs()
    ))
    .with_hint("a process that waits for a device or a network file system ends when that answers"))
}

/// Every process of the container by number: those of its cgroup, or where it has none those
/// of its own pid namespace.
pub fn list(root: &Root, container: &mut Container) -> Result<Vec<Pid>> {
    let Some(cgroup) = cgroup(&container.record)? else {
        return in_own_pid_namespace(&container.record);
    };
    let is_over = container.status()? == Status::Stopped;
    match is_over && has_successor(root, &container.record, &cgroup)? {
        true => Ok(Vec::new()),
        false => cgroup.processes(),
    }
}

fn in_own_pid_namespace(record: &Record) -> Result<Vec<Pid>> {
    match record.init {
        // Its number may be another's by now.
        Some(init) if record.private_pid_namespace => match init.is_alive()? {
            true => in_pid_namespace_of(init.pid()),
            false => Ok(Vec::new()),
        },
        _ => Err(Error::unsupported(
            "the container has neither a cgroup nor a pid namespace of its own",
        )
        .with_hint("nothing but these tells its processes from others")),
    }
}

fn in_pid_namespace_of(init: Pid) -> Result<Vec<Pid>> {
    let namespace = |pid: i32| std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let Some(wanted) = namespace(init.as_raw()) else {
        return Ok(Vec::new());
    };
    let proc = Path::new("/proc");
    let entries = std::fs::read_dir(proc).map_err(|e| Error::io("open", proc, &e))?;
    let mut pids: Vec<i32> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| namespace(*pid).as_ref() == Some(&wanted))
        .collect();
    pids.sort_unstable();
    Ok(pids.into_iter().map(Pid::from_raw).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Identity;

    #[test]
    fn a_number_that_another_process_has_got_names_no_process_of_the_container() {
        let own = Identity::of(Pid::this()).unwrap().unwrap();
        let mut record = Record::new("a", "/b".into(), "/b/rootfs".into());
        record.private_pid_namespace = true;
        record.init = Some(own);
        assert!(
            in_own_pid_namespace(&record)
                .unwrap()
                .contains(&Pid::this())
        );
        record.init = Some(Identity {
            start_time: own.start_time - 1,
            ..own
        });
        assert!(in_own_pid_namespace(&record).unwrap().is_empty());
    }
}
