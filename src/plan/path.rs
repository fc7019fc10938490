//! Two kinds of path that must never be mixed up.
//!
//! Runs in: every process.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::words;

/// A path of the host, absolute. It may be opened by name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct HostPath(#[serde(serialize_with = "words::path")] PathBuf);

impl HostPath {
    pub fn new(path: impl Into<PathBuf>) -> HostPath {
        HostPath(path.into())
    }

    pub fn as_path(&self) -> &Path {
        &self.0
    }
}

impl fmt::Display for HostPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

/// A path inside the container, absolute and without `.`, `..` or empty components. What it
/// names is known only once `rootfs::beneath` has resolved it below the container's root, so
/// it does not convert into a path of the host.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct ContainerPath(String);

impl ContainerPath {
    /// Takes a path as config.json writes it, relative ones as seen from the root, and
    /// removes `.` and `..` lexically, as the root directory itself would.
    pub fn new(path: &str) -> ContainerPath {
        let mut normal = String::with_capacity(path.len() + 1);
        for part in path.split('/') {
            match part {
                "" | "." => {}
                ".." => normal.truncate(normal.rfind('/').unwrap_or(0)),
                part => {
                    normal.push('/');
                    normal.push_str(part);
                }
            }
        }
        if normal.is_empty() {
            normal.push('/');
        }
        ContainerPath(normal)
    }

    /// With the leading slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Without the leading slash; empty for the root.
    pub fn beneath_root(&self) -> &str {
        &self.0[1..]
    }

    pub fn is_root(&self) -> bool {
        self.0 == "/"
    }
}

impl fmt::Display for ContainerPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_path_cannot_climb_out_lexically() {
        for (given, normal) in [
            ("/a/b", "/a/b"),
            ("a//b/", "/a/b"),
            ("/../../etc/./x", "/etc/x"),
            ("/a/../..", "/"),
            ("", "/"),
        ] {
            assert_eq!(ContainerPath::new(given).as_str(), normal);
        }
    }
}
