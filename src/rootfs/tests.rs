//! The mounts of a container, made by the kernel: each test runs again in a process of its
//! own, inside the namespaces that it names, so that the machine's mounts stay as they are.

use std::ffi::CString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use libc::{
    MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY,
    MOUNT_ATTR_STRICTATIME,
};

use super::*;
use crate::plan::HostPath;
use crate::plan::namespaces::{Kind, Namespace};
use crate::plan::rootfs::{Device, DeviceKind, FileSystem, Source};

/// Tells the second run of a test that it is inside.
const INSIDE: &str = "RT_TEST_INSIDE";

const ROOT: &[&str] = &["--mount", "--ipc", "--net", "--pid", "--fork"];
const ROOTLESS: &[&str] = &[
    "--user",
    "--map-root-user",
    "--mount",
    "--ipc",
    "--pid",
    "--fork",
];

/// Runs `body` in new namespaces: `name` is the test's own path.
fn inside(name: &str, namespaces: &[&str], body: impl FnOnce(&Path)) {
    if let Some(scratch) = std::env::var_os(INSIDE) {
        return body(Path::new(&scratch));
    }
    let scratch = std::env::temp_dir().join(format!(
        "rt-{}-{}",
        name.replace("::", "-"),
        std::process::id()
    ));
    fs::create_dir_all(&scratch).unwrap();
    let output = Command::new("unshare")
        .args(namespaces)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(INSIDE, &scratch)
        .output()
        .unwrap();
    fs::remove_dir_all(&scratch).unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "inside: {text}");
    assert!(text.contains("1 passed"), "no such test: {text}");
}

/// A root with nothing in it, and a plan that mounts nothing.
fn empty_plan(scratch: &Path) -> Rootfs {
    let root = scratch.join("root");
    fs::create_dir_all(&root).unwrap();
    Rootfs {
        root: HostPath::new(root),
        readonly: false,
        propagation: libc::MS_SLAVE | libc::MS_REC,
        propagation_given: false,
        pivot: Pivot::PivotRoot,
        mounts: Vec::new(),
        devices: Vec::new(),
        links: Vec::new(),
        console: false,
        masked_paths: Vec::new(),
        readonly_paths: Vec::new(),
        mount_label: None,
    }
}

fn namespaces(kinds: &[Kind]) -> Namespaces {
    Namespaces {
        list: kinds.iter().map(|kind| (*kind, Namespace::New)).collect(),
        ..Namespaces::default()
    }
}

fn with_context<T>(kinds: &[Kind], body: impl FnOnce(&Context<'_>) -> T) -> T {
    body(&Context {
        namespaces: &namespaces(kinds),
        in_user_namespace: kinds.contains(&Kind::User),
        cgroup_mount: Some(Path::new("/sys/fs/cgroup")),
        own_cgroup: None,
        ask_parent: None,
    })
}

/// Makes the plan and goes in.
fn make(plan: &Rootfs, kinds: &[Kind]) -> Result<()> {
    let prepared = with_context(kinds, |context| prepare(plan, context))?;
    enter(&prepared, plan)?;
    finish(prepared, plan)
}

fn file_system(kind: &str, options: &[(&str, &str)]) -> FileSystem {
    let c = |text: &str| CString::new(text).unwrap();
    FileSystem {
        kind: c(kind),
        source: c(kind),
        superblock_flags: 0,
        data: options
            .iter()
            .map(|(key, value)| (c(key), (!value.is_empty()).then(|| c(value))))
            .collect(),
    }
}

fn mount(index: usize, destination: &str, source: Source, set: u64) -> Mount {
    Mount {
        index: Some(index),
        destination: ContainerPath::new(destination),
        source,
        set,
        clear: 0,
        recursive_set: 0,
        recursive_clear: 0,
        propagation: Vec::new(),
        destination_nofollow: false,
    }
}

fn bind(path: impl Into<PathBuf>) -> Source {
    Source::Bind {
        path: HostPath::new(path),
        recursive: true,
        nofollow: false,
        copy_symlink: false,
    }
}

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

/// The options of the topmost mount at a path, proc_pid_mountinfo(5).
fn options_of(point: &str) -> String {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = table
        .lines()
        .rev()
        .find(|line| line.split(' ').nth(4) == Some(point))
        .unwrap_or_else(|| panic!("{point} is no mount:\n{table}"));
    line.split(' ').nth(5).unwrap().to_owned()
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
    assert!(fs::write("/sys/firmware/x", "").is_err());
    let error = fs::write("/proc/sys/kernel/hostname", "x").unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EROFS));
    assert_eq!(std::env::current_dir().unwrap(), Path::new("/"));
    assert!(!Path::new("/tmp").exists(), "the host is out of sight");
}

#[test]
fn the_default_container_is_made_as_root() {
    let name = "rootfs::tests::the_default_container_is_made_as_root";
    inside(name, ROOT, |scratch| {
        let sys = Source::Sysfs(file_system("sysfs", &[]));
        let plan = default_plan(scratch, sys, false);
        make(&plan, &[Kind::Mount, Kind::Network, Kind::Pid, Kind::Ipc]).unwrap();
        check_default_container();
    });
}

#[test]
fn the_default_container_is_made_rootless() {
    let name = "rootfs::tests::the_default_container_is_made_rootless";
    inside(name, ROOTLESS, |scratch| {
        let plan = default_plan(scratch, bind("/sys"), true);
        make(&plan, &[Kind::User, Kind::Mount, Kind::Pid, Kind::Ipc]).unwrap();
        check_default_container();
    });
}
