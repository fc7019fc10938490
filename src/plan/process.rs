//! The payload's process: what execve(2) gets and what is set before it.

use std::ffi::CString;

use serde::Serialize;

use super::create::{CreateOptions, keyring_name};
use super::faults::Faults;
use super::namespaces::{IdMapWriter, IdRange, Namespaces, maps_inside};
use super::{Descriptors, annotations, c_string, capabilities, personality, scheduling, words};
use crate::bundle::{Bundle, config};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::seccomp::Filter;

/// What init, or the process of an exec, becomes, and what confines it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Process {
    /// Not empty. The program is `args[0]`, looked for in the container's PATH.
    #[serde(serialize_with = "words::texts")]
    pub args: Vec<CString>,
    /// `NAME=value`, each name once, the last of config.json wins. HOME is filled in by init
    /// from the container's passwd where `home_missing`.
    #[serde(serialize_with = "words::texts")]
    pub env: Vec<CString>,
    pub home_missing: bool,
    /// Absolute.
    #[serde(serialize_with = "words::text")]
    pub cwd: CString,
    pub uid: u32,
    pub gid: u32,
    /// None: leave the groups alone (`run.oci.keep_original_groups`, or nobody can do
    /// otherwise: [`Setgroups::Denied`]).
    pub groups: Option<Vec<u32>>,
    #[serde(serialize_with = "words::octal")]
    pub umask: u32,
    pub terminal: Option<Terminal>,
    pub capabilities: Capabilities,
    pub no_new_privileges: bool,
    pub rlimits: Vec<Rlimit>,
    pub oom_score_adj: Option<i32>,
    pub scheduler: Option<Scheduler>,
    /// ioprio_set(2): class << 13 | priority.
    #[serde(serialize_with = "words::io_priority")]
    pub io_priority: Option<u32>,
    /// CPUs that the payload may use, from process.execCPUAffinity.final; exec only.
    pub affinity_initial: Option<Vec<usize>>,
    pub affinity_final: Option<Vec<usize>>,
    #[serde(serialize_with = "words::optional_text")]
    pub apparmor_profile: Option<CString>,
    #[serde(serialize_with = "words::optional_text")]
    pub selinux_label: Option<CString>,
    /// The session keyring `_ses.ID`; none with `--no-new-keyring`.
    #[serde(serialize_with = "words::optional_text")]
    pub keyring: Option<CString>,
    /// personality(2), e.g. `PER_LINUX32`.
    #[serde(serialize_with = "words::personality")]
    pub personality: Option<u64>,
    /// set_mempolicy(2): mode with flags, nodes.
    pub memory_policy: Option<MemoryPolicy>,
    /// linux.seccomp: every process of the container gets the same.
    pub seccomp: Option<Filter>,
    /// The maps that ids of this process have to be in, for messages; empty without a new
    /// user namespace.
    pub uid_ranges: Vec<IdRange>,
}

/// The pseudoterminal that the process gets in place of the caller's streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Terminal {
    /// Columns and rows, `process.consoleSize`.
    #[serde(serialize_with = "words::terminal_size")]
    pub size: Option<(u16, u16)>,
}

/// Capability sets as bit masks, bit N for capability number N (capabilities(7)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Capabilities {
    #[serde(serialize_with = "words::capabilities")]
    pub bounding: u64,
    #[serde(serialize_with = "words::capabilities")]
    pub effective: u64,
    #[serde(serialize_with = "words::capabilities")]
    pub permitted: u64,
    #[serde(serialize_with = "words::capabilities")]
    pub inheritable: u64,
    #[serde(serialize_with = "words::capabilities")]
    pub ambient: u64,
}

/// One limit of setrlimit(2), in its own unit; `u64::MAX` is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Rlimit {
    /// `RLIMIT_NOFILE` and so on.
    #[serde(skip)] // printed by its name
    pub resource: u32,
    #[serde(rename = "type")]
    pub name: &'static str,
    #[serde(serialize_with = "words::limit")]
    pub soft: u64,
    #[serde(serialize_with = "words::limit")]
    pub hard: u64,
}

/// `struct sched_attr` of sched_setattr(2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Scheduler {
    #[serde(serialize_with = "words::scheduling_policy")]
    pub policy: u32,
    #[serde(serialize_with = "words::scheduling_flags")]
    pub flags: u64,
    pub nice: i32,
    pub priority: u32,
    pub runtime_ns: u64,
    pub deadline_ns: u64,
    pub period_ns: u64,
}

/// Which NUMA nodes memory comes from, set_mempolicy(2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MemoryPolicy {
    /// `MPOL_*` with its flags.
    #[serde(serialize_with = "words::memory_mode")]
    pub mode: i32,
    /// Bit N for node N.
    #[serde(serialize_with = "words::nodes")]
    pub nodes: Vec<u64>,
}

/// SPEC: config.md#posix-process leaves the umask to the runtime; runc and crun take this.
const DEFAULT_UMASK: u32 = 0o022;

impl Process {
    /// The first process of a container.
    pub fn for_init(
        given: &config::Process,
        bundle: &Bundle,
        options: &CreateOptions,
        namespaces: &Namespaces,
        host: &Host,
        warnings: &mut Vec<String>,
        faults: &mut Faults,
    ) -> Result<Process> {
        let maps = namespaces.id_maps.as_ref();
        let setgroups = match host.user_namespace.setgroups_denied
            || maps.is_some_and(|maps| maps.writer == IdMapWriter::Itself)
        {
            true => Setgroups::Denied,
            false => Setgroups::Allowed,
        };
        let mut process = Process::from_config(given, host, warnings)?;
        faults.take(announce(options.descriptors, &mut process.env));
        process.keyring = keyring_name(options);
        process.groups = faults.or_default(groups(given, bundle, setgroups));
        process.personality = personality::plan(&bundle.config, warnings);
        process.memory_policy = scheduling::memory_policy(&bundle.config);
        let receiver = options.seccomp_receiver.as_deref();
        process.seccomp = faults.or_default(super::seccomp::plan(bundle, receiver, warnings));
        if let Some((uids, gids)) = namespaces.ids_inside(host) {
            faults.take(process.check_ids(uids, gids));
        }
        if let Some(maps) = maps {
            process.uid_ranges.clone_from(&maps.uids);
        }
        Ok(process)
    }

    /// What config.json's `process` says on its own: without groups and keyring.
    pub(super) fn from_config(
        given: &config::Process,
        host: &Host,
        warnings: &mut Vec<String>,
    ) -> Result<Process> {
        let (env, home_missing) = environment(&given.env)?;
        let text = |value: &Option<String>, pointer: &str| match value.as_deref() {
            None | Some("") => Ok(None),
            Some(text) => c_string(text, pointer).map(Some),
        };
        let affinity = given.exec_cpu_affinity.as_ref();
        Ok(Process {
            args: strings(&given.args, "/process/args")?,
            env,
            home_missing,
            cwd: c_string(given.cwd.as_deref().unwrap_or("/"), "/process/cwd")?,
            uid: given.user.uid,
            gid: given.user.gid,
            groups: Some(given.user.additional_gids.to_vec()),
            umask: given.user.umask.unwrap_or(DEFAULT_UMASK),
            terminal: terminal(given),
            capabilities: match &given.capabilities {
                Some(sets) => capabilities::plan(sets, host.last_capability, warnings),
                None => Capabilities::default(),
            },
            no_new_privileges: given.no_new_privileges.unwrap_or(false),
            rlimits: given
                .rlimits
                .iter()
                .filter_map(scheduling::rlimit)
                .collect(),
            oom_score_adj: given
                .oom_score_adj
                .and_then(|score| i32::try_from(score).ok()),
            scheduler: given.scheduler.as_ref().and_then(scheduling::scheduler),
            io_priority: given.io_priority.as_ref().and_then(scheduling::io_priority),
            affinity_initial: affinity.and_then(|a| scheduling::cpu_list(a.initial.as_deref())),
            affinity_final: affinity.and_then(|a| scheduling::cpu_list(a.last.as_deref())),
            apparmor_profile: text(&given.apparmor_profile, "/process/apparmorProfile")?,
            selinux_label: text(&given.selinux_label, "/process/selinuxLabel")?,
            keyring: None,
            personality: None,
            memory_policy: None,
            seccomp: None,
            uid_ranges: Vec::new(),
        })
    }

    /// Refuses ids that mean nothing in the container: setresuid(2) would say only
    /// "Invalid argument".
    pub(super) fn check_ids(&self, uids: &[IdRange], gids: &[IdRange]) -> Result<()> {
        let mut bad = Vec::new();
        let mut check = |ranges: &[IdRange], id: u32, pointer: String| {
            if !maps_inside(ranges, id) {
                bad.push((pointer, id));
            }
        };
        check(uids, self.uid, "/process/user/uid".into());
        check(gids, self.gid, "/process/user/gid".into());
        for (n, gid) in self.groups.iter().flatten().enumerate() {
            check(gids, *gid, format!("/process/user/additionalGids/{n}"));
        }
        let Some((first, _)) = bad.first() else {
            return Ok(());
        };
        let text: Vec<String> = bad
            .iter()
            .map(|(pointer, id)| {
                let place = crate::bundle::checks::place_in_words(pointer);
                format!("{place}: {id} is not mapped in the container's user namespace")
            })
            .collect();
        Err(Error::invalid(text.join("; ")).with_pointer(first.clone()))
    }
}

/// Where setgroups(2) works, on the way to the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Setgroups {
    Allowed,
    /// Not in the user namespace of the payload, but before it is joined.
    BeforeJoining,
    Denied,
}

/// None where setgroups(2) is denied and nothing is asked for, or where the caller's groups
/// are to be kept (crun's annotation, which podman and buildah set).
pub(super) fn groups(
    given: &config::Process,
    bundle: &Bundle,
    setgroups: Setgroups,
) -> Result<Option<Vec<u32>>> {
    let asked = &given.user.additional_gids;
    if annotations::value(bundle, annotations::KEEP_ORIGINAL_GROUPS) == Some("1") {
        return Ok(None);
    }
    match setgroups {
        Setgroups::Allowed => Ok(Some(asked.to_vec())),
        Setgroups::BeforeJoining if asked.is_empty() => Ok(Some(Vec::new())),
        Setgroups::Denied if asked.is_empty() => Ok(None),
        _ => Err(Error::unsupported(
            "process.user.additionalGids: setgroups is denied in this user namespace",
        )
        .with_pointer("/process/user/additionalGids")
        .with_hint("map a range of gids by newgidmap, or leave additionalGids out")),
    }
}

fn terminal(given: &config::Process) -> Option<Terminal> {
    let size = |size: config::ConsoleSize| {
        let number = |n: u64| u16::try_from(n).unwrap_or(u16::MAX);
        Some((number(size.width), number(size.height))).filter(|size| *size != (0, 0))
    };
    given.terminal.unwrap_or(false).then(|| Terminal {
        size: given.console_size.and_then(size),
    })
}

fn strings(list: &[String], pointer: &str) -> Result<Vec<CString>> {
    list.iter()
        .enumerate()
        .map(|(n, s)| c_string(s, &format!("{pointer}/{n}")))
        .collect()
}

/// Each name once, at the place of its last entry's value but of its first appearance; and
/// whether HOME is absent or empty, which is then left out.
fn environment(given: &[String]) -> Result<(Vec<CString>, bool)> {
    let name = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
    let mut places = std::collections::HashMap::new();
    let mut entries: Vec<(&str, usize)> = Vec::with_capacity(given.len());
    for (n, entry) in given.iter().map(String::as_str).enumerate() {
        match places.entry(name(entry)) {
            std::collections::hash_map::Entry::Occupied(place) => {
                entries[*place.get()] = (entry, n);
            }
            std::collections::hash_map::Entry::Vacant(place) => {
                place.insert(entries.len());
                entries.push((entry, n));
            }
        }
    }
    let home = entries
        .iter()
        .any(|(entry, _)| entry.len() > 5 && entry.starts_with("HOME="));
    let env = entries
        .into_iter()
        .filter(|(entry, _)| *entry != "HOME=")
        .map(|(entry, n)| c_string(entry, &format!("/process/env/{n}")))
        .collect::<Result<_>>()?;
    Ok((env, !home))
}

/// Tells the payload of the descriptors that it inherits, sd_listen_fds(3), as the first
/// process of its pid namespace; what config.json says of them is about another process.
fn announce(descriptors: Descriptors, env: &mut Vec<CString>) -> Result<()> {
    if descriptors.listen == 0 {
        return Ok(());
    }
    for (name, value) in [("LISTEN_FDS", descriptors.listen), ("LISTEN_PID", 1)] {
        let prefix = format!("{name}=");
        env.retain(|entry| !entry.as_bytes().starts_with(prefix.as_bytes()));
        env.push(c_string(&format!("{prefix}{value}"), "/process/env")?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inherited_descriptors_are_announced_once() {
        let descriptors = |listen| Descriptors {
            listen,
            preserve: 7,
        };
        let mut env = vec![c"LISTEN_FDS=9".to_owned(), c"A=1".to_owned()];
        announce(descriptors(0), &mut env).unwrap();
        assert_eq!(env.len(), 2);
        announce(descriptors(2), &mut env).unwrap();
        assert_eq!(
            env,
            [c"A=1", c"LISTEN_FDS=2", c"LISTEN_PID=1"].map(std::ffi::CStr::to_owned)
        );
    }

    fn env(given: &[&str]) -> (Vec<String>, bool) {
        let given: Vec<String> = given.iter().map(|s| (*s).to_owned()).collect();
        let (env, missing) = environment(&given).unwrap();
        (
            env.into_iter().map(|s| s.into_string().unwrap()).collect(),
            missing,
        )
    }

    #[test]
    fn the_last_value_of_a_name_wins() {
        let (env, missing) = env(&["A=1", "B=2", "HOME=/h", "A=3"]);
        assert_eq!(env, ["A=3", "B=2", "HOME=/h"]);
        assert!(!missing);
    }

    #[test]
    fn an_empty_home_counts_as_missing() {
        assert_eq!(env(&["HOME=", "X=y"]), (vec!["X=y".to_owned()], true));
        assert!(env(&[]).1);
    }
}
