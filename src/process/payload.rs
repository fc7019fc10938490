//! The last part of a start, which init and enter share: this process becomes the payload.
//!
//! Two halves around the gate. [`prepare`] does all that can fail and needs no start: limits,
//! ids, capabilities, the working directory, the search for the program. [`execute`] is what
//! remains: signals, descriptors, the seccomp program, execve.
//!
//! Runs in: init after pivot, enter; at first with all capabilities in the container's user
//! namespace, at last with those of config.json.

use std::ffi::{CStr, CString};
use std::io::{BufRead, BufReader};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::OpenOptionsExt;

use nix::errno::Errno;
use nix::fcntl::AT_FDCWD;
use nix::sys::stat::Mode;
use nix::unistd::AccessFlags;

use crate::error::{Context, Error, Kind, Result, strerror};
use crate::plan::Descriptors;
use crate::plan::process::Process;
use crate::rootfs::Root;
use crate::security::{self, limits};
use crate::sys::process as kernel;
use crate::sys::{descriptor, file, seccomp};
use crate::terminal;

use super::gate::Outcome;
use super::notify;
use super::refusals::{no_execution, no_program, no_regular_file, no_working_directory, refused};

/// What execve(2) is going to be given.
pub struct Program {
    path: CString,
    args: Vec<CString>,
    env: Vec<CString>,
    descriptors: Descriptors,
    descriptors_limited: Moment,
    is_filtered: bool,
}

/// When the limit of descriptors is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Before a profile is loaded that rules over more than execve(2), and may refuse that.
    BeforeProfile,
    /// Last of all: without such a profile; and where the limit is so low that with it there
    /// would be no descriptor for the listener, or for what comes after.
    AtExecve,
}

impl Moment {
    fn of(process: &Process, descriptors: Descriptors) -> Moment {
        match has_listener(process) {
            true => Moment::under_profile(process, descriptors),
            false => Moment::AtExecve,
        }
    }

    /// Where the profile is loaded before all is done.
    fn under_profile(process: &Process, descriptors: Descriptors) -> Moment {
        /// Of rt's own, with a connection to the gate and what hooks need.
        const OWN: u64 = 64;
        let needed = u64::from(descriptors.first_closed()) + OWN;
        match limits::is_below(&process.rlimits, needed) {
            true => Moment::AtExecve,
            false => Moment::BeforeProfile,
        }
    }
}

impl Program {
    pub fn env(&self) -> &[CString] {
        &self.env
    }

    pub fn descriptors_limited(&self) -> Moment {
        self.descriptors_limited
    }
}

/// For a payload without a terminal: makes the three streams usable for its user, and swaps
/// the host's /dev/null for the container's. Before the ids change.
pub fn adapt_streams(process: &Process) -> Result<()> {
    terminal::adapt_streams(process.uid)
}

/// Turns this process into the payload's, up to but without execve.
pub fn prepare(
    process: &Process,
    descriptors: Descriptors,
    own: Option<BorrowedFd<'_>>,
) -> Result<Program> {
    limits::set_rlimits(&process.rlimits)?;
    security::scheduling::apply(process)?;
    security::label_next_program(process, own)?;
    // As root first, for a folder that the payload may be in but not enter; then again as the
    // payload, for one that only it can enter (a home on NFS or FUSE).
    let entered_as_root = nix::unistd::chdir(process.cwd.as_c_str());
    if process.no_new_privileges {
        kernel::set_no_new_privs().at("/process/noNewPrivileges", || "process.noNewPrivileges")?;
    }
    security::capabilities::set_ids_and_capabilities(process, own)?;
    nix::sys::stat::umask(Mode::from_bits_truncate(process.umask));
    if entered_as_root.is_err() {
        enter_working_directory(&process.cwd)?;
    }
    check_working_directory(&process.cwd)?;
    let env = environment(process);
    let path = find_program(&process.args[0], &env, executable)?;
    Ok(Program {
        path,
        args: process.args.clone(),
        env,
        descriptors,
        descriptors_limited: Moment::of(process, descriptors),
        // By now only one with a listener, which follows (notify::load_if_asked).
        is_filtered: has_listener(process),
    })
}

/// Loads the seccomp filter now, if it is not loaded: before hooks of startContainer, whose
/// programs are the image's as the payload's is. runc and crun do the same.
pub fn confine(program: &mut Program, process: &Process) -> Result<()> {
    if program.is_filtered || process.seccomp.is_none() {
        return Ok(());
    }
    program.descriptors_limited = Moment::under_profile(process, program.descriptors);
    if program.descriptors_limited == Moment::BeforeProfile {
        limits::limit_descriptors(&process.rlimits)?;
    }
    load_filter(process)?;
    program.is_filtered = true;
    Ok(())
}

fn has_listener(process: &Process) -> bool {
    let filter = process.seccomp.as_ref();
    filter.is_some_and(|filter| filter.listener.is_some())
}

fn load_filter(process: &Process) -> Result<()> {
    match &process.seccomp {
        Some(filter) => seccomp::load(&filter.program, filter.flags).map_err(notify::explain),
        None => Ok(()),
    }
}

/// What the trace calls [`execute`].
pub const LAST_STEP: &str = "descriptors, seccomp program, execve";

/// Becomes the payload. Returns only why it could not.
///
/// The seccomp filter is loaded as the last thing before execve, so that it governs none of
/// rt's own calls but that one; unless it had to be before ([`confine`],
/// [`notify::load_if_asked`]).
pub fn execute(program: &Program, process: &Process, outcome: &Outcome) -> Error {
    kernel::reset_signals();
    if let Err(error) = descriptor::close_from(
        program.descriptors.first_closed(),
        descriptor::Close::OnExec,
    ) {
        return error;
    }
    if program.descriptors_limited == Moment::AtExecve
        && let Err(error) = limits::limit_descriptors(&process.rlimits)
    {
        return match program.is_filtered {
            true => error.with_better_hint(
                "so low a limit is set when the profile and its agent rule already: let them allow prlimit64, or ask for more descriptors",
            ),
            false => error,
        };
    }
    if !program.is_filtered
        && let Err(error) = load_filter(process)
    {
        return error;
    }
    outcome.at_execve();
    let errno = kernel::execve(&program.path, &program.args, &program.env);
    outcome.refused(errno as i32);
    refused(&program.path, errno as i32)
}

/// Makes the working directory if it is absent, for init alone: a container's image need not
/// have it, but who runs exec in a folder that is not there has mistyped it (runc, crun).
///
/// CVE-2024-21626, CVE-2024-45310: beneath the root by descriptor, since init still has
/// descriptors of the host's /proc, and below those a path of procfs leads out.
pub fn make_working_directory(root: &Root, cwd: &CStr) -> Result<()> {
    let parts = cwd.to_str().unwrap_or_default().split('/');
    let path = parts
        .filter(|part| *part != ".")
        .collect::<Vec<_>>()
        .join("/");
    if !root.is_missing(&path) {
        return Ok(());
    }
    let before = nix::sys::stat::umask(Mode::empty());
    let made = root.directory(&path);
    nix::sys::stat::umask(before);
    made.map(drop).at("/process/cwd", || "process.cwd")
}

fn enter_working_directory(cwd: &CStr) -> Result<()> {
    nix::unistd::chdir(cwd).map_err(|errno| no_working_directory(cwd, errno))
}

/// CVE-2024-21626: a working directory that was reached through a leaked descriptor lies
/// outside of the root, and then getcwd(2) gives no absolute path.
fn check_working_directory(cwd: &CStr) -> Result<()> {
    let outside = match nix::unistd::getcwd() {
        Ok(path) => !path.is_absolute(),
        Err(Errno::ENOENT) => true,
        Err(errno) => {
            return Err(Error::syscall("getcwd", "", errno as i32))
                .at("/process/cwd", || "process.cwd");
        }
    };
    if outside {
        return Err(Error::invalid(format!(
            "process.cwd: {:?} lies outside of the container's root",
            cwd.to_string_lossy()
        ))
        .with_pointer("/process/cwd"));
    }
    Ok(())
}

fn environment(process: &Process) -> Vec<CString> {
    let mut env = process.env.clone();
    if process.home_missing {
        let home = home_of(process.uid).unwrap_or_else(|| "/".to_owned());
        env.extend(CString::new(format!("HOME={home}")));
    }
    env
}

/// The home directory of `uid` in the container's /etc/passwd. Only a field of digits is an
/// id, so that no name can pass for one (CVE-2016-3697).
fn home_of(uid: u32) -> Option<String> {
    // A passwd of a hostile image may be a pipe, a device, or endless.
    let file = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open("/etc/passwd")
        .ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let lines = BufReader::new(std::io::Read::take(file, 10 << 20)).lines();
    for line in lines.map_while(std::result::Result::ok) {
        let mut fields = line.split(':');
        if let (Some(id), Some(home)) = (fields.nth(2), fields.nth(2))
            && id.bytes().all(|b| b.is_ascii_digit())
            && id.parse() == Ok(uid)
            && !home.is_empty()
        {
            return Some(home.to_owned());
        }
    }
    None
}

/// Finds `name` as a shell would, by the payload's own PATH and rights. The texts are those
/// that engines match (podman, docker: 127 for a missing program, 126 for one that cannot be
/// executed).
pub fn find_program(
    name: &CStr,
    env: &[CString],
    executable: impl Fn(&CStr) -> Result<()>,
) -> Result<CString> {
    let shown = name.to_string_lossy().into_owned();
    if name.to_bytes().contains(&b'/') {
        return match executable(name) {
            Ok(()) => Ok(name.to_owned()),
            Err(error) => Err(not_runnable(error, &shown)),
        };
    }
    let path = env
        .iter()
        .find_map(|v| v.to_bytes().strip_prefix(b"PATH="))
        .unwrap_or_default();
    let mut found_but: Option<Error> = None;
    // No PATH is no folder, with runc and crun; only within one an empty part is the current one.
    if !name.is_empty() && !path.is_empty() {
        for directory in path.split(|b| *b == b':') {
            let directory = if directory.is_empty() {
                b"."
            } else {
                directory
            };
            let candidate = [directory, b"/", name.to_bytes()].concat();
            // Both parts come from C strings.
            let Ok(candidate) = CString::new(candidate) else {
                continue;
            };
            match executable(&candidate) {
                Ok(()) => return Ok(candidate),
                Err(e) if e.is(Errno::ENOENT) || e.is(Errno::ENOTDIR) => {}
                Err(e) => {
                    found_but.get_or_insert(e);
                }
            }
        }
    }
    Err(match found_but {
        Some(error) => not_runnable(error, &shown),
        None => Error::new(
            Kind::Program,
            format!("exec: {shown:?}: executable file not found in $PATH"),
        )
        .with_path(shown)
        .with_hint(if path.is_empty() {
            "process.env sets no PATH: name the program by its full path".to_owned()
        } else {
            format!(
                "PATH inside the container is {}",
                String::from_utf8_lossy(path)
            )
        })
        .with_pointer("/process/args/0"),
    })
}

/// Says that `program` cannot be run in runc's words, which are Go's and small: docker takes no
/// notice of a "Permission denied".
fn not_runnable(error: Error, program: &str) -> Error {
    let exec = format!("exec: {program:?}");
    match error.errno() {
        Some(errno) => error.within(format!("{exec}: {}", strerror(errno).to_lowercase())),
        None => error.within(exec),
    }
}

/// Whether the file at `path` is a regular one that this process may execute.
fn executable(path: &CStr) -> Result<()> {
    let shown = path.to_string_lossy();
    let stat = nix::sys::stat::stat(path).map_err(|errno| no_program(&shown, errno))?;
    if stat.st_mode & libc::S_IFMT != libc::S_IFREG {
        return Err(no_regular_file(&shown));
    }
    file::check_access(AT_FDCWD, path, AccessFlags::X_OK)
        .map_err(|errno| no_execution(&shown, errno))
}

/// The CPUs of process.execCPUAffinity.final, set last.
pub fn set_final_affinity(process: &Process) -> Result<()> {
    match &process.affinity_final {
        Some(cpus) => security::scheduling::set_affinity(cpus, "final"),
        None => Ok(()),
    }
}
