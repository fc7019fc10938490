//! `rt`, a low-level container runtime.
//!
//! Owns the beginning and the end: it hands the command line to [`cli`], and it is the only
//! place that reports an error and the only one that ends the process.
//!
//! Runs in: parent.

#![deny(unsafe_code)]
#![cfg_attr(not(test), no_main)]
#![cfg_attr(
    test,
    allow(dead_code, reason = "tests have an entry point of their own")
)]

mod bundle;
mod cgroup;
mod cli;
mod criu;
mod diagnose;
mod error;
mod hooks;
mod host;
mod log;
mod plan;
mod process;
mod rootfs;
mod seccomp;
mod security;
mod state;
mod sys;
mod terminal;
mod trace;

use cli::Parsed;
use error::Error;

/// musl's own asks the kernel anew for each size of block, which costs a start a tenth of its time
/// (docs/design/0017-the-c-library.md); glibc's does not.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

entry!(run);

/// Parses and dispatches. Returns the exit status.
fn run() -> u8 {
    let arguments = sys::entry::arguments();
    #[cfg(feature = "manual")]
    if let [_, word, folder] = arguments.as_slice()
        && word == "manual"
    {
        return status(cli::write_manual(folder.as_ref()).map(|()| 0), 1);
    }
    cli::shield_early(&arguments);
    let call = match cli::parse(arguments) {
        Ok(Parsed::Call(call)) => call,
        Ok(Parsed::Text(text)) => return status(cli::print(text).map(|()| 0), 1),
        Ok(Parsed::TextThen(text, error)) => {
            return status(cli::print(text).and(Err(error)), 1);
        }
        Err(error) => return status(Err(error), 1),
    };
    sys::process::keep_status_of_children();
    let failure = call.failure_status();
    status(call.run(), failure)
}

fn status(result: Result<u8, Error>, failure: u8) -> u8 {
    result.unwrap_or_else(|error| {
        diagnose::report(&error);
        failure
    })
}
