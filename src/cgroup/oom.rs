//! What the kernel's out-of-memory killer has done in a cgroup.
//!
//! Runs in: parent, and `rt start` and `rt events`.

use std::path::Path;

use nix::errno::Errno;

use super::Handle;
use super::v2::Directory;
use crate::error::Result;

impl Handle {
    /// How many processes the out-of-memory killer has ended in the cgroup and below it.
    /// None where the memory controller is not enabled for it.
    pub fn oom_kills(&self) -> Result<Option<u64>> {
        kills_in(self.directory())
    }

    /// The limit, in words, where the kernel has killed in this cgroup for want of memory.
    pub fn out_of_memory(&self) -> Option<String> {
        self.oom_kills().ok()?.filter(|kills| *kills > 0)?;
        self.memory_limit()
    }

    fn memory_limit(&self) -> Option<String> {
        let limit = self.read("memory.max").ok()??;
        Some(match limit.trim() {
            "max" => "the limit is that of a cgroup above".to_owned(),
            bytes => format!("memory.max is {bytes} bytes"),
        })
    }
}

/// What the cgroups above one had counted at a moment. systemd takes the cgroup of a unit away
/// with its last process, and what could be read there; those above it have counted, too.
pub struct Above {
    /// Innermost first.
    levels: Vec<(Directory, u64)>,
    /// That of the one below them, in words.
    limit: Option<String>,
}

impl Above {
    /// Reads the counts of now. Right below the mount there are none.
    pub fn of(handle: &Handle) -> Above {
        let above = handle.path().ancestors().skip(1);
        let count = |path: &Path| {
            let level = handle.mount().open(path).ok()??;
            let kills = kills_in(&level).ok()??;
            Some((level, kills))
        };
        Above {
            levels: above
                .take_while(|path| !path.as_os_str().is_empty())
                .filter_map(count)
                .collect(),
            limit: handle.memory_limit(),
        }
    }

    /// The limit, in words, where the kernel has killed since then for want of memory: in the
    /// cgroup that was below, or beside it, for the innermost that is left counts for all that
    /// are below it.
    pub fn out_of_memory(&self) -> Option<String> {
        let (now, before) = self
            .levels
            .iter()
            .find_map(|(level, before)| Some((kills_in(level).ok()??, *before)))?;
        (now > before).then(|| self.limit.clone())?
    }
}

fn kills_in(directory: &Directory) -> Result<Option<u64>> {
    match directory.read("memory.events") {
        Ok(text) => Ok(text
            .lines()
            .find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok())),
        Err(e) if e.is(Errno::ENOENT) || e.is(Errno::ENODEV) => Ok(None),
        Err(e) => Err(e),
    }
}
