//! One mount of the plan.
//!
//! Runs in: init before pivot.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::SFlag;

use super::attributes::{self, Outcome};
use super::beneath::{NodeKind, Root};
use super::bind::Tree;
use super::{Context, Elsewhere, cgroup, copy_up, propagation, pseudo};
use crate::error::{Context as _, Error, Result};
use crate::plan::HostPath;
use crate::plan::rootfs::{FileSystem, Mount, Rootfs, Source};
use crate::sys;
use crate::sys::mount::{Attributes, Place};

const PROC_SUPER_MAGIC: i64 = 0x9fa0;

/// What is left to do for a mount once everything else is made.
pub struct Made {
    /// The mount, where it becomes read-only last.
    pub readonly_later: Option<OwnedFd>,
}

/// A mount of the plan with its flags sorted.
pub struct Request<'a> {
    pub root: &'a Root,
    pub entry: &'a Mount,
    pub attributes: Attributes,
    /// For the mounts below it too.
    pub recursive: Attributes,
    pub plan: &'a Rootfs,
}

/// Makes one mount, with its flags and its propagation.
pub fn apply(root: &Root, entry: &Mount, plan: &Rootfs, context: &Context<'_>) -> Result<Made> {
    if entry.destination.is_root() && !matches!(entry.source, Source::Remount(_)) {
        return Err(
            Error::invalid("the container's root cannot be mounted over")
                .with_hint("root.path names the container's root"),
        );
    }
    let later = becomes_readonly_later(entry);
    let request = Request::new(root, entry, plan, later);
    if let Source::Bind {
        path,
        copy_symlink: true,
        ..
    } = &entry.source
        && let Some(link) = open_symlink(path)
    {
        copy_symlink(&request, link.as_fd())?;
        return Ok(Made {
            readonly_later: None,
        });
    }
    let mount = match &entry.source {
        Source::Bind {
            path,
            recursive,
            nofollow,
            ..
        } => {
            let recursive = if *recursive { libc::AT_RECURSIVE } else { 0 };
            let nofollow = if *nofollow {
                libc::AT_SYMLINK_NOFOLLOW
            } else {
                0
            };
            let tree = request.open_source(path, recursive | nofollow, context)?;
            request.bind_tree(tree)?
        }
        Source::New(fs) => {
            let (target, fs) = request.place_for(fs)?;
            request.instance(target.as_fd(), &fs, context)?
        }
        Source::CopyUp(fs) => {
            let (target, with_mode) = request.place_for(fs)?;
            let mount = request.instance(target.as_fd(), &with_mode, context)?;
            let top = if has_own_metadata(fs) {
                copy_up::Top::AsMounted
            } else {
                copy_up::Top::Copied
            };
            copy_up::copy(target.as_fd(), mount.as_fd(), top).context(|| "tmpcopyup")?;
            mount
        }
        Source::Cgroup(fs) => cgroup::mount(&request, fs, context)?,
        Source::Proc(fs) => pseudo::proc(&request, fs, context)?,
        Source::Sysfs(fs) => pseudo::sysfs(&request, fs, context)?,
        Source::Remount(fs) => request.remount(fs)?,
    };
    propagation::apply(mount.as_fd(), &entry.propagation)?;
    Ok(Made {
        readonly_later: later.then_some(mount),
    })
}

/// Other mounts, nodes and links may have to be made in a new tmpfs, and in /dev of any kind,
/// so these become read-only at the end, as with runc.
fn becomes_readonly_later(entry: &Mount) -> bool {
    let is_tmpfs = match &entry.source {
        Source::CopyUp(_) => true,
        Source::New(fs) => fs.kind.as_c_str() == c"tmpfs",
        _ => false,
    };
    entry.set & libc::MOUNT_ATTR_RDONLY != 0 && (is_tmpfs || entry.destination.as_str() == "/dev")
}

impl<'a> Request<'a> {
    fn new(root: &'a Root, entry: &'a Mount, plan: &'a Rootfs, later: bool) -> Request<'a> {
        let later = if later { libc::MOUNT_ATTR_RDONLY } else { 0 };
        Request {
            root,
            entry,
            attributes: Attributes {
                set: entry.set & !later,
                clear: entry.clear,
                propagation: 0,
            },
            recursive: Attributes {
                set: entry.recursive_set,
                clear: entry.recursive_clear,
                propagation: 0,
            },
            plan,
        }
    }

    /// The mount as it was made elsewhere, if it has to be.
    fn made_elsewhere(&self, context: &Context<'_>) -> Result<Option<Tree>> {
        let is_source = matches!(self.entry.source, Source::Bind { .. });
        let has_to_be =
            self.entry.id_map.is_some() || (is_source && context.elsewhere == Elsewhere::Sources);
        match self.entry.index.filter(|_| has_to_be) {
            Some(index) => (context.made_elsewhere)(index)
                .map(Tree::Detached)
                .map(Some),
            None => Ok(None),
        }
    }

    /// Copies the source of a bind mount, with the parent's rights where one's own do not
    /// reach it.
    fn open_source(&self, path: &HostPath, flags: i32, context: &Context<'_>) -> Result<Tree> {
        if let Some(tree) = self.made_elsewhere(context)? {
            return Ok(tree);
        }
        // Where it stands in the plan: a mount of rt's own has no place in config.json.
        let mut mounts = self.plan.mounts.iter();
        let index = mounts.position(|mount| std::ptr::eq(mount, self.entry));
        match (Tree::copy(Place::Host(path.as_path()), flags), index) {
            (Err(e), Some(index))
                if context.elsewhere == Elsewhere::OutOfReach
                    && (e.is(Errno::EACCES) || e.is(Errno::EPERM)) =>
            {
                (context.made_elsewhere)(index).map(Tree::Detached)
            }
            (opened, _) => opened,
        }
    }

    /// A new instance of a file system at its place.
    fn instance(
        &self,
        target: BorrowedFd<'_>,
        fs: &FileSystem,
        context: &Context<'_>,
    ) -> Result<OwnedFd> {
        let mount = match self.made_elsewhere(context)? {
            Some(tree) => self.attach(tree, target),
            None if context.elsewhere == Elsewhere::Sources => {
                self.attach(self.detached_instance(fs)?, target)
            }
            None => self.new_instance(target, fs),
        }?;
        if let Some(label) = &self.plan.mount_label
            && fs.kind.as_c_str() == c"mqueue"
            // It takes a path of the host's /proc.
            && context.elsewhere != Elsewhere::Sources
        {
            label_directory(mount.as_fd(), &label.value);
        }
        Ok(mount)
    }

    /// Attaches a copied mount at the destination, which is made like it where missing.
    fn bind_tree(&self, tree: Tree) -> Result<OwnedFd> {
        let target = self.mount_point(|| {
            let kind = sys::file::kind(&sys::file::stat(tree.as_fd())?);
            Ok(if kind == SFlag::S_IFDIR {
                NodeKind::Directory
            } else {
                NodeKind::File
            })
        })?;
        self.attach(tree, target.as_fd())
    }

    /// Gives a copied mount its flags and attaches it.
    pub fn attach(&self, tree: Tree, target: BorrowedFd<'_>) -> Result<OwnedFd> {
        self.refuse_procfs(target, Some(tree.as_fd()))?;
        let outcome = match &tree {
            Tree::Detached(fd) => self.change_attributes(fd.as_fd())?,
            Tree::Wish { .. } => Outcome::Later,
        };
        if let Tree::Detached(fd) = &tree {
            self.root.note_mount(fd.as_fd())?;
        }
        let mount = tree.attach(Place::Fd(target), || self.reopen())?;
        if outcome == Outcome::Later {
            attributes::remount(mount.as_fd(), 0, self.attributes)?;
            attributes::remount(mount.as_fd(), libc::AT_RECURSIVE, self.recursive)?;
        }
        Ok(mount)
    }

    pub fn change_attributes(&self, mount: BorrowedFd<'_>) -> Result<Outcome> {
        match attributes::change(mount, 0, self.attributes)? {
            Outcome::Done => attributes::change(mount, libc::AT_RECURSIVE, self.recursive),
            Outcome::Later => Ok(Outcome::Later),
        }
    }

    /// The destination as a directory, made where missing, where this mount may go.
    pub fn directory(&self) -> Result<OwnedFd> {
        let target = self.mount_point(|| Ok(NodeKind::Directory))?;
        self.refuse_procfs(target.as_fd(), None)?;
        Ok(target)
    }

    /// The destination of a new file system, made where missing, and its options there: a tmpfs
    /// keeps the permissions of a directory that it covers. Where there was none it is open to
    /// all users, 1777, as the kernel makes it: with runc and crun too.
    fn place_for(&self, fs: &FileSystem) -> Result<(OwnedFd, FileSystem)> {
        let mut missing = false;
        let target = self.mount_point(|| {
            missing = true;
            Ok(NodeKind::Directory)
        })?;
        self.refuse_procfs(target.as_fd(), None)?;
        let mut fs = fs.clone();
        let says_mode = fs.data.iter().any(|(key, _)| key.as_c_str() == c"mode");
        if fs.kind.as_c_str() == c"tmpfs" && !missing && !says_mode {
            let mode = sys::file::stat(target.as_fd())?.st_mode & 0o7777;
            let mode = sys::file::c_name(&format!("{mode:o}"))?;
            fs.data.push((c"mode".to_owned(), Some(mode)));
        }
        Ok((target, fs))
    }

    fn mount_point(&self, kind: impl FnOnce() -> Result<NodeKind>) -> Result<OwnedFd> {
        let path = &self.entry.destination;
        if self.entry.destination_nofollow {
            match self.root.open_nofollow(path) {
                Ok(fd) => return Ok(fd),
                Err(e) if e.is(Errno::ENOENT) => {}
                Err(e) => return Err(e),
            }
        }
        self.root.mount_point(path, kind)
    }

    /// The mount that lies at the destination now.
    pub fn reopen(&self) -> Result<OwnedFd> {
        if self.entry.destination_nofollow {
            self.root.open_nofollow(&self.entry.destination)
        } else {
            self.root.open(&self.entry.destination)
        }
    }

    /// CVE-2019-16884, CVE-2019-19921: a fake procfs would swallow what is written to
    /// /proc/self/attr. Only procfs may cover procfs, but for the files that lxcfs provides.
    fn refuse_procfs(&self, target: BorrowedFd<'_>, source: Option<BorrowedFd<'_>>) -> Result<()> {
        let path = self.entry.destination.as_str();
        let is_procfs = |fd| Ok::<_, Error>(sys::file::file_system_magic(fd)? == PROC_SUPER_MAGIC);
        if LXCFS_FILES.contains(&path) || !(path == "/proc" || is_procfs(target)?) {
            return Ok(());
        }
        match source {
            Some(source) if is_procfs(source)? => Ok(()),
            _ if path == "/proc" => Err(Error::invalid("only procfs can be mounted on /proc")),
            _ => Err(Error::invalid(format!(
                "{path} cannot be mounted on: it lies inside procfs"
            ))),
        }
    }
}

/// Old policies and kernels do not let an mqueue be labelled; then it has the label that it had
/// before (crun; runc asks for kernels that do).
fn label_directory(mount: BorrowedFd<'_>, label: &CStr) {
    if let Err(e) = sys::metadata::set_attribute(mount, c"security.selinux", label) {
        crate::log::debug(|| format!("the label of the mqueue: {e}"));
    }
}

/// Whether the options say what the top directory of a tmpfs is like.
fn has_own_metadata(fs: &FileSystem) -> bool {
    fs.data
        .iter()
        .any(|(key, _)| matches!(key.as_bytes(), b"mode" | b"uid" | b"gid"))
}

/// Files below /proc that lxcfs provides, as runc lets them be mounted.
const LXCFS_FILES: [&str; 11] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/uptime",
    "/proc/loadavg",
    "/proc/slabinfo",
    "/proc/net/dev",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/sys/crypto/fips_enabled",
];

/// The symbolic link at `path` of the host, if there is one.
fn open_symlink(path: &HostPath) -> Option<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW;
    let fd = sys::file::open_host(path.as_path(), flags).ok()?;
    let found = sys::file::stat(fd.as_fd()).ok()?;
    (sys::file::kind(&found) == SFlag::S_IFLNK).then_some(fd)
}

/// Makes a symbolic link like `link`.
fn copy_symlink(request: &Request<'_>, link: BorrowedFd<'_>) -> Result<()> {
    let target = sys::file::readlinkat(link, c"")?;
    let target = sys::file::c_path(target.as_ref())?;
    let (directory, name) = request.root.parent(&request.entry.destination)?;
    let name = sys::file::c_name(name)?;
    match sys::file::symlinkat(&target, directory.as_fd(), &name) {
        Err(e) if e.is(Errno::EEXIST) => {
            let there = sys::file::readlinkat(directory.as_fd(), &name)?;
            if there.as_encoded_bytes() == target.as_bytes() {
                Ok(())
            } else {
                Err(e)
            }
        }
        result => result,
    }
}
