//! The default container with system calls taken away, as an old kernel or an outer
//! container's seccomp profile does it. Needs strace(1); without it these pass untried.

use super::*;

/// Runs a test of this crate again with `calls` failing.
fn without(calls: &str, errno: &str, test: &str) {
    if Command::new("strace").arg("-V").output().is_err() {
        return;
    }
    let output = Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null", "-e"])
        .arg(format!("trace={calls}"))
        .arg("-e")
        .arg(format!("inject={calls}:error={errno}"))
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &format!("rootfs::tests::{test}")])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "without {calls} ({errno}): {text}");
}

const AS_ROOT: &str = "container::the_default_container_is_made_as_root";
const ROOTLESS_TEST: &str = "container::the_default_container_is_made_rootless";

#[test]
fn the_default_container_needs_no_openat2() {
    without("openat2", "ENOSYS", AS_ROOT);
    without("openat2", "ENOSYS", ROOTLESS_TEST);
    without("openat2", "EPERM", ROOTLESS_TEST);
}

#[test]
fn the_default_container_needs_no_mount_setattr() {
    without("mount_setattr", "ENOSYS", AS_ROOT);
    without("mount_setattr", "ENOSYS", ROOTLESS_TEST);
}

#[test]
fn the_default_container_needs_no_fsopen() {
    without("fsopen", "ENOSYS", AS_ROOT);
    without("fsopen", "EPERM", ROOTLESS_TEST);
}

#[test]
fn the_default_container_needs_no_open_tree() {
    without("open_tree", "ENOSYS", AS_ROOT);
    without("open_tree", "ENOSYS", ROOTLESS_TEST);
}

#[test]
fn the_default_container_needs_none_of_the_new_calls() {
    let all = "openat2,open_tree,fsopen,mount_setattr,move_mount,fspick";
    without(all, "ENOSYS", AS_ROOT);
    without(all, "ENOSYS", ROOTLESS_TEST);
}
