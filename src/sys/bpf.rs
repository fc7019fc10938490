//! bpf(2), as far as device rules of a cgroup need it.

use std::fmt::Write;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;

use crate::error::{Error, Result};

const BPF_PROG_LOAD: i32 = 5;
const BPF_PROG_ATTACH: i32 = 8;
const BPF_PROG_DETACH: i32 = 9;
const BPF_PROG_GET_FD_BY_ID: i32 = 13;
const BPF_PROG_QUERY: i32 = 16;

const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 1 << 1;

/// One instruction, `struct bpf_insn`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    pub code: u8,
    /// Destination in the low four bits, source in the high ones (little-endian machines).
    pub registers: u8,
    pub offset: i16,
    pub immediate: i32,
}

const _: () = assert!(size_of::<Instruction>() == 8);

/// The part of `union bpf_attr` that BPF_PROG_LOAD reads, up to Linux 4.17.
#[repr(C)]
struct Load {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
}

const _: () = assert!(size_of::<Load>() == 72);

#[repr(C)]
struct Attach {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
}

#[repr(C)]
struct Query {
    target_fd: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
    padding: u32,
}

const _: () = assert!(size_of::<Query>() == 32);

#[repr(C)]
struct ById {
    prog_id: u32,
    next_id: u32,
    open_flags: u32,
}

/// # Safety
///
/// `T` is the form of `bpf_attr` that `command` reads, and every pointer in it is valid for
/// what the command reads or writes there.
unsafe fn bpf<T>(command: i32, attributes: &mut T) -> nix::Result<i32> {
    // SAFETY: the size is that of the structure, and the caller vouches for its pointers.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_mut(attributes),
            size_of::<T>(),
        )
    };
    Errno::result(result).map(|value| value as i32)
}

/// Gives a program of type BPF_PROG_TYPE_CGROUP_DEVICE to the kernel. Where its verifier
/// refuses the program, the error ends with what it said. Linux 4.15.
pub fn load_device_program(program: &[Instruction]) -> Result<OwnedFd> {
    let errno = match load(program, &mut []) {
        Ok(fd) => return Ok(fd),
        Err(errno) => errno,
    };
    let error = Error::syscall(
        "bpf",
        format_args!(
            "BPF_PROG_LOAD, {{prog_type=BPF_PROG_TYPE_CGROUP_DEVICE, insn_cnt={}}}",
            program.len()
        ),
        errno as i32,
    );
    if !matches!(errno, Errno::EINVAL | Errno::EACCES | Errno::E2BIG) {
        return Err(error);
    }
    let mut log = vec![0; 64 * 1024];
    // Done again for the log alone, which slows down a load that succeeds.
    let _ = load(program, &mut log);
    let length = log.iter().position(|b| *b == 0).unwrap_or(log.len());
    let text = String::from_utf8_lossy(&log[..length]);
    Err(error.within(format!("the verifier says {:?}", last_lines(&text))))
}

/// The reason is at the end; what comes before is a trace of every instruction.
fn last_lines(log: &str) -> String {
    let lines: Vec<&str> = log.lines().filter(|line| !line.is_empty()).collect();
    let start = lines.len().saturating_sub(4);
    let mut text = String::new();
    for line in &lines[start..] {
        let _ = write!(text, "{}{line}", if text.is_empty() { "" } else { "; " });
    }
    text
}

fn load(program: &[Instruction], log: &mut [u8]) -> nix::Result<OwnedFd> {
    let mut attributes = Load {
        prog_type: BPF_PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: program.len() as u32,
        insns: program.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        log_level: u32::from(!log.is_empty()),
        log_size: log.len() as u32,
        log_buf: if log.is_empty() {
            0
        } else {
            log.as_mut_ptr() as u64
        },
        kern_version: 0,
        prog_flags: 0,
        prog_name: *b"rt_devices\0\0\0\0\0\0",
        prog_ifindex: 0,
        expected_attach_type: BPF_CGROUP_DEVICE,
    };
    // SAFETY: `Load` is what BPF_PROG_LOAD reads; the program and the licence are alive and
    // of the length given, and the log is ours to write.
    let fd = unsafe { bpf(BPF_PROG_LOAD, &mut attributes) }?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Attaches a program to a cgroup, beside those that are attached already
/// (BPF_F_ALLOW_MULTI): an access has to be allowed by all of them.
pub fn attach_device_program(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> Result<()> {
    let mut attributes = Attach {
        target_fd: cgroup.as_raw_fd() as u32,
        attach_bpf_fd: program.as_raw_fd() as u32,
        attach_type: BPF_CGROUP_DEVICE,
        attach_flags: BPF_F_ALLOW_MULTI,
    };
    // SAFETY: `Attach` is what BPF_PROG_ATTACH reads, and it holds no pointer.
    unsafe { bpf(BPF_PROG_ATTACH, &mut attributes) }
        .map(drop)
        .map_err(|errno| failed("BPF_PROG_ATTACH", errno))
}

/// The ids of the programs that are attached to the cgroup itself, at most 64.
pub fn attached_device_programs(cgroup: BorrowedFd<'_>) -> Result<Vec<u32>> {
    let mut ids = [0u32; 64];
    let mut attributes = Query {
        target_fd: cgroup.as_raw_fd() as u32,
        attach_type: BPF_CGROUP_DEVICE,
        query_flags: 0,
        attach_flags: 0,
        prog_ids: ids.as_mut_ptr() as u64,
        prog_cnt: ids.len() as u32,
        padding: 0,
    };
    // SAFETY: `Query` is what BPF_PROG_QUERY reads, and it writes at most `prog_cnt` ids.
    unsafe { bpf(BPF_PROG_QUERY, &mut attributes) }
        .map_err(|errno| failed("BPF_PROG_QUERY", errno))?;
    Ok(ids
        .iter()
        .copied()
        .take(attributes.prog_cnt as usize)
        .collect())
}

/// Takes a program off the cgroup. One that has gone meanwhile is no error.
pub fn detach_device_program(cgroup: BorrowedFd<'_>, id: u32) -> Result<()> {
    let mut by_id = ById {
        prog_id: id,
        next_id: 0,
        open_flags: 0,
    };
    // SAFETY: `ById` is what BPF_PROG_GET_FD_BY_ID reads, and it holds no pointer.
    let program = match unsafe { bpf(BPF_PROG_GET_FD_BY_ID, &mut by_id) } {
        // SAFETY: the kernel has just made this descriptor for us.
        Ok(fd) => unsafe { OwnedFd::from_raw_fd(fd) },
        Err(Errno::ENOENT) => return Ok(()),
        Err(errno) => return Err(failed("BPF_PROG_GET_FD_BY_ID", errno)),
    };
    let mut attributes = Attach {
        target_fd: cgroup.as_raw_fd() as u32,
        attach_bpf_fd: program.as_raw_fd() as u32,
        attach_type: BPF_CGROUP_DEVICE,
        attach_flags: 0,
    };
    // SAFETY: `Attach` is what BPF_PROG_DETACH reads, and it holds no pointer.
    match unsafe { bpf(BPF_PROG_DETACH, &mut attributes) } {
        Ok(_) | Err(Errno::ENOENT) => Ok(()),
        Err(errno) => Err(failed("BPF_PROG_DETACH", errno)),
    }
}

fn failed(command: &str, errno: Errno) -> Error {
    Error::syscall(
        "bpf",
        format_args!("{command}, {{attach_type=BPF_CGROUP_DEVICE}}"),
        errno as i32,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_of_the_verifier_is_at_the_end_of_its_log() {
        assert_eq!(last_lines("1\n2\n3\n4\n\n5\n"), "2; 3; 4; 5");
        assert_eq!(last_lines(""), "");
    }

    #[test]
    fn a_refused_program_is_explained() {
        // A program that does not end in an exit.
        let program = [Instruction {
            code: 0xb7,
            registers: 0,
            offset: 0,
            immediate: 1,
        }];
        match load_device_program(&program) {
            Err(e) if e.is(Errno::EPERM) => eprintln!("skipped: {e}"),
            result => {
                let e = result.unwrap_err().to_string();
                assert!(e.starts_with("the verifier says"), "{e}");
                assert!(e.contains("insn"), "{e}");
            }
        }
    }
}
