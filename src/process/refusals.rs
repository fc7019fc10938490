//! What is said of a program or a working directory that the payload cannot have: by init and
//! enter who find it out, by who asked them for it, and by `rt check`, which foresees it.
//!
//! Runs in: init after pivot, enter, parent.

use std::ffi::CStr;

use nix::errno::Errno;

use crate::error::{Error, Kind, strerror};

/// Why execve(2) did not take the program. Its path is empty where init alone knows that, and
/// could not say so.
pub fn refused(path: &CStr, errno: i32) -> Error {
    let shown = match path.is_empty() {
        true => "process.args[0]".to_owned(),
        false => format!("{:?}", path.to_string_lossy()),
    };
    let error = Error::syscall("execve", &shown, errno)
        .with_kind(Kind::Program)
        .within(format!("exec: {shown}"));
    match errno {
        libc::ENOEXEC => error.with_hint(
            "the file is no program for this machine: a script needs a first line #!/path/to/interpreter, and a binary has to be for this architecture",
        ),
        libc::EPERM => error.with_hint(
            "the call itself is forbidden: by the seccomp profile, or by SELinux, which under process.noNewPrivileges takes process.selinuxLabel only where its policy grants nnp_transition",
        ),
        libc::ENOENT => error.with_hint(
            "the file is there, so what is missing is its interpreter: the one in its first line, or the dynamic loader of another libc",
        ),
        _ => error,
    }
}

/// What is said of a working directory that cannot be entered.
pub fn no_working_directory(cwd: &CStr, errno: Errno) -> Error {
    let cwd = cwd.to_string_lossy();
    Error::syscall("chdir", format_args!("{cwd:?}"), errno as i32)
        .with_pointer("/process/cwd")
        .within("process.cwd")
}

/// What is said of a program that stat(2) does not find.
pub fn no_program(shown: &str, errno: Errno) -> Error {
    Error::syscall("stat", format_args!("{shown:?}"), errno as i32)
        .with_kind(Kind::Program)
        .with_pointer("/process/args/0")
}

/// What is said of a program that is a folder or a device.
pub fn no_regular_file(shown: &str) -> Error {
    // The words are crun's and runc's at once: podman looks for the first, docker for the second.
    Error::new(
        Kind::Program,
        format!(
            "the path `{shown}` is not a regular file: {}: permission denied",
            strerror(libc::EPERM)
        ),
    )
    .with_path(shown)
    .with_pointer("/process/args/0")
}

/// What is said of a program that may not be executed.
pub fn no_execution(shown: &str, errno: Errno) -> Error {
    let error = Error::syscall("access", format_args!("{shown:?}, X_OK"), errno as i32)
        .with_kind(Kind::Program)
        .with_pointer("/process/args/0");
    match errno {
        Errno::EACCES => error.with_hint("the file lacks the execute bit for the container's user, or lies on a mount with noexec"),
        _ => error,
    }
}
