//! criu: the process that becomes `criu swrk`, the worker of `rt checkpoint` and `rt restore`.
//!
//! For a restore it has a mount namespace of its own with the container's root laid out in
//! it, so that nothing of that stays on the host however it ends, and the container's session
//! keyring, which all that it restores inherits.
//!
//! Runs in: criu, with all rights of root.

use std::convert::Infallible;
use std::ffi::{CStr, CString, OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use crate::criu::Service;
use crate::error::{Context, Error, Result};
use crate::log;
use crate::plan::namespaces::Kind;
use crate::plan::{HostPath, Plan};
use crate::rootfs;
use crate::security::keyring::Searcher;
use crate::security::{self, KeyringEntry};
use crate::sys::process::{self as kernel, Cloned};
use crate::sys::{file, program, socket};

use super::checkpoint::Places;
use super::images;
use super::procfs::Procfs;
use super::sources::Sources;
use super::wire::{Frame, Request, Wire};

/// What CRIU finds at which number.
const SOCKET: i32 = 3;
pub const IMAGES: i32 = 4;
pub const WORK: i32 = 5;
const PASSED: i32 = 6;

/// What a CRIU that restores a container is born with.
pub struct Stage<'a> {
    pub plan: &'a Plan,
    /// A directory that nobody needs while CRIU is at work: the root is laid out over it.
    pub place: &'a HostPath,
    pub sources: &'a Sources,
    /// Descriptors to be handed on, at [`passed_number`].
    pub passed: &'a [OwnedFd],
}

/// The number that CRIU has for `Stage::passed[index]`.
pub fn passed_number(index: usize) -> i32 {
    PASSED + i32::try_from(index).unwrap_or(i32::MAX)
}

/// The folder of the state directory that the container may have at /run/notify.
const NOTIFY: &CStr = c"notify";

/// Below the place of a [`Stage`], what the container has at /run/notify.
pub fn notify_directory(place: &HostPath) -> PathBuf {
    place.as_path().join(OsStr::from_bytes(NOTIFY.to_bytes()))
}

/// Below the place of a [`Stage`], the container's root.
pub fn root_below(place: &HostPath) -> Vec<u8> {
    place.as_path().join("root").into_os_string().into_vec()
}

/// Starts CRIU for a dump, without streams.
pub fn start(places: &Places) -> Result<Service> {
    let null = file::open_host(Path::new("/dev/null"), OFlag::O_RDWR)?;
    let null = null.as_fd();
    launch(places, [null, null, null], None)
}

/// Starts CRIU for a restore, with this process's streams.
pub fn start_on(places: &Places, stage: &Stage<'_>) -> Result<Service> {
    let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    let streams = [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()];
    launch(places, streams, Some(stage))
}

fn launch(
    places: &Places,
    streams: [BorrowedFd<'_>; 3],
    stage: Option<&Stage<'_>>,
) -> Result<Service> {
    let (wire, theirs) = Wire::pair()?;
    let flags = stage.map_or(0, |_| libc::CLONE_NEWNS as u64);
    match kernel::clone(flags, None)? {
        Cloned::Child { .. } => {
            drop(wire);
            kernel::set_name(c"rt:criu");
            theirs.carry_asides();
            let error = match become_criu(places, streams, &theirs, stage) {
                Ok(never) => match never {},
                Err(error) => error,
            };
            let _ = theirs.send_failure(error);
            kernel::exit_now(1)
        }
        Cloned::Parent(process) => {
            drop(theirs);
            let mut socket = None;
            loop {
                match (wire.receive()?, socket.is_some()) {
                    (Some((Frame::Request(Request::Ready), Some(fd))), false) => socket = Some(fd),
                    (Some((Frame::Failed(error), _)), _) => return Err(error.within("criu")),
                    (Some((Frame::Aside(aside), _)), _) => aside.pass_on(),
                    (Some(_), _) => return Err(Error::system("criu: a message out of order")),
                    (None, _) => break,
                }
            }
            // The wire ended with execve, or with the process.
            let socket = socket.ok_or_else(|| Error::system("criu: it ended before its start"))?;
            Ok(Service::new(process, socket))
        }
    }
}

/// CRIU looks for descriptors that it is told of in the process that made its socket. It mounts
/// below its working directory, which has to lie in its own mount namespace, so both are made
/// here.
fn become_criu(
    places: &Places,
    streams: [BorrowedFd<'_>; 3],
    wire: &Wire,
    stage: Option<&Stage<'_>>,
) -> Result<Infallible> {
    let folder = |path: &Path| file::open_host(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY);
    let mut images = folder(&places.images).context(|| "--image-path")?;
    let work = folder(places.work_or_images()).context(|| "--work-path")?;
    let passed = stage.map_or(Ok(&[][..]), prepare)?;
    if let Some(stage) = stage.filter(|stage| stage.plan.namespaces.is_private(Kind::User)) {
        match images::for_user_namespace(&places.images, stage.place.as_path()) {
            Ok(readable) => images = readable,
            Err(e) => log::debug(|| format!("images as they are: {e}")),
        }
    }
    let (ours, theirs) = socket::pair()?;
    let mut descriptors = streams.to_vec();
    descriptors.extend([ours.as_fd(), images.as_fd(), work.as_fd()]);
    descriptors.extend(passed.iter().map(AsFd::as_fd));
    let text = |text: OsString| {
        CString::new(text.into_vec()).map_err(|_| Error::invalid("a NUL byte in the path of criu"))
    };
    let path = text(places.criu.clone().into_os_string())?;
    let args = [
        path.clone(),
        c"swrk".into(),
        text(SOCKET.to_string().into())?,
    ];
    let env: Vec<CString> = std::env::vars_os()
        .filter_map(|(mut name, value)| {
            name.push("=");
            name.push(value);
            text(name).ok()
        })
        .collect();
    wire.send(&Frame::Request(Request::Ready), Some(theirs.as_fd()))?;
    drop(theirs);
    Err(program::replace(&path, &args, &env, &descriptors))
}

fn prepare<'a>(stage: &Stage<'a>) -> Result<&'a [OwnedFd]> {
    rootfs::lay_out(&stage.plan.rootfs, stage.place, NOTIFY).context(|| "the root for CRIU")?;
    stage.sources.lay_out(stage.plan, stage.place)?;
    let procfs = Procfs::open()?;
    let entry = KeyringEntry::Make(Searcher::User);
    security::enter_session_keyring(&stage.plan.process, Some(procfs.own()), entry)?;
    Ok(stage.passed)
}
