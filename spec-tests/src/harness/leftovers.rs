//! Nothing may stay: no process, no mount, no cgroup, no entry in the state directory.
//!
//! Runs in: the worker, after its test; `end_family` in the main process too.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpid};

use super::case::Case;
use super::schedule::descendants;
use super::verdict::Stop;
use crate::sys;

/// How long processes that were killed may take to be gone.
const GRACE: Duration = Duration::from_millis(1500);

pub struct Before {
    mounts: Vec<String>,
}

impl Before {
    pub fn look() -> std::io::Result<Self> {
        Ok(Self {
            mounts: mount_points()?,
        })
    }
}

/// Deletes the test's containers, then names and removes what is still there.
pub fn clear(case: &Case, before: &Before) -> Vec<String> {
    let mut left = Vec::new();
    for id in case.ids_in_state() {
        match case.runtime(["delete", "--force", &id]).run() {
            Ok(outcome) if outcome.status != 0 => {
                left.push(format!("delete --force: {}", outcome.told()))
            }
            Ok(_) => {}
            Err(Stop::Fail(message) | Stop::Skip(message)) => left.push(message),
        }
    }
    left.extend(
        case.ids_in_state()
            .into_iter()
            .map(|id| format!("state directory {id}")),
    );
    left.extend(processes());
    left.extend(cgroups(case));
    left.extend(new_mounts(before));
    left
}

fn processes() -> Vec<String> {
    let deadline = Instant::now() + GRACE;
    loop {
        reap();
        let alive = descendants(getpid());
        if alive.is_empty() {
            return Vec::new();
        }
        if Instant::now() > deadline {
            let names = alive
                .iter()
                .map(|pid| format!("process {pid} ({})", command_line(*pid)))
                .collect();
            end_all(getpid());
            return names;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn reap() {
    while matches!(waitpid(None, Some(WaitPidFlag::WNOHANG)), Ok(status) if status != WaitStatus::StillAlive)
    {
    }
}

fn command_line(pid: Pid) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes)
        .replace('\0', " ")
        .chars()
        .take(120)
        .collect()
}

/// Ends everything below `ancestor`, which must be stopped or be the caller, so that it starts nothing new.
fn end_all(ancestor: Pid) {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        if ancestor == getpid() {
            reap();
        }
        let alive: Vec<Pid> = descendants(ancestor)
            .into_iter()
            .filter(|pid| !is_zombie(*pid))
            .collect();
        if alive.is_empty() || Instant::now() > deadline {
            return;
        }
        for pid in alive {
            let Ok(pidfd) = sys::pidfd_open(pid) else {
                continue;
            };
            // The descriptor pins the process; only now is it known to be the one that was listed.
            if descendants(ancestor).contains(&pid) {
                let _ = sys::pidfd_kill(&pidfd, libc::SIGKILL);
            }
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Ends a child of the caller that does not answer, and all its descendants.
pub fn end_family(child: Pid) {
    let _ = kill(child, Signal::SIGSTOP);
    end_all(child);
    let _ = kill(child, Signal::SIGKILL);
}

fn is_zombie(pid: Pid) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .ok()
        .and_then(|stat| Some(stat.rsplit_once(") ")?.1.starts_with(['Z', 'X'])))
        .unwrap_or(true)
}

/// Cgroups with the test's id in their name, removed after they are named.
fn cgroups(case: &Case) -> Vec<String> {
    let Some(root) = &case.cgroup_root else {
        return Vec::new();
    };
    let mut found = Vec::new();
    find_cgroups(root, &case.id, &mut found);
    let names = found
        .iter()
        .map(|path| format!("cgroup {}", path.display()))
        .collect();
    for path in found.iter().rev() {
        remove_cgroup(path);
    }
    names
}

fn find_cgroups(dir: &Path, id: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir)
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
    {
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        if entry.file_name().to_string_lossy().contains(id) {
            found.push(entry.path());
        } else {
            find_cgroups(&entry.path(), id, found);
        }
    }
}

fn remove_cgroup(path: &Path) {
    for entry in fs::read_dir(path)
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
    {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_cgroup(&entry.path());
        }
    }
    let _ = fs::remove_dir(path);
}

fn mount_points() -> std::io::Result<Vec<String>> {
    let text = fs::read_to_string("/proc/self/mountinfo")?;
    Ok(text
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(str::to_owned)
        .collect())
}

fn new_mounts(before: &Before) -> Vec<String> {
    let after = mount_points().unwrap_or_default();
    let mut known = before.mounts.clone();
    let mut new = Vec::new();
    for point in after {
        match known.iter().position(|old| *old == point) {
            Some(index) => drop(known.swap_remove(index)),
            None => new.push(format!("mount {point}")),
        }
    }
    new
}
