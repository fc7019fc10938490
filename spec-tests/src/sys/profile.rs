//! A seccomp profile around the runtime, as an outer container has one.
//!
//! Runs in: the suite, in the child that becomes the runtime.

use std::io;
use std::ops::RangeInclusive;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Has the kernel answer `errno` to these system calls of the child (seccomp(2); without
/// PR_SET_NO_NEW_PRIVS it takes CAP_SYS_ADMIN).
pub fn refuse_calls(command: &mut Command, numbers: &RangeInclusive<u32>, errno: i32) {
    const LOAD_NUMBER: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const JUMP_IF_GREATER: u16 = (libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K) as u16;
    const JUMP_IF_NOT_LESS: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let instruction = |code, jt, k| libc::sock_filter {
        code,
        jt,
        // The second jump goes on with the next one where it is true, and over it where it is not.
        jf: u8::from(code == JUMP_IF_NOT_LESS),
        k,
    };
    let program = [
        instruction(LOAD_NUMBER, 0, 0),
        instruction(JUMP_IF_GREATER, 2, *numbers.end()),
        instruction(JUMP_IF_NOT_LESS, 0, *numbers.start()),
        instruction(RETURN, 0, libc::SECCOMP_RET_ERRNO | errno.unsigned_abs()),
        instruction(RETURN, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let install = move || {
        let program = libc::sock_fprog {
            len: program.len() as u16,
            filter: program.as_ptr().cast_mut(),
        };
        // SAFETY: the kernel copies so many instructions from the array, which is alive.
        let done = unsafe {
            libc::prctl(
                libc::PR_SET_SECCOMP,
                libc::SECCOMP_MODE_FILTER,
                &raw const program,
            )
        };
        if done < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    };
    // SAFETY: the closure makes one async-signal-safe call and allocates nothing.
    unsafe { command.pre_exec(install) };
}
