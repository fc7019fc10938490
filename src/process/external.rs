//! What of a container lies outside of it, in CRIU's words.
//!
//! CRIU leaves it out of a dump under a name, and a restore says by that name what takes its
//! place. The names are those of runc and crun, so that each restores what another has dumped:
//! a mount's is its place inside, a masked file's /dev/null.
//!
//! Runs in: parent.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::stat::SFlag;

use crate::error::{Error, Result};
use crate::host::mountinfo::{self, Mounted};
use crate::plan::checkpoint::External;
use crate::plan::namespaces::Kind;
use crate::plan::{ContainerPath, HostPath, notify};
use crate::rootfs::Root;
use crate::state::Identity;
use crate::sys::{descriptor, file};

use super::sources::Sources;

const NULL: &[u8] = b"/dev/null";

/// The key under which CRIU keeps a namespace that was joined, for those that it leaves alone.
pub fn namespace_key(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Network => Some("extRootNetNS"),
        Kind::Pid => Some("extRootPidNS"),
        _ => None,
    }
}

/// For a dump: by the inode of the namespace that init is in, wherever its path leads by now.
pub fn namespaces_of(external: &External, init: Identity) -> Result<Vec<Vec<u8>>> {
    let mut all = Vec::new();
    for joined in &external.namespaces {
        let Some(key) = namespace_key(joined.kind) else {
            continue;
        };
        let name = joined.kind.proc_name();
        let path = format!("/proc/{}/ns/{name}", init.pid);
        let inode = std::fs::metadata(&path)
            .map_err(|e| Error::io("stat", &path, &e))?
            .ino();
        all.push(format!("{name}[{inode}]:{key}").into_bytes());
    }
    Ok(all)
}

/// For a dump: the mounts of a running container, each named as its place.
pub fn mounts_of(external: &External, init: Identity) -> Result<Vec<Vec<u8>>> {
    let root = Root::open_host(&HostPath::new(format!("/proc/{}/root", init.pid)))?;
    let points = points(mountinfo::read(&format!("/proc/{}/mountinfo", init.pid))?);
    let own: Vec<PathBuf> = own_places(external)
        .map(|path| place_of(&root, path))
        .collect::<Result<_>>()?;
    let mut list = List::default();
    for bind in &external.mounts {
        let place = place_of(&root, &bind.destination)?;
        list.add(&bytes(place.clone()), &bytes(place.clone()));
        if bind.recursive {
            for point in below(&points, &place) {
                if !own
                    .iter()
                    .any(|own| own != &place && point.starts_with(own))
                {
                    list.add(&bytes(point.clone()), &bytes(point.clone()));
                }
            }
        }
    }
    for path in &external.masked_paths {
        // A masked directory is a file system of the container's own.
        if let Some((path, kind)) = resolve(&root, path)?
            && kind != SFlag::S_IFDIR
        {
            list.add(&bytes(path), NULL);
        }
    }
    for path in &external.devices {
        list.add_same(path.as_str());
    }
    // What rt itself may have mounted.
    list.add_same(notify::DIRECTORY);
    Ok(list.entries)
}

/// Places below which nothing is of the host, or that have names of their own.
fn own_places(external: &External) -> impl Iterator<Item = &ContainerPath> {
    let binds = external.mounts.iter().map(|bind| &bind.destination);
    let paths = [
        &external.file_systems,
        &external.masked_paths,
        &external.readonly_paths,
    ];
    binds.chain(paths.into_iter().flatten())
}

/// For a restore: what takes the place of each name. `rootfs` is the container's root on the
/// host, and `notify_directory` what is at /run/notify.
pub fn mounts_for(
    external: &External,
    rootfs: &HostPath,
    sources: &Sources,
    notify_directory: &Path,
) -> Vec<Vec<u8>> {
    let root = Root::open_host(rootfs).ok();
    let points = points(mountinfo::read("/proc/self/mountinfo").unwrap_or_default());
    let mut list = List::default();
    // Names of config.json's own mounts go before those of what lies below another.
    let mut names = Vec::new();
    for bind in &external.mounts {
        let on_host = bind.source.as_path();
        let source = sources.of_bind(bind);
        for name in places_in_images(root.as_ref(), &bind.destination) {
            let source = source.as_deref().unwrap_or(on_host);
            list.add(&bytes(name.clone()), &bytes(source.to_owned()));
            if bind.recursive {
                names.push((name, bind));
            }
        }
    }
    for (name, bind) in names {
        let Ok(real) = std::fs::canonicalize(bind.source.as_path()) else {
            continue;
        };
        for point in below(&points, &real) {
            if let Ok(rest) = point.strip_prefix(&real) {
                let laid_out = sources.of_bind(bind).map(|source| source.join(rest));
                let source = laid_out.unwrap_or_else(|| point.clone());
                list.add(&bytes(name.join(rest)), &bytes(source));
            }
        }
    }
    list.add(NULL, NULL);
    for path in &external.masked_paths {
        // crun calls each masked file by its own name.
        list.add(path.as_str().as_bytes(), NULL);
    }
    for path in &external.devices {
        list.add_same(path.as_str());
    }
    let notify = notify::DIRECTORY.as_bytes();
    list.add(notify, &bytes(notify_directory.to_owned()));
    list.entries
}

/// The names that a mount may have: its place as config.json writes it, and as it was resolved
/// for the dump.
fn places_in_images(root: Option<&Root>, destination: &ContainerPath) -> Vec<PathBuf> {
    let written = PathBuf::from(destination.as_str());
    let resolved = root.and_then(|root| {
        let found = path_of(&root.open(destination).ok()?).ok()?;
        let top = path_of(&root.open(&ContainerPath::new("/")).ok()?).ok()?;
        Some(Path::new("/").join(found.strip_prefix(top).ok()?))
    });
    let resolved = resolved.filter(|path| *path != written);
    [written].into_iter().chain(resolved).collect()
}

/// `mnt[KEY]:VALUE`: in a dump the mount point and its name, in a restore the name and the
/// source. The first of two with the same key counts.
#[derive(Default)]
struct List {
    keys: Vec<Vec<u8>>,
    entries: Vec<Vec<u8>>,
}

impl List {
    fn add(&mut self, key: &[u8], value: &[u8]) {
        if !self.keys.iter().any(|known| known == key) {
            self.keys.push(key.to_owned());
            self.entries.push([b"mnt[", key, b"]:", value].concat());
        }
    }

    fn add_same(&mut self, path: &str) {
        self.add(path.as_bytes(), path.as_bytes());
    }
}

/// Where `path` leads to beneath `root`; as it is where there is nothing.
fn place_of(root: &Root, path: &ContainerPath) -> Result<PathBuf> {
    let found = resolve(root, path)?;
    Ok(found.map_or_else(|| PathBuf::from(path.as_str()), |(path, _)| path))
}

/// What `path` leads to beneath `root`, and its kind. None where there is nothing.
fn resolve(root: &Root, path: &ContainerPath) -> Result<Option<(PathBuf, SFlag)>> {
    let found = match root.open(path) {
        Ok(fd) => fd,
        Err(e) if e.is(Errno::ENOENT) || e.is(Errno::ENOTDIR) => return Ok(None),
        Err(e) => return Err(e),
    };
    let kind = file::kind(&file::stat(found.as_fd())?);
    Ok(Some((path_of(&found)?, kind)))
}

/// Where an open file lies, from the root of its mount namespace.
fn path_of(fd: &OwnedFd) -> Result<PathBuf> {
    let link = format!("/proc/self/fd/{}", descriptor::number(fd.as_fd()));
    std::fs::read_link(&link).map_err(|e| Error::io("readlink", &link, &e))
}

fn below<'a>(points: &'a [PathBuf], top: &'a Path) -> impl Iterator<Item = &'a PathBuf> {
    let points = points.iter();
    points.filter(move |point| point.as_path() != top && point.starts_with(top))
}

fn points(mounts: Vec<Mounted>) -> Vec<PathBuf> {
    mounts.into_iter().map(|mount| mount.point).collect()
}

pub fn bytes(path: PathBuf) -> Vec<u8> {
    path.into_os_string().into_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::checkpoint::Bind;

    #[test]
    fn below_is_not_beside() {
        let points = ["/a", "/a/b", "/ab"].map(PathBuf::from);
        let found: Vec<_> = below(&points, Path::new("/a")).collect();
        assert_eq!(found, [Path::new("/a/b")]);
    }

    #[test]
    fn a_restore_knows_a_mount_by_its_written_and_its_resolved_place() {
        let dir = std::env::temp_dir().join(format!("rt-external-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("real")).unwrap();
        std::os::unix::fs::symlink("/real", dir.join("link")).unwrap();
        let external = External {
            mounts: vec![Bind {
                destination: ContainerPath::new("/link"),
                source: HostPath::new("/source"),
                recursive: false,
                index: 0,
                is_mapped: false,
            }],
            ..External::default()
        };
        let named = |is_passable| -> Vec<String> {
            let sources = Sources {
                folder: "/mnt".into(),
                is_passable,
            };
            let all = mounts_for(&external, &HostPath::new(&dir), &sources, Path::new("/n"));
            let all = all.into_iter().take(2);
            all.map(|entry| String::from_utf8(entry).unwrap()).collect()
        };
        let (on_host, laid_out) = (named(false), named(true));
        std::fs::remove_dir_all(&dir).unwrap();
        assert_eq!(on_host, ["mnt[/link]:/source", "mnt[/real]:/source"]);
        assert_eq!(laid_out, ["mnt[/link]:/mnt/0", "mnt[/real]:/mnt/0"]);
    }
}
