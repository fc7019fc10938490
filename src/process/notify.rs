//! The seccomp listener: from the process that is about to be filtered to the agent that
//! answers for it.
//!
//! A filtered process cannot be relied on to send anything: its profile may put sendmsg(2) or
//! write(2) themselves to the agent, who cannot answer before it has the listener. So a second
//! process, the messenger, is made before the program is loaded. It shares the descriptors,
//! is told by a word of shared memory that there is a listener, and sends it over the wire.
//! The filtered process makes no call until that is done.
//!
//! ```text
//!    parent               messenger                init or enter
//!      |                      | <---- clone(FILES) ---- |
//!      |                      | <==== memory word ===== | seccomp(2)
//!      | <--- NotifyFd ------ |                         | (looks at the word)
//!      | ---> agent           |                         |
//!      | ---- answer -------> | ===== memory word ====> | goes on, filtered
//! ```
//!
//! Runs in: init and enter after pivot ([`load_if_asked`]), with CAP_SYS_ADMIN in the container's user
//! namespace or with no_new_privs; parent ([`hand_over`]).

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileTypeExt;
use std::time::Duration;

use nix::unistd::Pid;
use serde::Serialize;

use crate::error::{Error, Result};
use crate::plan::process::Process;
use crate::seccomp::Filter;
use crate::security::limits;
use crate::state::{OCI_VERSION, Record, Report, Status};
use crate::sys::memory::SharedWord;
use crate::sys::process::{self as kernel, Cloned};
use crate::sys::seccomp::{self, Announced};
use crate::sys::socket;

use super::payload::{Moment, Program};
use super::wire::{Request, Wire};

/// Words of the messenger; what the loader writes is [`seccomp::take_listener`]'s.
const SERVED: i32 = -2;
const FAILED: i32 = -3;

/// How often the word is looked at by one who must not call the kernel, before it takes the
/// messenger for dead: a few minutes.
const PATIENCE: u64 = 4_000_000_000;

/// Loads the filter now if it has a listener: `create` is then over only when the agent has it.
/// The profile may forbid what else is left to do, so that is done before.
pub fn load_if_asked(wire: &Wire, process: &Process, program: &Program) -> Result<()> {
    let filter = process.seccomp.as_ref();
    match filter.filter(|filter| filter.listener.is_some()) {
        Some(filter) => {
            if program.descriptors_limited() == Moment::BeforeProfile {
                limits::limit_descriptors(&process.rlimits)?;
            }
            load(wire, filter)
        }
        None => Ok(()),
    }
}

/// Puts `filter`, which has a listener, over this process, and waits until the agent has that.
fn load(wire: &Wire, filter: &Filter) -> Result<()> {
    let word = SharedWord::new()?;
    match kernel::clone(libc::CLONE_FILES as u64, None)? {
        Cloned::Child { .. } => messenger(wire, &word),
        Cloned::Parent(mut messenger) => {
            let loaded = seccomp::load_with_listener(&filter.program, filter.flags, &word);
            let served = loaded.is_ok() && is_served(&word);
            // The agent has the listener by now and may be asked about this call. Where the
            // profile refuses it, the payload finds a child that it does not know.
            let _ = messenger.wait();
            // Both end with execve; to give them up would be two more calls for the profile.
            std::mem::forget((messenger, word));
            match loaded {
                Ok(()) if served => Ok(()),
                Ok(()) => Err(Error::system("the seccomp agent has not got the listener")),
                Err(error) => Err(explain(error)),
            }
        }
    }
}

/// Says what loading a program needs.
pub fn explain(error: Error) -> Error {
    let error = error.with_pointer("/linux/seccomp").within("linux.seccomp");
    match error.errno() {
        Some(libc::EACCES) => error.with_hint(
            "without process.noNewPrivileges the kernel takes a seccomp program from holders of CAP_SYS_ADMIN alone: set noNewPrivileges, or give the container a user namespace",
        ),
        Some(libc::EBUSY) => error.with_hint(
            "a seccomp listener is there already: an outer runtime has put its own agent over this process, and the kernel allows one",
        ),
        Some(libc::EINVAL) => error.with_hint(
            "the kernel may lack one of linux.seccomp.flags, SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV before Linux 5.19: `rt features` lists supportedFlags",
        ),
        _ => error,
    }
}

fn is_served(word: &SharedWord) -> bool {
    for _ in 0..PATIENCE {
        match word.load() {
            SERVED => return true,
            FAILED => return false,
            _ => std::hint::spin_loop(),
        }
    }
    false
}

fn messenger(wire: &Wire, word: &SharedWord) -> ! {
    kernel::set_name(c"rt:notify");
    // One whose init is gone has nothing to wait for.
    let _ = kernel::die_with_parent();
    let listener = loop {
        match seccomp::take_listener(word) {
            Announced::NotYet => std::thread::sleep(Duration::from_micros(20)),
            Announced::Listener(listener) => break listener,
            Announced::None => kernel::exit_now(0),
        }
    };
    let served = wire.ask(Request::NotifyFd, Some(listener.as_fd())).is_ok();
    // The table of descriptors is shared: from here on the agent alone holds the listener, so
    // that with its end calls fail rather than wait.
    drop(listener);
    word.store(if served { SERVED } else { FAILED });
    kernel::exit_now(0)
}

/// What the agent is told, config-linux.md#containerprocessstate.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ContainerProcessState<'a> {
    oci_version: &'a str,
    fds: [&'a str; 1],
    pid: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a str>,
    state: Report<'a>,
}

/// Parent: sends the listener and the state of the process behind it to the agent that its
/// plan names.
pub fn hand_over(
    process: &Process,
    fd: BorrowedFd<'_>,
    pid: Pid,
    record: &Record,
    status: Status,
) -> Result<()> {
    let listener = process
        .seccomp
        .as_ref()
        .and_then(|filter| filter.listener.as_ref())
        .ok_or_else(|| Error::system("a seccomp listener that was not planned"))?;
    let message = ContainerProcessState {
        oci_version: OCI_VERSION,
        fds: ["seccompFd"],
        pid: pid.as_raw(),
        metadata: listener.metadata.as_deref(),
        state: Report::for_hook(record, status),
    };
    let text = serde_json::to_vec(&message)
        .map_err(|e| Error::system(format!("the state for the seccomp agent: {e}")))?;
    let send = || {
        let agent = socket::connect_stream(&listener.path)?;
        socket::send(agent.as_fd(), &text, Some(fd))
            .map_err(|errno| Error::syscall("sendmsg", "seccomp agent", errno as i32))
    };
    send().map_err(no_agent)
}

fn no_agent(error: Error) -> Error {
    error
        .with_hint("a seccomp agent has to listen there before the container is made")
        .with_pointer("/linux/seccomp/listenerPath")
        .within("linux.seccomp.listenerPath")
}

/// What [`hand_over`] will say where there is no socket. Whether somebody listens to one is not
/// asked: an agent would take the question for a container.
pub fn foresee(process: &Process) -> Option<Error> {
    let listener = process.seccomp.as_ref()?.listener.as_ref()?;
    let failed = match std::fs::metadata(&listener.path) {
        Ok(file) if file.file_type().is_socket() => return None,
        Ok(_) => std::io::Error::from_raw_os_error(libc::ECONNREFUSED),
        Err(error) => error,
    };
    Some(no_agent(Error::io("connect", &listener.path, &failed)))
}
