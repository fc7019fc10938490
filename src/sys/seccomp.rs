//! Loading a seccomp program, with or without a listener: seccomp(2).

use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use seccompiler::sock_filter;

use super::memory::SharedWord;
use crate::error::{Error, Result};

const _: () = assert!(size_of::<sock_filter>() == 8);

/// `struct sock_fprog` of linux/filter.h.
#[repr(C)]
struct Program {
    length: libc::c_ushort,
    instructions: *const sock_filter,
}

const _: () = assert!(size_of::<Program>() == 2 * size_of::<usize>());

/// Puts `program` over every later system call of this thread and its descendants; no way
/// back.
///
/// no_new_privs is left as it is: without it the caller needs CAP_SYS_ADMIN in its user
/// namespace, else EACCES (seccomp(2), Linux 3.17).
pub fn load(program: &[sock_filter], flags: u32) -> Result<()> {
    load_raw(program, flags)
        .map(drop)
        .map_err(|errno| Error::syscall("seccomp", arguments(program, flags), errno))
}

/// [`load`] with `SECCOMP_FILTER_FLAG_NEW_LISTENER` (Linux 5.0), by which calls may be put to
/// an agent from the very next one on. So the descriptor of the listener is announced without
/// a call: its number goes into `word`, and a process that shares this one's table of
/// descriptors takes it over from there with [`take_listener`]. This process is no longer its
/// owner then. On failure the word gets [`NO_LISTENER`].
pub fn load_with_listener(program: &[sock_filter], flags: u32, word: &SharedWord) -> Result<()> {
    match load_raw(
        program,
        flags | libc::SECCOMP_FILTER_FLAG_NEW_LISTENER as u32,
    ) {
        Ok(listener) => {
            word.store(listener + 1);
            Ok(())
        }
        Err(errno) => {
            word.store(NO_LISTENER);
            Err(Error::syscall("seccomp", arguments(program, flags), errno))
        }
    }
}

/// What a word holds when there will be no listener.
pub const NO_LISTENER: i32 = -1;

/// What a word says about a listener.
pub enum Announced {
    NotYet,
    Listener(OwnedFd),
    None,
}

/// Takes over the listener that `word` announces, once. For a process that shares the table
/// of descriptors with the one that loads the program.
pub fn take_listener(word: &SharedWord) -> Announced {
    match word.load() {
        0 => Announced::NotYet,
        number @ 1.. => {
            word.store(NO_LISTENER);
            // SAFETY: the loader has given the descriptor away with the word, whose number is
            // gone with this store, so that nobody takes it twice.
            Announced::Listener(unsafe { OwnedFd::from_raw_fd(number - 1) })
        }
        _ => Announced::None,
    }
}

/// Whether the running kernel knows a flag of seccomp(2): a null program gives EFAULT then,
/// and EINVAL for a flag that is unknown.
pub fn knows_flag(flag: u32) -> bool {
    // SAFETY: the kernel only finds that it cannot read a program at address 0.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::c_ulong::from(libc::SECCOMP_SET_MODE_FILTER),
            libc::c_ulong::from(flag),
            std::ptr::null::<Program>(),
        )
    };
    answer < 0 && nix::errno::Errno::last() == nix::errno::Errno::EFAULT
}

/// Whether the running kernel knows an action of seccomp(2), `SECCOMP_RET_*` without data.
pub fn knows_action(action: u32) -> bool {
    // SAFETY: the kernel reads the one number behind the pointer.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::c_ulong::from(libc::SECCOMP_GET_ACTION_AVAIL),
            0_u64,
            std::ptr::from_ref(&action),
        )
    };
    answer == 0
}

/// The listener, 0 where none was asked for; or the errno. Allocates nothing and makes no
/// other call, since after a success every call may be forbidden.
fn load_raw(program: &[sock_filter], flags: u32) -> std::result::Result<RawFd, i32> {
    let Ok(length) = libc::c_ushort::try_from(program.len()) else {
        return Err(libc::EINVAL);
    };
    let program = Program {
        length,
        instructions: program.as_ptr(),
    };
    // SAFETY: the kernel reads `length` instructions through the pointer, which is that of a
    // live slice of so many, and keeps a copy.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::c_ulong::from(libc::SECCOMP_SET_MODE_FILTER),
            libc::c_ulong::from(flags),
            &raw const program,
        )
    };
    if answer < 0 {
        Err(nix::errno::Errno::last_raw())
    } else {
        Ok(answer as RawFd)
    }
}

fn arguments(program: &[sock_filter], flags: u32) -> String {
    format!(
        "SECCOMP_SET_MODE_FILTER, {flags:#x}, {{len={}}}",
        program.len()
    )
}

/// What tests of programs need: a process to load them in, and calls as raw as they come.
#[cfg(test)]
pub mod tests {
    use std::time::{Duration, Instant};

    use crate::sys::memory::SharedWord;

    /// How a child of [`in_child`] ended, as wait(2) has it, and the word that it left.
    #[derive(Debug, PartialEq, Eq)]
    pub struct End {
        pub word: i32,
        pub status: i32,
    }

    /// Runs `f` in a child of fork(2), which then ends.
    pub fn in_child(f: impl FnOnce(&SharedWord)) -> End {
        let word = SharedWord::new().unwrap();
        let pid = fork(f, &word);
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(status) = ended(pid, libc::WNOHANG) {
                return End {
                    word: word.load(),
                    status,
                };
            }
            assert!(Instant::now() < deadline, "the child is stuck");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Runs `f` in a child of fork(2), and kills it once `f` has left a word other than 0:
    /// it may not be able to end by itself. 0 where it ended before.
    pub fn word_of_child(f: impl FnOnce(&SharedWord)) -> i32 {
        let word = SharedWord::new().unwrap();
        let pid = fork(f, &word);
        while word.load() == 0 {
            if ended(pid, libc::WNOHANG).is_some() {
                return word.load();
            }
            std::thread::yield_now();
        }
        // SAFETY: our child, not yet waited for, so the pid is still its own.
        unsafe { libc::kill(pid, libc::SIGKILL) };
        ended(pid, 0);
        word.load()
    }

    fn fork(f: impl FnOnce(&SharedWord), word: &SharedWord) -> libc::pid_t {
        // SAFETY: glibc's fork(2) leaves the child a usable heap, whatever the other threads
        // of the test were doing; it runs `f` and ends.
        let pid = unsafe { libc::fork() };
        assert!(pid >= 0);
        if pid == 0 {
            let _ = nix::sys::prctl::set_no_new_privs();
            f(word);
            loop {
                raw_call(libc::SYS_exit_group, [0; 6]);
            }
        }
        pid
    }

    fn ended(pid: libc::pid_t, flags: libc::c_int) -> Option<i32> {
        let mut status = 0;
        // SAFETY: `status` is ours, and the child is ours, not waited for before.
        let ended = unsafe { libc::waitpid(pid, &raw mut status, flags) };
        (ended == pid).then_some(status)
    }

    /// The kernel's answer: negative errno or a value.
    pub fn raw_call(number: libc::c_long, args: [u64; 6]) -> i64 {
        let [a, b, c, d, e, f] = args;
        // SAFETY: tests call what takes no pointers, or what the filter answers.
        let answer = unsafe { libc::syscall(number, a, b, c, d, e, f) };
        if answer == -1 {
            -i64::from(nix::errno::Errno::last_raw())
        } else {
            answer
        }
    }

    /// A call of 32-bit x86 from a 64-bit program, without arguments.
    #[cfg(target_arch = "x86_64")]
    pub fn raw_call_i386(number: u32) -> i32 {
        let answer: u64;
        // SAFETY: the gate of i386 calls clobbers nothing but rax and r8 to r11.
        unsafe {
            std::arch::asm!(
                "int 0x80",
                inlateout("rax") u64::from(number) => answer,
                out("r8") _, out("r9") _, out("r10") _, out("r11") _,
                options(nostack),
            );
        }
        answer as i32
    }
}
