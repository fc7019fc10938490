//! Memory with a descriptor: a word that two processes share, and files without a name.

use std::ffi::CStr;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicI32, Ordering};

use nix::errno::Errno;
use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::error::{Error, Result};
use crate::sys::check;

/// One 32-bit word in a memfd, mapped shared: a store is seen by every process that has it
/// mapped, and no system call that a seccomp profile could forbid takes part.
pub struct SharedWord {
    file: OwnedFd,
    word: NonNull<AtomicI32>,
}

const SIZE: usize = size_of::<AtomicI32>();

impl SharedWord {
    /// A new word, zero.
    pub fn new() -> Result<SharedWord> {
        let file = OwnedFd::from(anonymous_file(c"rt-outcome")?);
        check(
            nix::unistd::ftruncate(&file, SIZE as i64),
            "ftruncate",
            SIZE,
        )?;
        SharedWord::map(file)
    }

    /// The word behind a descriptor that came from another process.
    pub fn map(file: OwnedFd) -> Result<SharedWord> {
        let stat = check(nix::sys::stat::fstat(&file), "fstat", "outcome")?;
        if stat.st_size < SIZE as i64 {
            return Err(Error::system("the outcome is too short to be mapped"));
        }
        // SAFETY: a new mapping at an address of the kernel's choice, of a file that is at
        // least that long.
        let address = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                SIZE,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        match NonNull::new(address.cast::<AtomicI32>()) {
            Some(word) if address != libc::MAP_FAILED => Ok(SharedWord { file, word }),
            _ => Err(Error::syscall(
                "mmap",
                "MAP_SHARED, outcome",
                Errno::last() as i32,
            )),
        }
    }

    pub fn load(&self) -> i32 {
        self.word().load(Ordering::SeqCst)
    }

    pub fn store(&self, value: i32) {
        self.word().store(value, Ordering::SeqCst);
    }

    fn word(&self) -> &AtomicI32 {
        // SAFETY: the mapping is page-aligned, as long as a word, lives as long as `self`, and
        // is only ever accessed atomically.
        unsafe { self.word.as_ref() }
    }
}

impl AsFd for SharedWord {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for SharedWord {
    fn drop(&mut self) {
        // SAFETY: exactly the mapping that `map` made, which no reference outlives.
        unsafe { libc::munmap(self.word.as_ptr().cast(), SIZE) };
    }
}

/// An empty file in memory, close-on-exec and not executable. `name` shows in /proc/PID/fd.
pub fn anonymous_file(name: &CStr) -> Result<File> {
    create(name, libc::MFD_NOEXEC_SEAL, MFdFlags::empty())
}

/// An empty file in memory, close-on-exec, that can be executed and sealed. EACCES: the sysctl
/// vm.memfd_noexec=2 forbids such files.
pub fn executable_file(name: &CStr) -> Result<File> {
    create(name, libc::MFD_EXEC, MFdFlags::MFD_ALLOW_SEALING)
}

/// `exec` says whether it can be executed.
///
/// KERNEL(6.3): without such a flag the sysctl vm.memfd_noexec decides, and before 6.3, where every
/// file in memory can be executed, the flag is refused.
fn create(name: &CStr, exec: libc::c_uint, others: MFdFlags) -> Result<File> {
    let others = others | MFdFlags::MFD_CLOEXEC;
    let result = match memfd_create(name, others | MFdFlags::from_bits_retain(exec)) {
        Err(Errno::EINVAL) => memfd_create(name, others),
        result => result,
    };
    check(result, "memfd_create", format_args!("{name:?}")).map(File::from)
}
