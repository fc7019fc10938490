//! The images as a container in a user namespace may read them.
//!
//! CRIU opens most images inside of the namespaces that it restores: at first as root of the
//! host without rights, then as root of the container. A folder for root alone is closed to the
//! second; its files are not. runc and crun fail there.
//!
//! Runs in: criu, before it is CRIU, in a mount namespace of its own.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

use crate::error::{Error, Result};
use crate::sys::{descriptor, file, mount};

/// As many parent images are looked for.
const PARENTS_MAX: usize = 256;

/// Opens the folder of `images` in an overlay at `place`, in which all may pass through it and
/// through those of its parent images beside it. What the host has is left as it is.
pub fn for_user_namespace(images: &Path, place: &Path) -> Result<OwnedFd> {
    let images = std::fs::canonicalize(images).map_err(|e| Error::io("realpath", images, &e))?;
    let (Some(above), Some(name)) = (images.parent(), images.file_name()) else {
        return Err(Error::invalid("the images lie in the root directory"));
    };
    let (top, merged) = (place.join("passage"), place.join("images"));
    for folder in [&top, &merged] {
        make(folder)?;
    }
    for folder in with_parents(&images, above) {
        make(&top.join(folder))?;
    }
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
    let upper = file::open_host(&top, flags)?;
    let lower = file::open_host(above, flags)?;
    let target = file::open_host(&merged, OFlag::O_PATH)?;
    // The upper one says what a folder is like, the lower one what lies in it.
    let layers = format!(
        "lowerdir=/proc/self/fd/{}:/proc/self/fd/{}",
        descriptor::number(upper.as_fd()),
        descriptor::number(lower.as_fd())
    );
    let layers = CString::new(layers).unwrap_or_default();
    let kind = Some(c"overlay");
    let (path, data) = (mount::fd_path(&target), Some(layers.as_c_str()));
    mount::mount(kind, &path, kind, libc::MS_RDONLY, data)?;
    file::open_host(&merged.join(name), flags)
}

/// The names of the folder and of those of its parent images that lie beside it.
fn with_parents(images: &Path, above: &Path) -> Vec<PathBuf> {
    let mut names = Vec::new();
    let mut folder = images.to_owned();
    while names.len() < PARENTS_MAX {
        match folder.strip_prefix(above) {
            Ok(name) if !names.iter().any(|known| known == name) && is_one_name(name) => {
                names.push(name.to_owned());
            }
            _ => break,
        }
        match std::fs::canonicalize(folder.join("parent")) {
            Ok(parent) => folder = parent,
            Err(_) => break,
        }
    }
    names
}

fn is_one_name(path: &Path) -> bool {
    let mut components = path.components();
    matches!(
        (components.next(), components.next()),
        (Some(Component::Normal(_)), None)
    )
}

fn make(path: &Path) -> Result<()> {
    let mode = Mode::from_bits_truncate(0o755);
    nix::unistd::mkdir(path, mode)
        .and_then(|()| {
            nix::sys::stat::fchmodat(
                nix::fcntl::AT_FDCWD,
                path,
                mode,
                nix::sys::stat::FchmodatFlags::FollowSymlink,
            )
        })
        .map_err(|errno| Error::syscall("mkdir", format_args!("{path:?}"), errno as i32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parent_images_beside_are_found_and_a_ring_of_them_ends() {
        let dir = std::env::temp_dir().join(format!("rt-images-{}", std::process::id()));
        for name in ["a", "b", "c"] {
            std::fs::create_dir_all(dir.join(name)).unwrap();
        }
        for (from, to) in [("a", "../b"), ("b", "../c"), ("c", "../a")] {
            std::os::unix::fs::symlink(to, dir.join(from).join("parent")).unwrap();
        }
        let dir = dir.canonicalize().unwrap();
        let names = with_parents(&dir.join("a"), &dir);
        std::fs::remove_dir_all(&dir).unwrap();
        assert_eq!(names, ["a", "b", "c"].map(PathBuf::from));
    }
}
