//! The entry of the program, in place of the one that Rust's standard library brings.
//!
//! That one reads /proc/self/maps, makes a stack for a signal handler and asks for the number
//! of processors, at every start: a tenth of a millisecond, twice where
//! [`crate::process::shield`] starts the program again. What it does for safety is done here.

use std::ffi::{CStr, OsStr, OsString, c_char};
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicPtr, Ordering};

use nix::fcntl::OFlag;
use nix::sys::signal::{SigHandler, Signal};
use nix::sys::stat::Mode;

/// Makes `$run`, a `fn() -> u8`, the program: its result is the exit status.
#[macro_export]
macro_rules! entry {
    ($run:path) => {
        /// Called by the C library's start-up code, once.
        // SAFETY: the C library's start-up code looks for this name and calls it with these
        // arguments; no other function of the program has it.
        #[allow(unsafe_code, reason = "the only way to be called by the C library")]
        #[cfg(not(test))]
        #[unsafe(no_mangle)]
        pub extern "C" fn main(
            _argc: std::ffi::c_int,
            argv: *mut *mut std::ffi::c_char,
        ) -> std::ffi::c_int {
            $crate::sys::entry::note_arguments(argv);
            $crate::sys::entry::prepare();
            $run().into()
        }
    };
}

/// The command line, with the program's name before it. Of an entry that is not its own the
/// standard library knows it with some C libraries alone.
pub fn arguments() -> Vec<OsString> {
    if ARGUMENTS.load(Ordering::Relaxed).is_null() {
        return std::env::args_os().collect();
    }
    given()
        .map(|argument| {
            // SAFETY: a C string of the kernel's making, which lives as long as the process.
            let word = unsafe { CStr::from_ptr(argument) };
            OsStr::from_bytes(word.to_bytes()).to_owned()
        })
        .collect()
}

/// The words of `main`'s second argument; none before they were noted.
fn given() -> impl Iterator<Item = *mut c_char> {
    let argv = ARGUMENTS.load(Ordering::Relaxed);
    let count = if argv.is_null() { 0 } else { usize::MAX };
    (0..count).map_while(move |index| {
        // SAFETY: argv ends with a null pointer, and nothing behind that is looked at.
        let place = unsafe { argv.add(index) };
        // SAFETY: as above.
        let argument = unsafe { *place };
        (!argument.is_null()).then_some(argument)
    })
}

/// Where the kernel has put the command line, which others read as /proc/PID/cmdline.
static ARGUMENTS: AtomicPtr<*mut c_char> = AtomicPtr::new(std::ptr::null_mut());

/// Takes `main`'s second argument, for [`arguments`] and [`hide_arguments`].
pub fn note_arguments(argv: *mut *mut c_char) {
    ARGUMENTS.store(argv, Ordering::Relaxed);
}

/// Leaves of this process's command line the program's name alone: whoever sees the process can read
/// it, with what the caller put there for the payload's eyes only.
pub fn hide_arguments() {
    for argument in given().skip(1) {
        // SAFETY: a C string of the kernel's making.
        let length = unsafe { CStr::from_ptr(argument) }.count_bytes();
        // SAFETY: its bytes are this process's own to write, and nobody reads the command line
        // after the start of main.
        unsafe { std::ptr::write_bytes(argument, 0, length) };
    }
}

/// What every program wants before its first line: descriptors 0 to 2 that are taken, so that
/// no file of ours becomes somebody's standard error, and writes that fail rather than kill: to a
/// pipe without a reader, and beyond a limit of the size of files.
pub fn prepare() {
    for stream in 0..=2 {
        if !super::descriptor::was_passed(stream)
            && nix::fcntl::open("/dev/null", OFlag::O_RDWR, Mode::empty())
                .map(std::os::fd::IntoRawFd::into_raw_fd)
                != Ok(stream)
        {
            std::process::abort();
        }
    }
    for signal in [Signal::SIGPIPE, Signal::SIGXFSZ] {
        // SAFETY: SIG_IGN runs no code of ours.
        let _ = unsafe { nix::sys::signal::signal(signal, SigHandler::SigIgn) };
    }
}
