//! `rt checkpoint`: has CRIU dump a container's processes to files.
//!
//! What a container has of the host is named to CRIU, which leaves it out: bind mounts, by
//! their place inside, and namespaces that were joined. The names in the images are those that
//! runc and crun use, so each restores what another has dumped.
//!
//! Runs in: parent, with the rights of root.

use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::cgroup::Handle;
use crate::criu::message::{Features, Kind, Request};
use crate::criu::options::{CgroupsMode, NetworkLock, Options, Switches};
use crate::criu::{self, Service};
use crate::error::{Context, Error, Result};
use crate::plan::checkpoint::{External, Settings};
use crate::plan::namespaces::Kind as Namespace;
use crate::state::{Identity, Record};
use crate::sys::descriptor;

use super::criu::{IMAGES, WORK, start};
use super::external::{self, bytes};
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
    outside: &External,
    wishes: &Dump,
    signals: &Signals,
) -> Result<()> {
    require_possible(outside)?;
    let places = &wishes.places;
    let settings = settings_file(&outside.settings);
    if settings.is_none() {
        check_server(wishes)?;
    }
    places.make_images()?;
    places.make_work()?;
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
        freeze_cgroup: freezer(record)?,
        config_file: settings,
        external: external::namespaces_of(outside, init)?,
        switches: Switches {
            track_memory: wishes.pre_dump || wishes.parent.is_some(),
            ..wishes.switches
        },
        ..places.options(LOG)
    };
    let kind = if wishes.pre_dump {
        Kind::PreDump
    } else {
        options.external.extend(external::mounts_of(outside, init)?);
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

/// The cgroup in which the processes can be stopped all at once. Without one CRIU stops each.
fn freezer(record: &Record) -> Result<Option<Vec<u8>>> {
    let Some(cgroup) = &record.cgroup else {
        return Ok(None);
    };
    let handle = Handle::of_container(cgroup)?;
    Ok(handle.map(|_| bytes(cgroup.mount.join(&cgroup.path))))
}

impl Places {
    pub fn work_or_images(&self) -> &Path {
        self.work.as_ref().unwrap_or(&self.images)
    }

    /// Makes the folder of the images where it is missing, but not its parents.
    fn make_images(&self) -> Result<()> {
        make(&self.images).context(|| "--image-path")
    }

    /// The same for the folder of the log.
    pub fn make_work(&self) -> Result<()> {
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

/// CRIU would serve the pages at a port that nobody knows, and wait for somebody.
fn check_server(wishes: &Dump) -> Result<()> {
    if !wishes.switches.lazy_pages || wishes.page_server.is_some() {
        return Ok(());
    }
    Err(Error::invalid(
        "--lazy-pages: needs --page-server, where the memory is served",
    ))
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
    if let Some(index) = external.mapped_file_system {
        return refuse(
            format!("mounts[{index}]"),
            format!("/mounts/{index}"),
            "a new file system with an id map".into(),
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
