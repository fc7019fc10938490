//! Resource limits and the badness for the OOM killer.
//!
//! Runs in: init and enter; parent, to raise hard limits. Limits late, since a low RLIMIT_AS
//! would stop `rt` itself, but before the change of user; that of descriptors last of all; the
//! OOM score before the dumpable flag goes.

use std::os::fd::BorrowedFd;

use nix::errno::Errno;

use crate::error::{Context, Error, Result};
use crate::log;
use crate::plan::process::Rlimit;
use crate::sys::limits::{self, Limit, NOFILE};
use crate::sys::procfs;

/// Sets each limit of `wanted` for the calling process, and of that of descriptors only what
/// needs privilege: `rt` opens some until its end, which is for [`limit_descriptors`] then.
///
/// A hard limit at or below the present one needs no privilege; to raise one takes
/// CAP_SYS_RESOURCE in the first user namespace, and the error then names the present hard limit.
pub fn set_rlimits(wanted: &[Rlimit]) -> Result<()> {
    each(wanted, |limit| match limit.resource {
        NOFILE => raise_hard_limit(limit),
        _ => set_rlimit(limit),
    })
}

/// Sets the limit of descriptors, which may be lower than what is open.
pub fn limit_descriptors(wanted: &[Rlimit]) -> Result<()> {
    each(wanted, |limit| match limit.resource {
        NOFILE => set_rlimit(limit),
        _ => Ok(()),
    })
}

/// Whether `wanted` has a limit of descriptors below `number`.
pub fn is_below(wanted: &[Rlimit], number: u64) -> bool {
    let mut limits = wanted.iter().filter(|limit| limit.resource == NOFILE);
    limits.any(|limit| limit.soft < number)
}

fn each(wanted: &[Rlimit], set: impl Fn(&Rlimit) -> Result<()>) -> Result<()> {
    for (n, limit) in wanted.iter().enumerate() {
        set(limit).at(&format!("/process/rlimits/{n}"), || {
            format!("process.rlimits[{n}]")
        })?;
    }
    Ok(())
}

/// Raises the hard limits of the calling process that are below those wanted; soft ones stay.
/// For who is about to enter, or to make a process in, another user namespace: there
/// CAP_SYS_RESOURCE of the host is gone. What is refused here is refused again, and then
/// reported, by [`set_rlimits`].
pub fn raise_hard_limits(wanted: &[Rlimit]) {
    for limit in wanted {
        let _ = raise_hard_limit(limit);
    }
}

/// Where it is below the one wanted.
fn raise_hard_limit(limit: &Rlimit) -> Result<()> {
    let now = limits::get(limit.resource, limit.name)?;
    match now.hard < limit.hard {
        true => put(limit, now.soft),
        false => Ok(()),
    }
}

/// What [`set_rlimits`] will be refused after [`raise_hard_limits`] by a caller who may raise
/// a hard limit, or may not. `most_files` is fs.nr_open, above which nobody may.
pub fn foresee(wanted: &[Rlimit], may_raise: bool, most_files: Option<u64>) -> Vec<Error> {
    let refused = |(n, limit): (usize, &Rlimit)| {
        let now = limits::get(limit.resource, limit.name).ok()?;
        let most = match (may_raise, limit.resource, most_files) {
            (true, NOFILE, Some(most)) => now.hard.max(most),
            (true, ..) => u64::MAX,
            (false, ..) => now.hard,
        };
        if limit.hard <= most {
            return None;
        }
        let value = Limit {
            // As [`set_rlimits`] asks for it.
            soft: match limit.resource {
                NOFILE => now.soft,
                _ => limit.soft,
            },
            hard: limit.hard,
        };
        let error = limits::set_failed(limit.name, value, Errno::EPERM);
        let error = explain_refusal(error, limit, now.hard)
            .with_pointer(format!("/process/rlimits/{n}"))
            .within(format!("process.rlimits[{n}]"));
        Some(error)
    };
    wanted.iter().enumerate().filter_map(refused).collect()
}

fn set_rlimit(limit: &Rlimit) -> Result<()> {
    put(limit, limit.soft)
}

fn put(limit: &Rlimit, soft: u64) -> Result<()> {
    let value = Limit {
        soft,
        hard: limit.hard,
    };
    limits::set(limit.resource, limit.name, value).map_err(|e| {
        if !e.is(Errno::EPERM) {
            return e;
        }
        match limits::get(limit.resource, limit.name) {
            Ok(now) => explain_refusal(e, limit, now.hard),
            Err(_) => e,
        }
    })
}

fn explain_refusal(error: Error, limit: &Rlimit, hard_now: u64) -> Error {
    let words = |n: u64| match n {
        u64::MAX => "unlimited".to_owned(),
        n => n.to_string(),
    };
    error.with_hint(format!(
        "the hard limit of {} is {} here and only CAP_SYS_RESOURCE on the host raises it; ask for at most that ({} asked; podman: --ulimit host)",
        limit.name,
        words(hard_now),
        words(limit.hard),
    ))
}

/// What a refused write of a lower OOM score means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenRefused {
    /// The caller has the rights of the host's root.
    Fail,
    /// Rootless: the score stays as it is, as with runc.
    Ignore,
}

/// Writes `oom_score_adj` in `process`, an open /proc/PID or /proc/self: how readily the OOM
/// killer takes the process, -1000 (never) to 1000 (first); children inherit it.
///
/// A value below the lowest that a process with CAP_SYS_RESOURCE ever set is refused with
/// EACCES. A process that is not dumpable cannot write its own file from inside a user
/// namespace (proc(5)), so this comes before PR_SET_DUMPABLE, or is done by the parent.
pub fn write_oom_score_adj(process: BorrowedFd, value: i32, when: WhenRefused) -> Result<()> {
    match procfs::write(process, "oom_score_adj", value.to_string().as_bytes()) {
        Err(e)
            if when == WhenRefused::Ignore && (e.is(Errno::EACCES) || e.is(Errno::EPERM)) =>
        {
            log::debug(|| format!("process.oomScoreAdj stays as it is: {e}"));
            Ok(())
        }
        Err(e) if e.is(Errno::EACCES) => Err(e.with_hint(
            "a lower OOM score takes CAP_SYS_RESOURCE on the host; leave process.oomScoreAdj out or raise it",
        )),
        result => result,
    }
    .at("/process/oomScoreAdj", || "process.oomScoreAdj")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_limit_and_both_values() {
        let limit = Rlimit {
            resource: NOFILE,
            name: "RLIMIT_NOFILE",
            soft: 5,
            hard: 1_048_576,
        };
        let e = Error::syscall("prlimit", "x", libc::EPERM);
        let hint = explain_refusal(e, &limit, 1024).hint().unwrap().to_owned();
        for word in ["RLIMIT_NOFILE", "1024", "1048576", "CAP_SYS_RESOURCE"] {
            assert!(hint.contains(word), "{word} in {hint}");
        }
    }

    #[test]
    fn a_refusal_is_foreseen_in_the_same_words() {
        let now = limits::get(NOFILE, "RLIMIT_NOFILE").unwrap();
        let above = Rlimit {
            resource: NOFILE,
            name: "RLIMIT_NOFILE",
            soft: now.soft,
            hard: u64::MAX,
        };
        let seen = set_rlimits(&[above]).unwrap_err();
        assert_eq!(foresee(&[above], false, None), std::slice::from_ref(&seen));
        assert_eq!(foresee(&[above], true, Some(1 << 20)), [seen]);
        let same = Rlimit {
            hard: now.hard,
            ..above
        };
        assert_eq!(foresee(&[same], false, None), []);
    }

    #[test]
    fn the_present_limit_can_be_set_again() {
        let now = limits::get(NOFILE, "RLIMIT_NOFILE").unwrap();
        let again = Rlimit {
            resource: NOFILE,
            name: "RLIMIT_NOFILE",
            soft: now.soft,
            hard: now.hard,
        };
        set_rlimits(&[again]).unwrap();
        limit_descriptors(&[again]).unwrap();
    }
}
