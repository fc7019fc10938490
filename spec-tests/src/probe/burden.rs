//! What runs into limits: many processes, much memory, all of a processor, writes to the disk.
//!
//! Runs in: the container.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Instant;

use nix::errno::Errno;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, pause};

use super::ask::Answer;
use crate::sys;

/// Makes children that sleep, until the kernel refuses one; answers how many.
pub fn fork(most: u32) -> io::Result<Answer> {
    let mut made = 0;
    while made < most {
        match sys::fork() {
            Ok(ForkResult::Parent { .. }) => made += 1,
            Ok(ForkResult::Child) => loop {
                pause();
            },
            Err(Errno::EAGAIN) => break,
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(Answer::Number(made.into()))
}

/// A child takes so much memory and writes to all of it; answers its exit status, 128 + signal if one ended it.
pub fn allocate(bytes: u64) -> io::Result<Answer> {
    let bytes = usize::try_from(bytes).map_err(io::Error::other)?;
    let child = match sys::fork()? {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            let memory = vec![1u8; bytes];
            std::process::exit(i32::from(
                memory.iter().step_by(4096).any(|byte| *byte != 1),
            ));
        }
    };
    let status = match waitpid(child, None)? {
        WaitStatus::Exited(_, status) => status,
        WaitStatus::Signaled(_, signal, _) => 128 + signal as i32,
        _ => -1,
    };
    Ok(Answer::Number(status.into()))
}

/// Opens contexts of an RDMA device until the kernel refuses one; they stay open. Answers how many.
pub fn open_verbs(path: &Path, most: u32) -> io::Result<Answer> {
    let mut opened = 0;
    while opened < most {
        let device = OpenOptions::new().read(true).write(true).open(path)?;
        match sys::open_verbs_context(device.as_fd()) {
            Ok(()) => opened += 1,
            Err(e) if e.raw_os_error() == Some(libc::EAGAIN) => break,
            Err(e) => return Err(e),
        }
        // The end of the probe closes it, and so the context.
        std::mem::forget(device);
    }
    Ok(Answer::Number(opened.into()))
}

/// Sends a datagram to the socket that $NOTIFY_SOCKET names, and again, as fast as they are taken.
pub fn keep_notifying(text: &str) -> io::Result<Answer> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(std::env::var_os("NOTIFY_SOCKET").unwrap_or_default())?;
    loop {
        socket.send(text.as_bytes())?;
    }
}

/// Keeps the first processor that it may use busy for ever: two that spin have to share it.
pub fn spin() -> io::Result<Answer> {
    let allowed = sched_getaffinity(Pid::from_raw(0))?;
    let mut one = CpuSet::new();
    let first = (0..CpuSet::count()).find(|cpu| allowed.is_set(*cpu).unwrap_or(false));
    one.set(first.unwrap_or(0))?;
    sched_setaffinity(Pid::from_raw(0), &one)?;
    loop {
        std::hint::spin_loop();
    }
}

const BLOCK: usize = 64 << 10;

/// O_DIRECT wants addresses that are multiples of the disk's sectors.
#[repr(align(4096))]
struct Block([u8; BLOCK]);

/// A new file that is written past the page cache.
fn direct(path: &Path, more_flags: i32) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .custom_flags(libc::O_DIRECT | more_flags)
        .open(path)
}

/// Writes so much past the page cache; answers how many milliseconds it took.
pub fn write_to_disk(path: &Path, bytes: u64) -> io::Result<Answer> {
    let mut file = direct(path, libc::O_SYNC)?;
    let block = Block([1; BLOCK]);
    let began = Instant::now();
    for _ in 0..bytes / BLOCK as u64 {
        file.write_all(&block.0)?;
    }
    let taken = began.elapsed().as_millis();
    Ok(Answer::Number(i64::try_from(taken).unwrap_or(i64::MAX)))
}

/// Writes the same few blocks past the page cache for ever: after the first round nothing but the data is written.
pub fn keep_writing(path: &Path) -> io::Result<Answer> {
    let file = direct(path, 0)?;
    let block = Block([1; BLOCK]);
    loop {
        for n in 0..16 {
            file.write_all_at(&block.0, n * BLOCK as u64)?;
        }
    }
}
