//! What to do about a failed system call, as far as its cause is known.
//!
//! Owns one table: the call, its errno, the situation, the remedy. An error that was made
//! with a hint of its own keeps that one.
//!
//! The words are chosen with care, since engines classify a failure by patterns over the whole
//! text: a hint must not hold a phrase that they look for, which a test below checks.
//!
//! Runs in: parent, after the failure.

use std::path::Path;

use libc::{
    EACCES, EAGAIN, ECONNREFUSED, EINVAL, ENODEV, ENOENT, ENOEXEC, ENOSPC, ENOSYS, EPERM, EROFS,
    EUSERS,
};

use crate::error::Error;

/// Facts about the caller and the host that decide between two causes of one errno.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Situation {
    pub is_root: bool,
    /// `user.max_user_namespaces`.
    pub max_user_namespaces: Option<u64>,
    /// `kernel.unprivileged_userns_clone`, Debian's own.
    pub unprivileged_userns_clone: Option<u64>,
    /// `kernel.apparmor_restrict_unprivileged_userns`, Ubuntu's own.
    pub apparmor_restricts: Option<u64>,
}

impl Situation {
    /// The facts of this process. What cannot be read is not known.
    pub fn here() -> Situation {
        Situation {
            is_root: nix::unistd::geteuid().is_root(),
            max_user_namespaces: sysctl("user/max_user_namespaces"),
            unprivileged_userns_clone: sysctl("kernel/unprivileged_userns_clone"),
            apparmor_restricts: sysctl("kernel/apparmor_restrict_unprivileged_userns"),
        }
    }
}

/// A number below /proc/sys. None where there is none that can be read.
pub fn sysctl(name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(Path::new("/proc/sys").join(name)).ok()?;
    text.trim().parse().ok()
}

struct Row {
    calls: &'static [&'static str],
    errnos: &'static [i32],
    /// Words one of which the error's text holds; none: any text.
    about: &'static [&'static str],
    when: fn(&Situation) -> bool,
    hint: &'static str,
}

const ALWAYS: fn(&Situation) -> bool = |_| true;
const CLONE: &[&str] = &["clone", "clone3", "unshare"];
const MOUNT: &[&str] = &[
    "mount",
    "fsopen",
    "fsconfig",
    "fsmount",
    "open_tree",
    "move_mount",
    "mount_setattr",
];
const WRITE: &[&str] = &["open", "openat", "openat2", "write"];
const NEW_USER: &[&str] = &["CLONE_NEWUSER"];

/// The first row that fits is taken.
const TABLE: &[Row] = &[
    Row {
        calls: CLONE,
        errnos: &[ENOSPC, EAGAIN],
        about: NEW_USER,
        when: |s| s.max_user_namespaces == Some(0),
        hint: "user namespaces are switched off here; as root: sysctl -w user.max_user_namespaces=15000",
    },
    Row {
        calls: CLONE,
        errnos: &[ENOSPC, EUSERS],
        about: &[],
        when: ALWAYS,
        hint: "a limit of /proc/sys/user/max_*_namespaces is reached, or namespaces are nested more than 32 deep",
    },
    Row {
        calls: CLONE,
        errnos: &[EPERM],
        about: NEW_USER,
        when: |s| s.unprivileged_userns_clone == Some(0),
        hint: "user namespaces are for root alone here; as root: sysctl -w kernel.unprivileged_userns_clone=1",
    },
    Row {
        calls: &[
            "clone",
            "clone3",
            "unshare",
            "write",
            "mount",
            "sethostname",
        ],
        errnos: &[EPERM, EACCES],
        about: &[],
        when: |s| !s.is_root && s.apparmor_restricts == Some(1),
        hint: "AppArmor restricts user namespaces of ordinary users here; give rt a profile that holds `userns,` or, as root: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
    },
    Row {
        // Of the causes only a security module says EACCES.
        calls: CLONE,
        errnos: &[EACCES],
        about: NEW_USER,
        when: ALWAYS,
        hint: "the AppArmor or SELinux profile that rt runs under forbids new user namespaces (`ps -Z` names it); in an outer container of podman or docker: --security-opt apparmor=unconfined there",
    },
    Row {
        calls: CLONE,
        errnos: &[EPERM],
        about: NEW_USER,
        when: ALWAYS,
        hint: "this host does not let the caller make a user namespace: look at the seccomp profile of an outer container, and whether the caller's root is changed (chroot)",
    },
    Row {
        calls: CLONE,
        errnos: &[EPERM],
        about: &[],
        when: ALWAYS,
        hint: "without CAP_SYS_ADMIN the other namespaces need a new user namespace: add {\"type\": \"user\"} to linux.namespaces, or begin with `rt spec --rootless`",
    },
    Row {
        calls: CLONE,
        errnos: &[EINVAL, ENOSYS],
        about: &["CLONE_NEWTIME"],
        when: ALWAYS,
        hint: "this kernel has no time namespaces (Linux 5.6, CONFIG_TIME_NS)",
    },
    Row {
        calls: &["execve", "execveat", "posix_spawn"],
        errnos: &[ENOENT],
        about: &["newuidmap", "newgidmap"],
        when: ALWAYS,
        hint: "install newuidmap and newgidmap (package uidmap or shadow-utils), which let an ordinary user map ids of /etc/subuid and /etc/subgid",
    },
    Row {
        calls: WRITE,
        errnos: &[EPERM],
        about: &["uid_map", "gid_map"],
        when: ALWAYS,
        hint: "the id mappings hold ids that are not the caller's to give: compare linux.uidMappings and linux.gidMappings with /etc/subuid and /etc/subgid",
    },
    Row {
        calls: &["mkdir", "open"],
        errnos: &[EACCES, EPERM, EROFS],
        about: &["(\"/run/rt"],
        when: |s| !s.is_root,
        hint: "set XDG_RUNTIME_DIR to a folder of yours, or give one by --root",
    },
    Row {
        calls: &["mkdir", "mkdirat", "open", "openat", "openat2", "write"],
        errnos: &[EACCES, EPERM, EROFS],
        about: &["cgroup"],
        when: |s| !s.is_root,
        hint: "no part of the cgroup tree is delegated to this user; start from one that is: systemd-run --user --scope --property=Delegate=yes COMMAND",
    },
    Row {
        calls: MOUNT,
        errnos: &[ENODEV],
        about: &[],
        when: ALWAYS,
        hint: "this kernel knows no file system of that type; /proc/filesystems lists those it knows",
    },
    Row {
        calls: MOUNT,
        errnos: &[EPERM],
        about: &["\"proc\"", "(/proc)"],
        when: ALWAYS,
        hint: "the kernel mounts proc only for the owner of the pid namespace, and only where nothing covers parts of the outer /proc: add a pid namespace, and in a container unmask the outer /proc",
    },
    Row {
        calls: MOUNT,
        errnos: &[EPERM],
        about: &["\"sysfs\"", "(/sys)"],
        when: ALWAYS,
        hint: "the kernel mounts sysfs only for the owner of the network namespace: add a network namespace, or bind the host's /sys as `rt spec --rootless` does",
    },
    Row {
        calls: &["setrlimit", "prlimit", "prlimit64"],
        errnos: &[EPERM],
        about: &[],
        when: ALWAYS,
        hint: "a hard limit above the caller's needs CAP_SYS_RESOURCE: lower it in process.rlimits (podman: --ulimit host)",
    },
    Row {
        calls: WRITE,
        errnos: &[EACCES, EPERM],
        about: &["oom_score_adj"],
        when: ALWAYS,
        hint: "a lower score than the caller's needs CAP_SYS_RESOURCE: raise process.oomScoreAdj",
    },
    Row {
        calls: WRITE,
        errnos: &[EACCES, EPERM, EROFS],
        about: &["/proc/sys", "sysctl"],
        when: ALWAYS,
        hint: "a container may set only what belongs to its own namespaces",
    },
    Row {
        calls: &["connect"],
        errnos: &[ENOENT, ECONNREFUSED],
        about: &["console"],
        when: ALWAYS,
        hint: "whoever wants the terminal has to listen on the console socket before rt is called",
    },
    Row {
        calls: &["bpf"],
        errnos: &[EPERM],
        about: &[],
        when: ALWAYS,
        hint: "device rules are enforced by a BPF program, which needs CAP_SYS_ADMIN (or CAP_BPF and CAP_NET_ADMIN) outside of user namespaces",
    },
    Row {
        calls: &["execve", "execveat"],
        errnos: &[ENOEXEC],
        about: &[],
        when: ALWAYS,
        hint: "the program is made for another architecture, or is a script that does not begin with #! and its interpreter",
    },
];

/// The remedy for `error`, where the table knows one.
pub fn find(error: &Error, situation: &Situation) -> Option<&'static str> {
    let (call, errno) = (error.call()?, error.errno()?);
    let text = error.to_string();
    TABLE
        .iter()
        .filter(|row| row.calls.contains(&call) && row.errnos.contains(&errno))
        .filter(|row| row.about.is_empty() || row.about.iter().any(|word| text.contains(word)))
        .find(|row| (row.when)(situation))
        .map(|row| row.hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What podman, moby, containerd and cri-o look for in a runtime's words.
    const MATCHED: [&str; 15] = [
        "permission denied",
        "not permitted",
        "no such file",
        "executable file not found",
        "open executable",
        "cannot find the file",
        "not a directory",
        "is a directory",
        "no such process",
        "process already finished",
        "invalid process",
        "container not running",
        "does not exist",
        "already exists",
        "/attr",
    ];

    #[test]
    fn no_hint_holds_a_phrase_that_callers_match() {
        for row in TABLE {
            let hint = row.hint.to_lowercase();
            for phrase in MATCHED {
                assert!(!hint.contains(phrase), "{phrase:?} in {hint:?}");
            }
            assert!(!row.hint.contains('\n') && row.hint.len() < 256, "{hint}");
        }
    }

    /// Hints that are made where the error is made are held to the same.
    #[test]
    fn no_other_hint_in_the_code_holds_one_either() {
        let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
        let mut seen = 0;
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let text = std::fs::read_to_string(&path).unwrap();
                for (start, call) in text.match_indices("hint(") {
                    let rest = &text[start + call.len()..];
                    let end = rest.find("\")").unwrap_or(rest.len());
                    let hint = rest[..end].to_lowercase();
                    seen += 1;
                    for phrase in MATCHED.iter().filter(|_| end < 500) {
                        assert!(!hint.contains(phrase), "{path:?}: {phrase:?} in {hint:?}");
                    }
                }
            }
        }
        assert!(seen > 20);
    }

    #[test]
    fn the_situation_decides_between_causes() {
        let error = Error::syscall("clone3", "CLONE_NEWUSER|CLONE_NEWPID", EPERM).within("init");
        let user = Situation::default();
        let debian = Situation {
            unprivileged_userns_clone: Some(0),
            ..Situation::default()
        };
        let ubuntu = Situation {
            apparmor_restricts: Some(1),
            ..Situation::default()
        };
        let hint = |s: &Situation| find(&error, s).unwrap();
        assert!(hint(&debian).contains("kernel.unprivileged_userns_clone"));
        assert!(hint(&ubuntu).contains("AppArmor"));
        assert!(hint(&user).contains("outer container"));
        let refused = Error::syscall("clone3", "CLONE_NEWUSER|CLONE_NEWPID", EACCES);
        assert!(
            find(&refused, &user)
                .unwrap()
                .contains("profile that rt runs under")
        );
        let error = Error::syscall("clone3", "CLONE_NEWPID", EPERM);
        assert!(find(&error, &user).unwrap().contains("spec --rootless"));
    }

    #[test]
    fn an_unknown_cause_has_no_hint() {
        let root = Situation {
            is_root: true,
            ..Situation::default()
        };
        for error in [
            Error::syscall("clone3", "CLONE_NEWPID", ENOENT),
            Error::syscall("mount", r#""a", "b""#, ENOENT),
            Error::system("it broke"),
        ] {
            assert_eq!(find(&error, &root), None, "{error}");
        }
    }
}
