//! The plan of a container: from config.json, the command line and the host's facts.
//!
//! Runs in: parent; a function of its arguments.

use std::ffi::CString;

use super::cgroup::{Cgroup, CgroupManager};
use super::faults::Faults;
use super::hooks::Hooks;
use super::namespaces::{Kind, Namespaces};
use super::process::Process;
use super::rootfs::Rootfs;
use super::{
    Descriptors, HostPath, Plan, annotations, c_string, intel_rdt, mounts, net_devices, notify,
    sysctl,
};
use crate::bundle::checks::mounts::shapes;
use crate::bundle::checks::place_in_words;
use crate::bundle::linux::IdMapping;
use crate::bundle::mount_options::meaning;
use crate::bundle::{Bundle, Config};
use crate::error::{Error, Result};
use crate::host::{Host, Wanted};

/// What the command line says of a container to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CreateOptions {
    /// Already known to be a legal one.
    pub id: String,
    pub no_pivot: bool,
    pub no_new_keyring: bool,
    pub descriptors: Descriptors,
    pub cgroup_manager: CgroupManager,
    pub rootless: Rootless,
    /// Where the socket for sd_notify(3) will be, where a service manager called.
    pub notify_directory: Option<HostPath>,
    /// RUN_OCI_SECCOMP_RECEIVER of the environment, which crun looks at: the path of a seccomp
    /// agent's socket.
    pub seccomp_receiver: Option<String>,
}

/// `--rootless`: whether a cgroup that cannot be made is no error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rootless {
    #[default]
    Auto,
    Yes,
    No,
}

/// What [`Host::probe`] has to find out for this container; less is faster.
pub fn wanted(bundle: &Bundle, options: &CreateOptions) -> Wanted {
    let linux = bundle.config.linux();
    let only = |maps: &[IdMapping]| match maps {
        [one] if one.size == 1 => Some(one.host_id),
        _ => None,
    };
    let network = linux
        .namespace("network")
        .and_then(|namespace| namespace.path.as_deref());
    let asks_about_network = !(linux.sysctl.is_empty() && linux.net_devices.is_empty());
    Wanted {
        network_namespace: network
            .filter(|path| !path.is_empty() && asks_about_network)
            .map(Into::into),
        resctrl: linux.intel_rdt.is_some(),
        cgroup: options.cgroup_manager != CgroupManager::Disabled,
        subordinate_ids: !linux.has_namespace("user") || linux.makes_namespace("user"),
        only_ids: only(&linux.uid_mappings).zip(only(&linux.gid_mappings)),
    }
}

impl Plan {
    /// Decides everything about the container. What cannot be done is refused here, before
    /// anything exists.
    pub fn for_create(bundle: &Bundle, options: &CreateOptions, host: &Host) -> Result<Plan> {
        let mut faults = Faults::default();
        let plan = Plan::decide(bundle, options, host, &mut faults);
        match (faults.into_first(), plan) {
            // What is not of config.json, an option of the command line, has no place in it.
            (Some(fault), _) if fault.pointer().is_some() => Err(fault.within("config.json")),
            (Some(fault), _) => Err(fault),
            (None, Some(plan)) => Ok(plan),
            (None, None) => Err(Error::system("there is no plan, and nothing is at fault")),
        }
    }

    /// Decides as much as can be, and says everything that stands in the way, in the order in
    /// which `create` would meet it. A plan with faults is for looking at: what could not be
    /// decided is missing from it.
    pub fn examine(
        bundle: &Bundle,
        options: &CreateOptions,
        host: &Host,
    ) -> (Option<Plan>, Vec<Error>) {
        let mut faults = Faults::default();
        let plan = Plan::decide(bundle, options, host, &mut faults);
        (plan, faults.into_all())
    }

    fn decide(
        bundle: &Bundle,
        options: &CreateOptions,
        host: &Host,
        faults: &mut Faults,
    ) -> Option<Plan> {
        let config = &bundle.config;
        let mut warnings = bundle.warnings.clone();
        faults.take(annotations::check(bundle));
        tolerate(config, &mut warnings);
        let namespaces = Namespaces::plan(config, host, &mut warnings, faults);
        let namespaces = faults.take(namespaces)?;
        if let Some((uids, gids)) = namespaces.ids_inside(host) {
            faults.take(mounts::check_ids(config, uids, gids));
        }
        let process = config
            .process
            .as_ref()
            .ok_or_else(|| Error::invalid("process: is missing").with_pointer("/process"));
        let process = process.and_then(|process| {
            Process::for_init(
                process,
                bundle,
                options,
                &namespaces,
                host,
                &mut warnings,
                faults,
            )
        });
        let mut process = faults.take(process)?;
        let terminal = process.terminal.is_some();
        let mut rootfs = Rootfs::plan(bundle, options, &namespaces, host, terminal, faults);
        let notify = notify::plan(
            options.notify_directory.as_ref(),
            &mut rootfs,
            &mut process.env,
            &mut warnings,
        );
        let name = |value: &Option<String>, pointer| match value.as_deref() {
            None | Some("") => Ok(None),
            Some(name) => c_string(name, pointer).map(Some),
        };
        let cgroup = Cgroup::plan(bundle, options, &namespaces, host, &mut warnings);
        Some(Plan {
            id: options.id.clone(),
            bundle: HostPath::new(&bundle.dir),
            annotations: (*bundle.config.annotations).clone(),
            pidfd_receiver: annotations::path(bundle, annotations::PIDFD_RECEIVER),
            cgroup: faults.or_default(cgroup),
            rootfs,
            hooks: faults.or_default(Hooks::plan(bundle)),
            sysctls: faults.or_default(sysctl::plan(config, host)),
            net_devices: faults.or_default(net_devices::plan(config, host)),
            intel_rdt: faults.or_default(intel_rdt::plan(config, &options.id, host)),
            hostname: faults.or_default(name(&config.hostname, "/hostname")),
            domainname: faults.or_default(name(&config.domainname, "/domainname")),
            descriptors: options.descriptors,
            notify,
            rootless: is_rootless(options, host),
            namespaces,
            process,
            warnings,
        })
    }
}

/// podman calls as uid 0 of its own user namespace, so the uid alone tells nothing.
pub(super) fn is_rootless(options: &CreateOptions, host: &Host) -> bool {
    match options.rootless {
        Rootless::Yes => true,
        Rootless::No => false,
        Rootless::Auto => !host.user_namespace.is_initial() || !host.is_privileged(),
    }
}

/// SPEC: config.md#mounts: a relative destination is no error, though deprecated. Neither is what
/// the kernel drops without a word, since engines write it (singularity's `mode=777` of a bind
/// mount): runc 1.1 and crun take it.
fn tolerate(config: &Config, warnings: &mut Vec<String>) {
    for (n, shape) in shapes(config).enumerate() {
        let destination = shape.mount.destination.as_deref().unwrap_or_default();
        if !destination.starts_with('/') {
            warnings.push(format!(
                "mounts[{n}].destination: {destination:?} is relative: taken as seen from the root"
            ));
        }
        if !shape.is_bind() {
            continue;
        }
        for (n, option) in shape.options() {
            if meaning(option).is_none() && !option.is_empty() {
                warnings.push(format!(
                    "{}: {option:?} is for a file system, and a bind mount makes none",
                    place_in_words(&shape.place_of_option(n))
                ));
            }
        }
    }
    let process = config.process.as_ref();
    if let Some(umask) = process.and_then(|process| process.user.umask)
        && umask > 0o777
    {
        warnings.push(format!(
            "process.user.umask: of {umask} (octal {umask:o}) the last three octal digits count"
        ));
    }
}

/// `_ses.ID`, the name that runc and crun give the container's session keyring.
pub(super) fn keyring_name(options: &CreateOptions) -> Option<CString> {
    if options.no_new_keyring {
        return None;
    }
    // An id holds no NUL byte: it is a legal file name of a few kinds of characters.
    CString::new(format!("_ses.{}", options.id)).ok()
}

/// Whether ids mean something else inside than in the host's first user namespace.
pub(super) fn in_user_namespace(namespaces: &Namespaces, host: &Host) -> bool {
    namespaces.is_private(Kind::User) || !host.in_initial_user_namespace()
}
