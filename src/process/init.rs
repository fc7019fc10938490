//! init: the process that becomes the payload. Makes everything inside the container.
//!
//! Runs in: init; before pivot with the host's file system in view, after it with the
//! container's; until `payload::prepare` with all capabilities in the container's user
//! namespace.

use std::convert::Infallible;
use std::os::fd::AsFd;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::unistd::{Gid, Uid};

use crate::error::{Context, Error, Result};
use crate::plan::Plan;
use crate::plan::cgroup::Placement;
use crate::plan::namespaces::{IdMapWriter, IdMaps, IdRange, Kind};
use crate::rootfs::{self, Prepared};
use crate::security::keyring::Searcher;
use crate::security::{self, KeyringEntry, limits};
use crate::state::{Identity, Record, Status};
use crate::sys::{descriptor, process as kernel};
use crate::{hooks, terminal, trace};

use super::gate::{Gate, Outcome};
use super::idmap;
use super::join::{self, Pending};
use super::kernel as values;
use super::notify;
use super::payload::{self, Program};
use super::procfs::Procfs;
use super::record::for_hooks;
use super::spawn::Birth;
use super::wire::{Request, Wire};

/// What init takes over from its parent's memory.
pub struct Init<'a> {
    pub plan: &'a Plan,
    /// For the state that hooks read.
    pub record: &'a Record,
    pub outcome: &'a Outcome,
    /// Where `rt start` comes to; without one the parent itself says go.
    pub gate: Option<&'a Gate>,
    /// Whether the container has a cgroup of its own, which init has to be in.
    pub has_cgroup: bool,
    /// Whether sources of bind mounts are opened by the parent, which can reach more.
    pub mounts_by_parent: bool,
    pub hook_outputs: &'a hooks::Outputs,
}

/// Becomes the payload, or tells the other side why not and ends.
pub fn run(init: &Init<'_>, birth: Birth) -> Infallible {
    kernel::set_name(c"rt:init");
    trace::rename("init");
    let Birth {
        wire,
        pending,
        in_cgroup,
    } = birth;
    let made = Procfs::open().and_then(|procfs| {
        let own_cgroup = init.enter_namespaces(&wire, &procfs, pending, in_cgroup)?;
        init.make_container(&wire, &procfs, own_cgroup)
    });
    let mut program = match made {
        Ok(program) => program,
        Err(error) => end(&wire, error),
    };
    if init.let_its_user_in().is_err() || wire.ask(Request::Ready, None).is_err() {
        kernel::exit_now(1);
    }
    let starter = match init.gate {
        Some(gate) => {
            drop(wire);
            init.wait_at(gate)
        }
        None => wire.await_answer().map(|_| wire).map_err(Error::from),
    };
    let Ok(starter) = starter else {
        kernel::exit_now(1);
    };
    let error = match init.run_start_hooks(&mut program) {
        Ok(()) => payload::execute(&program, &init.plan.process, init.outcome),
        Err(error) => error,
    };
    end(&starter, error)
}

/// Says why there will be no payload, as the last word of this process.
pub fn end(wire: &Wire, error: Error) -> ! {
    trace::hand_over();
    let _ = wire.send_failure(error);
    kernel::exit_now(1)
}

impl Init<'_> {
    /// Lets an ordinary user whose container this is open /proc/PID/ns, as exec and containers
    /// that join do, while init waits at the gate.
    ///
    /// The kernel asks for rights in the user namespace where the program was executed if the
    /// process is not dumpable (ptrace(2)), and rt's program was so in the host's. Who else has
    /// this user's ids is either in this new user namespace, and there the kernel wants all of
    /// init's capabilities, or has none in it (CVE-2016-9962).
    fn let_its_user_in(&self) -> Result<()> {
        let maps = self.plan.namespaces.id_maps.as_ref();
        if self.gate.is_some() && maps.is_some_and(IdMaps::by_ordinary_user) {
            kernel::set_dumpable(true)?;
        }
        Ok(())
    }

    /// Returns where the container's cgroup is on the host, if it has one.
    fn enter_namespaces(
        &self,
        wire: &Wire,
        procfs: &Procfs,
        pending: Vec<Pending>,
        in_cgroup: bool,
    ) -> Result<Option<PathBuf>> {
        let _step = trace::step("namespaces, ids, keyring");
        let namespaces = &self.plan.namespaces;
        let maps = namespaces.id_maps.as_ref();
        if maps.is_some_and(IdMaps::by_ordinary_user) {
            // /proc/PID has to belong to that user, for this moment alone.
            kernel::set_dumpable(true)?;
        }
        match maps {
            Some(maps) if maps.writer != IdMapWriter::Itself => {
                wire.ask(Request::MapIds, None)?;
            }
            own => {
                // Where the parent writes the maps, or there were some, it does this, too: only it has the right.
                if let Some(score) = self.plan.process.oom_score_adj
                    && !namespaces.joins(Kind::User)
                {
                    limits::write_oom_score_adj(procfs.own(), score, self.when_refused())?;
                }
                own.map_or(Ok(()), |maps| idmap::write_own_maps(procfs, maps))?;
            }
        }
        // With the caller's ids still, to whom the files of /proc/PID belong.
        values::enter_time_namespace(namespaces, procfs)?;
        kernel::set_dumpable(false)?;
        if let Some(maps) = maps {
            become_root(&maps.uids, &maps.gids)?;
        } else if namespaces.is_private(Kind::User) {
            become_root(&ALL_IDS, &ALL_IDS)?;
        }
        join::rest(pending)?;
        if self.has_cgroup && !in_cgroup {
            wire.ask(Request::EnterCgroup, None)?;
        }
        let own_cgroup = self.own_cgroup(procfs)?;
        if self.has_cgroup && !in_cgroup && namespaces.is_new(Kind::Cgroup) {
            kernel::unshare(Kind::Cgroup.flag())?;
        }
        if self.plan.cgroup.placement.is_delegated() {
            wire.ask(Request::EnterDelegated, None)?;
        }
        security::scheduling::reset_affinity();
        if !self.plan.net_devices.is_empty() {
            wire.ask(Request::NetDevices, None)?;
        }
        nix::unistd::setsid().map_err(|errno| Error::syscall("setsid", "", errno as i32))?;
        let searcher = if namespaces.is_private(Kind::User) {
            Searcher::Anybody
        } else {
            Searcher::User
        };
        let entry = KeyringEntry::Make(searcher);
        security::enter_session_keyring(&self.plan.process, Some(procfs.own()), entry)?;
        let _loopback = trace::step("loopback");
        values::bring_loopback_up(namespaces)?;
        Ok(own_cgroup)
    }

    fn own_cgroup(&self, procfs: &Procfs) -> Result<Option<PathBuf>> {
        Ok(match &self.plan.cgroup.placement {
            Placement::Path { mount, path } if self.has_cgroup => Some(mount.as_path().join(path)),
            // Where a unit's is, only the kernel says.
            Placement::Unit { mount, .. } => {
                let own = crate::host::parse_own_cgroup(&procfs.read_own("cgroup")?);
                own.map(|own| mount.as_path().join(own))
            }
            _ => None,
        })
    }

    /// Everything that the container's file system and the payload need, up to Ready.
    fn make_container(
        &self,
        wire: &Wire,
        procfs: &Procfs,
        own_cgroup: Option<PathBuf>,
    ) -> Result<Program> {
        let plan = self.plan;
        let ask = |index| {
            wire.ask(Request::MountFd(index), None)?
                .ok_or_else(|| Error::system("the parent sent no mount"))
        };
        let nodes = || Ok(wire.ask(Request::Nodes, None)?);
        let context = self.rootfs_context(own_cgroup, &ask, &nodes);
        let prepared = rootfs::prepare(&plan.rootfs, &context)?;
        if !(plan.hooks.prestart.is_empty() && plan.hooks.create_runtime.is_empty()) {
            wire.ask(Request::RunHooks, None)?;
        }
        let place = hooks::Place::inside(Some(plan.rootfs.root.as_path()), &plan.process.env);
        self.run_hooks_in_container(&plan.hooks.create_container, Status::Creating, &place)?;
        let console = self.make_console(wire, &prepared)?;
        rootfs::enter(&prepared, &plan.rootfs)?;
        let naming = trace::step("names, sysctl, cwd");
        values::set_names(plan)?;
        values::write_sysctls(plan, procfs)?;
        // Before the root may become read-only.
        payload::make_working_directory(prepared.root(), &plan.process.cwd)?;
        drop(naming);
        rootfs::finish(prepared, &plan.rootfs)?;
        let preparing = trace::step("streams, limits, ids, capabilities, program");
        match console {
            Some(slave) => terminal::make_controlling(slave)?,
            None => payload::adapt_streams(&plan.process)?,
        }
        let program = payload::prepare(&plan.process, plan.descriptors, Some(procfs.own()))?;
        drop(preparing);
        // A profile with a listener may forbid it from here on.
        trace::hand_over();
        notify::load_if_asked(wire, &plan.process, &program)?;
        Ok(program)
    }

    fn make_console(
        &self,
        wire: &Wire,
        prepared: &Prepared,
    ) -> Result<Option<std::os::fd::OwnedFd>> {
        let Some(settings) = &self.plan.process.terminal else {
            return Ok(None);
        };
        let _step = trace::step("terminal");
        let pty = terminal::open_pty(
            prepared.root().as_fd(),
            settings.size,
            self.plan.process.uid,
        )
        .at("/process/terminal", || "process.terminal")?;
        rootfs::bind_console(prepared, pty.slave.as_fd())?;
        wire.ask(Request::Console, Some(pty.master.as_fd()))?;
        Ok(Some(pty.slave))
    }

    fn rootfs_context<'a>(
        &'a self,
        own_cgroup: Option<PathBuf>,
        ask: &'a dyn Fn(usize) -> Result<std::os::fd::OwnedFd>,
        nodes: &'a dyn Fn() -> Result<Option<std::os::fd::OwnedFd>>,
    ) -> rootfs::Context<'a> {
        rootfs::Context {
            namespaces: &self.plan.namespaces,
            in_user_namespace: self.plan.namespaces.is_private(Kind::User) || self.plan.rootless,
            own_cgroup,
            made_elsewhere: ask,
            elsewhere: match self.mounts_by_parent {
                true => rootfs::Elsewhere::OutOfReach,
                false => rootfs::Elsewhere::IdMapped,
            },
            nodes_made_elsewhere: (self.mounts_by_parent
                && self.plan.namespaces.id_maps.is_some()
                && rootfs::wanted_nodes(&self.plan.rootfs).next().is_some())
            .then_some(nodes),
        }
    }

    fn run_start_hooks(&self, program: &mut payload::Program) -> Result<()> {
        let list = &self.plan.hooks.start_container;
        if list.is_empty() {
            return Ok(());
        }
        payload::confine(program, &self.plan.process)?;
        let place = hooks::Place::inside(None, program.env());
        self.run_hooks_in_container(list, Status::Created, &place)
    }

    /// createContainer and startContainer: in the container's namespaces, so the pid that the
    /// state names is the one in here, as runc has it.
    fn run_hooks_in_container(
        &self,
        list: &[crate::plan::hooks::Hook],
        status: Status,
        place: &hooks::Place,
    ) -> Result<()> {
        if list.is_empty() {
            return Ok(());
        }
        let mut record = self.record.clone();
        record.init = Some(Identity {
            pid: nix::unistd::getpid().as_raw(),
            start_time: 0,
        });
        let state = for_hooks(&record, status)?;
        hooks::run(list, &state, place, self.hook_outputs)
    }

    /// Keeps nothing of the parent's but what the gate needs: the directories of the host would
    /// be there for whoever may look into this process (CVE-2024-21626), and the container's
    /// lock would stay taken if the parent was killed before it could give it up.
    fn wait_at(&self, gate: &Gate) -> Result<Wire> {
        crate::log::divert(|_, _| {});
        trace::stop();
        let mut keep = vec![gate.as_fd(), self.outcome.as_fd()];
        if !self.plan.hooks.start_container.is_empty() {
            keep.extend(self.hook_outputs.fds());
        }
        descriptor::close_all_but(self.plan.descriptors.first_closed(), &keep)?;
        let starter = gate.wait(self.outcome)?;
        starter.carry_asides();
        Ok(starter)
    }

    fn when_refused(&self) -> limits::WhenRefused {
        if self.record.rootless {
            limits::WhenRefused::Ignore
        } else {
            limits::WhenRefused::Fail
        }
    }
}

pub const ALL_IDS: [IdRange; 1] = [IdRange {
    inside: 0,
    outside: 0,
    count: u32::MAX,
}];

/// Takes id 0 of the user namespace, or the first one that its map has: what is made from now
/// on has an owner inside.
pub fn become_root(uids: &[IdRange], gids: &[IdRange]) -> Result<()> {
    let first = |ranges: &[IdRange]| {
        if ranges.iter().any(|r| r.contains_inside(0)) {
            0
        } else {
            ranges.first().map_or(0, |r| r.inside)
        }
    };
    let gid = Gid::from_raw(first(gids));
    match nix::unistd::setresgid(gid, gid, gid) {
        // A namespace that was joined may lack the id: then this process stays as it is.
        Ok(()) | Err(Errno::EINVAL) => {}
        Err(errno) => {
            return Err(Error::syscall("setresgid", gid, errno as i32)
                .within("the container's user namespace"));
        }
    }
    let uid = Uid::from_raw(first(uids));
    match nix::unistd::setresuid(uid, uid, uid) {
        Ok(()) | Err(Errno::EINVAL) => Ok(()),
        Err(errno) => {
            Err(Error::syscall("setresuid", uid, errno as i32)
                .within("the container's user namespace"))
        }
    }
}
