//! The lookup of old kernels, held against that of new ones.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::symlink;

use nix::fcntl::OFlag;

use crate::error::Result;
use crate::rootfs::walk::open;
use crate::sys::file;

/// What the kernel answers itself is the measure.
#[test]
fn a_walk_ends_where_openat2_does() {
    let top = std::env::temp_dir().join(format!("rt-walk-{}", std::process::id()));
    let root = top.join("root");
    fs::create_dir_all(root.join("a/b")).unwrap();
    fs::write(root.join("a/file"), "").unwrap();
    fs::write(top.join("secret"), "").unwrap();
    for (target, link) in [
        ("/a/b", "absolute"),
        ("a/b", "relative"),
        ("../../a", "a/up"),
        ("../../../secret", "out"),
        ("/..", "top"),
        ("relative/../file", "by-another"),
        ("loop", "loop"),
        ("/nowhere", "dangling"),
        ("a/file", "to-file"),
    ] {
        symlink(target, root.join(link)).unwrap();
    }
    let fd = file::open_host(&root, OFlag::O_PATH | OFlag::O_DIRECTORY).unwrap();
    let names = [
        "",
        ".",
        "..",
        "a",
        "a/b",
        "a/./b//",
        "a/b/../file",
        "absolute",
        "relative/..",
        "a/up",
        "a/up/b",
        "out",
        "top",
        "top/a",
        "by-another",
        "loop",
        "loop/a",
        "dangling",
        "dangling/a",
        "to-file",
        "a/file/..",
        "a/file/x",
        "to-file/..",
        "nowhere",
        "nowhere/..",
        "../../secret",
        "absolute/../../../a/file",
    ];
    let what = |opened: Result<OwnedFd>| {
        opened
            .map(|fd| file::stat(fd.as_fd()).map(|stat| stat.st_ino).unwrap())
            .map_err(|e| e.errno())
    };
    for flags in [OFlag::empty(), OFlag::O_NOFOLLOW, OFlag::O_DIRECTORY] {
        for name in names {
            let flags = flags | OFlag::O_PATH;
            let walked = what(open(fd.as_fd(), name, flags));
            let kernels = what(file::open_in_root(fd.as_fd(), name, flags));
            if kernels != Err(Some(libc::ENOSYS)) {
                assert_eq!(walked, kernels, "{name:?}, {flags:?}");
            }
        }
    }
    fs::remove_dir_all(&top).unwrap();
}
