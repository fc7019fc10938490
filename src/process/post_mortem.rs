//! Why init has ended without a word.
//!
//! Runs in: parent, and `rt start`.

use nix::sys::wait::WaitStatus;

use crate::cgroup::Guard;
use crate::error::{self, Error};
use crate::sys::process::OwnedProcess;

/// Ends and reaps a child that has hung up, and says how it ended.
pub fn of_child(process: &mut OwnedProcess, cgroup: Option<&Guard>, when: &str) -> Error {
    process.kill();
    let ended = match process.wait() {
        Ok(WaitStatus::Exited(_, status)) => format!("with exit status {status}"),
        Ok(WaitStatus::Signaled(_, signal, _)) => format!("by {}", signal.as_str()),
        Ok(status) => format!("as {status:?}"),
        Err(error) => return error.within(format!("init: it ended {when}")),
    };
    let limit = cgroup.and_then(Guard::out_of_memory);
    explain(format!("init: it ended {when}, {ended}"), limit)
}

/// The same of an init that is another's child; `out_of_memory` is the limit where it was too low.
pub fn of_stranger(out_of_memory: Option<String>) -> Error {
    let error = explain(
        "init: it ended before the program started".to_owned(),
        out_of_memory,
    );
    match error.hint() {
        Some(_) => error,
        None => error.with_hint("whoever killed it may have said so in the kernel's log (dmesg)"),
    }
}

fn explain(ended: String, out_of_memory: Option<String>) -> Error {
    let error = match out_of_memory {
        Some(limit) => Error::system(format!("{ended}: out of memory: {limit}")).with_hint(
            "the kernel's out-of-memory killer ended it: raise linux.resources.memory.limit, or that of a cgroup above",
        ),
        None => Error::system(ended),
    };
    error.in_phase(error::Phase::Init)
}
