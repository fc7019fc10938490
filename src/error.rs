//! The one error of `rt`: what went wrong, where, and what the user can do about it.
//!
//! Owns the shape of every message. A leaf names the system call with its arguments, as
//! strace would print it; each layer above adds what was being done and where in
//! config.json. The chain reads outermost first:
//!
//! ```text
//! create "web": init: mounts[7] (/tmp): mount("x", "/proc/self/fd/7", "nosuchfs", 0): No such device
//! ```
//!
//! An error crosses the process boundary whole (it is serialisable), and only `main`
//! reports one.
//!
//! Runs in: every process.

mod strerror;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use strerror::strerror;

pub type Result<T> = std::result::Result<T, Error>;

/// What sort of failure it is, as far as a caller or `main` acts on the difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// The command line is wrong.
    Usage,
    /// config.json, or another input file, breaks the specification.
    Invalid,
    /// The container is not there.
    NoSuchContainer,
    /// The container is there already.
    ContainerExists,
    /// The container is not in the state that the command needs.
    WrongState,
    /// The program to be run cannot be found or executed.
    Program,
    /// Something that this version, this kernel or this user cannot do.
    Unsupported,
    /// A system call or another process failed.
    System,
}

impl Kind {
    /// The name in a JSON log, which stays as it is.
    pub fn code(self) -> &'static str {
        match self {
            Kind::Usage => "usage",
            Kind::Invalid => "invalid",
            Kind::NoSuchContainer => "no-such-container",
            Kind::ContainerExists => "container-exists",
            Kind::WrongState => "wrong-state",
            Kind::Program => "program",
            Kind::Unsupported => "unsupported",
            Kind::System => "system",
        }
    }
}

/// How far it had come, as a JSON log names it: the process that failed, or before there was
/// more than one, what was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// The command line was read.
    Arguments,
    /// config.json was read and judged; nothing was made.
    Config,
    Parent,
    Bridge,
    Init,
    Enter,
    /// A hook of config.json.
    Hook,
}

/// A failure with its whole context.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Error {
    kind: Kind,
    errno: Option<i32>,
    /// The system call that failed, by name, for the table of hints. This and the next three are
    /// boxed, since every `Result` has room for an error.
    call: Option<Box<str>>,
    /// JSON pointer into config.json (RFC 6901), the innermost that is known.
    pointer: Option<Box<str>>,
    /// What it is about, on the host or in the container; the innermost that is known.
    path: Option<Box<str>>,
    phase: Option<Phase>,
    /// Innermost first.
    chain: Vec<String>,
    hint: Option<Box<str>>,
}

impl Error {
    /// A failure in words of our own.
    pub fn new(kind: Kind, message: impl Into<String>) -> Error {
        Error {
            kind,
            errno: None,
            call: None,
            pointer: None,
            path: None,
            phase: None,
            chain: vec![message.into()],
            hint: None,
        }
    }

    /// An input that breaks a rule.
    pub fn invalid(message: impl Into<String>) -> Error {
        Error::new(Kind::Invalid, message)
    }

    /// A failure of the system that no errno describes.
    pub fn system(message: impl Into<String>) -> Error {
        Error::new(Kind::System, message)
    }

    /// Something that cannot be done here.
    pub fn unsupported(message: impl Into<String>) -> Error {
        Error::new(Kind::Unsupported, message)
    }

    /// A failed system call. `arguments` is what strace would print between the parentheses.
    pub fn syscall(call: &str, arguments: impl fmt::Display, errno: i32) -> Error {
        let arguments = arguments.to_string();
        Error {
            kind: Kind::System,
            errno: Some(errno),
            call: Some(call.into()),
            pointer: None,
            path: path_argument(&arguments),
            phase: None,
            chain: vec![format!("{call}({arguments}): {}", strerror(errno))],
            hint: None,
        }
    }

    /// A failed operation of the standard library on `path`.
    pub fn io(call: &str, path: impl AsRef<std::path::Path>, error: &std::io::Error) -> Error {
        let path = path.as_ref();
        match error.raw_os_error() {
            Some(errno) => Error::syscall(call, format_args!("{path:?}"), errno),
            None => Error::system(format!("{call}({path:?}): {error}")),
        }
    }

    #[must_use]
    pub fn with_kind(mut self, kind: Kind) -> Error {
        self.kind = kind;
        self
    }

    /// Adds one remedy. The innermost one stays: it knows most.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Error {
        self.hint.get_or_insert_with(|| hint.into().into());
        self
    }

    /// Puts a remedy in place of any other, where an outer layer knows more after all: what
    /// the user meant, say.
    #[must_use]
    pub fn with_better_hint(mut self, hint: impl Into<String>) -> Error {
        self.hint = Some(hint.into().into());
        self
    }

    /// Names the place in config.json. The innermost one stays.
    #[must_use]
    pub fn with_pointer(mut self, pointer: impl Into<String>) -> Error {
        self.pointer.get_or_insert_with(|| pointer.into().into());
        self
    }

    /// Names the file or folder that it is about. The innermost one stays.
    #[must_use]
    pub fn with_path(mut self, path: impl Into<String>) -> Error {
        self.path.get_or_insert_with(|| path.into().into());
        self
    }

    /// Says how far it had come. The innermost one stays.
    #[must_use]
    pub fn in_phase(mut self, phase: Phase) -> Error {
        self.phase.get_or_insert(phase);
        self
    }

    /// Adds an outer layer to the chain.
    #[must_use]
    pub fn within(mut self, what: impl Into<String>) -> Error {
        self.chain.push(what.into());
        self
    }

    /// Cuts the middle out of every link that is longer than `longest` bytes (an argument of
    /// megabytes): both ends carry what engines match.
    #[must_use]
    pub fn abridged(mut self, longest: usize) -> Error {
        for link in self.chain.iter_mut().filter(|link| link.len() > longest) {
            let border = |from: usize| (from..link.len()).find(|n| link.is_char_boundary(*n));
            let start = border(longest / 2);
            let end = border(link.len() - longest / 2);
            link.replace_range(start.unwrap_or(0)..end.unwrap_or(link.len()), " … ");
        }
        self
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    pub fn errno(&self) -> Option<i32> {
        self.errno
    }

    pub fn is(&self, errno: nix::errno::Errno) -> bool {
        self.errno == Some(errno as i32)
    }

    pub fn call(&self) -> Option<&str> {
        self.call.as_deref()
    }

    pub fn pointer(&self) -> Option<&str> {
        self.pointer.as_deref()
    }

    pub fn path(&self) -> Option<&str> {
        self.path.as_deref()
    }

    /// Where nobody said so, it was this process or what it read first.
    pub fn phase(&self) -> Phase {
        self.phase.unwrap_or(match self.kind {
            Kind::Usage => Phase::Arguments,
            _ => Phase::Parent,
        })
    }

    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, link) in self.chain.iter().rev().enumerate() {
            if n > 0 {
                f.write_str(": ")?;
            }
            f.write_str(link)?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// The first of a call's arguments that is an absolute path in quotes. One through a
/// descriptor says nothing after the end of its process.
fn path_argument(arguments: &str) -> Option<Box<str>> {
    let (_, from) = arguments.split_once("\"/")?;
    let mut path = String::from("/");
    let mut characters = from.chars();
    loop {
        match characters.next()? {
            '"' => break,
            '\\' => path.push(characters.next()?),
            other => path.push(other),
        }
    }
    (!path.starts_with("/proc/self/fd/")).then(|| path.into())
}

/// Adds context to the error of a `Result`.
pub trait Context<T> {
    /// Adds what was being done. The closure runs only on failure.
    fn context<S: Into<String>>(self, what: impl FnOnce() -> S) -> Result<T>;

    /// Adds the place in config.json, as JSON pointer and as words.
    fn at<S: Into<String>>(self, pointer: &str, what: impl FnOnce() -> S) -> Result<T>;
}

impl<T> Context<T> for Result<T> {
    fn context<S: Into<String>>(self, what: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|e| e.within(what()))
    }

    fn at<S: Into<String>>(self, pointer: &str, what: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|e| e.with_pointer(pointer).within(what()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_reads_from_the_outside_in() {
        let e = Error::syscall("mount", r#""x", "/tmp", 0"#, libc::ENODEV)
            .within("mounts[7] (/tmp)")
            .within("init");
        assert_eq!(
            e.to_string(),
            r#"init: mounts[7] (/tmp): mount("x", "/tmp", 0): No such device"#
        );
    }

    #[test]
    fn a_long_link_loses_its_middle() {
        let long = format!("exec: {:?}: executable file not found", "ä".repeat(100_000));
        let text = Error::invalid(long).abridged(101).to_string();
        assert!(text.starts_with("exec: \"ä") && text.ends_with("executable file not found"));
        assert!(text.len() < 120, "{text}");
    }

    #[test]
    fn the_innermost_hint_and_pointer_win() {
        let e = Error::invalid("x")
            .with_hint("inner")
            .with_hint("outer")
            .with_pointer("/mounts/7")
            .with_pointer("/mounts");
        assert_eq!((e.hint(), e.pointer()), (Some("inner"), Some("/mounts/7")));
    }

    #[test]
    fn the_path_is_that_of_the_arguments() {
        let path = |arguments| Error::syscall("mount", arguments, libc::EPERM).path;
        assert_eq!(
            path(r#""none", "/a \"b\"/c", "tmpfs""#).as_deref(),
            Some(r#"/a "b"/c"#)
        );
        assert_eq!(path(r#""x", "/proc/self/fd/7", 0"#), None);
        assert_eq!(path("CLONE_NEWUSER"), None);
        assert_eq!(path(r#""/not closed"#), None);
        let error = Error::syscall("openat", "3, 0", libc::EPERM).with_path("/tmp");
        assert_eq!(error.path(), Some("/tmp"));
    }

    #[test]
    fn an_error_survives_the_wire() {
        let e = Error::syscall("setns", "3, CLONE_NEWNET", libc::EPERM)
            .with_hint("h")
            .with_path("/a")
            .in_phase(Phase::Init);
        let wire = serde_json::to_vec(&e).unwrap();
        assert_eq!(serde_json::from_slice::<Error>(&wire).unwrap(), e);
    }
}
