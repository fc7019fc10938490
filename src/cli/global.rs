//! The options before the verb, those of runc and of crun.
//!
//! Runs in: parent.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};

use crate::error::Result;
use crate::log::{self, Destination, Format, Level};
use crate::state::{self, Root};
use crate::trace;

#[derive(Args, Clone, Debug)]
pub struct Global {
    /// Directory that holds the state of containers; /run/rt if not given, for an ordinary user
    /// $XDG_RUNTIME_DIR/rt
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,

    /// Log what rt decides and why
    #[arg(long)]
    debug: bool,

    /// Where the log goes, beside standard error: a path, file:PATH, syslog:NAME or journald:NAME
    #[arg(long, value_name = "WHERE")]
    log: Option<OsString>,

    /// Format of the log
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    log_format: LogFormat,

    /// Lowest level that is logged; error if not given
    #[arg(long, value_name = "LEVEL", ignore_case = true)]
    log_level: Option<LogLevel>,

    /// Write where the time goes to this file, or to standard error if it is -; in the Trace Event
    /// Format if its name ends in .json
    #[arg(long, value_name = "FILE")]
    trace: Option<OsString>,

    /// Let systemd make the container's cgroup: the same as --cgroup-manager systemd
    #[arg(long)]
    systemd_cgroup: bool,

    /// Who makes the container's cgroup; cgroupfs, which is rt itself, if not given
    #[arg(long, value_name = "MANAGER")]
    cgroup_manager: Option<CgroupManager>,

    /// Go on where a cgroup cannot be had; auto: as an ordinary user
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "auto",
        hide_default_value = true
    )]
    rootless: Rootless,

    /// Path of criu
    #[arg(long, value_name = "PATH", hide = true)]
    criu: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CgroupManager {
    Cgroupfs,
    Systemd,
    Disabled,
}

/// `--rootless`: whether a cgroup that cannot be made is an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rootless {
    True,
    False,
    Auto,
}

impl ValueEnum for Rootless {
    fn value_variants<'a>() -> &'a [Rootless] {
        &[Rootless::True, Rootless::False, Rootless::Auto]
    }

    /// The words are those of Go's ParseBool, which runc uses.
    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self {
            Rootless::True => PossibleValue::new("true").aliases(["1", "t", "T", "TRUE", "True"]),
            Rootless::False => {
                PossibleValue::new("false").aliases(["0", "f", "F", "FALSE", "False"])
            }
            Rootless::Auto => PossibleValue::new("auto"),
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogLevel {
    Error,
    #[value(alias = "warn")]
    Warning,
    Debug,
}

impl From<CgroupManager> for crate::plan::cgroup::CgroupManager {
    fn from(manager: CgroupManager) -> Self {
        match manager {
            CgroupManager::Cgroupfs => Self::Cgroupfs,
            CgroupManager::Systemd => Self::Systemd,
            CgroupManager::Disabled => Self::Disabled,
        }
    }
}

impl From<Rootless> for crate::plan::Rootless {
    fn from(rootless: Rootless) -> Self {
        match rootless {
            Rootless::True => Self::Yes,
            Rootless::False => Self::No,
            Rootless::Auto => Self::Auto,
        }
    }
}

impl Global {
    /// Directs the log to where the options say.
    pub fn configure_log(&self) -> Result<()> {
        let level = match self.log_level {
            _ if self.debug => Level::Debug,
            Some(LogLevel::Debug) => Level::Debug,
            Some(LogLevel::Warning) => Level::Warning,
            Some(LogLevel::Error) | None => Level::Error,
        };
        let format = match self.log_format {
            LogFormat::Text => Format::Text,
            LogFormat::Json => Format::Json,
        };
        // First without the file, so that a file that cannot be opened is reported in the
        // form that was asked for.
        log::configure(level, format, None);
        if let Some(place) = self.log.as_ref().filter(|place| !place.is_empty()) {
            log::configure(level, format, Some(Destination::open(place)?));
        }
        Ok(())
    }

    /// Begins the trace, where one is asked for.
    pub fn begin_trace(&self, title: impl FnOnce() -> String) -> Result<()> {
        match &self.trace {
            Some(place) => trace::begin(place, title()),
            None => Ok(()),
        }
    }

    pub fn cgroup_manager(&self) -> CgroupManager {
        match (self.cgroup_manager, self.systemd_cgroup) {
            (Some(manager), _) => manager,
            (None, true) => CgroupManager::Systemd,
            (None, false) => CgroupManager::Cgroupfs,
        }
    }

    pub fn criu(&self) -> Option<&Path> {
        self.criu.as_deref()
    }

    pub fn rootless(&self) -> Rootless {
        self.rootless
    }

    /// The directory that holds a directory for each container.
    pub fn root(&self) -> Result<Root> {
        match &self.root {
            Some(path) => Root::new(path),
            None => Root::new(&state::default_root()),
        }
    }
}
