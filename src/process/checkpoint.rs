//! `rt checkpoint`: has CRIU dump a container's processes to files.
//!
//! What a container has of the host is named to CRIU, which leaves it out: bind mounts, by
//! their place inside, and namespaces that were joined. The names in the images are those that
//! runc and crun use, so each restores what another has dumped.
//!
//! Runs in: parent, with the rights of root.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::stat::SFlag;

use crate::criu::message::{Features, Kind, Request};
use crate::criu::options::{CgroupsMode, NetworkLock, Options, Switches};
use crate::criu::{self, Service};
use crate::error::{Context, Error, Result};
use crate::plan::checkpoint::{External, Settings};
use crate::plan::namespaces::Kind as Namespace;
use crate::plan::{ContainerPath, HostPath, notify};
use crate::rootfs::Root;
use crate::state::{Identity, Record};
use crate::sys::{descriptor, file};

use super::criu::{IMAGES, WORK, start};
use super::foreground::Signals;
use super::streams;

/// The name of CRIU's log.
const LOG: &str = "dump.log";

/// CRIU's files of settings for containers, the first that is there.
const SETTINGS: [&str; 3] = [
    "/etc/criu/rt.conf",
    "/etc/criu/crun.conf",
    "/etc/criu/runc.conf",
];

/// What checkpoint and restore are both told.
#[derive(Clone, Debug)]
pub struct Places {
    pub criu: PathBuf,
    pub images: PathBuf,
    /// For the log; where the images are if not given.
    pub work: Option<PathBuf>,
}

/// What the caller wants of a dump.
#[derive(Clone, Debug)]
pub struct Dump {
    pub places: Places,
    /// Relative to the images.
    pub parent: Option<PathBuf>,
    pub pre_dump: bool,
    pub page_server: Option<(String, u16)>,
    /// A descriptor of the caller's that is told once lazy pages are served.
    pub status_fd: Option<i32>,
    pub empty_namespaces: u32,
    pub cgroups_mode: CgroupsMode,
    pub network_lock: Option<NetworkLock>,
    pub switches: Switches,
}

/// Dumps the container whose init is `init`. Unless it is to be left running, its processes
/// are gone afterwards; where this fails they run on.
pub fn dump(
    record: &Record,
    init: Identity,
    external: &External,
    wishes: &Dump,
    signals: &Signals,
) -> Result<()> {
    require_possible(external)?;
    let places = &wishes.places;
    places.make()?;
    check_parent(wishes)?;
    let mut service = start(places)?;
    require_features(&mut service, wishes)?;
    service.explain_by(places.work_or_images().join(LOG));
    let mut options = Options {
        root: record.rootfs.clone().into_os_string().into_vec(),
        pid: Some(init.pid),
        parent_image: wishes.parent.clone().map(bytes),
        page_server: wishes.page_server.clone(),
        empty_namespaces: wishes.empty_namespaces,
        cgroups_mode: wishes.cgroups_mode,
        network_lock: wishes.network_lock,
        freeze_cgroup: record
            .cgroup
            .as_ref()
            .map(|cgroup| bytes(cgroup.mount.join(&cgroup.path))),
        config_file: settings_file(&external.settings),
        external: external_namespaces(external, init)?,
        switches: Switches {
            track_memory: wishes.pre_dump || wishes.parent.is_some(),
            ..wishes.switches
        },
        ..places.options(LOG)
    };
    let kind = if wishes.pre_dump {
        Kind::PreDump
    } else {
        options.external.extend(external_mounts(external, init)?);
        let streams = streams::of(record, init)?;
        options.external.extend(streams::external_files(&streams));
        streams::write(&places.images, &streams)?;
        Kind::Dump
    };
    let mut status_fd = wishes.status_fd;
    service.converse(
        &Request::Run(kind, &options),
        &|fd| signals.wait_for(fd),
        &mut |notification, _| {
            if notification.script == "status-ready"
                && let Some(fd) = status_fd.take()
            {
                descriptor::announce(fd)
                    .map_err(|errno| Error::syscall("write", "--status-fd", errno as i32))?;
            }
            Ok(())
        },
    )?;
    service.finish()
}

impl Places {
    pub fn work_or_images(&self) -> &Path {
        self.work.as_ref().unwrap_or(&self.images)
    }

    /// Makes what is missing, but not the parents of it.
    pub fn make(&self) -> Result<()> {
        make(&self.images).context(|| "--image-path")?;
        match &self.work {
            Some(work) => make(work).context(|| "--work-path"),
            None => Ok(()),
        }
    }

    /// The options that name them, by the numbers that CRIU was born with.
    pub fn options(&self, log: &'static str) -> Options {
        Options {
            images_dir: IMAGES,
            work_dir: Some(WORK),
            log_file: log,
            ..Options::default()
        }
    }
}

fn make(path: &Path) -> Result<()> {
    match std::fs::DirBuilder::new().mode(0o700).create(path) {
        Err(e) if e.raw_os_error() != Some(libc::EEXIST) => Err(Error::io("mkdir", path, &e)),
        _ => Ok(()),
    }
}

/// CRIU looks for the parent from inside of the images, and its own words about a wrong one
/// help nobody.
fn check_parent(wishes: &Dump) -> Result<()> {
    let Some(parent) = &wishes.parent else {
        return Ok(());
    };
    let refuse =
        |why: &str| {
            Err(Error::invalid(format!("--parent-path {parent:?}: {why}")).with_hint(
            "name the earlier images as seen from --image-path, `../first` for one beside it",
        ))
        };
    if parent.is_absolute() {
        return refuse("must be relative");
    }
    match std::fs::metadata(wishes.places.images.join(parent)) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => refuse("is no directory"),
        Err(e) => refuse(&crate::error::strerror(e.raw_os_error().unwrap_or(0))),
    }
}

/// Asks for the version, and for what the wishes need of the kernel.
fn require_features(service: &mut Service, wishes: &Dump) -> Result<()> {
    require_version(service)?;
    let needed = Features {
        memory_tracking: wishes.pre_dump || wishes.parent.is_some(),
        lazy_pages: wishes.switches.lazy_pages,
    };
    if needed == Features::default() {
        return Ok(());
    }
    let there = service.features(needed)?;
    if needed.memory_tracking && !there.memory_tracking {
        return Err(Error::unsupported(
            "--pre-dump and --parent-path: this kernel does not track which pages change",
        )
        .with_hint("the kernel needs CONFIG_MEM_SOFT_DIRTY; `criu check --feature mem_dirty_track` asks for it"));
    }
    if needed.lazy_pages && !there.lazy_pages {
        return Err(Error::unsupported(
            "--lazy-pages: this kernel or this CRIU lacks userfaultfd for it",
        ));
    }
    Ok(())
}

/// Refuses a CRIU that is too old for a container.
pub fn require_version(service: &mut Service) -> Result<()> {
    let version = service.version()?;
    if version >= criu::OLDEST {
        return Ok(());
    }
    Err(Error::unsupported(format!(
        "criu {version} is too old: {} or later is needed",
        criu::OLDEST
    )))
}

/// Refuses what CRIU would get wrong or not understand.
pub fn require_possible(external: &External) -> Result<()> {
    let refuse = |place: String, pointer: String, what: String| {
        let error = Error::unsupported(format!("{place}: CRIU cannot dump or restore {what}"));
        Err(error.with_pointer(pointer))
    };
    if let Some(index) = external.id_mapped {
        return refuse(
            format!("mounts[{index}]"),
            format!("/mounts/{index}"),
            "an id-mapped mount".into(),
        );
    }
    let mut joined = external.namespaces.iter();
    match joined.find(|joined| matches!(joined.kind, Namespace::Mount | Namespace::Cgroup)) {
        None => Ok(()),
        Some(joined) => refuse(
            format!("linux.namespaces[{}]", joined.index),
            format!("/linux/namespaces/{}", joined.index),
            format!(
                "a container in a {} namespace of others",
                joined.kind.name()
            ),
        ),
    }
}

/// The key under which CRIU keeps a namespace that was joined, for those that it leaves alone.
/// runc and crun have the same.
pub fn external_key(kind: Namespace) -> Option<&'static str> {
    match kind {
        Namespace::Network => Some("extRootNetNS"),
        Namespace::Pid => Some("extRootPidNS"),
        _ => None,
    }
}

/// By the inode of the namespace that init is in, wherever its path leads by now.
fn external_namespaces(external: &External, init: Identity) -> Result<Vec<Vec<u8>>> {
    let mut all = Vec::new();
    for joined in &external.namespaces {
        let Some(key) = external_key(joined.kind) else {
            continue;
        };
        let name = joined.kind.proc_name();
        let path = format!("/proc/{}/ns/{name}", init.pid);
        let inode = std::fs::metadata(&path)
            .map_err(|e| Error::io("stat", &path, &e))?
            .ino();
        all.push(format!("{name}[{inode}]:{key}").into_bytes());
    }
    Ok(all)
}

fn external_mounts(external: &External, init: Identity) -> Result<Vec<Vec<u8>>> {
    let root = Root::open_host(&HostPath::new(format!("/proc/{}/root", init.pid)))?;
    let mut all = Vec::new();
    for bind in &external.mounts {
        let place = resolve(&root, &bind.destination)?;
        let place = place.map_or_else(
            || bind.destination.as_str().as_bytes().to_vec(),
            |(path, _)| bytes(path),
        );
        all.push(external_mount(&place, &place));
    }
    for path in &external.masked_paths {
        // A masked directory is a file system of the container's own.
        if let Some((path, kind)) = resolve(&root, path)?
            && kind != SFlag::S_IFDIR
        {
            all.push(external_mount(&bytes(path), b"/dev/null"));
        }
    }
    for path in &external.devices {
        all.push(external_mount(
            path.as_str().as_bytes(),
            path.as_str().as_bytes(),
        ));
    }
    // What rt itself may have mounted.
    let notify = notify::DIRECTORY.as_bytes();
    all.push(external_mount(notify, notify));
    Ok(all)
}

/// `mnt[KEY]:VALUE`: in a dump the mount point and its name, in a restore the name and the
/// source.
pub fn external_mount(key: &[u8], value: &[u8]) -> Vec<u8> {
    [b"mnt[", key, b"]:", value].concat()
}

/// What `path` leads to beneath `root`, and its kind. None where there is nothing.
fn resolve(root: &Root, path: &ContainerPath) -> Result<Option<(PathBuf, SFlag)>> {
    let found = match root.open(path) {
        Ok(fd) => fd,
        Err(e) if e.is(Errno::ENOENT) || e.is(Errno::ENOTDIR) => return Ok(None),
        Err(e) => return Err(e),
    };
    let kind = file::kind(&file::stat(found.as_fd())?);
    Ok(Some((path_of(&found)?, kind)))
}

/// Where an open file lies, from the root of its mount namespace.
pub fn path_of(fd: &OwnedFd) -> Result<PathBuf> {
    let link = format!("/proc/self/fd/{}", descriptor::number(fd.as_fd()));
    std::fs::read_link(&link).map_err(|e| Error::io("readlink", &link, &e))
}

/// CRIU's own file of settings, which goes before what is asked of it here.
pub fn settings_file(settings: &Settings) -> Option<Vec<u8>> {
    match settings {
        Settings::None => None,
        Settings::File(path) => Some(bytes(path.as_path().to_owned())),
        Settings::Usual => SETTINGS
            .iter()
            .find(|path| Path::new(path).exists())
            .map(|path| path.as_bytes().to_vec()),
    }
}

pub fn bytes(path: PathBuf) -> Vec<u8> {
    path.into_os_string().into_vec()
}
