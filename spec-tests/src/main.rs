//! Conformance tests for any OCI runtime; see README.md.
//!
//! One binary, two parts: the suite on the host, and, when its name is `probe`, the program inside the container.
//!
//! Runs in: the host as root or as an ordinary user; the probe in a container.

// Rust's own start-up ignores SIGPIPE and opens missing standard descriptors; the probe must report what the runtime
// left, not what the language made of it.
#![no_main]
#![deny(unsafe_code)]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "TAP goes to stdout, and the probe has no other way to speak"
)]

mod attacks;
mod compat;
mod config;
mod config_linux;
mod harness;
mod options;
mod probe;
mod runtime;
#[allow(unsafe_code, reason = "the one place for it")]
mod sys;

use std::ffi::{c_char, c_int};
use std::path::Path;

// SAFETY: this is the C entry point of the binary, and no other symbol is called main.
#[allow(unsafe_code, reason = "the entry point is a symbol of C")]
#[unsafe(no_mangle)]
extern "C" fn main(_argc: c_int, _argv: *const *const c_char) -> c_int {
    let mut args: Vec<String> = std::env::args_os()
        .map(|arg| arg.to_string_lossy().into_owned())
        .collect();
    let name = if args.is_empty() {
        String::new()
    } else {
        args.remove(0)
    };
    if Path::new(&name)
        .file_name()
        .is_some_and(|name| name == "probe")
    {
        return probe::run(&args);
    }
    harness::run(&args)
}
