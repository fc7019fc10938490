//! The options before the verb, those of runc and of crun.
//!
//! Runs in: parent.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};

use crate::error::{Error, Kind, Result};
use crate::log::{self, Destination, Format, Level};

#[derive(Args, Clone, Debug)]
pub struct Global {
    /// Directory that holds the state of containers
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,

    /// Log what rt decides and why
    #[arg(long)]
    debug: bool,

    /// Where the log goes: a path, file:PATH, syslog:IDENT or journald:IDENT
    #[arg(long, value_name = "WHERE")]
    log: Option<OsString>,

    /// The form of the log: text or json
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "text",
        hide_default_value = true
    )]
    log_format: LogFormat,

    /// The lowest level that is logged: error, warning or debug
    #[arg(long, value_name = "LEVEL", ignore_case = true)]
    log_level: Option<LogLevel>,

    /// Let systemd make the container's cgroup
    #[arg(long)]
    systemd_cgroup: bool,

    /// Who makes the container's cgroup: cgroupfs, systemd or disabled
    #[arg(long, value_name = "MANAGER")]
    cgroup_manager: Option<CgroupManager>,

    /// Go on where a cgroup cannot be had: true, false or auto
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
        if let Some(place) = &self.log {
            log::configure(level, format, Some(Destination::open(place)?));
        }
        Ok(())
    }

    pub fn cgroup_manager(&self) -> CgroupManager {
        match (self.cgroup_manager, self.systemd_cgroup) {
            (Some(manager), _) => manager,
            (None, true) => CgroupManager::Systemd,
            (None, false) => CgroupManager::Cgroupfs,
        }
    }

    pub fn rootless(&self) -> Rootless {
        self.rootless
    }

    /// The directory that holds a directory for each container: `--root`, else `rt` below
    /// /run, or below XDG_RUNTIME_DIR where /run is not ours to write to.
    pub fn state_root(&self) -> Result<PathBuf> {
        let root = match &self.root {
            Some(root) => absolute(root)?,
            None => default_root(
                nix::unistd::geteuid().is_root(),
                &|| in_user_namespace(),
                &|name| std::env::var_os(name),
            ),
        };
        if root == Path::new("/") {
            return Err(Error::new(
                Kind::Usage,
                "error: --root must not be the root directory\n",
            ));
        }
        Ok(root)
    }
}

/// Podman enters a user namespace as its root, where /run still belongs to somebody else, and
/// keeps USER; an ordinary root that has another user's XDG_RUNTIME_DIR (sudo -E) is not in one.
fn default_root(
    is_root: bool,
    in_user_namespace: &dyn Fn() -> bool,
    variable: &dyn Fn(&str) -> Option<OsString>,
) -> PathBuf {
    let ours =
        is_root && (variable("USER").is_some_and(|user| user == "root") || !in_user_namespace());
    match variable("XDG_RUNTIME_DIR") {
        Some(directory) if !ours && !directory.is_empty() => PathBuf::from(directory).join("rt"),
        _ => PathBuf::from("/run/rt"),
    }
}

/// Whether this is another user namespace than the machine's first, which alone maps every id
/// to itself.
fn in_user_namespace() -> bool {
    std::fs::read_to_string("/proc/self/uid_map")
        .is_ok_and(|map| !map.split_whitespace().eq(["0", "0", "4294967295"]))
}

/// Makes `path` absolute and removes `.` and `..` lexically; no link is followed, since the
/// directory may not exist yet.
fn absolute(path: &Path) -> Result<PathBuf> {
    let path =
        std::path::absolute(path).map_err(|e| Error::io("getcwd", path, &e).within("--root"))?;
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => {
                clean.pop();
            }
            part => clean.push(part),
        }
    }
    Ok(clean)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root_for(is_root: bool, nested: bool, variables: &[(&str, &str)]) -> PathBuf {
        default_root(is_root, &|| nested, &|name| {
            variables
                .iter()
                .find(|(n, _)| *n == name)
                .map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn the_state_lies_where_the_caller_may_write() {
        let xdg = ("XDG_RUNTIME_DIR", "/run/user/7");
        let root = ("USER", "root");
        let user = ("USER", "u");
        for (is_root, nested, variables, expected) in [
            (true, false, vec![xdg, user], "/run/rt"),
            (true, false, vec![], "/run/rt"),
            (true, true, vec![xdg], "/run/user/7/rt"),
            (true, true, vec![xdg, user], "/run/user/7/rt"),
            (true, true, vec![xdg, root], "/run/rt"),
            (false, false, vec![xdg, root], "/run/user/7/rt"),
            (false, false, vec![("XDG_RUNTIME_DIR", "")], "/run/rt"),
            (false, false, vec![], "/run/rt"),
        ] {
            assert_eq!(
                root_for(is_root, nested, &variables),
                Path::new(expected),
                "{is_root} {nested} {variables:?}"
            );
        }
    }

    #[test]
    fn a_root_is_made_absolute_without_following_links() {
        assert_eq!(
            absolute(Path::new("/a/../b/./c")).unwrap(),
            Path::new("/b/c")
        );
        assert_eq!(absolute(Path::new("/x/..")).unwrap(), Path::new("/"));
    }
}
