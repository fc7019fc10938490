//! The bundle: config.json, read and valid by the specification.
//!
//! Owns the reading of config.json (and of exec's process file), the named checks over it,
//! and the place of the root file system. What it holds is what the specification's words
//! say; what follows from them is decided by [`crate::plan`].
//!
//! Runs in: parent; changes nothing.

pub mod checks;
pub mod config;
mod example;
pub mod id_map;
pub mod lenient;
pub mod linux;
mod lists;
pub mod mount_options;
mod offsets;
#[cfg(test)]
mod oracle;
mod place;
mod read;
pub mod resources;
mod unknown;
pub mod words;

use std::path::{Path, PathBuf};

pub use checks::{Places, Violation};
pub use config::{Config, Process};
pub use example::example;
#[cfg(test)]
pub use example::example_for;
pub use offsets::Offsets;
pub use resources::Resources;

use crate::error::{Context, Error, Result};
use crate::log;

/// A bundle whose config.json breaks no rule that can be checked without the kernel.
#[derive(Clone, Debug, PartialEq)]
pub struct Bundle {
    /// Absolute and without symbolic links.
    pub dir: PathBuf,
    /// The root file system's folder, absolute and without symbolic links.
    pub root: PathBuf,
    pub config: Config,
    /// config.json as it was read, to be kept in the container's state.
    pub source: Vec<u8>,
    /// What the specification wants tolerated.
    pub warnings: Vec<String>,
}

impl Bundle {
    /// Reads and checks the bundle in `dir`, with config.json from elsewhere if `config`
    /// says so. Everything that is wrong with config.json comes in one error, joined by `; `.
    pub fn open(dir: &Path, config: Option<&Path>) -> Result<Bundle> {
        let (source, dir) = read_files(dir, config)?;
        let mut bundle = Bundle::from_config(source, dir)?;
        bundle.root = find_root(&bundle)?;
        Ok(bundle)
    }

    /// Reads the bundle as [`Bundle::open`] does, and says every rule that it breaks in place of
    /// refusing it, the folder of the root file system last; a value of a wrong type is left
    /// out. An error is what makes it unreadable.
    pub fn examine(
        dir: &Path,
        config: Option<&Path>,
    ) -> Result<(Bundle, Vec<Violation>, Result<()>)> {
        let (source, dir) = read_files(dir, config)?;
        let (config, violations) = examine(&source).context(|| "config.json")?;
        let mut bundle = Bundle {
            root: dir.join(root_path(&config)),
            dir,
            config,
            warnings: unknown::warnings(&source),
            source,
        };
        let root = find_root(&bundle).map(|root| bundle.root = root);
        Ok((bundle, violations, root))
    }

    /// Where in config.json each value begins.
    pub fn offsets(&self) -> Offsets {
        Offsets::new(&self.source)
    }

    /// Reads the copy of config.json that a container's state keeps, whose bundle was at
    /// `dir`. It was checked when the container was made, perhaps by an rt with fewer checks:
    /// a newer one must still be able to delete the container. Nor is the root's folder looked
    /// for: it may be gone.
    pub fn from_state(source: Vec<u8>, dir: PathBuf) -> Result<Bundle> {
        let config: Config = read::parse(&source).context(|| "config.json")?;
        Ok(Bundle {
            root: dir.join(root_path(&config)),
            dir,
            config,
            source,
            warnings: Vec::new(),
        })
    }

    /// The container's configuration with the mounts of another file, a list in the form of
    /// `mounts`, in the place of its own. They are checked, the rest was.
    pub fn with_mounts(mut self, source: &[u8]) -> Result<Bundle> {
        self.config.mounts = read::parse_mounts(source)?.into();
        checks::mounts(&self.config)?;
        Ok(self)
    }

    /// Reads and checks config.json; the root's folder is taken as it is written.
    pub fn from_config(source: Vec<u8>, dir: PathBuf) -> Result<Bundle> {
        let config = read_and_check(&source).context(|| "config.json")?;
        let warnings = match log::enabled(log::Level::Warning) {
            true => unknown::warnings(&source),
            false => Vec::new(),
        };
        let root = dir.join(root_path(&config));
        Ok(Bundle {
            dir,
            root,
            config,
            source,
            warnings,
        })
    }
}

/// Reads and checks the process file of `exec --process`.
pub fn process_from_json(source: &[u8]) -> Result<Process> {
    let process: Process = read::parse(source).context(|| "process")?;
    checks::process(&process, source).context(|| "process")?;
    Ok(process)
}

/// The destinations in a list in the form of `mounts`, nothing else of which counts.
pub fn destinations(source: &[u8]) -> Result<Vec<String>> {
    let mounts = read::parse_mounts(source)?.into_iter().enumerate();
    mounts
        .map(|(n, mount)| {
            let given = mount.destination.filter(|path| !path.is_empty());
            given.ok_or_else(|| {
                Error::invalid(format!("mounts[{n}].destination: is missing"))
                    .with_pointer(format!("/mounts/{n}/destination"))
            })
        })
        .collect()
}

/// Reads what `update --resources` is given, of the form of `linux.resources`. It is checked
/// when the command line has had its say too.
pub fn resources_from_json(source: &[u8]) -> Result<Resources> {
    read::parse(source)
}

/// The configuration, or everything that is wrong with it in one error.
fn read_and_check(source: &[u8]) -> Result<Config> {
    if let Ok(config) = read::parse(source) {
        checks::config(&config, source)?;
        return Ok(config);
    }
    let (config, violations) = examine(source)?;
    checks::joined(&violations)?;
    Ok(config)
}

/// The configuration without what is of a wrong type, and every rule that it breaks.
fn examine(source: &[u8]) -> Result<(Config, Vec<Violation>)> {
    let (config, types) = read::parse_what_can_be::<Config>(source)?;
    let mut violations: Vec<Violation> = types.iter().map(Violation::of_type).collect();
    let wrong = Places::of(&violations);
    let mut broken = checks::violations(&config, source);
    // What is missing only since its value was left out was told.
    broken.retain(|broken| !wrong.concern(&broken.pointer));
    violations.append(&mut broken);
    Ok((config, violations))
}

/// config.json and the bundle's folder, absolute and without symbolic links.
fn read_files(dir: &Path, config: Option<&Path>) -> Result<(Vec<u8>, PathBuf)> {
    let dir = std::fs::canonicalize(dir)
        .map_err(|e| Error::io("open", dir, &e))
        .context(|| "bundle")?;
    if !dir.is_dir() {
        return Err(
            Error::syscall("open", format_args!("{dir:?}"), libc::ENOTDIR).within("bundle"),
        );
    }
    let path = config.map_or_else(|| dir.join("config.json"), Path::to_owned);
    let source = std::fs::read(&path)
        .map_err(|e| Error::io("open", &path, &e))
        .map_err(|e| hint_for_missing_config(e, config))?;
    Ok((source, dir))
}

fn root_path(config: &Config) -> &str {
    config
        .root
        .as_ref()
        .and_then(|root| root.path.as_deref())
        .unwrap_or_default()
}

fn hint_for_missing_config(error: Error, config: Option<&Path>) -> Error {
    if config.is_none() && error.is(nix::errno::Errno::ENOENT) {
        error.with_hint(
            "a bundle is a folder with a config.json (`rt spec` writes one); name it with --bundle",
        )
    } else {
        error
    }
}

fn find_root(bundle: &Bundle) -> Result<PathBuf> {
    let given = &bundle.root;
    let at = |e: Error| e.with_pointer("/root/path").within("root.path");
    let root = std::fs::canonicalize(given)
        .map_err(|e| Error::io("open", given, &e))
        .map_err(|e| if e.is(nix::errno::Errno::ENOENT) {
            e.with_hint("the container's root file system has to be there before the container is made; root.path is seen from the bundle")
        } else {
            e
        })
        .map_err(at)?;
    if root.is_dir() {
        return Ok(root);
    }
    Err(at(Error::syscall(
        "open",
        format_args!("{root:?}"),
        libc::ENOTDIR,
    )
    .with_hint("root.path has to be a folder")))
}

/// The path below /proc/sys that a name of `linux.sysctl` stands for. As in sysctl(8), the
/// first separator tells which of the two it is: `net.ipv4.conf.eth0/1.forwarding` and
/// `net/ipv4/conf/eth0.1/forwarding` are the same.
pub fn sysctl_path(key: &str) -> String {
    match key.find(['.', '/']).map(|at| key.as_bytes()[at]) {
        Some(b'.') => swap_separators(key),
        _ => key.to_owned(),
    }
}

fn swap_separators(key: &str) -> String {
    key.chars()
        .map(|c| match c {
            '.' => '/',
            '/' => '.',
            c => c,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder that is gone with the test.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path =
                std::env::temp_dir().join(format!("rt-bundle-{name}-{}", std::process::id()));
            std::fs::create_dir(&path).unwrap();
            Folder(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_bundle_knows_its_root() {
        let folder = Folder::new("whole");
        std::fs::create_dir(folder.0.join("rootfs")).unwrap();
        std::fs::write(folder.0.join("config.json"), example(false)).unwrap();
        let bundle = Bundle::open(&folder.0, None).unwrap();
        assert_eq!(bundle.root, bundle.dir.join("rootfs"));
    }

    #[test]
    fn what_is_not_there_is_named_with_a_remedy() {
        let folder = Folder::new("parts");
        let error = || Bundle::open(&folder.0, None).unwrap_err();
        assert!(
            error().to_string().contains("config.json\"): No such file"),
            "{}",
            error()
        );
        assert!(error().hint().is_some());
        std::fs::write(folder.0.join("config.json"), example(false)).unwrap();
        assert!(
            error().to_string().starts_with("root.path: open("),
            "{}",
            error()
        );
        assert_eq!(error().pointer(), Some("/root/path"));
        assert!(error().hint().is_some());
        std::fs::write(folder.0.join("rootfs"), "").unwrap();
        assert!(
            error().to_string().ends_with("Not a directory"),
            "{}",
            error()
        );
        let gone = Bundle::open(&folder.0.join("gone"), None).unwrap_err();
        assert!(gone.to_string().starts_with("bundle: open("), "{gone}");
    }
}
