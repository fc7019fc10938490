//! What an image may contain to reach the host. Each of these really attacks.

use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, symlink};

use super::*;
use crate::plan::rootfs::{Device, DeviceKind};

/// A directory outside of the root that nothing may reach, and the image's path to it.
fn outside(scratch: &Path) -> PathBuf {
    let outside = scratch.join("outside");
    fs::create_dir_all(&outside).unwrap();
    outside
}

fn null() -> Device {
    Device {
        index: None,
        path: ContainerPath::new("/dev/null"),
        kind: DeviceKind::Character,
        major: 1,
        minor: 3,
        mode: 0o666,
        uid: 0,
        gid: 0,
        bind: false,
    }
}

/// CVE-2026-41579, CVE-2026-47766.
#[test]
fn dev_as_a_link_to_the_host_leads_nowhere() {
    inside(
        "attacks::dev_as_a_link_to_the_host_leads_nowhere",
        ROOT,
        |scratch| {
            let outside = outside(scratch);
            let mut plan = empty_plan(scratch);
            symlink(&outside, scratch.join("root/dev")).unwrap();
            plan.devices = vec![null()];
            plan.links = vec![(ContainerPath::new("/dev/ptmx"), c"pts/ptmx".to_owned())];
            let prepared = with_context(&[Kind::Mount], |context| prepare(&plan, context)).unwrap();
            assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
            enter(&prepared, &plan).unwrap();
            assert!(Path::new("/dev/null").exists());
        },
    );
}

/// CVE-2019-19921, CVE-2023-27561, CVE-2025-54867.
#[test]
fn proc_and_sys_must_be_real_directories() {
    inside(
        "attacks::proc_and_sys_must_be_real_directories",
        ROOT,
        |scratch| {
            let outside = outside(scratch);
            symlink(&outside, scratch.join("link")).unwrap();
            for (path, source) in [
                ("/proc", Source::Proc(file_system("proc", &[]))),
                ("/sys", Source::Sysfs(file_system("sysfs", &[]))),
            ] {
                let mut plan = empty_plan(scratch);
                symlink("elsewhere", scratch.join("root").join(&path[1..])).unwrap();
                fs::create_dir_all(scratch.join("root/elsewhere")).unwrap();
                plan.mounts = vec![mount(0, path, source, 0)];
                let error = with_context(&[Kind::Mount, Kind::Network, Kind::Pid], |context| {
                    prepare(&plan, context).map(drop)
                })
                .unwrap_err();
                assert!(error.is(Errno::ENOTDIR), "{error}");
            }
        },
    );
}

/// CVE-2019-16884.
#[test]
fn nothing_but_procfs_covers_proc() {
    inside("attacks::nothing_but_procfs_covers_proc", ROOT, |scratch| {
        symlink("/proc", scratch.join("link")).unwrap();
        let proc = || mount(0, "/proc", Source::Proc(file_system("proc", &[])), 0);
        let tmpfs = |path| mount(1, path, Source::New(file_system("tmpfs", &[])), 0);
        for mounts in [
            vec![tmpfs("/proc")],
            vec![proc(), tmpfs("/proc/self")],
            vec![proc(), tmpfs("/link/sys")],
            vec![proc(), mount(1, "/proc/sys", bind(scratch), 0)],
        ] {
            let mut plan = empty_plan(scratch);
            let _ = symlink("/proc", scratch.join("root/link"));
            plan.mounts = mounts;
            let error = with_context(&[Kind::Mount], |context| prepare(&plan, context).map(drop))
                .unwrap_err();
            assert!(error.to_string().contains("proc"), "{error}");
            assert_eq!(error.kind(), crate::error::Kind::Invalid, "{error}");
        }
        let file = scratch.join("meminfo");
        fs::write(&file, "lxcfs").unwrap();
        let mut plan = empty_plan(scratch);
        plan.mounts = vec![proc(), mount(1, "/proc/meminfo", bind(&file), 0)];
        make(&plan, &[Kind::Mount, Kind::Pid]).unwrap();
        assert_eq!(fs::read("/proc/meminfo").unwrap(), b"lxcfs");
    });
}

/// CVE-2025-31133: the container's /dev/null is a link to a file that is to be written.
#[test]
fn a_fake_null_device_masks_nothing() {
    inside(
        "attacks::a_fake_null_device_masks_nothing",
        ROOT,
        |scratch| {
            let mut plan = empty_plan(scratch);
            fs::create_dir(scratch.join("root/dev")).unwrap();
            fs::write(scratch.join("root/fake"), "fake").unwrap();
            fs::write(scratch.join("root/secret"), "secret").unwrap();
            symlink("/fake", scratch.join("root/dev/null")).unwrap();
            plan.masked_paths = vec![ContainerPath::new("/secret")];
            make(&plan, &[Kind::Mount]).unwrap();
            assert_eq!(fs::read("/secret").unwrap(), b"");
            fs::write("/secret", "x").unwrap();
            assert_eq!(fs::read("/secret").unwrap(), b"");
            assert_eq!(fs::read("/fake").unwrap(), b"fake");
        },
    );
}

/// CVE-2025-52565: /dev/console is a link, and so is what poses as a terminal.
#[test]
fn the_console_covers_a_link_and_is_a_terminal() {
    inside(
        "attacks::the_console_covers_a_link_and_is_a_terminal",
        ROOT,
        |scratch| {
            let mut plan = empty_plan(scratch);
            let pts = file_system("devpts", &[("newinstance", ""), ("ptmxmode", "0666")]);
            plan.mounts = vec![mount(0, "/dev/pts", Source::New(pts), 0)];
            fs::create_dir(scratch.join("root/dev")).unwrap();
            fs::write(scratch.join("root/victim"), "victim").unwrap();
            symlink("/victim", scratch.join("root/dev/console")).unwrap();
            let prepared = with_context(&[Kind::Mount], |context| prepare(&plan, context)).unwrap();
            let ptmx = fs::File::options()
                .read(true)
                .write(true)
                .open(scratch.join("root/dev/pts/ptmx"))
                .unwrap();
            let fake = fs::File::open("/dev/null").unwrap();
            assert!(bind_console(&prepared, fake.as_fd()).is_err());
            // TIOCSPTLCK through a program: the ioctl itself belongs to the terminal code.
            let unlocked = Command::new("python3")
                .args([
                    "-c",
                    "import fcntl,sys; fcntl.ioctl(0, 0x40045431, b'\\0\\0\\0\\0')",
                ])
                .stdin(ptmx.try_clone().unwrap())
                .status();
            if !unlocked.is_ok_and(|status| status.success()) {
                return;
            }
            let slave = fs::File::options()
                .read(true)
                .write(true)
                .custom_flags(libc::O_NOCTTY)
                .open(scratch.join("root/dev/pts/0"))
                .unwrap();
            bind_console(&prepared, slave.as_fd()).unwrap();
            enter(&prepared, &plan).unwrap();
            assert!(
                fs::metadata("/dev/console")
                    .unwrap()
                    .file_type()
                    .is_char_device()
            );
            assert_eq!(fs::read("/victim").unwrap(), b"victim");
        },
    );
}

/// CVE-2019-18837: a link in the middle of a destination.
#[test]
fn a_link_in_a_destination_stays_beneath_the_root() {
    inside(
        "attacks::a_link_in_a_destination_stays_beneath_the_root",
        ROOT,
        |scratch| {
            let outside = outside(scratch);
            let mut plan = empty_plan(scratch);
            let climb = format!("../../../../../..{}", outside.display());
            symlink(climb, scratch.join("root/data")).unwrap();
            plan.mounts = vec![mount(
                0,
                "/data/x",
                Source::New(file_system("tmpfs", &[])),
                0,
            )];
            let prepared = with_context(&[Kind::Mount], |context| prepare(&plan, context)).unwrap();
            assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
            enter(&prepared, &plan).unwrap();
            assert!(Path::new("/data/x").is_dir());
        },
    );
}
