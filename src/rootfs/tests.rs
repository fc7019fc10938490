//! The mounts of a container, made by the kernel: each test runs again in a process of its
//! own, inside the namespaces that it names, so that the machine's mounts stay as they are.

mod attacks;
mod binds;
mod container;
mod file_systems;
mod old_kernels;
mod roots;
mod walk;

use std::ffi::CString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::errno::Errno;

use super::*;
use crate::plan::HostPath;
use crate::plan::namespaces::{Kind, Namespace};
use crate::plan::rootfs::{FileSystem, Source};
use crate::sys;

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

/// Runs `body` in new namespaces: `name` is the test's own path below this module.
fn inside(name: &str, namespaces: &[&str], body: impl FnOnce(&Path)) {
    let name = format!("rootfs::tests::{name}");
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
        .args(["--exact", &name, "--nocapture", "--test-threads=1"])
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
        root_propagation: None,
        pivot: Pivot::PivotRoot,
        mounts: Vec::new(),
        devices: Vec::new(),
        links: Vec::new(),
        console: false,
        masked_paths: Vec::new(),
        readonly_paths: Vec::new(),
        mount_label: None,
        cgroup_mount: Some(HostPath::new("/sys/fs/cgroup")),
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
        own_cgroup: None,
        made_elsewhere: &|_| Err(crate::error::Error::system("there is no parent")),
        elsewhere: Elsewhere::IdMapped,
        nodes_made_elsewhere: None,
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
        id_map: None,
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

/// The options of the topmost mount at a path, proc_pid_mountinfo(5).
fn options_of(point: &str) -> String {
    let line = mountinfo_line(point);
    line.split(' ').nth(5).unwrap().to_owned()
}

/// The line of the topmost mount at a path.
fn mountinfo_line(point: &str) -> String {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = table
        .lines()
        .rev()
        .find(|line| line.split(' ').nth(4) == Some(point));
    line.unwrap_or_else(|| panic!("{point} is no mount:\n{table}"))
        .to_owned()
}

/// Makes the plan with a procfs to look into; the pid namespace is the test's own.
fn make_with_proc(plan: &mut Rootfs) -> Result<()> {
    let proc = Source::Proc(file_system("proc", &[]));
    plan.mounts.push(mount(90, "/proc", proc, 0));
    make(plan, &[Kind::Mount, Kind::Pid])
}

/// Mounts a tmpfs of the host's, so to speak.
fn mount_tmpfs(path: &Path, flags: u64) {
    let target = sys::file::c_name(path.to_str().unwrap()).unwrap();
    let kind = Some(c"tmpfs");
    sys::mount::mount(kind, &target, kind, flags, None).unwrap();
}
