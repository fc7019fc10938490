//! enter: one more process in a container that is there already, for `rt exec`.
//!
//! The way in leads through a bridge: it is born in the container's cgroup, joins all of the
//! container's namespaces by the pidfd of its init, and makes enter as its sibling, since a
//! pid namespace holds only processes born after it was joined.
//!
//! Runs in: enter (and its bridge), with the caller's rights at first and all capabilities in
//! the container's user namespace until `payload::prepare`.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::unistd::Pid;

use crate::cgroup::{self, Handle, resctrl};
use crate::error::{Context, Error, Phase, Result};
use crate::plan::namespaces::Kind;
use crate::plan::process::Process;
use crate::plan::{Descriptors, HostPath};
use crate::security::{self, KeyringEntry, limits};
use crate::state::{Record, Status};
use crate::sys::process::{self as kernel, Cloned, OwnedProcess};
use crate::sys::{check, entry, mount};
use crate::terminal::{self, Foreground};
use crate::trace;

use super::foreground::{self, Signals};
use super::gate::Outcome;
use super::init::{become_root, end};
use super::notify;
use super::payload::{self, Program};
use super::procfs::Procfs;
use super::spawn::{self, Inheritance};
use super::wire::{Frame, Request, Wire};

/// The container that is to be entered.
pub struct Container<'a> {
    /// Its init, alive when the pidfd was opened.
    pub init: Pid,
    pub pidfd: BorrowedFd<'a>,
    /// Its cgroup, if it has one of its own, or the one below that was asked for.
    pub cgroup: Option<&'a Handle>,
    /// Where that one's file system is mounted, if another cgroup will do as well.
    pub cgroup_mount: Option<&'a Path>,
    pub rootless: bool,
    /// What a seccomp agent is told of it.
    pub record: &'a Record,
    pub status: Status,
}

/// What the caller wants of the outside.
pub struct Wishes<'a> {
    /// Where the terminal's master is to be sent; otherwise it is carried in the foreground.
    pub console_socket: Option<&'a HostPath>,
    /// Tells whoever waits for it of the new process. It goes on only after that, and may still
    /// fail then.
    pub announce: &'a dyn Fn(&OwnedProcess) -> Result<()>,
}

/// A process that runs in the container. Dropped, it is killed.
pub struct Entered {
    process: OwnedProcess,
    terminal: Option<Foreground>,
}

/// Starts a process in the container. An error leaves none.
pub fn enter(
    container: &Container<'_>,
    process: &Process,
    descriptors: Descriptors,
    wishes: &Wishes<'_>,
    signals: &Signals,
) -> Result<Entered> {
    security::require_support(process)?;
    let outcome = Outcome::new()?;
    let (ours, theirs) = Wire::pair()?;
    let flags = differing_namespaces(container.init)?;
    let cloning = trace::step("clone of the bridge");
    let birth = match (
        kernel::clone(0, container.cgroup.map(AsFd::as_fd)),
        container.cgroup_mount,
    ) {
        // A systemd inside has enabled controllers, so the container's own cgroup takes no
        // processes: then where init is.
        (Err(error), Some(mount)) if cgroup::takes_no_process(&error) => {
            let of_init = Handle::of_process(mount, container.init)?;
            kernel::clone(0, of_init.as_ref().map(AsFd::as_fd))
        }
        (other, _) => other,
    };
    match birth
        .map_err(cgroup::explain_entry)
        .context(|| "the container's cgroup")?
    {
        Cloned::Child { .. } => {
            drop(ours);
            let inheritance = Inheritance {
                first: descriptors.first_closed(),
                keep: &[container.pidfd, outcome.as_fd()],
            };
            if let Err(error) = inheritance.take(&theirs) {
                end(&theirs, error)
            }
            let entry = Entry {
                container,
                process,
                descriptors,
                flags,
                wire: theirs,
            };
            entry.run(&outcome)
        }
        Cloned::Parent(bridge) => {
            drop((theirs, cloning));
            let birth = trace::step("waits for enter's birth");
            let spawned = spawn::across(ours, bridge, |enter, wire| {
                let own = security::needs_own_directory(process)
                    .then(|| own_directory(enter.pid()))
                    .transpose()?;
                if let Some(groups) = &container.record.resctrl {
                    resctrl::add(groups, enter.pid())?;
                }
                (wishes.announce)(enter)?;
                wire.answer(own.as_ref().map(AsFd::as_fd))
            })?;
            drop(birth);
            let mut entered = Entered {
                process: spawned.process,
                terminal: None,
            };
            let _last = trace::last_step_of("enter", payload::LAST_STEP);
            entered.serve(&spawned.wire, container, process, wishes, signals)?;
            let conclusion = outcome.conclude();
            conclusion.judge(|| {
                Error::system(
                    "enter: it ended before the program started; the container may have stopped",
                )
            })?;
            Ok(entered)
        }
    }
}

/// /proc/PID of enter, for the labels that it writes there. Without labels there is none: to end
/// such a mount takes a grace period of RCU, 40 µs of a quiet machine and a millisecond of a busy
/// one, and enter would have to wait for it.
///
/// A payload with CAP_SYS_PTRACE can go through the descriptors of enter as soon as that is in
/// the container's pid namespace (CVE-2016-9962), so enter is born without any that leads to
/// the host, and gets this one as a mount of its own, where `..` ends. A caller who may not
/// clone mounts has no container either whose capabilities reach a process of the host.
fn own_directory(pid: Pid) -> Result<OwnedFd> {
    let path = format!("/proc/{pid}");
    match mount::open_tree(mount::Place::Host(Path::new(&path)), 0) {
        // KERNEL(5.2): without open_tree(2) as for that caller.
        Err(e) if e.is(Errno::EPERM) || e.is(Errno::ENOSYS) => open_directory(&path),
        cloned => cloned,
    }
}

fn open_directory(path: &str) -> Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    check(
        nix::fcntl::open(path, flags, Mode::empty()),
        "open",
        format_args!("{path:?}, O_PATH"),
    )
}

/// The namespaces of `init` that are not this process's own; joining one's own user namespace
/// is an error, and joining the others costs time.
pub(super) fn differing_namespaces(init: Pid) -> Result<u64> {
    let mut flags = 0;
    for kind in Kind::ALL {
        let name = kind.proc_name();
        let own = nix::sys::stat::stat(format!("/proc/self/ns/{name}").as_str());
        let path = format!("/proc/{init}/ns/{name}");
        let theirs = nix::sys::stat::stat(path.as_str());
        match (own, theirs) {
            (Ok(own), Ok(theirs)) if own.st_ino != theirs.st_ino => flags |= kind.flag(),
            // Its own, or a kernel without this kind of namespace.
            (Ok(_), Ok(_)) | (Err(Errno::ENOENT), _) => {}
            (_, Err(errno)) => {
                let error = Error::syscall("stat", format_args!("{path:?}"), errno as i32);
                return Err(error.within("the container's init"));
            }
            (Err(errno), Ok(_)) => {
                let arguments = format_args!("\"/proc/self/ns/{name}\"");
                return Err(Error::syscall("stat", arguments, errno as i32));
            }
        }
    }
    Ok(flags)
}

struct Entry<'a> {
    container: &'a Container<'a>,
    process: &'a Process,
    descriptors: Descriptors,
    flags: u64,
    wire: Wire,
}

impl Entry<'_> {
    fn run(self, outcome: &Outcome) -> ! {
        kernel::set_name(c"rt:bridge");
        trace::rename("bridge");
        // `--env` may hold a secret, and all users of the container see enter.
        entry::hide_arguments();
        let made = self.cross().and_then(|own| self.make(own.as_ref()));
        let program = match made {
            Ok(program) => program,
            Err(error) => end(&self.wire, error),
        };
        let error = payload::set_final_affinity(self.process)
            .err()
            .unwrap_or_else(|| payload::execute(&program, self.process, outcome));
        end(&self.wire, error)
    }

    /// The bridge: joins everything and makes enter, which is who returns.
    ///
    /// Returns enter's own directory of the host's /proc, where it has labels to write there.
    fn cross(&self) -> Result<Option<OwnedFd>> {
        if let Some(score) = self.process.oom_score_adj {
            let when = if self.container.rootless {
                limits::WhenRefused::Ignore
            } else {
                limits::WhenRefused::Fail
            };
            limits::write_oom_score_adj(Procfs::open()?.own(), score, when)?;
        }
        let root = if self.flags & Kind::Mount.flag() == 0 {
            Some(self.open_root()?)
        } else {
            None
        };
        // What was read of /proc/PID was init's only if that number is still its own.
        kernel::pidfd_send_signal(self.container.pidfd, 0)
            .map_err(|_| Error::system("the container's init has ended"))?;
        if let Some(cpus) = &self.process.affinity_initial {
            security::scheduling::set_affinity(cpus, "initial")?;
        }
        if self.flags & Kind::User.flag() != 0 {
            security::limits::raise_hard_limits(&self.process.rlimits);
            if self.process.groups.is_some() {
                security::capabilities::give_up_groups()?;
            }
        }
        // Processes of the container see enter as soon as it is born (CVE-2016-9962).
        kernel::set_dumpable(false)?;
        let joining = trace::step("setns");
        if self.flags != 0 {
            check(
                kernel::setns(self.container.pidfd, self.flags),
                "setns",
                format_args!(
                    "pidfd of {}, {}",
                    self.container.init,
                    kernel::clone_flags(self.flags)
                ),
            )
            .context(|| "the container's namespaces")?;
        }
        drop(joining);
        trace::hand_over();
        match kernel::clone(libc::CLONE_PARENT as u64, None)? {
            Cloned::Parent(enter) => {
                let born = Frame::Born {
                    pid: enter.pid().as_raw(),
                    in_cgroup: true,
                };
                let sent = self.wire.send(&born, None);
                kernel::exit_now(i32::from(sent.is_err()))
            }
            Cloned::Child { .. } => {
                kernel::set_name(c"rt:enter");
                trace::rename("enter");
                let own = self.wire.await_answer()?;
                if let Some(root) = root {
                    change_root(&root)?;
                }
                Ok(own)
            }
        }
    }

    /// The root of a container that has no mount namespace of its own.
    fn open_root(&self) -> Result<OwnedFd> {
        open_directory(&format!("/proc/{}/root", self.container.init))
    }

    fn make(&self, own: Option<&OwnedFd>) -> Result<Program> {
        let making = trace::step("streams, limits, ids, capabilities, program");
        let own = own.map(AsFd::as_fd);
        security::scheduling::reset_affinity();
        if self.flags & Kind::User.flag() != 0 {
            become_root(&super::init::ALL_IDS, &super::init::ALL_IDS)?;
        }
        nix::unistd::setsid().map_err(|errno| Error::syscall("setsid", "", errno as i32))?;
        security::enter_session_keyring(self.process, own, KeyringEntry::Join)?;
        match &self.process.terminal {
            Some(settings) => {
                let root = open_directory("/")?;
                let pty = terminal::open_pty(root.as_fd(), settings.size, self.process.uid)
                    .at("/process/terminal", || "process.terminal")?;
                self.wire.ask(Request::Console, Some(pty.master.as_fd()))?;
                drop(pty.master);
                terminal::make_controlling(pty.slave)?;
            }
            None => payload::adapt_streams(self.process)?,
        }
        let program = payload::prepare(self.process, self.descriptors, own)?;
        drop(making);
        // A profile with a listener may forbid it from here on.
        trace::hand_over();
        notify::load_if_asked(&self.wire, self.process, &program)?;
        Ok(program)
    }
}

fn change_root(root: &OwnedFd) -> Result<()> {
    check(nix::unistd::fchdir(root), "fchdir", "the container's root")?;
    check(nix::unistd::chroot("."), "chroot", "\".\"")
}

impl Entered {
    /// Answers until the other end is gone: with execve, or without.
    fn serve(
        &mut self,
        wire: &Wire,
        container: &Container<'_>,
        process: &Process,
        wishes: &Wishes<'_>,
        signals: &Signals,
    ) -> Result<()> {
        loop {
            signals.wait_for(wire.as_fd())?;
            match wire.receive()? {
                Some((Frame::Aside(aside), _)) => aside.pass_on(),
                Some((Frame::Failed(error), _)) => return Err(error.in_phase(Phase::Enter)),
                Some((Frame::Request(Request::Console), Some(master))) => {
                    match wishes.console_socket {
                        Some(path) => {
                            terminal::send_to_console_socket(path.as_path(), master.as_fd())?;
                        }
                        None => self.terminal = Some(foreground::terminal(master)?),
                    }
                    wire.answer(None)?;
                }
                Some((Frame::Request(Request::NotifyFd), Some(fd))) => {
                    let (record, status) = (container.record, container.status);
                    notify::hand_over(process, fd.as_fd(), self.process.pid(), record, status)?;
                    wire.answer(None)?;
                }
                Some((frame, _)) => {
                    return Err(Error::system(format!("enter asks for {frame:?}")));
                }
                None => return Ok(()),
            }
        }
    }

    /// Stays until the process has ended; returns its status.
    pub fn attend(self, signals: &Signals) -> Result<u8> {
        let _step = trace::step("the process");
        foreground::attend(self.process, signals, self.terminal, None)
    }

    /// Leaves the process alone from now on.
    pub fn keep(self) {
        self.process.release();
    }
}
