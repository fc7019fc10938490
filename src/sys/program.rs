//! Other programs: fork and execve of a hook, with three streams and nothing else of ours.
//!
//! std's Command keeps ignored signals other than SIGPIPE and descriptors that a caller left
//! open without close-on-exec; a hook must get neither.
//!
//! Runs in: parent (host hooks), init (createContainer, startContainer).

use std::ffi::{CStr, CString};
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};

use super::check;
use super::descriptor::{self, Close};
use super::process::{self, Cloned, OwnedProcess};
use crate::error::Error;

/// What execve(2) gets; the streams become descriptors 0, 1 and 2.
pub struct Program<'a> {
    pub path: &'a CStr,
    pub args: &'a [CString],
    pub env: &'a [CString],
    /// Where the program starts; the caller's own directory where this one is gone.
    pub directory: Option<&'a CStr>,
    pub stdin: BorrowedFd<'a>,
    pub stdout: BorrowedFd<'a>,
    pub stderr: BorrowedFd<'a>,
}

/// Starts `program`. The error of execve(2) is returned as such: the program then never ran.
pub fn start(program: &Program) -> Result<OwnedProcess, Error> {
    let argv = pointers(program.args);
    let envp = pointers(program.env);
    let streams = [
        above_streams(program.stdin)?,
        above_streams(program.stdout)?,
        above_streams(program.stderr)?,
    ];
    let (reader, writer) = check(nix::unistd::pipe2(OFlag::O_CLOEXEC), "pipe2", "O_CLOEXEC")?;
    let writer = {
        let low = writer;
        above_streams(low.as_fd())?
    };

    // A signal must not find a handler of ours in the child.
    let mask = process::exchange_signal_mask(Some(u64::MAX));
    let cloned = process::clone(0, None);
    if let Ok(Cloned::Child { .. }) = cloned {
        if let Some(directory) = program.directory {
            // SAFETY: a live C string, which the call reads.
            unsafe { libc::chdir(directory.as_ptr()) };
        }
        let errno = become_program(program.path, &argv, &envp, &streams);
        report_and_exit(&writer, errno);
    }
    process::exchange_signal_mask(Some(mask));
    let Cloned::Parent(mut child) = cloned? else {
        // The child has become the program or ended.
        process::exit_now(127)
    };
    drop(writer);
    match exec_errno(reader) {
        None => Ok(child),
        Some(errno) => {
            child.wait()?;
            let path = program.path;
            Err(Error::syscall("execve", format_args!("{path:?}"), errno))
        }
    }
}

/// In a cloned process: replaces it by the program at `path`, which gets `descriptors` as 0, 1,
/// 2 and so on, and nothing else. Comes back only with what went wrong.
pub fn replace(
    path: &CStr,
    args: &[CString],
    env: &[CString],
    descriptors: &[BorrowedFd],
) -> Error {
    let number = descriptors.len() as i32;
    let copies: Result<Vec<OwnedFd>, Error> =
        descriptors.iter().map(|fd| above(*fd, number)).collect();
    match copies {
        Ok(copies) => {
            let errno = become_program(path, &pointers(args), &pointers(env), &copies);
            Error::syscall("execve", format_args!("{path:?}"), errno as i32)
        }
        Err(error) => error,
    }
}

/// In the child. Comes back only with the errno of what was refused.
fn become_program(
    path: &CStr,
    argv: &[*const libc::c_char],
    envp: &[*const libc::c_char],
    descriptors: &[OwnedFd],
) -> Errno {
    for (number, descriptor) in (0..).zip(descriptors) {
        // SAFETY: these numbers belong to the child, which goes on to be another program; the
        // sources are above them.
        if unsafe { libc::dup2(descriptor.as_raw_fd(), number) } < 0 {
            return Errno::last();
        }
    }
    // Ours are close-on-exec, but the caller of `rt` may have left some of its own open.
    let _ = descriptor::close_from(descriptors.len() as u32, Close::OnExec);
    process::reset_signals();
    // SAFETY: the path is a C string, both arrays are of C strings and end with a null
    // pointer, and all of it lives in the copied memory of the parent.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
    Errno::last()
}

fn report_and_exit(writer: &OwnedFd, errno: Errno) -> ! {
    let bytes = (errno as i32).to_ne_bytes();
    // SAFETY: four bytes of a live local.
    unsafe { libc::write(writer.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) };
    process::exit_now(127)
}

/// What the child said before it ended, or None once execve(2) closed its end.
fn exec_errno(reader: OwnedFd) -> Option<i32> {
    let mut bytes = [0; 4];
    std::fs::File::from(reader).read_exact(&mut bytes).ok()?;
    Some(i32::from_ne_bytes(bytes))
}

fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    let null = std::ptr::null();
    strings.iter().map(|s| s.as_ptr()).chain([null]).collect()
}

/// A duplicate that no stream of the child can overwrite.
fn above_streams(fd: BorrowedFd) -> Result<OwnedFd, Error> {
    above(fd, 3)
}

fn above(fd: BorrowedFd, first: i32) -> Result<OwnedFd, Error> {
    let copy = check(
        fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(first)),
        "fcntl",
        format_args!("F_DUPFD_CLOEXEC, {first}"),
    )?;
    // SAFETY: fcntl just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}
