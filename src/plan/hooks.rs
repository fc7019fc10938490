//! Hooks: programs of the caller that run at fixed moments of a container's life.

use std::ffi::CString;
use std::time::Duration;

use super::HostPath;

/// runtime-spec config.md#posix-platform-hooks, in the order in which they run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hooks {
    pub prestart: Vec<Hook>,
    pub create_runtime: Vec<Hook>,
    pub create_container: Vec<Hook>,
    pub start_container: Vec<Hook>,
    pub poststart: Vec<Hook>,
    pub poststop: Vec<Hook>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// JSON pointer, `/hooks/prestart/0`.
    pub pointer: String,
    pub path: HostPath,
    /// Not empty; `path` where config.json gives none.
    pub args: Vec<CString>,
    pub env: Vec<CString>,
    pub timeout: Option<Duration>,
}
