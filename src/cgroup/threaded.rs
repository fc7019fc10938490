//! Cgroups in threaded mode, whose members count for a domain above them.
//!
//! A new cgroup below such a place is neither: no process may enter it ("domain invalid") until
//! it is made threaded, too. It then has the controllers that tell threads apart, and no other
//! (the kernel's Documentation/admin-guide/cgroup-v2.rst, "Threads"; cgroups(7), "Thread mode").
//! A cgroup with processes of its own that hands only such controllers down is the domain of
//! all below it, so switching one on can bring this about.
//!
//! Runs in: parent.

use std::path::Path;

use nix::errno::Errno;
use nix::unistd::Pid;

use super::settings::{controller_of, needs};
use super::v2::{Directory, levels};
use crate::bundle::checks::place_in_words;
use crate::error::{Context, Error, Result};
use crate::plan::cgroup::Setting;

/// Those that tell threads apart: all since Linux 4.14, cpuset since 5.0.
const CONTROLLERS: [&str; 4] = ["cpu", "cpuset", "perf_event", "pids"];

/// What helps whoever wants another.
pub(super) const REMEDY: &str = "a threaded cgroup has no controllers but cpu, cpuset and pids: take the limit out, or give the container a linux.cgroupsPath elsewhere, or, where a cgroup above has processes of its own, move them into one below it";

/// What is in cgroup.type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Domain,
    /// The domain of threaded cgroups below it.
    DomainThreaded,
    DomainInvalid,
    Threaded,
}

/// Whether a threaded cgroup can have the controller.
pub(super) fn has(controller: &str) -> bool {
    CONTROLLERS.contains(&controller)
}

/// Makes the new cgroup `directory`, at `path` below `mount`, fit for processes where it is
/// below a threaded one or beside one. An error where the settings need what it cannot have.
///
/// What was there before and could take no process either is made threaded with it: there is no
/// way back from that, and no other use of it.
pub(super) fn join(
    mount: &Directory,
    path: &Path,
    directory: &Directory,
    settings: &[Setting],
) -> Result<()> {
    match Type::of(directory)? {
        Type::Domain | Type::DomainThreaded => return Ok(()),
        Type::DomainInvalid | Type::Threaded => check(mount, path, settings)?,
    }
    for level in levels(path) {
        if let Some(level) = mount.open(level)? {
            follow(&level)?;
        }
    }
    Ok(())
}

/// Makes the cgroup threaded where nothing can be done with it else. The parent has to be fit
/// for use.
pub(super) fn follow(directory: &Directory) -> Result<()> {
    if Type::of(directory)? == Type::DomainInvalid {
        directory
            .write("cgroup.type", "threaded")
            .map_err(|e| match e.is(Errno::EOPNOTSUPP) {
                true => e.with_hint("below or beside a threaded cgroup only threaded ones take processes, and one with processes, or with more than cpu, cpuset and pids in its cgroup.subtree_control, cannot become that"),
                false => e,
            })?;
    }
    Ok(())
}

/// Refuses the first of the settings that a cgroup at `path`, there or still to be made, cannot
/// have because it or one above it is in threaded mode.
pub(super) fn check(mount: &Directory, path: &Path, settings: &[Setting]) -> Result<()> {
    settings.iter().try_for_each(|setting| {
        check_one(mount, path, setting).at(&setting.pointer, || place_in_words(&setting.pointer))
    })
}

/// The same of one of them, without its place in config.json.
pub(super) fn check_one(mount: &Directory, path: &Path, setting: &Setting) -> Result<()> {
    if controller_of(setting).is_none_or(has) {
        return Ok(());
    }
    for level in levels(path) {
        let Some(directory) = mount.open(level)? else {
            break;
        };
        let mode = match Type::of(&directory)? {
            Type::Domain => continue,
            // Its own limits are those of a domain.
            Type::DomainThreaded if level == path => continue,
            Type::DomainThreaded => "in domain threaded mode",
            Type::DomainInvalid => "in an invalid state",
            Type::Threaded => "in threaded mode",
        };
        // The words are runc's, which its users search for.
        return Err(Error::invalid(format!(
            "cannot enter cgroupv2 {:?} with domain controllers -- it is {mode}",
            directory.path()
        ))
        .within(needs(setting))
        .with_hint(REMEDY));
    }
    Ok(())
}

impl Type {
    fn of(directory: &Directory) -> Result<Type> {
        match directory.read("cgroup.type") {
            Ok(text) => Ok(match text.trim() {
                "threaded" => Type::Threaded,
                "domain threaded" => Type::DomainThreaded,
                "domain invalid" => Type::DomainInvalid,
                _ => Type::Domain,
            }),
            // The root of the hierarchy.
            Err(e) if e.is(Errno::ENOENT) => Ok(Type::Domain),
            Err(e) => Err(e),
        }
    }
}

/// The processes that have a thread in a threaded cgroup, by their numbers in the reader's pid
/// namespace. Its cgroup.procs cannot be read.
pub(super) fn processes(directory: &Directory) -> Result<Vec<Pid>> {
    let threads = numbers(&directory.read("cgroup.threads")?);
    let owned: Vec<(i32, i32)> = threads
        .into_iter()
        .filter_map(|thread| Some((thread, process_of(thread)?)))
        .collect();
    // A thread may have ended before its process was looked up, and a stranger have its number.
    let still_there = numbers(&directory.read("cgroup.threads")?);
    let mut processes: Vec<i32> = owned
        .into_iter()
        .filter(|(thread, _)| still_there.contains(thread))
        .map(|(_, process)| process)
        .collect();
    processes.sort_unstable();
    processes.dedup();
    Ok(processes.into_iter().map(Pid::from_raw).collect())
}

fn numbers(lines: &str) -> Vec<i32> {
    // 0 stands for a thread that the reader's pid namespace does not have.
    let numbers = lines.lines().filter_map(|line| line.parse().ok());
    numbers.filter(|number| *number > 0).collect()
}

/// None where the thread has ended.
fn process_of(thread: i32) -> Option<i32> {
    let status = std::fs::read_to_string(format!("/proc/{thread}/status")).ok()?;
    let process = status.lines().find_map(|line| line.strip_prefix("Tgid:"))?;
    process.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{make, pid, plan, sleeper, with_cgroup2};
    use super::super::{Guard, Handle, Privilege, create, foresee, update};
    use super::*;
    use crate::plan::cgroup::Change;
    use crate::state::Manager;

    /// A limit that threads cannot have.
    fn huge_pages() -> Vec<Setting> {
        let pointer = "/linux/resources/hugepageLimits/0";
        vec![Setting::new(pointer, "hugetlb.2MB.max", "0")]
    }

    /// The cgroup `name` in threaded mode, with the root as its domain.
    fn threaded(mount: &Path, name: &Path) -> Guard {
        let guard = make(mount, name);
        let directory = guard.handle().unwrap().directory();
        directory.write("cgroup.type", "threaded").unwrap();
        guard
    }

    fn kind(guard: &Guard) -> Type {
        Type::of(guard.handle().unwrap().directory()).unwrap()
    }

    #[test]
    fn a_cgroup_below_a_threaded_one_is_made_threaded_with_those_above_it() {
        with_cgroup2("join", |mount, name| {
            let top = threaded(mount, &name);
            let unfit = mount.join(&name).join("unfit");
            std::fs::create_dir(&unfit).unwrap();
            let leaf = make(mount, &name.join("unfit/made/leaf"));
            assert_eq!(kind(&leaf), Type::Threaded);
            let mut child = sleeper();
            leaf.handle().unwrap().attach(pid(&child)).unwrap();
            drop(leaf);
            child.wait().unwrap();
            std::fs::remove_dir(&unfit).unwrap();
            drop(top);
            assert!(!mount.join(&name).exists());
        });
    }

    #[test]
    fn a_limit_that_threads_cannot_have_is_foreseen_refused_and_not_updated() {
        with_cgroup2("refuse", |mount, name| {
            let top = threaded(mount, &name);
            let words = format!(
                "linux.resources.hugepageLimits[0]: hugetlb.2MB.max needs the controller \"hugetlb\": cannot enter cgroupv2 {:?} with domain controllers -- it is in threaded mode",
                mount.join(&name)
            );
            let mut plan = plan(mount, &name.join("middle/leaf"));
            plan.settings = huge_pages();
            let foreseen = foresee(&plan, Privilege::Host, None);
            assert_eq!(foreseen.len(), 1);
            assert_eq!(foreseen[0].to_string(), words);
            let e = create(&plan, Privilege::Host).err().unwrap();
            assert_eq!(e.to_string(), words);
            assert_eq!(e.hint(), Some(REMEDY));
            assert_eq!(e.pointer(), Some("/linux/resources/hugepageLimits/0"));
            assert!(!mount.join(&name).join("middle").exists());

            let change = Change {
                settings: huge_pages(),
                devices: None,
            };
            let handle = top.handle().unwrap();
            let e = update(handle, &change, &Manager::Cgroupfs, Privilege::Host).err();
            assert_eq!(e.unwrap().to_string(), words);
        });
    }

    #[test]
    fn a_cgroup_that_is_not_threaded_yet_says_why_it_takes_no_process() {
        with_cgroup2("unfit", |mount, name| {
            let _top = threaded(mount, &name);
            let unfit = name.join("unfit");
            std::fs::create_dir(mount.join(&unfit)).unwrap();
            let handle = Handle::open(mount, &unfit).unwrap().unwrap();
            let mut child = sleeper();
            let e = handle.attach(pid(&child)).unwrap_err();
            let hint = e.hint().unwrap_or_default();
            assert!(e.is(Errno::EOPNOTSUPP) && hint.contains("cgroup.type"));
            child.kill().unwrap();
            child.wait().unwrap();
        });
    }

    /// This test's own process has two threads in it, and the others elsewhere.
    #[test]
    fn threads_are_listed_once_by_their_process() {
        with_cgroup2("threads", |mount, name| {
            let top = threaded(mount, &name);
            let handle = top.handle().unwrap();
            let enter = || {
                let thread = nix::unistd::gettid().to_string();
                handle.directory().write("cgroup.threads", &thread).unwrap();
            };
            let leave = || {
                let thread = nix::unistd::gettid().to_string();
                std::fs::write(mount.join("cgroup.threads"), thread).unwrap();
            };
            enter();
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    enter();
                    let listed = handle.processes();
                    leave();
                    assert_eq!(listed.unwrap(), [Pid::this()]);
                });
            });
            leave();
            assert!(handle.processes().unwrap().is_empty());
        });
    }

    #[test]
    fn all_in_a_threaded_cgroup_and_below_are_killed_one_by_one() {
        with_cgroup2("kill", |mount, name| {
            let top = threaded(mount, &name);
            let below = make(mount, &name.join("below"));
            let mut children = [sleeper(), sleeper()];
            for (child, guard) in children.iter().zip([&top, &below]) {
                guard.handle().unwrap().attach(pid(child)).unwrap();
            }
            top.handle().unwrap().kill_all().unwrap();
            for child in &mut children {
                assert!(!child.wait().unwrap().success());
            }
        });
    }
}
