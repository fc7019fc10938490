//! mounter: goes into the mount namespace of a running container for `rt mounts`, changes it, and
//! ends.
//!
//! Sources on the host are opened before it goes there, and new file systems are made inside, by
//! the container's user namespace. It stays out of the container's pid namespace, where the
//! payload could get at it (CVE-2016-9962).
//!
//! ```text
//!    privileged:  open sources | setns(user, net, ipc, …, mnt) | mount
//!    ordinary:    setns(user) | unshare(mnt) | open sources | setns(net, ipc, …, mnt) | mount
//! ```
//!
//! Runs in: mounter, with the caller's rights at first and then with all capabilities in the
//! container's user namespace; [`change`] in the parent.

use std::cell::RefCell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::wait::WaitStatus;
use nix::unistd::Pid;

use crate::error::{Context, Error, Result};
use crate::plan::namespaces::{Kind, Namespaces};
use crate::plan::rootfs::{Rootfs, Source};
use crate::plan::{ContainerPath, HostPath};
use crate::rootfs::{self, Elsewhere, Root};
use crate::sys::process::{self as kernel, Cloned};
use crate::sys::{self, check, file, mount};

use super::enter::differing_namespaces;
use super::init::{ALL_IDS, become_root, end};
use super::mounts::Mounts;
use super::procfs::Procfs;
use super::spawn::Inheritance;
use super::wire::{Frame, Wire};

/// The container whose mounts change.
pub struct Target<'a> {
    /// Its init, alive when the pidfd was opened.
    pub init: Pid,
    pub pidfd: BorrowedFd<'a>,
    /// Whether the caller has CAP_SYS_ADMIN over its own mounts.
    pub is_privileged: bool,
    /// How many user namespaces the container was made below the caller's.
    pub depth: usize,
}

/// What is to be done, all or nothing.
pub enum Change<'a> {
    Add(&'a Rootfs, &'a Namespaces),
    Remove(&'a [ContainerPath]),
}

/// Changes the mounts of a running container. The caller has all signals blocked: what is begun
/// is brought to its end, or undone.
pub fn change(target: &Target<'_>, change: &Change<'_>) -> Result<()> {
    // KERNEL(5.12): without mount_setattr(2), which came with id-mapped mounts, flags are changed
    // by a path in /proc; and in there /proc is the container's.
    if !mount::has_mount_setattr() {
        return Err(Error::unsupported("mounts: needs Linux 5.12"));
    }
    let flags = differing_namespaces(target.init)?;
    if flags & Kind::Mount.flag() == 0 {
        return Err(Error::unsupported(
            "the container has no mount namespace of its own",
        ));
    }
    let owner = user_namespace(target)?;
    let (ours, theirs) = Wire::pair()?;
    match kernel::clone(0, None)? {
        Cloned::Child { .. } => {
            drop(ours);
            kernel::set_name(c"rt:mounter");
            let mounter = Mounter {
                target,
                change,
                flags,
                owner,
            };
            match mounter.run(&theirs) {
                Ok(()) => kernel::exit_now(0),
                Err(error) => end(&theirs, error),
            }
        }
        Cloned::Parent(mut mounter) => {
            drop(theirs);
            let heard = hear_out(&ours);
            // Its exit status is the proof: a word may be lost.
            match mounter.wait()? {
                WaitStatus::Exited(_, 0) => Ok(()),
                status => heard
                    .and_then(|()| Err(Error::system(format!("mounter: it ended as {status:?}")))),
            }
        }
    }
}

/// The container's user namespace, by its inode.
///
/// A payload that has made one for itself owns the mounts there: what is added read-only it could
/// make writable, and what is removed may be what hides something.
fn user_namespace(target: &Target<'_>) -> Result<u64> {
    let path = format!("/proc/{}/ns/user", target.init);
    let inner = file::open_host(Path::new(&path), OFlag::O_RDONLY)?;
    let inode = file::stat(inner.as_fd())?.st_ino;
    let mut namespace = inner;
    for _ in 0..target.depth {
        match sys::namespace::parent(namespace.as_fd()) {
            Ok(parent) => namespace = parent,
            // It is the caller's own, or not below it.
            Err(Errno::EPERM) => return Err(another_user_namespace()),
            Err(errno) => return Err(Error::syscall("ioctl", "NS_GET_PARENT", errno as i32)),
        }
    }
    let own = file::open_host(Path::new("/proc/self/ns/user"), OFlag::O_RDONLY)?;
    match file::stat(namespace.as_fd())?.st_ino == file::stat(own.as_fd())?.st_ino {
        true => Ok(inode),
        false => Err(another_user_namespace()),
    }
}

fn another_user_namespace() -> Error {
    Error::unsupported("the container's first process has gone into another user namespace")
        .with_hint("who owns that one could undo what is mounted there read-only, or noexec")
}

/// Everything that mounter says.
fn hear_out(wire: &Wire) -> Result<()> {
    while let Some((frame, _)) = wire.receive()? {
        match frame {
            Frame::Aside(aside) => aside.pass_on(),
            Frame::Failed(error) => return Err(error),
            frame => return Err(Error::system(format!("mounter says {frame:?}"))),
        }
    }
    Ok(())
}

struct Mounter<'a> {
    target: &'a Target<'a>,
    change: &'a Change<'a>,
    /// The namespaces of the container that are not the caller's.
    flags: u64,
    /// The user namespace that has to own the mounts.
    owner: u64,
}

impl Mounter<'_> {
    fn run(&self, wire: &Wire) -> Result<()> {
        let inheritance = Inheritance {
            first: 3,
            keep: &[self.target.pidfd],
        };
        inheritance.take(wire)?;
        kernel::set_dumpable(false)?;
        let procfs = Procfs::open()?;
        // What was read of /proc/PID was init's only if that number is still its own.
        kernel::pidfd_send_signal(self.target.pidfd, 0)
            .map_err(|_| Error::system("the container's init has ended"))?;
        let user = self.flags & Kind::User.flag();
        let rest = self.flags & !user & !(Kind::Pid.flag() | Kind::Time.flag());
        let sources = if self.target.is_privileged {
            let sources = self.open_sources()?;
            self.join(user | rest)?;
            sources
        } else {
            self.join(user)?;
            kernel::unshare(Kind::Mount.flag())?;
            mount::mount(None, c"/", None, libc::MS_REC | libc::MS_SLAVE, None)?;
            let sources = self.open_sources()?;
            self.join(rest)?;
            sources
        };
        self.require_owner(&procfs)?;
        if user != 0 {
            become_root(&ALL_IDS, &ALL_IDS)?;
        }
        let root = Root::open_host(&HostPath::new("/"))?;
        match self.change {
            Change::Remove(destinations) => rootfs::remove(&root, destinations),
            Change::Add(plan, namespaces) => {
                let sources = RefCell::new(sources);
                let take = |index: usize| {
                    let source = sources.borrow_mut().get_mut(index).and_then(Option::take);
                    source.ok_or_else(|| Error::system("a mount without its source"))
                };
                let context = rootfs::Context {
                    namespaces,
                    in_user_namespace: user != 0,
                    own_cgroup: None,
                    made_elsewhere: &take,
                    elsewhere: Elsewhere::Sources,
                    nodes_made_elsewhere: None,
                };
                rootfs::add(root, plan, &context, procfs.own())
            }
        }
    }

    /// The payload may have changed its namespaces since they were looked at.
    fn require_owner(&self, procfs: &Procfs) -> Result<()> {
        let mounts = procfs.own_namespace("mnt")?;
        let owner = check(
            sys::namespace::owner(mounts.as_fd()),
            "ioctl",
            "NS_GET_USERNS",
        )?;
        match file::stat(owner.as_fd())?.st_ino == self.owner {
            true => Ok(()),
            false => Err(another_user_namespace()),
        }
    }

    /// What has to be made where the host's files are in sight.
    fn open_sources(&self) -> Result<Vec<Option<OwnedFd>>> {
        let Change::Add(plan, _) = self.change else {
            return Ok(Vec::new());
        };
        let mut mounts = Mounts::new(plan);
        let entries = plan.mounts.iter().enumerate();
        entries
            .map(|(index, entry)| {
                let is_bind = matches!(entry.source, Source::Bind { .. });
                let needed = is_bind || entry.id_map.is_some();
                needed.then(|| mounts.make(index)).transpose()
            })
            .collect()
    }

    fn join(&self, flags: u64) -> Result<()> {
        if flags == 0 {
            return Ok(());
        }
        check(
            kernel::setns(self.target.pidfd, flags),
            "setns",
            format_args!(
                "pidfd of {}, {}",
                self.target.init,
                kernel::clone_flags(flags)
            ),
        )
        .context(|| "the container's namespaces")
    }
}
