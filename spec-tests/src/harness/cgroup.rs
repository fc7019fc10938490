//! Where a test may make cgroups with limits, and what is in the files of one.
//!
//! Runs in: the worker.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::bundle::Bundle;
use super::case::Case;
use super::container::Container;
use super::verdict::{Doing, Stop, Verdict, equal, skip};

/// A part of the cgroup2 hierarchy that is the caller's: root has all of it, a user what systemd delegates.
#[derive(Debug)]
pub struct Place {
    /// Below the mount, where a container's cgroup may be made; with a leading slash, none at the end.
    parent: String,
    /// Of the topmost cgroup that is the caller's.
    controllers: Vec<String>,
}

/// The directory of a container's cgroup.
#[derive(Debug)]
pub struct Cgroup(PathBuf);

impl Case {
    /// The part of the hierarchy where this test may make cgroups.
    pub fn need_cgroups(&self) -> Verdict<Place> {
        let Some(root) = &self.cgroup_root else {
            return skip("needs cgroup2 at /sys/fs/cgroup (--cgroup-view v2)");
        };
        let (parent, top) = if let Ok(user) = self.need_rootless() {
            let own = path_of("self")?;
            let Some((parent, _)) = own.rsplit_once('/') else {
                return skip("the suite's own cgroup has no parent");
            };
            // The suite itself may be root.
            let inside = |path: &&Path| {
                path.starts_with(root)
                    && fs::metadata(path.join("cgroup.procs"))
                        .is_ok_and(|file| file.uid() == user.uid)
            };
            let parent_dir = root.join(parent.trim_start_matches('/'));
            let Some(top) = parent_dir.ancestors().take_while(inside).last() else {
                return skip("no cgroup is delegated to this user");
            };
            (parent.to_owned(), top.to_owned())
        } else {
            (String::new(), root.clone())
        };
        let text =
            fs::read_to_string(top.join("cgroup.controllers")).doing("cgroup.controllers")?;
        Ok(Place {
            parent,
            controllers: text.split_whitespace().map(str::to_owned).collect(),
        })
    }

    /// The same, where containers can have limits of this controller.
    pub fn need_controller(&self, name: &str) -> Verdict<Place> {
        let place = self.need_cgroups()?;
        if place.has(name) {
            Ok(place)
        } else {
            skip(format!("the controller {name} is not there for the caller"))
        }
    }

    /// Whether systemd is to make the cgroups.
    pub fn uses_systemd(&self) -> bool {
        self.globals.iter().any(|global| global.contains("systemd"))
    }

    /// A value for `linux.cgroupsPath` that has the test's id and this word in it.
    pub fn cgroups_path(&self, place: &Place, word: &str) -> String {
        if self.uses_systemd() {
            format!(":{word}:{}", self.id)
        } else {
            format!("{}/{}-{word}", place.parent, self.id)
        }
    }

    /// A bundle whose container has a cgroup in `place` with these resources.
    pub fn limited(&self, place: &Place, word: &str, resources: &Value) -> Verdict<Bundle> {
        let mut bundle = self.bundle_named(word)?;
        bundle.linux()["cgroupsPath"] = json!(self.cgroups_path(place, word));
        bundle.linux()["resources"] = resources.clone();
        Ok(bundle)
    }
}

impl Place {
    /// Whether containers can have limits of this controller.
    pub fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|there| there == controller)
    }
}

impl Container<'_> {
    /// The cgroup that has the container's limits.
    pub fn cgroup(&self) -> Verdict<Cgroup> {
        let path = path_of(self.pid()?)?;
        // crun puts the payload one level below the scope that has the limits.
        let path = path.strip_suffix("/container").unwrap_or(&path);
        Ok(Cgroup(
            Path::new("/sys/fs/cgroup").join(path.trim_start_matches('/')),
        ))
    }
}

impl Cgroup {
    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The text of one of its files, without the last newline.
    pub fn read(&self, file: &str) -> Verdict<String> {
        let path = self.0.join(file);
        let text = fs::read_to_string(&path).doing(path.display())?;
        Ok(text.trim_end().to_owned())
    }

    /// Makes a cgroup below it, which goes with it.
    pub fn make(&self, name: &str) -> Verdict<PathBuf> {
        let path = self.0.join(name);
        fs::create_dir(&path).doing(path.display())?;
        Ok(path)
    }

    pub fn has(&self, file: &str) -> bool {
        self.0.join(file).exists()
    }

    /// Skips the test where this kernel has no such file.
    pub fn need(&self, file: &str) -> Verdict {
        if self.has(file) {
            Ok(())
        } else {
            skip(format!("this kernel has no {file}"))
        }
    }

    /// The number behind a key in a file of `key number` lines.
    pub fn number(&self, file: &str, key: &str) -> Verdict<u64> {
        let text = self.read(file)?;
        text.lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.parse().ok())
            .ok_or_else(|| Stop::Fail(format!("no {key} in {file}: {text:?}")))
    }

    /// Fails unless each file has this text.
    pub fn holds(&self, files: &[(&str, &str)]) -> Verdict {
        files
            .iter()
            .try_for_each(|(file, wanted)| equal(file, self.read(file)?.as_str(), *wanted))
    }
}

/// The path after `0::` of a process.
fn path_of(pid: impl std::fmt::Display) -> Verdict<String> {
    let file = format!("/proc/{pid}/cgroup");
    let text = fs::read_to_string(&file).doing(&file)?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::"));
    path.map(str::to_owned)
        .ok_or_else(|| Stop::Fail(format!("no cgroup2 in {text:?}")))
}

/// The whole disk that a folder is on, as `major:minor`.
pub fn disk_of(folder: &Path) -> Verdict<String> {
    let device = fs::metadata(folder).doing(folder.display())?.dev();
    let number = format!("{}:{}", libc::major(device), libc::minor(device));
    let link = Path::new("/sys/dev/block").join(&number);
    let Ok(place) = fs::canonicalize(&link) else {
        return skip(format!(
            "{} is not on a block device ({number})",
            folder.display()
        ));
    };
    // Limits are of whole disks; a partition lies below its disk.
    let disk = if place.join("partition").exists() {
        place.join("../dev")
    } else {
        place.join("dev")
    };
    let text = fs::read_to_string(&disk).doing(disk.display())?;
    Ok(text.trim().to_owned())
}
