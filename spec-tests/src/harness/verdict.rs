//! What a test is, and how it ends.
//!
//! Runs in: everywhere in the suite.

use std::fmt::{Debug, Display};
use std::io;

use serde::{Deserialize, Serialize};

use super::case::Case;

/// Who asks for what the test checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// MUST of the runtime specification.
    Must,
    /// SHOULD of the runtime specification.
    Should,
    /// Not in the specification, but engines rely on it.
    Compat,
    /// A known way out of the container.
    Attack,
}

impl Level {
    pub fn word(self) -> &'static str {
        match self {
            Self::Must => "must",
            Self::Should => "should",
            Self::Compat => "compat",
            Self::Attack => "attack",
        }
    }
}

pub struct Test {
    pub module: &'static str,
    pub name: &'static str,
    /// File and heading of the specification, or the CVE.
    pub clause: &'static str,
    pub level: Level,
    pub run: fn(&Case) -> Verdict,
}

impl Test {
    /// `config/process::the_name`
    pub fn full_name(&self) -> String {
        let module = self
            .module
            .strip_prefix("spec_tests::")
            .unwrap_or(self.module);
        format!("{}::{}", module.replace("::", "/"), self.name)
    }
}

/// Why a test did not pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stop {
    Fail(String),
    Skip(String),
}

pub type Verdict<T = ()> = Result<T, Stop>;

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Fail(format!("the suite itself: {error}"))
    }
}

impl From<nix::Error> for Stop {
    fn from(errno: nix::Error) -> Self {
        Self::Fail(format!("the suite itself: {}", errno.desc()))
    }
}

impl From<serde_json::Error> for Stop {
    fn from(error: serde_json::Error) -> Self {
        Self::Fail(format!("not the JSON that was expected: {error}"))
    }
}

pub fn fail<T>(message: impl Into<String>) -> Verdict<T> {
    Err(Stop::Fail(message.into()))
}

pub fn skip<T>(reason: impl Into<String>) -> Verdict<T> {
    Err(Stop::Skip(reason.into()))
}

/// Adds what was being looked at to an error of the suite's own.
pub trait Doing<T> {
    fn doing(self, what: impl Display) -> Verdict<T>;
}

impl<T, E: Display> Doing<T> for Result<T, E> {
    fn doing(self, what: impl Display) -> Verdict<T> {
        self.map_err(|error| Stop::Fail(format!("{what}: {error}")))
    }
}

/// Fails unless both are equal.
pub fn equal<A: PartialEq<B> + Debug, B: Debug>(what: &str, seen: A, wanted: B) -> Verdict {
    if seen == wanted {
        Ok(())
    } else {
        fail(format!("{what} is {seen:?}, not {wanted:?}"))
    }
}

/// Fails unless it holds.
pub fn holds(truth: bool, otherwise: impl Display) -> Verdict {
    if truth {
        Ok(())
    } else {
        fail(otherwise.to_string())
    }
}

/// The table of a file: `tests! { "clause" Level name; … }`.
#[macro_export]
macro_rules! tests {
    ($($clause:literal $level:ident $name:ident;)*) => {
        pub const TESTS: &[$crate::harness::verdict::Test] = &[$(
            $crate::harness::verdict::Test {
                module: module_path!(),
                name: stringify!($name),
                clause: $clause,
                level: $crate::harness::verdict::Level::$level,
                run: $name,
            },
        )*];
    };
}
