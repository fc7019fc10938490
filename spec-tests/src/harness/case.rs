//! What a test gets: a folder, an id, a deadline, and the runtime.
//!
//! Runs in: the worker.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Gid, Pid, Uid, chown, pipe2};

use super::bundle::Bundle;
use super::call::Call;
use super::host::{Mode, User, World, random_name};
use super::verdict::{Doing, Stop, Verdict, skip};

#[derive(Debug)]
pub struct Case {
    /// Random; every container of the test has it in its id.
    pub id: String,
    /// The test's own folder, empty but for what it makes.
    pub dir: PathBuf,
    pub mode: Mode,
    pub cgroup_root: Option<PathBuf>,
    pub deadline: Instant,
    pub(super) runtime: PathBuf,
    pub(super) globals: Vec<String>,
    pub(super) probe: PathBuf,
    /// Both ends of a pipe that root made before the test became an ordinary user.
    pub foreign_pipe: Option<(OwnedFd, OwnedFd)>,
    /// Calls of the runtime that are to be waited for.
    pub(super) calls: RefCell<BTreeSet<i32>>,
    /// Orphans of containers that ended, and how.
    ended: RefCell<BTreeMap<i32, i32>>,
}

impl Case {
    /// Makes the folder, owned by whoever runs the test.
    pub fn prepare(world: &World, index: usize, timeout: Duration) -> Verdict<Self> {
        let dir = world.base.join(index.to_string());
        fs::create_dir(&dir)?;
        if let (true, Mode::Rootless(user)) = (world.privileged, &world.mode) {
            chown(
                &dir,
                Some(Uid::from_raw(user.uid)),
                Some(Gid::from_raw(user.gid)),
            )?;
        }
        Ok(Self {
            id: format!("st{}", random_name().map_err(Stop::Fail)?),
            dir,
            mode: world.mode.clone(),
            cgroup_root: world.cgroup_root.clone(),
            deadline: Instant::now() + timeout,
            runtime: world.runtime.clone(),
            globals: world.globals.clone(),
            probe: world.probe.clone(),
            foreign_pipe: if world.privileged {
                Some(pipe2(OFlag::O_CLOEXEC)?)
            } else {
                None
            },
            calls: RefCell::default(),
            ended: RefCell::default(),
        })
    }

    /// The runtime's state directory of this test.
    pub fn root(&self) -> PathBuf {
        self.dir.join("root")
    }

    /// A copy of the runtime's binary that a test may lose.
    pub fn copy_of_runtime(&self) -> Verdict<PathBuf> {
        let name = self.runtime.file_name().unwrap_or_default();
        let copy = self.folder("bin")?.join(name);
        fs::copy(&self.runtime, &copy).doing(copy.display())?;
        Ok(copy)
    }

    /// A probe on the host, for hooks.
    pub fn host_probe(&self) -> &Path {
        &self.probe
    }

    /// A call of the runtime with `--root` and these arguments.
    pub fn runtime<I: IntoIterator<Item = S>, S: Into<std::ffi::OsString>>(
        &self,
        args: I,
    ) -> Call<'_> {
        Call::new(self, args)
    }

    /// The default bundle in `bundle`.
    pub fn bundle(&self) -> Verdict<Bundle> {
        self.bundle_named("bundle")
    }

    /// One more default bundle.
    pub fn bundle_named(&self, name: &str) -> Verdict<Bundle> {
        Bundle::make(self, self.dir.join(name))
    }

    /// The ids that have an entry in the state directory.
    pub fn ids_in_state(&self) -> Vec<String> {
        let entries = fs::read_dir(self.root())
            .into_iter()
            .flatten()
            .filter_map(Result::ok);
        entries
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(|name| name.contains(&self.id))
            .collect()
    }

    /// Writes a file into the test's folder.
    pub fn file(&self, name: &str, text: &str) -> Verdict<PathBuf> {
        let path = self.dir.join(name);
        fs::write(&path, text).doing(path.display())?;
        Ok(path)
    }

    /// Makes a folder in the test's folder.
    pub fn folder(&self, name: &str) -> Verdict<PathBuf> {
        let path = self.dir.join(name);
        fs::create_dir_all(&path).doing(path.display())?;
        Ok(path)
    }

    /// Waits for orphans that have ended, as every engine does: a zombie keeps its pid namespace alive.
    pub fn reap_orphans(&self) {
        let children = fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
        for pid in children
            .split_whitespace()
            .filter_map(|word| word.parse::<i32>().ok())
        {
            if self.calls.borrow().contains(&pid) {
                continue;
            }
            let status = match waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(_, status)) => status,
                Ok(WaitStatus::Signaled(_, signal, _)) => 128 + signal as i32,
                _ => continue,
            };
            self.ended.borrow_mut().insert(pid, status);
        }
    }

    /// The exit status of a container's first process, 128 + signal if one ended it; its supervisor is the test.
    pub fn exit_status(&self, pid: Pid) -> Verdict<i32> {
        self.wait_for("the end of the payload", || {
            Ok(self.ended.borrow().get(&pid.as_raw()).copied())
        })
    }

    pub fn is_root(&self) -> bool {
        self.mode == Mode::Root
    }

    pub fn need_root(&self) -> Verdict {
        if self.is_root() {
            Ok(())
        } else {
            skip("needs root")
        }
    }

    /// The ordinary user that runs the test, if it is not root.
    pub fn user(&self) -> Option<&User> {
        match &self.mode {
            Mode::Rootless(user) => Some(user),
            Mode::Root => None,
        }
    }

    pub fn need_rootless(&self) -> Verdict<&User> {
        match &self.mode {
            Mode::Rootless(user) => Ok(user),
            Mode::Root => skip("is about ordinary users"),
        }
    }

    /// The cgroup2 hierarchy, when the test may make groups in it.
    pub fn need_cgroup2(&self) -> Verdict<&Path> {
        self.need_root()?;
        match &self.cgroup_root {
            Some(root) => Ok(root),
            None => skip("needs cgroup2 at /sys/fs/cgroup (--cgroup-view v2)"),
        }
    }

    /// How long to wait for what may never come: a third of the time that is left, so that what
    /// did not come can still be told, on a slow machine as on a fast one.
    pub fn patience(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now()) / 3
    }

    /// Tries until it answers something or the test's time is over.
    pub fn wait_for<T>(
        &self,
        what: &str,
        mut look: impl FnMut() -> Verdict<Option<T>>,
    ) -> Verdict<T> {
        loop {
            self.reap_orphans();
            if let Some(found) = look()? {
                return Ok(found);
            }
            if Instant::now() > self.deadline {
                return Err(Stop::Fail(format!(
                    "{what} did not come before the test's deadline"
                )));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
