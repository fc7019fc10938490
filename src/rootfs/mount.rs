//! One mount of the plan.
//!
//! Runs in: init before pivot.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::stat::SFlag;

use super::attributes::{self, Outcome};
use super::beneath::{MountPoint, NodeKind, Root};
use super::bind::Tree;
use super::{Context, cgroup, copy_up, propagation, pseudo};
use crate::error::{Context as _, Error, Result};
use crate::plan::HostPath;
use crate::plan::rootfs::{FileSystem, Mount, Source};
use crate::sys;
use crate::sys::mount::{Attributes, FSCONFIG_VALUE_MAX, Place};

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
    /// `context=` of SELinux.
    label: Option<&'a str>,
}

/// Makes one mount, with its flags and its propagation.
pub fn apply(
    root: &Root,
    entry: &Mount,
    label: Option<&str>,
    context: &Context<'_>,
) -> Result<Made> {
    let later = becomes_readonly_later(entry);
    let request = Request::new(root, entry, label, later);
    let mount = match &entry.source {
        Source::Bind {
            path,
            copy_symlink: true,
            ..
        } if is_symlink(path) => {
            copy_symlink(&request, path)?;
            return Ok(Made {
                readonly_later: None,
            });
        }
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
            let target = request.directory()?;
            request.new_instance(target.as_fd(), fs)?
        }
        Source::CopyUp(fs) => {
            let target = request.directory()?;
            let mount = request.new_instance(target.as_fd(), fs)?;
            copy_up::copy(target.as_fd(), mount.as_fd()).context(|| "tmpcopyup")?;
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
    fn new(root: &'a Root, entry: &'a Mount, label: Option<&'a str>, later: bool) -> Request<'a> {
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
            label,
        }
    }

    /// Binds `source` at the destination, which is made like the source where missing.
    /// `flags` as for open_tree(2).
    pub fn bind(&self, source: Place<'_>, flags: i32) -> Result<OwnedFd> {
        self.bind_tree(Tree::copy(source, flags)?)
    }

    /// Copies the source of a bind mount, with the parent's rights where one's own do not
    /// reach it.
    fn open_source(&self, path: &HostPath, flags: i32, context: &Context<'_>) -> Result<Tree> {
        let opened = Tree::copy(Place::Host(path.as_path()), flags);
        match (opened, context.ask_parent, self.entry.index) {
            (Err(e), Some(ask), Some(index)) if e.is(Errno::EACCES) || e.is(Errno::EPERM) => {
                ask(index).map(Tree::Detached)
            }
            (opened, ..) => opened,
        }
    }

    fn bind_tree(&self, tree: Tree) -> Result<OwnedFd> {
        let target = self.mount_point(|| {
            let kind = sys::file::kind(&sys::file::stat(tree.as_fd())?);
            Ok(if kind == SFlag::S_IFDIR {
                NodeKind::Directory
            } else {
                NodeKind::File
            })
        })?;
        self.refuse_procfs(target.fd.as_fd(), Some(tree.as_fd()))?;
        self.attach(tree, target.fd.as_fd())
    }

    /// Gives a copied mount its flags and attaches it.
    fn attach(&self, tree: Tree, target: BorrowedFd<'_>) -> Result<OwnedFd> {
        let outcome = match &tree {
            Tree::Detached(fd) => self.change_attributes(fd.as_fd())?,
            Tree::Wish { .. } => Outcome::Later,
        };
        let mount = tree.attach(Place::Fd(target), || self.reopen())?;
        if outcome == Outcome::Later {
            attributes::remount(mount.as_fd(), 0, self.attributes)?;
            attributes::remount(mount.as_fd(), libc::AT_RECURSIVE, self.recursive)?;
        }
        Ok(mount)
    }

    fn change_attributes(&self, mount: BorrowedFd<'_>) -> Result<Outcome> {
        match attributes::change(mount, 0, self.attributes)? {
            Outcome::Done => attributes::change(mount, libc::AT_RECURSIVE, self.recursive),
            Outcome::Later => Ok(Outcome::Later),
        }
    }

    /// The destination as a directory, made where missing, where this mount may go.
    pub fn directory(&self) -> Result<OwnedFd> {
        let target = self.mount_point(|| Ok(NodeKind::Directory))?;
        self.refuse_procfs(target.fd.as_fd(), None)?;
        Ok(target.fd)
    }

    fn mount_point(&self, kind: impl FnOnce() -> Result<NodeKind>) -> Result<MountPoint> {
        let path = &self.entry.destination;
        if self.entry.destination_nofollow {
            match self.root.open_nofollow(path) {
                Ok(fd) => return Ok(MountPoint { fd, is_new: false }),
                Err(e) if e.is(Errno::ENOENT) => {}
                Err(e) => return Err(e),
            }
        }
        self.root.mount_point(path, kind)
    }

    /// The mount that lies at the destination now.
    fn reopen(&self) -> Result<OwnedFd> {
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

    /// Makes a new instance of a file system, with its flags, and attaches it.
    ///
    /// KERNEL(5.2): without fsopen(2), and for values that fsconfig(2) is too short for,
    /// by mount(2) on the target's descriptor.
    pub fn new_instance(&self, target: BorrowedFd<'_>, fs: &FileSystem) -> Result<OwnedFd> {
        let options = self.options(target, fs)?;
        let fits = |s: &CStr| s.count_bytes() <= FSCONFIG_VALUE_MAX;
        let all_fit = fits(&fs.source)
            && options
                .iter()
                .all(|(key, value)| fits(key) && value.as_deref().is_none_or(fits));
        if !all_fit {
            return self.new_by_mount(target, fs, &options);
        }
        let context = match sys::mount::fsopen(&fs.kind) {
            Err(e) if e.is(Errno::ENOSYS) || e.is(Errno::EPERM) => {
                return self.new_by_mount(target, fs, &options);
            }
            result => result?,
        };
        configure(context.as_fd(), fs, &options).map_err(|e| explain_option(fs, e))?;
        let mount = sys::mount::fsmount(context.as_fd(), self.attributes.set)?;
        let outcome = attributes::change(mount.as_fd(), 0, self.recursive)?;
        sys::mount::move_mount(mount.as_fd(), Place::Fd(target))?;
        if outcome == Outcome::Later {
            attributes::remount(mount.as_fd(), 0, self.recursive)?;
        }
        Ok(mount)
    }

    fn new_by_mount(
        &self,
        target: BorrowedFd<'_>,
        fs: &FileSystem,
        options: &[FsOption],
    ) -> Result<OwnedFd> {
        let set = self.attributes.set | self.recursive.set;
        let flags = fs.superblock_flags | attributes::mount_flags(set);
        let data = join(options)?;
        sys::mount::mount(
            Some(&fs.source),
            &sys::mount::fd_path(target),
            Some(&fs.kind),
            flags,
            data.as_deref(),
        )
        .map_err(|e| explain_option(fs, e))?;
        self.reopen()
    }

    /// The file system's options with what rt adds.
    fn options(&self, target: BorrowedFd<'_>, fs: &FileSystem) -> Result<Vec<FsOption>> {
        let mut options = fs.data.clone();
        let is_tmpfs = fs.kind.as_c_str() == c"tmpfs";
        if is_tmpfs && !options.iter().any(|(key, _)| key.as_c_str() == c"mode") {
            // A tmpfs takes the place of a directory and keeps its permissions.
            let mode = sys::file::stat(target)?.st_mode & 0o7777;
            options.push((
                c"mode".to_owned(),
                Some(sys::file::c_name(&format!("{mode:o}"))?),
            ));
        }
        if let Some(label) = self.label
            && !matches!(
                fs.kind.as_bytes(),
                b"proc" | b"sysfs" | b"cgroup2" | b"mqueue"
            )
        {
            let label = sys::file::c_name(label)?;
            options.push((c"context".to_owned(), Some(label)));
        }
        Ok(options)
    }

    /// Changes the mount that lies at the destination.
    fn remount(&self, fs: &FileSystem) -> Result<OwnedFd> {
        let mount = self.reopen()?;
        if self.change_attributes(mount.as_fd())? == Outcome::Later {
            attributes::remount(mount.as_fd(), 0, self.attributes)?;
            attributes::remount(mount.as_fd(), libc::AT_RECURSIVE, self.recursive)?;
        }
        if !fs.data.is_empty() {
            let context = sys::mount::fspick(mount.as_fd())?;
            for (key, value) in &fs.data {
                sys::mount::fsconfig_set(context.as_fd(), key, value.as_deref())?;
            }
            sys::mount::fsconfig_reconfigure(context.as_fd())?;
        }
        Ok(mount)
    }
}

type FsOption = (CString, Option<CString>);

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

fn configure(context: BorrowedFd<'_>, fs: &FileSystem, options: &[FsOption]) -> Result<()> {
    if !fs.source.is_empty() {
        sys::mount::fsconfig_set(context, c"source", Some(&fs.source))?;
    }
    for (flag, word) in SUPERBLOCK_FLAGS {
        if fs.superblock_flags & flag != 0 {
            sys::mount::fsconfig_set(context, word, None)?;
        }
    }
    for (key, value) in options {
        sys::mount::fsconfig_set(context, key, value.as_deref())?;
    }
    sys::mount::fsconfig_create(context)
}

/// Superblock flags by the words that fsconfig(2) knows.
const SUPERBLOCK_FLAGS: [(u64, &CStr); 5] = [
    (libc::MS_RDONLY, c"ro"),
    (libc::MS_SYNCHRONOUS, c"sync"),
    (libc::MS_DIRSYNC, c"dirsync"),
    (libc::MS_MANDLOCK, c"mand"),
    (1 << 25, c"lazytime"), // MS_LAZYTIME, Linux 4.0
];

/// The options as mount(2) wants them: `size=65536k,mode=755`.
fn join(options: &[FsOption]) -> Result<Option<CString>> {
    if options.is_empty() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    for (key, value) in options {
        if !bytes.is_empty() {
            bytes.push(b',');
        }
        bytes.extend_from_slice(key.as_bytes());
        if let Some(value) = value {
            bytes.push(b'=');
            bytes.extend_from_slice(value.as_bytes());
        }
    }
    CString::new(bytes)
        .map(Some)
        .map_err(|_| Error::invalid("an option contains a null byte"))
}

/// devpts and tmpfs refuse an owner whom the user namespace does not map.
fn explain_option(fs: &FileSystem, error: Error) -> Error {
    let owner = fs
        .data
        .iter()
        .find(|(key, _)| matches!(key.as_bytes(), b"uid" | b"gid"));
    match owner {
        Some((key, Some(value))) if error.is(Errno::EINVAL) => {
            let (key, value) = (key.to_string_lossy(), value.to_string_lossy());
            error.with_hint(format!(
                "{key}={value} has to be in linux.{key}Mappings; map it, or leave the option out"
            ))
        }
        _ => error,
    }
}

fn is_symlink(path: &HostPath) -> bool {
    std::fs::symlink_metadata(path.as_path()).is_ok_and(|m| m.is_symlink())
}

/// Makes a symbolic link like the one at `path` of the host.
fn copy_symlink(request: &Request<'_>, path: &HostPath) -> Result<()> {
    let target = std::fs::read_link(path.as_path())
        .map_err(|e| Error::io("readlink", path.as_path(), &e))?;
    let target = sys::file::c_name(&target.to_string_lossy())?;
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
