//! The parent: `rt create` and `rt run` up to the moment when the payload runs.
//!
//! Makes what lies outside of the container (cgroup, gate, id maps), answers init's requests,
//! and is the only one who writes the state. Whatever it holds undoes itself unless kept, so
//! a failure at any step leaves nothing.
//!
//! Runs in: parent, with the caller's rights.

use std::os::fd::{AsFd, OwnedFd};

use nix::unistd::Pid;

use crate::cgroup::{self, resctrl};
use crate::error::{self, Context, Error, Result};
use crate::hooks;
use crate::plan::namespaces::Kind as Namespace;
use crate::plan::{HostPath, Plan};
use crate::security;
use crate::state::{Identity, Phase, Record, Slot, Status};
use crate::sys::process::OwnedProcess;
use crate::terminal::Foreground;
use crate::trace;

use super::foreground::{self, Signals};
use super::gate::{Gate, Outcome};
use super::init::{self, Init};
use super::mounts::Mounts;
use super::net_devices::{self, Moved};
use super::readiness::Relay;
use super::spawn::{self, Birthplace, Inheritance, Spawned};
use super::wire::{Frame, Order, Request, Wire};
use super::{idmap, notify, post_mortem, record};

/// Who lets the payload go once all is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// `rt start`, at the gate.
    AtTheGate,
    /// This process.
    ByParent,
}

/// What the caller wants of the outside.
pub struct Wishes<'a> {
    pub release: Release,
    /// The bytes of config.json, kept for exec and delete.
    pub config: &'a [u8],
    /// Where the terminal's master is to be sent.
    pub console_socket: Option<HostPath>,
    /// One of these may end it all before init is ready.
    pub signals: &'a Signals,
}

/// A container whose init is ready. Dropped, it is killed and undone.
pub struct Child {
    pub process: OwnedProcess,
    /// The terminal, where no console socket took its master.
    terminal: Option<Foreground>,
    pub record: Record,
    wire: Wire,
    outcome: Outcome,
    hook_outputs: hooks::Outputs,
    cgroup: Option<cgroup::Guard>,
    net_devices: Option<Moved>,
    resctrl: Option<resctrl::Guard>,
}

/// Makes the container up to the point where only execve is left.
///
/// Errors undo everything; the state directory is the caller's `slot`.
pub fn create(plan: &Plan, slot: &Slot, wishes: &Wishes<'_>) -> Result<Child> {
    security::require_support(&plan.process)?;
    security::require_mount_label_support(plan.rootfs.mount_label.as_ref())?;
    let mut record = record::of_plan(plan);
    let gate = match wishes.release {
        Release::AtTheGate => Some(Gate::make(slot.dir())?),
        Release::ByParent => None,
    };
    let outcome = Outcome::new()?;
    let hook_outputs = hooks::Outputs::open(&plan.hooks)?;
    if plan.notify {
        slot.make_notify_directory()?;
    }
    trace::during("state", || slot.save(&record))?;
    if !plan.hooks.is_empty() {
        // delete looks for them in it, should this process be killed.
        slot.save_config(wishes.config)?;
    }
    if plan.namespaces.is_private(Namespace::User) {
        security::limits::raise_hard_limits(&plan.process.rlimits);
    }
    let mut cgroup = trace::during("cgroup", || cgroup::create(&plan.cgroup, privilege(plan)))?;
    let mounts_by_parent = opens_mounts(plan);
    let spawned = {
        let init = Init {
            plan,
            record: &record,
            outcome: &outcome,
            gate: gate.as_ref(),
            has_cgroup: cgroup.is_some(),
            mounts_by_parent,
            hook_outputs: &hook_outputs,
        };
        let birthplace = match &cgroup {
            None => Birthplace::Parents,
            Some(guard) => guard
                .fd()
                .map_or(Birthplace::ParentsAtFirst, Birthplace::Cgroup),
        };
        let mut keep = vec![outcome.as_fd()];
        keep.extend(gate.as_ref().map(AsFd::as_fd));
        keep.extend(hook_outputs.fds());
        let inheritance = Inheritance {
            first: plan.descriptors.first_closed(),
            keep: &keep,
        };
        trace::during("clone of init", || {
            spawn::spawn(plan, birthplace, &inheritance, |birth| {
                init::run(&init, birth)
            })
        })
    };
    let Spawned { process, wire } = spawned.or_else(explain_no_birth)?;
    if let Some(guard) = &mut cgroup
        && let Err(error) = guard.enter(&plan.cgroup, privilege(plan), process.pid())
    {
        return Err(last_words(process, &wire).unwrap_or(error));
    }
    if plan.hooks.is_empty() {
        // While init works.
        slot.save_config(wishes.config)?;
    }
    record::note_streams(&mut record, plan);
    record::note_cgroup(&mut record, cgroup.as_ref())?;
    record.init = Identity::of(process.pid())?;
    let mut child = Child {
        process,
        terminal: None,
        record,
        wire,
        outcome,
        hook_outputs,
        cgroup,
        net_devices: None,
        resctrl: None,
    };
    child.confine(plan)?;
    child.serve(plan, slot, wishes)?;
    Ok(child)
}

/// Whether it is the cgroup or a namespace that init could not be born into.
fn explain_no_birth(error: Error) -> Result<Spawned> {
    match cgroup::takes_no_process(&error) {
        true => {
            Err(cgroup::explain_entry(error)).at("/linux/cgroupsPath", || "the container's cgroup")
        }
        false => Err(error.within("linux.namespaces")),
    }
}

/// Why init has ended, where it did that by itself.
fn last_words(process: OwnedProcess, wire: &Wire) -> Option<Error> {
    drop(process);
    while let Ok(Some((frame, _))) = wire.receive() {
        match frame {
            Frame::Aside(aside) => aside.pass_on(),
            Frame::Failed(error) => return Some(error.within("init")),
            Frame::Request(_) | Frame::Born { .. } => {}
        }
    }
    None
}

pub(super) fn privilege(plan: &Plan) -> cgroup::Privilege {
    if plan.rootless {
        cgroup::Privilege::Rootless
    } else {
        cgroup::Privilege::Host
    }
}

/// In a user namespace that is not the caller's, new or joined, sources of bind mounts may lie
/// where the mapped ids cannot go; a caller who has CAP_SYS_ADMIN outside of it can go there.
/// An ordinary user's parent has no right to clone a mount either, so then init opens them
/// itself.
fn opens_mounts(plan: &Plan) -> bool {
    plan.namespaces.is_private(Namespace::User)
        && plan.namespaces.is_new(Namespace::Mount)
        && crate::sys::capability::get()
            .is_ok_and(|sets| sets.effective & (1 << crate::host::CAP_SYS_ADMIN) != 0)
}

impl Child {
    /// Gives the cgroup its limits, and init its class of caches before it has children.
    fn confine(&mut self, plan: &Plan) -> Result<()> {
        let _step = trace::step("limits of the cgroup");
        if let (Some(rdt), Some(groups)) = (&plan.intel_rdt, &self.record.resctrl) {
            self.resctrl = Some(resctrl::enter(rdt, groups, self.process.pid())?);
        }
        match &self.cgroup {
            Some(cgroup) => cgroup.confine(&plan.cgroup, privilege(plan)),
            None => Ok(()),
        }
    }

    /// Answers init until it is ready.
    fn serve(&mut self, plan: &Plan, slot: &Slot, wishes: &Wishes<'_>) -> Result<()> {
        let mut order = Order::default();
        let mut mounts = Mounts::new(&plan.rootfs);
        if plan.namespaces.joins(Namespace::User) {
            write_oom_score_adj(self.process.pid(), plan)?;
        }
        self.draft_created(slot)?;
        loop {
            wishes.signals.wait_for(self.wire.as_fd())?;
            match self.wire.receive()? {
                Some((Frame::Aside(aside), _)) => aside.pass_on(),
                Some((Frame::Failed(error), _)) => {
                    return Err(error.within("init").in_phase(error::Phase::Init));
                }
                Some((Frame::Request(request), fd)) => {
                    order.admit(request)?;
                    let _step = trace::step_of(|| format!("answers {request:?}"));
                    let answer = self.carry_out(request, fd, plan, slot, wishes, &mut mounts)?;
                    self.wire.answer(answer.as_ref().map(AsFd::as_fd))?;
                    if request == Request::Ready {
                        return Ok(());
                    }
                }
                Some((Frame::Born { .. }, _)) => {
                    return Err(Error::system("init says what only the bridge may say"));
                }
                None => return Err(self.post_mortem("before it was ready")),
            }
        }
    }

    /// Writes the record that holds once init is ready, while init works: then it waits for us.
    fn draft_created(&self, slot: &Slot) -> Result<()> {
        let mut record = self.record.clone();
        record.phase = Phase::Created;
        slot.draft(&record)
    }

    fn carry_out(
        &mut self,
        request: Request,
        fd: Option<OwnedFd>,
        plan: &Plan,
        slot: &Slot,
        wishes: &Wishes<'_>,
        mounts: &mut Mounts<'_>,
    ) -> Result<Option<OwnedFd>> {
        match request {
            Request::MapIds => {
                write_oom_score_adj(self.process.pid(), plan)?;
                if let Some(maps) = &plan.namespaces.id_maps {
                    idmap::write_maps(self.process.pid(), maps)?;
                }
            }
            Request::EnterCgroup => {
                // systemd has moved it already.
                if let Some(cgroup::Guard::Directory(_)) = &self.cgroup
                    && let Some(handle) = self.cgroup_handle()
                {
                    handle.attach(self.process.pid())?;
                }
            }
            Request::EnterDelegated => {
                if let Some(cgroup) = &self.cgroup {
                    cgroup.enter_delegated(&plan.cgroup, privilege(plan), self.process.pid())?;
                }
            }
            Request::NetDevices => {
                let moved = net_devices::move_in(&plan.net_devices, self.process.pid())?;
                self.net_devices = Some(moved);
            }
            Request::MountFd(index) => return mounts.make(index).map(Some),
            Request::Nodes => return mounts.nodes(plan.namespaces.id_maps.as_ref()),
            Request::RunHooks => {
                // Hooks may look at the state, and kill the runtime: what is undone after
                // that has to be found.
                slot.save(&self.record)?;
                let state = record::for_hooks(&self.record, Status::Creating)?;
                let place = hooks::Place::outside(plan.bundle.as_path()).until(wishes.signals);
                let outputs = &self.hook_outputs;
                hooks::run(&plan.hooks.prestart, &state, &place, outputs)?;
                hooks::run(&plan.hooks.create_runtime, &state, &place, outputs)?;
                self.draft_created(slot)?;
            }
            Request::Console => {
                let master = fd.ok_or_else(|| Error::system("init sent no terminal"))?;
                match &wishes.console_socket {
                    Some(path) => {
                        crate::terminal::send_to_console_socket(path.as_path(), master.as_fd())?;
                    }
                    None => self.terminal = Some(foreground::terminal(master)?),
                }
            }
            Request::NotifyFd => {
                let fd = fd.ok_or_else(|| Error::system("init sent no seccomp listener"))?;
                let status = Status::Creating;
                notify::hand_over(
                    &plan.process,
                    fd.as_fd(),
                    self.process.pid(),
                    &self.record,
                    status,
                )?;
            }
            Request::Ready => {
                self.record.phase = Phase::Created;
                slot.publish()?;
            }
        }
        Ok(None)
    }

    /// Leaves the container alone from now on.
    pub fn keep(mut self) {
        self.keep_outside();
        self.process.release();
    }

    /// What was made or taken outside of the container is the container's now.
    fn keep_outside(&mut self) {
        if let Some(cgroup) = self.cgroup.take() {
            cgroup.keep();
        }
        if let Some(devices) = self.net_devices.take() {
            devices.keep();
        }
        if let Some(groups) = self.resctrl.take() {
            groups.keep();
        }
    }

    /// `rt run`: stays until the payload has ended, and passes on what it says by
    /// sd_notify(3); returns its status.
    pub fn attend(mut self, signals: &Signals, relay: Option<Relay>) -> Result<u8> {
        // What is left in the cgroup is ended by whoever removes the container.
        self.keep_outside();
        let _step = trace::step("the payload");
        // Now, while the payload runs, rather than when our caller waits for our end.
        drop((self.wire, self.outcome, self.hook_outputs));
        foreground::attend(self.process, signals, self.terminal, relay)
    }

    /// `rt run`: lets the payload go and waits until it is at execve.
    pub fn release(&mut self, signals: &Signals) -> Result<()> {
        let _step = trace::step("waits for execve");
        self.wire.answer(None)?;
        let conclusion = self.outcome.await_conclusion(&self.wire, signals)?;
        conclusion.judge(|| self.post_mortem("before the program started"))
    }

    fn cgroup_handle(&self) -> Option<&cgroup::Handle> {
        self.cgroup.as_ref().and_then(cgroup::Guard::handle)
    }

    fn post_mortem(&mut self, when: &str) -> Error {
        post_mortem::of_child(&mut self.process, self.cgroup.as_ref(), when)
    }
}

fn write_oom_score_adj(pid: Pid, plan: &Plan) -> Result<()> {
    let Some(score) = plan.process.oom_score_adj else {
        return Ok(());
    };
    let directory = std::fs::File::open(format!("/proc/{pid}"))
        .map_err(|e| Error::io("open", format!("/proc/{pid}"), &e))?;
    let when = if plan.rootless {
        security::limits::WhenRefused::Ignore
    } else {
        security::limits::WhenRefused::Fail
    };
    security::limits::write_oom_score_adj(directory.as_fd(), score, when)
}
