//! The plan of one more process in a container: exec.
//!
//! Runs in: parent; a function of its arguments.

use super::namespaces::Kind;
use super::process::{Capabilities, Process, Setgroups};
use super::{capabilities, personality, process, scheduling};
use crate::bundle::{Bundle, config};
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::host::{CAP_SETGID, Host, UserNamespace};

/// What the command line says of a process to be added.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExecOptions {
    /// The whole process, from `--process FILE`: then the options of a process below are
    /// not used.
    pub process: Option<config::Process>,
    /// Instead of config.json's.
    pub args: Vec<String>,
    pub cwd: Option<String>,
    /// Added to config.json's.
    pub env: Vec<String>,
    pub user: Option<User>,
    pub additional_gids: Vec<u32>,
    /// Names with or without `CAP_`, in any case.
    pub capabilities: Vec<String>,
    pub terminal: bool,
    pub no_new_privileges: bool,
    /// Instead of config.json's.
    pub apparmor_profile: Option<String>,
    pub selinux_label: Option<String>,
    /// Where the container's seccomp agent listened when it was made.
    pub seccomp_receiver: Option<String>,
    /// `_ses.ID` for a container that has such a session keyring.
    pub keyring: Option<std::ffi::CString>,
}

/// `--user UID[:GID]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    pub uid: u32,
    pub gid: Option<u32>,
}

/// Decides everything about a process that joins the container of `bundle`, whose init lives
/// in the user namespace `inside`. The warnings come with it.
pub fn for_exec(
    bundle: &Bundle,
    options: &ExecOptions,
    host: &Host,
    inside: &UserNamespace,
) -> Result<(Process, Vec<String>)> {
    let mut warnings = Vec::new();
    let given = given_process(bundle, options)?;
    let mut process = Process::from_config(&given, host, &mut warnings)?;
    if options.process.is_none() {
        process.capabilities = add_capabilities(process.capabilities, options, host, &mut warnings);
    }
    process.keyring = options.keyring.clone();
    process.groups = process::groups(&given, bundle, setgroups(host, inside))?;
    process.personality = personality::plan(&bundle.config, &mut warnings);
    process.memory_policy = scheduling::memory_policy(&bundle.config);
    let receiver = options.seccomp_receiver.as_deref();
    process.seccomp = super::seccomp::plan(bundle, receiver, &mut warnings)?;
    process.check_ids(&inside.uid_map, &inside.gid_map)?;
    if bundle.config.linux().has_namespace(Kind::User.name()) {
        process.uid_ranges.clone_from(&inside.uid_map);
    }
    Ok((process, warnings))
}

/// A payload may have made the user namespace that it is in, and denied setgroups(2) there: the
/// groups of root of the host are no business of its.
fn setgroups(host: &Host, inside: &UserNamespace) -> Setgroups {
    match inside.setgroups_denied {
        false => Setgroups::Allowed,
        true if host.has_capability(CAP_SETGID) && !host.user_namespace.setgroups_denied => {
            Setgroups::BeforeJoining
        }
        true => Setgroups::Denied,
    }
}

/// The process as config.json would describe it.
fn given_process(bundle: &Bundle, options: &ExecOptions) -> Result<config::Process> {
    let init = bundle.config.process.clone().unwrap_or_default();
    if let Some(given) = &options.process {
        return Ok(with_defaults_of(given.clone(), init));
    }
    if options.args.is_empty() {
        return Err(Error::new(ErrorKind::Usage, "exec needs a program to run"));
    }
    let mut process = init;
    process.args = options.args.clone().into();
    process.terminal = Some(options.terminal);
    process.env = [process.env.to_vec(), options.env.clone()].concat().into();
    if let Some(cwd) = &options.cwd {
        process.cwd = Some(absolute(cwd)?);
    }
    if let Some(user) = options.user {
        process.user.uid = user.uid;
        process.user.gid = user.gid.unwrap_or(process.user.gid);
    }
    let groups = [
        process.user.additional_gids.to_vec(),
        options.additional_gids.clone(),
    ];
    process.user.additional_gids = groups.concat().into();
    if options.no_new_privileges {
        process.no_new_privileges = Some(true);
    }
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    process.apparmor_profile = given(&options.apparmor_profile).or(process.apparmor_profile);
    process.selinux_label = given(&options.selinux_label).or(process.selinux_label);
    Ok(process)
}

fn absolute(cwd: &str) -> Result<String> {
    if cwd.starts_with('/') {
        return Ok(cwd.to_owned());
    }
    Err(Error::new(
        ErrorKind::Usage,
        format!("--cwd {cwd}: must be an absolute path"),
    ))
}

/// What a process file leaves out is as the container's own process has it: runc and crun
/// agree on that, the specification says nothing.
fn with_defaults_of(mut process: config::Process, init: config::Process) -> config::Process {
    let empty = |text: &Option<String>| text.as_deref().unwrap_or_default().is_empty();
    if empty(&process.apparmor_profile) {
        process.apparmor_profile = init.apparmor_profile;
    }
    if empty(&process.selinux_label) {
        process.selinux_label = init.selinux_label;
    }
    if process.rlimits.is_empty() {
        process.rlimits = init.rlimits;
    }
    process.user.umask = process.user.umask.or(init.user.umask);
    process.capabilities = process.capabilities.or(init.capabilities);
    process.oom_score_adj = process.oom_score_adj.or(init.oom_score_adj);
    process.scheduler = process.scheduler.or(init.scheduler);
    process.io_priority = process.io_priority.or(init.io_priority);
    process.exec_cpu_affinity = process.exec_cpu_affinity.or(init.exec_cpu_affinity);
    process
}

/// CVE-2022-29162: what `--cap` adds is never made inheritable, so a program with file
/// capabilities does not get it by the way; nor ambient, unless config.json made it
/// inheritable before.
fn add_capabilities(
    mut sets: Capabilities,
    options: &ExecOptions,
    host: &Host,
    warnings: &mut Vec<String>,
) -> Capabilities {
    for name in &options.capabilities {
        let Some(bit) = capability(name, host) else {
            warnings.push(format!(
                "--cap {name}: this kernel does not know it: ignored"
            ));
            continue;
        };
        sets.bounding |= bit;
        sets.effective |= bit;
        sets.permitted |= bit;
        sets.ambient |= sets.inheritable & bit;
    }
    sets
}

/// The bit of a capability that rt and the kernel know. As runc does, a name from elsewhere is
/// left out with a warning, here as in config.json.
fn capability(name: &str, host: &Host) -> Option<u64> {
    let upper = name.to_ascii_uppercase();
    let full = match upper.strip_prefix("CAP_") {
        Some(_) => upper,
        None => format!("CAP_{upper}"),
    };
    let number = capabilities::number(&full)?;
    (number <= host.last_capability).then_some(1 << number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::example;
    use crate::plan::golden;

    fn exec(options: ExecOptions) -> Result<Process> {
        let bundle = Bundle::from_config(example(false).into_bytes(), "/bundle".into()).unwrap();
        let host = golden::root();
        for_exec(&bundle, &options, &host, &host.user_namespace).map(|(process, _)| process)
    }

    fn options(args: &[&str]) -> ExecOptions {
        ExecOptions {
            args: args.iter().map(|s| (*s).to_owned()).collect(),
            ..ExecOptions::default()
        }
    }

    #[test]
    fn an_added_capability_is_neither_inheritable_nor_ambient() {
        let process = exec(ExecOptions {
            capabilities: vec!["net_raw".into()],
            ..options(&["id"])
        })
        .unwrap();
        let net_raw = 1 << 13;
        let sets = process.capabilities;
        assert_ne!(sets.permitted & sets.effective & sets.bounding & net_raw, 0);
        assert_eq!((sets.inheritable, sets.ambient), (0, 0));
    }

    #[test]
    fn the_rest_is_as_the_containers_own_process_has_it() {
        let process = exec(options(&["id", "-u"])).unwrap();
        assert_eq!(process.args.len(), 2);
        assert_eq!(process.terminal, None);
        assert!(process.no_new_privileges);
        assert_eq!(process.rlimits.len(), 1);
        assert_eq!(process.env.len(), 2);
    }

    #[test]
    fn a_user_without_a_group_keeps_the_containers() {
        let process = exec(ExecOptions {
            user: Some(User { uid: 7, gid: None }),
            additional_gids: vec![8],
            ..options(&["id"])
        })
        .unwrap();
        assert_eq!(
            (process.uid, process.gid, process.groups),
            (7, 0, Some(vec![8]))
        );
    }

    #[test]
    fn a_process_file_takes_what_it_lacks_from_the_container() {
        let given = br#"{"args":["x"],"cwd":"/","user":{"uid":1,"gid":2}}"#;
        let process = exec(ExecOptions {
            process: Some(crate::bundle::process_from_json(given).unwrap()),
            ..ExecOptions::default()
        })
        .unwrap();
        assert_eq!(process.rlimits.len(), 1);
        assert_ne!(process.capabilities.permitted, 0);
        assert!(!process.no_new_privileges);
        assert!(process.env.is_empty() && process.home_missing);
    }

    #[test]
    fn a_label_of_the_command_line_takes_the_place_of_the_containers() {
        let mut config: serde_json::Value = serde_json::from_str(&example(false)).unwrap();
        config["process"]["apparmorProfile"] = "of-config".into();
        config["process"]["selinuxLabel"] = "u:r:t:s0".into();
        let source = config.to_string().into_bytes();
        let bundle = Bundle::from_config(source, "/bundle".into()).unwrap();
        let host = golden::root();
        let labels = |options: &ExecOptions| {
            let planned = for_exec(&bundle, options, &host, &host.user_namespace);
            let (process, _) = planned.unwrap();
            (process.apparmor_profile, process.selinux_label)
        };
        let own = (Some(c"of-config".to_owned()), Some(c"u:r:t:s0".to_owned()));
        assert_eq!(labels(&options(&["id"])), own);
        let given = |apparmor: &str, selinux: &str| ExecOptions {
            apparmor_profile: Some(apparmor.into()),
            selinux_label: Some(selinux.into()),
            ..options(&["id"])
        };
        assert_eq!(labels(&given("", "")), own);
        let other = (Some(c"other".to_owned()), Some(c"u:r:other:s0".to_owned()));
        assert_eq!(labels(&given("other", "u:r:other:s0")), other);
    }

    #[test]
    fn an_unknown_capability_is_left_out_with_a_warning() {
        let bundle = Bundle::from_config(example(false).into_bytes(), "/bundle".into()).unwrap();
        let host = crate::host::Host {
            last_capability: 39,
            ..golden::root()
        };
        let given = ExecOptions {
            capabilities: vec![
                "CAP_FLY".into(),
                "checkpoint_restore".into(),
                "SYSLOG".into(),
            ],
            ..options(&["id"])
        };
        let (process, warnings) = for_exec(&bundle, &given, &host, &host.user_namespace).unwrap();
        let (without, _) =
            for_exec(&bundle, &options(&["id"]), &host, &host.user_namespace).unwrap();
        let added = process.capabilities.bounding & !without.capabilities.bounding;
        assert_eq!(added, 1 << 34);
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert!(warnings[0].contains("CAP_FLY") && warnings[1].contains("checkpoint_restore"));
    }

    #[test]
    fn a_missing_program_is_the_callers_mistake() {
        let error = exec(options(&[])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
    }
}
