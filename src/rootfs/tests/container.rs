//! The whole container of `runc spec`.

use std::fs;
use std::path::Path;

use libc::{
    MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY,
    MOUNT_ATTR_STRICTATIME,
};

use super::*;
use crate::plan::rootfs::{Device, DeviceKind};

const SAFE: u64 = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;

/// What `runc spec` asks for, with `--rootless` where `sys` is a bind mount.
fn default_plan(scratch: &Path, sys: Source, in_user_namespace: bool) -> Rootfs {
    let mut pts = vec![("newinstance", ""), ("ptmxmode", "0666"), ("mode", "0620")];
    if !in_user_namespace {
        pts.push(("gid", "5"));
    }
    let dev = file_system("tmpfs", &[("mode", "755"), ("size", "65536k")]);
    let shm = file_system("tmpfs", &[("mode", "1777"), ("size", "65536k")]);
    let paths = |list: &[&str]| list.iter().map(|path| ContainerPath::new(path)).collect();
    let device = |path: &str, minor| Device {
        index: None,
        path: ContainerPath::new(path),
        kind: DeviceKind::Character,
        major: 1,
        minor,
        mode: 0o666,
        uid: 0,
        gid: 0,
        bind: in_user_namespace,
    };
    Rootfs {
        readonly: true,
        mounts: vec![
            mount(0, "/proc", Source::Proc(file_system("proc", &[])), 0),
            mount(
                1,
                "/dev",
                Source::New(dev),
                MOUNT_ATTR_NOSUID | MOUNT_ATTR_STRICTATIME,
            ),
            mount(
                2,
                "/dev/pts",
                Source::New(file_system("devpts", &pts)),
                MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC,
            ),
            mount(3, "/dev/shm", Source::New(shm), SAFE),
            mount(
                4,
                "/dev/mqueue",
                Source::New(file_system("mqueue", &[])),
                SAFE,
            ),
            mount(5, "/sys", sys, SAFE | MOUNT_ATTR_RDONLY),
            mount(
                6,
                "/sys/fs/cgroup",
                Source::Cgroup(file_system("cgroup", &[])),
                SAFE | MOUNT_ATTR_RDONLY,
            ),
        ],
        devices: vec![device("/dev/null", 3), device("/dev/zero", 5)],
        links: vec![
            (ContainerPath::new("/dev/fd"), c"/proc/self/fd".to_owned()),
            (ContainerPath::new("/dev/ptmx"), c"pts/ptmx".to_owned()),
        ],
        masked_paths: paths(&[
            "/proc/kcore",
            "/proc/timer_list",
            "/proc/keys",
            "/proc/scsi",
            "/proc/acpi",
            "/sys/firmware",
            "/proc/nothing",
        ]),
        readonly_paths: paths(&[
            "/proc/bus",
            "/proc/fs",
            "/proc/irq",
            "/proc/sys",
            "/proc/sysrq-trigger",
        ]),
        ..empty_plan(scratch)
    }
}

/// What holds in every container of the default plan.
fn check_default_container() {
    let entries = |path: &str| fs::read_dir(path).unwrap().count();
    assert_eq!(fs::read("/dev/null").unwrap(), b"");
    assert_eq!(fs::read_link("/dev/ptmx").unwrap(), Path::new("pts/ptmx"));
    assert_eq!(options_of("/"), options_of("/").replace("rw", "ro"));
    assert!(options_of("/dev").starts_with("rw,nosuid"));
    assert_eq!(options_of("/dev/shm"), "rw,nosuid,nodev,noexec,relatime");
    assert_eq!(options_of("/sys"), "ro,nosuid,nodev,noexec,relatime");
    assert!(options_of("/sys/fs/cgroup").starts_with("ro"));
    for path in ["/proc/keys", "/proc/kcore", "/proc/timer_list"] {
        if !Path::new(path).exists() {
            continue;
        }
        assert_eq!(fs::read(path).unwrap(), b"", "{path} reads as empty");
    }
    assert_eq!(entries("/sys/firmware"), 0);
    let error = fs::write("/sys/firmware/x", "").unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EROFS));
    let error = fs::write("/proc/sys/kernel/hostname", "x").unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EROFS));
    assert_eq!(std::env::current_dir().unwrap(), Path::new("/"));
    assert!(!Path::new("/tmp").exists(), "the host is out of sight");
}

#[test]
fn the_default_container_is_made_as_root() {
    let name = "container::the_default_container_is_made_as_root";
    inside(name, ROOT, |scratch| {
        let sys = Source::Sysfs(file_system("sysfs", &[]));
        let plan = default_plan(scratch, sys, false);
        make(&plan, &[Kind::Mount, Kind::Network, Kind::Pid, Kind::Ipc]).unwrap();
        check_default_container();
    });
}

#[test]
fn the_default_container_is_made_rootless() {
    let name = "container::the_default_container_is_made_rootless";
    inside(name, ROOTLESS, |scratch| {
        let plan = default_plan(scratch, bind("/sys"), true);
        make(&plan, &[Kind::User, Kind::Mount, Kind::Pid, Kind::Ipc]).unwrap();
        check_default_container();
    });
}
