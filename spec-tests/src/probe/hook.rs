//! What a hook saw, appended to a file as one line of JSON.
//!
//! Runs in: a hook's process, in the runtime's or the container's namespaces.

use std::fs::OpenOptions;
use std::io::{Read, Write};

use serde::{Deserialize, Serialize};

use super::ask::Process;
use super::look;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HookReport {
    pub stdin: String,
    pub process: Process,
    /// Nanoseconds of CLOCK_MONOTONIC, for the order of hooks.
    pub at_ns: i64,
}

pub fn run(file: &str, status: i32) -> i32 {
    let process = look::process();
    let mut stdin = String::new();
    let _ = std::io::stdin().read_to_string(&mut stdin);
    let report = HookReport {
        stdin,
        process,
        at_ns: look::clock(libc::CLOCK_MONOTONIC).unwrap_or(0),
    };
    let Ok(mut line) = serde_json::to_string(&report) else {
        return 96;
    };
    line.push('\n');
    match OpenOptions::new()
        .create(true)
        .append(true)
        .open(file)
        .and_then(|mut out| out.write_all(line.as_bytes()))
    {
        Ok(()) => status,
        Err(error) => {
            eprintln!("probe: {file}: {error}");
            95
        }
    }
}
