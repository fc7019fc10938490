//! `rt restore`: a container whose processes CRIU makes.
//!
//! Owns what is around them, as `parent` does for a container that is created: cgroup with its
//! limits and device rules, state, hooks, console. CRIU is born in the cgroup, in a mount
//! namespace with the container's root laid out, and makes the first process as this one's
//! child.
//!
//! ```text
//!    parent                       criu
//!      | restore ---------------->  |
//!      | <----- setup-namespaces -  |  hooks prestart, createRuntime
//!      | <---- orphan-pts-master -  |  the terminal's master: console socket, or foreground
//!      | <--------- post-restore -  |  all is there and stands still: state.json
//!      | <-------------- success -  |  it runs
//! ```
//!
//! createContainer and startContainer hooks belong to the making of a root and to the start of
//! a program, neither of which happens here.
//!
//! Runs in: parent, with the rights of root.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::fcntl::OFlag;
use nix::unistd::Pid;

use crate::cgroup::{self, resctrl};
use crate::criu::message::{Kind, Notification, Request};
use crate::criu::options::{CgroupsMode, JoinNamespace, NetworkLock, Options, Switches};
use crate::error::{Context, Error, Result};
use crate::hooks;
use crate::plan::checkpoint::External;
use crate::plan::namespaces::Kind as Namespace;
use crate::plan::{HostPath, Plan};
use crate::security;
use crate::state::{Identity, Phase, Record, Slot, Status};
use crate::sys::file;
use crate::sys::process::OwnedProcess;
use crate::terminal::Foreground;

use super::checkpoint::{Places, require_possible, require_version, settings_file};
use super::criu::{Stage, notify_directory, passed_number, root_below, start_on};
use super::external::{bytes, mounts_for, namespace_key};
use super::foreground::{self, Signals};
use super::sources::Sources;
use super::{parent, record, streams};

const LOG: &str = "restore.log";

/// What the caller wants of a restore.
pub struct Wishes<'a> {
    pub places: Places,
    /// The bytes of config.json, kept for exec and delete.
    pub config: &'a [u8],
    pub console_socket: Option<HostPath>,
    pub empty_namespaces: u32,
    pub cgroups_mode: CgroupsMode,
    pub network_lock: Option<NetworkLock>,
    pub lsm_profile: Option<String>,
    pub lsm_mount_context: Option<String>,
    pub switches: Switches,
}

/// A container that runs again. Dropped, it is killed and undone.
pub struct Restored {
    pub process: OwnedProcess,
    pub record: Record,
    terminal: Option<Foreground>,
    outside: Outside,
}

/// Restores the container of `plan` from its images. Errors undo everything; the state
/// directory is the caller's `slot`.
pub fn restore(
    plan: &Plan,
    external: &External,
    slot: &Slot,
    wishes: &Wishes<'_>,
    signals: &Signals,
) -> Result<Restored> {
    require_possible(external)?;
    security::require_support(&plan.process)?;
    security::require_mount_label_support(plan.rootfs.mount_label.as_ref())?;
    let places = &wishes.places;
    let mut options = decide(external, wishes)?;
    places.make_work()?;
    let hook_outputs = hooks::Outputs::open(&plan.hooks)?;
    let mut record = record::of_plan(plan);
    record::note_streams(&mut record, plan);
    slot.save_config(wishes.config)?;
    slot.save(&record)?;
    let cgroup = cgroup::create(&plan.cgroup, parent::privilege(plan))?;
    let place = std::fs::canonicalize(slot.path())
        .map_err(|e| Error::io("realpath", slot.path(), &e))
        .map(HostPath::new)?;
    options.root = root_below(&place);
    slot.make_notify_directory()?;
    let sources = Sources::of(plan, &places.criu, &place);
    let notify = notify_directory(&place);
    options.external = mounts_for(external, &plan.rootfs.root, &sources, &notify);
    let passed = join_namespaces(external, &mut options)?;
    let stage = Stage {
        plan,
        place: &place,
        sources: &sources,
        passed: &passed,
    };
    let mut service = start_on(places, &stage)?;
    let pid = service.process().pid();
    let outside = confine(pid, cgroup, plan, &mut record, &mut options)?;
    require_version(&mut service)?;
    service.explain_by(places.work_or_images().join(LOG));
    let mut making = Making {
        plan,
        slot,
        wishes,
        signals,
        hook_outputs,
        record,
        terminal: None,
        process: None,
    };
    service.converse(
        &Request::Run(Kind::Restore, &options),
        &|fd| signals.wait_for(fd),
        &mut |notification, fd| making.notified(notification, fd),
    )?;
    service.finish()?;
    let process = making
        .process
        .ok_or_else(|| Error::system("criu restore: it does not say which process it made"))?;
    Ok(Restored {
        process,
        record: making.record,
        terminal: making.terminal,
        outside,
    })
}

/// What is undone with a container that did not come to be.
struct Outside {
    cgroup: Option<cgroup::Guard>,
    resctrl: Option<resctrl::Guard>,
}

impl Outside {
    fn keep(self) {
        if let Some(cgroup) = self.cgroup {
            cgroup.keep();
        }
        if let Some(groups) = self.resctrl {
            groups.keep();
        }
    }
}

/// Moves CRIU, process `pid`, into the cgroup and its class of caches, so that what it restores is charged to
/// the container from the first page on, and tells it where that is.
fn confine(
    pid: Pid,
    cgroup: Option<cgroup::Guard>,
    plan: &Plan,
    record: &mut Record,
    options: &mut Options,
) -> Result<Outside> {
    let mut outside = Outside {
        cgroup,
        resctrl: None,
    };
    if let (Some(rdt), Some(groups)) = (&plan.intel_rdt, &record.resctrl) {
        outside.resctrl = Some(resctrl::enter(rdt, groups, pid)?);
    }
    let Some(guard) = &mut outside.cgroup else {
        record.cgroup = None;
        options.cgroups_mode = CgroupsMode::Ignore;
        return Ok(outside);
    };
    guard.enter(&plan.cgroup, parent::privilege(plan), pid)?;
    record::note_cgroup(record, Some(guard))?;
    if let Some(handle) = guard.handle() {
        handle.attach(pid)?;
        options.cgroup_root = Some(bytes(Path::new("/").join(handle.path())));
    }
    guard.confine(&plan.cgroup, parent::privilege(plan))?;
    Ok(outside)
}

/// What is known before anything is made.
fn decide(external: &External, wishes: &Wishes<'_>) -> Result<Options> {
    Ok(Options {
        config_file: settings_file(&external.settings),
        empty_namespaces: wishes.empty_namespaces,
        network_lock: wishes.network_lock,
        lsm_profile: wishes.lsm_profile.clone(),
        lsm_mount_context: wishes.lsm_mount_context.clone(),
        inherit: streams::inherited(&wishes.places.images).context(|| "--image-path")?,
        cgroups_mode: wishes.cgroups_mode,
        switches: Switches {
            restore_sibling: true,
            evasive_devices: true,
            ..wishes.switches
        },
        ..wishes.places.options(LOG)
    })
}

/// A restore that CRIU is at work on.
struct Making<'a> {
    plan: &'a Plan,
    slot: &'a Slot,
    wishes: &'a Wishes<'a>,
    signals: &'a Signals,
    hook_outputs: hooks::Outputs,
    record: Record,
    terminal: Option<Foreground>,
    process: Option<OwnedProcess>,
}

impl Making<'_> {
    fn notified(&mut self, notification: &Notification, fd: Option<OwnedFd>) -> Result<()> {
        match notification.script.as_str() {
            "setup-namespaces" => self.run_hooks(notification.pid),
            "orphan-pts-master" => {
                let master = fd.ok_or_else(|| Error::system("criu sent no terminal"))?;
                self.take_terminal(master)
            }
            "post-restore" => self.note(notification.pid),
            _ => Ok(()),
        }
    }

    fn run_hooks(&mut self, pid: Option<i32>) -> Result<()> {
        let hooks = &self.plan.hooks;
        if hooks.prestart.is_empty() && hooks.create_runtime.is_empty() {
            return Ok(());
        }
        self.record.init = identity(pid)?;
        // Hooks may look at the state.
        self.slot.save(&self.record)?;
        let state = record::for_hooks(&self.record, Status::Creating)?;
        let place = hooks::Place::outside(self.plan.bundle.as_path()).until(self.signals);
        hooks::run(&hooks.prestart, &state, &place, &self.hook_outputs)?;
        hooks::run(&hooks.create_runtime, &state, &place, &self.hook_outputs)
    }

    fn take_terminal(&mut self, master: OwnedFd) -> Result<()> {
        match &self.wishes.console_socket {
            Some(path) => crate::terminal::send_to_console_socket(path.as_path(), master.as_fd()),
            None => {
                self.terminal = Some(foreground::terminal(master)?);
                Ok(())
            }
        }
    }

    /// From now on it counts as running.
    fn note(&mut self, pid: Option<i32>) -> Result<()> {
        self.record.init = identity(pid)?;
        if let Some(init) = self.record.init {
            self.process = Some(OwnedProcess::adopt(init.pid())?);
        }
        self.record.phase = Phase::Created;
        self.slot.save(&self.record)
    }
}

fn identity(pid: Option<i32>) -> Result<Option<Identity>> {
    match pid {
        Some(pid) => Identity::of(Pid::from_raw(pid)),
        None => Err(Error::system("criu does not say which process it made")),
    }
}

impl Restored {
    /// Leaves the container alone from now on.
    pub fn keep(self) {
        self.outside.keep();
        self.process.release();
    }

    /// Stays until the payload has ended; returns its status.
    pub fn attend(self, signals: &Signals) -> Result<u8> {
        self.outside.keep();
        foreground::attend(self.process, signals, self.terminal, None)
    }
}

/// The namespaces that the container has of others: those that CRIU left out of the images are
/// handed to it open, the rest it joins by path.
fn join_namespaces(external: &External, options: &mut Options) -> Result<Vec<OwnedFd>> {
    let mut passed = Vec::new();
    for joined in &external.namespaces {
        let place = || format!("linux.namespaces[{}].path", joined.index);
        let pointer = format!("/linux/namespaces/{}/path", joined.index);
        let opened = file::open_host(joined.path.as_path(), OFlag::O_RDONLY);
        let opened = opened.at(&pointer, place)?;
        match namespace_key(joined.kind) {
            Some(key) => {
                options
                    .inherit
                    .push((key.into(), passed_number(passed.len())));
                passed.push(opened);
            }
            None if matches!(joined.kind, Namespace::Mount | Namespace::Cgroup) => {}
            None => options.join.push(JoinNamespace {
                kind: joined.kind.proc_name(),
                path: bytes(joined.path.as_path().to_owned()),
            }),
        }
    }
    Ok(passed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Host;
    use crate::plan::{CreateOptions, golden};
    use serde_json::json;

    /// A folder that looks like resctrl with the class `gold`, and what a restore leaves there.
    fn confined(name: &str, rdt: serde_json::Value, look: impl FnOnce(&Path, Result<Outside>)) {
        let mount = std::env::temp_dir().join(format!("rt-{name}-{}", std::process::id()));
        std::fs::create_dir_all(mount.join("gold/mon_groups")).unwrap();
        std::fs::write(mount.join("gold/tasks"), "").unwrap();
        let host = Host {
            resctrl: Some(mount.clone()),
            ..golden::root()
        };
        let mut config: serde_json::Value =
            serde_json::from_str(&crate::bundle::example(false)).unwrap();
        config["linux"]["intelRdt"] = rdt;
        let plan = golden::plan(config.to_string(), CreateOptions::default(), &host);
        let mut record = record::of_plan(&plan);
        let mut options = Options::default();
        let pid = Pid::from_raw(77);
        look(&mount, confine(pid, None, &plan, &mut record, &mut options));
        std::fs::remove_dir_all(mount).unwrap();
    }

    #[test]
    fn criu_and_all_it_restores_are_in_the_class_of_config() {
        confined(
            "rdt-restore",
            json!({"closID": "gold"}),
            |mount, outside| {
                assert!(outside.is_ok());
                let tasks = std::fs::read_to_string(mount.join("gold/tasks")).unwrap();
                assert_eq!(tasks, "77");
            },
        );
    }

    #[test]
    fn a_group_of_a_restore_that_fails_is_removed() {
        // The kernel puts a file tasks into a new group; here there is none.
        let rdt = json!({"closID": "gold", "enableMonitoring": true});
        confined("rdt-undone", rdt, |mount, outside| {
            assert!(outside.is_err());
            assert!(!mount.join("gold/mon_groups/web").exists());
        });
    }
}
