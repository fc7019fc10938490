//! A cgroup with all that is below it.
//!
//! A payload that was given its cgroup may put cgroups into one another as deep as it likes, so
//! a walk holds two descriptors, whatever the depth, and goes back up by `..`: a cgroup never
//! gets another parent.
//!
//! Runs in: parent.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::unistd::Pid;

use super::handle::list;
use super::threaded;
use super::v2::Directory;
use crate::error::Result;

/// The processes in `top` and below it that the reader's pid namespace has.
pub fn processes(top: &Directory) -> Result<Vec<Pid>> {
    let mut pids = Vec::new();
    visit(top, &mut |cgroup| match cgroup.read("cgroup.procs") {
        // 0 stands for a process that the reader's pid namespace does not have.
        Ok(text) => {
            let numbers = text.lines().filter_map(|line| line.parse().ok());
            pids.extend(numbers.filter(|n| *n > 0).map(Pid::from_raw));
            Ok(())
        }
        // A threaded cgroup, whose domain may be above `top`.
        Err(e) if e.is(Errno::EOPNOTSUPP) => {
            pids.extend(threaded::processes(cgroup)?);
            Ok(())
        }
        Err(e) => Err(e),
    })?;
    // Each cgroup that has a thread of a process names that.
    pids.sort_unstable();
    pids.dedup();
    Ok(pids)
}

/// Waits until the freezer has stopped every process in `top` and below it. False where it has
/// not by `deadline`.
///
/// A cgroup with processes of its own counts as frozen once these are, or once those below it
/// are (the kernel's kernel/cgroup/freezer.c), so each is asked.
pub fn wait_until_frozen(top: &Directory, deadline: Instant) -> Result<bool> {
    let mut all = true;
    visit(top, &mut |cgroup| {
        let left = deadline.saturating_duration_since(Instant::now());
        all = all && cgroup.wait_for_event("frozen 1", left)?;
        Ok(())
    })?;
    Ok(all)
}

/// Looks at `top` and at every cgroup below it. One that goes meanwhile is none.
fn visit(top: &Directory, look: &mut dyn FnMut(&Directory) -> Result<()>) -> Result<()> {
    // What is still to be looked into, by the level; and where the walk is, unless at the top.
    let mut levels = vec![look_into(top, look)?];
    let mut place: Option<Directory> = None;
    while let Some(names) = levels.last_mut() {
        let here = place.as_ref().unwrap_or(top);
        if let Some(name) = names.pop() {
            if let Some(child) = here.open(&name)? {
                levels.push(look_into(&child, look)?);
                place = Some(child);
            }
        } else {
            levels.pop();
            let above = here.above_on_level(levels.len())?;
            place = above;
        }
    }
    Ok(())
}

/// Looks at one cgroup, and names those right below it.
fn look_into(
    directory: &Directory,
    look: &mut dyn FnMut(&Directory) -> Result<()>,
) -> Result<Vec<PathBuf>> {
    match look(directory) {
        Err(e) if e.is(Errno::ENODEV) || e.is(Errno::ENOENT) => return Ok(Vec::new()),
        result => result?,
    }
    directory.children()
}

/// Removes the cgroup `path` of `parent` with those below it, and waits until `deadline` for
/// killed processes to go: rmdir(2) says EBUSY while one has not quite gone. While there are any,
/// `kill` is called first, and now and then.
pub fn remove(
    parent: &Directory,
    path: &Path,
    deadline: Instant,
    kill: impl Fn() -> Result<()>,
) -> Result<()> {
    const LONGEST_PAUSE: Duration = Duration::from_millis(10);
    let mut pause = Duration::from_micros(50);
    let mut kills = true;
    loop {
        let busy = match parent.remove_empty(path) {
            Err(e) if e.is(Errno::EBUSY) => e,
            result => return result,
        };
        if kills {
            kill()?;
        }
        let Some(top) = parent.open(path)? else {
            return Ok(());
        };
        remove_below(&top)?;
        if parent.remove_empty(path).is_ok() {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(busy.with_hint(format!("processes in it: {}", list(&processes(&top)?))));
        }
        std::thread::sleep(pause);
        kills = pause == LONGEST_PAUSE;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Removes what is not in use below `top`, the deepest first.
fn remove_below(top: &Directory) -> Result<()> {
    // Each level with its own name in the one above.
    let mut levels = vec![(PathBuf::new(), top.children()?)];
    let mut place: Option<Directory> = None;
    while let Some((_, names)) = levels.last_mut() {
        let here = place.as_ref().unwrap_or(top);
        if let Some(name) = names.pop() {
            if let Some(child) = busy(here, &name)? {
                let names = child.children()?;
                if !names.is_empty() {
                    levels.push((name, names));
                    place = Some(child);
                }
            }
        } else if let Some((name, _)) = levels.pop() {
            let above = here.above_on_level(levels.len())?;
            place = above;
            if !levels.is_empty() {
                busy(place.as_ref().unwrap_or(top), &name)?;
            }
        }
    }
    Ok(())
}

/// Removes one cgroup; or opens it, where it is in use.
fn busy(parent: &Directory, name: &Path) -> Result<Option<Directory>> {
    match parent.remove_empty(name) {
        Err(e) if e.is(Errno::EBUSY) => parent.open(name),
        result => result.map(|()| None),
    }
}
