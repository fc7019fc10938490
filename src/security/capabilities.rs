//! From the privileged init to the user of config.json, with exactly its capabilities.
//!
//! Owns the order. Each step needs what a later one takes away:
//!
//! 1. the bounding set, while CAP_SETPCAP is effective;
//! 2. PR_SET_KEEPCAPS, or the change of user would empty the permitted set;
//! 3. groups, gid, uid: setgroups(2) needs CAP_SETGID, and leaving user 0 clears the
//!    effective set;
//! 4. effective, permitted and inheritable in one capset(2); CAP_SYS_ADMIN stays where a
//!    seccomp program is still to be loaded without no_new_privs, which is done as late as
//!    possible. The payload never has it from here: execve(2) makes the permitted set anew,
//!    from the bounding, the inheritable and the ambient set;
//! 5. the ambient set, which can only hold what is permitted and inheritable by then.
//!
//! CVE-2022-29162, CVE-2022-27650: the inheritable set is what config.json says and nothing
//! is ever added to it, or a file with inheritable bits would give rights back.
//!
//! SPEC: capabilities that cannot be granted (the kernel does not know them, or the caller
//! lacks them) are left out with a warning: config.md#linux-process says SHOULD NOT fail.
//! runc and crun end with a bare EPERM of capset here.
//!
//! Runs in: init after pivot, and enter; last of the steps that need privileges.

use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};

use crate::error::{Context, Error, Result};
use crate::host::CAP_SYS_ADMIN;
use crate::log;
use crate::plan::capabilities::name;
use crate::plan::namespaces::maps_inside;
use crate::plan::process::{Capabilities, Process};
use crate::sys::capability::{self, Sets};
use crate::sys::{check, procfs};

/// Becomes the user of `process` with its capabilities, in the order of the module's head.
/// `own` is an open /proc/self of the host's procfs; without it a user namespace that denies
/// setgroups(2) has to be known to the plan. Fails with EPERM or EINVAL of the call that is
/// refused; the process is then of no use.
///
/// The change of user clears the parent death signal and the dumpable flag (prctl(2)).
pub fn set_ids_and_capabilities(process: &Process, own: Option<BorrowedFd>) -> Result<()> {
    drop_bounding(&process.capabilities).at(
        "/process/capabilities/bounding",
        || "process.capabilities.bounding",
    )?;
    if process.uid != 0 {
        capability::keep_permitted_over_setuid()?;
    }
    set_ids(process, own)?;
    let held = if process.seccomp.is_some() && !process.no_new_privileges {
        1 << CAP_SYS_ADMIN
    } else {
        0
    };
    apply(&process.capabilities, held).at("/process/capabilities", || "process.capabilities")
}

/// Takes every capability that `wanted.bounding` lacks from the bounding set, up to the last
/// one that the running kernel has. Needs CAP_SETPCAP, unless there is nothing to take.
fn drop_bounding(wanted: &Capabilities) -> Result<()> {
    for number in (0..64).filter(|n| !has(wanted.bounding, *n)) {
        match capability::drop_from_bounding_set(number) {
            Ok(true) => {}
            Ok(false) => break,
            Err(e) if e.is(Errno::EPERM) => match capability::is_in_bounding_set(number) {
                Some(true) => {
                    return Err(e.within(name(number)).with_hint(
                        "the bounding set is changed with CAP_SETPCAP; run as root, or in a new user namespace",
                    ));
                }
                Some(false) => {}
                None => break,
            },
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Sets the effective, permitted, inheritable and ambient sets to `wanted`, as far as the
/// kernel grants it, and keeps those of `held` that are there. Needs no capability: rights
/// are only given up.
pub fn apply(wanted: &Capabilities, held: u64) -> Result<()> {
    let mut grant = Capabilities {
        ambient: wanted.ambient & wanted.permitted & wanted.inheritable,
        ..*wanted
    };
    match capability::set(sets(&grant, held)) {
        Err(e) if e.is(Errno::EPERM) => {
            let have = capability::get()?;
            grant = grantable(wanted, have);
            warn_of("permitted", wanted.permitted & !grant.permitted);
            warn_of("effective", wanted.effective & !grant.effective);
            warn_of("inheritable", wanted.inheritable & !grant.inheritable);
            capability::set(sets(&grant, held & have.permitted))?;
        }
        result => result?,
    }
    warn_of("ambient", wanted.ambient & !grant.ambient);
    apply_ambient(&grant)
}

fn sets(of: &Capabilities, held: u64) -> Sets {
    Sets {
        effective: of.effective | held,
        permitted: of.permitted | held,
        inheritable: of.inheritable,
    }
}

/// capset(2) leaves of the ambient set what stays permitted and inheritable; the caller of
/// `rt` may have handed some of that down.
fn apply_ambient(grant: &Capabilities) -> Result<()> {
    if grant.permitted & grant.inheritable & !grant.ambient != 0 {
        capability::clear_ambient_set()?;
    }
    for number in (0..64).filter(|n| has(grant.ambient, *n)) {
        match capability::raise_ambient(number) {
            // SECBIT_NO_CAP_AMBIENT_RAISE.
            Err(e) if e.is(Errno::EPERM) => warn_of("ambient", 1 << number),
            result => result?,
        }
    }
    Ok(())
}

/// The part of `wanted` that capset(2) accepts from a thread with the sets `have`, by the
/// rules of capabilities(7): nothing new is permitted, what is effective is permitted, what
/// is inheritable was so or was permitted and is in the bounding set.
fn grantable(wanted: &Capabilities, have: Sets) -> Capabilities {
    let permitted = wanted.permitted & have.permitted;
    let inheritable = wanted.inheritable
        & (have.inheritable | have.permitted)
        & (have.inheritable | wanted.bounding);
    Capabilities {
        bounding: wanted.bounding,
        effective: wanted.effective & permitted,
        permitted,
        inheritable,
        ambient: wanted.ambient & permitted & inheritable,
    }
}

fn set_ids(process: &Process, own: Option<BorrowedFd>) -> Result<()> {
    if let Some(groups) = &process.groups {
        let gids: Vec<Gid> = groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
        match check(setgroups(&gids), "setgroups", format_args!("{groups:?}")) {
            Err(e)
                if e.is(Errno::EPERM)
                    && gids.is_empty()
                    && (has_no_groups() || own.is_some_and(setgroups_is_denied)) => {}
            set => set.map_err(hint_at_maps).at(
                "/process/user/additionalGids",
                || "process.user.additionalGids",
            )?,
        }
    }
    let gid = Gid::from_raw(process.gid);
    let n = process.gid;
    check(
        setresgid(gid, gid, gid),
        "setresgid",
        format_args!("{n}, {n}, {n}"),
    )
    .map_err(hint_at_maps)
    .at("/process/user/gid", || "process.user.gid")?;
    let uid = Uid::from_raw(process.uid);
    let n = process.uid;
    check(
        setresuid(uid, uid, uid),
        "setresuid",
        format_args!("{n}, {n}, {n}"),
    )
    .map_err(|e| match maps_inside(&process.uid_ranges, n) {
        true => e,
        false => hint_at_maps(e),
    })
    .at("/process/user/uid", || "process.user.uid")
}

/// Gives up the caller's groups before a user namespace is joined, which may deny setgroups(2):
/// one that the payload has made for itself, say, to get at what root of the host is a member of.
/// An ordinary user cannot, and their own groups stay.
pub fn give_up_groups() -> Result<()> {
    match setgroups(&[]) {
        Ok(()) | Err(Errno::EPERM) => Ok(()),
        refused => check(refused, "setgroups", "[]"),
    }
}

fn has_no_groups() -> bool {
    nix::unistd::getgroups().is_ok_and(|groups| groups.is_empty())
}

/// Whether the user namespace forbids setgroups(2) for good, which the plan cannot know of one
/// that is joined. The caller's groups then stay, as they did where it was made.
fn setgroups_is_denied(own: BorrowedFd) -> bool {
    let mut answer = [0; 4];
    let file = procfs::open(own, "setgroups", OFlag::O_RDONLY);
    file.is_ok_and(|file| nix::unistd::read(&file, &mut answer) == Ok(4)) && answer == *b"deny"
}

fn hint_at_maps(error: Error) -> Error {
    match error.errno().map(Errno::from_raw) {
        Some(Errno::EINVAL) => error.with_hint(
            "the id is not in the container's id map; widen linux.uidMappings and linux.gidMappings, or the ranges in /etc/subuid and /etc/subgid",
        ),
        Some(Errno::EPERM) => error.with_hint(
            "in a user namespace whose /proc/self/setgroups says \"deny\" groups cannot be set; newgidmap with a range in /etc/subgid allows it",
        ),
        _ => error,
    }
}

fn warn_of(set: &str, missing: u64) {
    if missing != 0 {
        log::warning(|| {
            format!(
                "process.capabilities.{set}: {} cannot be granted here",
                names(missing)
            )
        });
    }
}

fn has(set: u64, number: u32) -> bool {
    set >> number & 1 == 1
}

/// The names of a set, in the order of their numbers.
pub fn names(set: u64) -> String {
    let names: Vec<String> = (0..64).filter(|n| has(set, *n)).map(name).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHOWN: u64 = 1;
    const KILL: u64 = 1 << 5;

    #[test]
    fn what_the_caller_lacks_is_left_out_everywhere() {
        let wanted = Capabilities {
            bounding: CHOWN | KILL,
            effective: CHOWN | KILL,
            permitted: CHOWN | KILL,
            inheritable: CHOWN | KILL,
            ambient: CHOWN | KILL,
        };
        let have = Sets {
            effective: CHOWN,
            permitted: CHOWN,
            inheritable: 0,
        };
        let granted = grantable(&wanted, have);
        assert_eq!(
            granted,
            Capabilities {
                bounding: CHOWN | KILL,
                effective: CHOWN,
                permitted: CHOWN,
                inheritable: CHOWN,
                ambient: CHOWN
            }
        );
    }

    #[test]
    fn nothing_is_inheritable_that_config_does_not_name() {
        let wanted = Capabilities {
            bounding: CHOWN,
            permitted: CHOWN,
            effective: CHOWN,
            inheritable: 0,
            ambient: CHOWN,
        };
        let have = Sets {
            effective: !0,
            permitted: !0,
            inheritable: !0,
        };
        let granted = grantable(&wanted, have);
        assert_eq!((granted.inheritable, granted.ambient), (0, 0));
    }

    #[test]
    fn a_set_is_printed_by_name() {
        assert_eq!(
            names(CHOWN | KILL | 1 << 63),
            "CAP_CHOWN, CAP_KILL, capability 63"
        );
    }
}
