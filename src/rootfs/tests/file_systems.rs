//! New instances of file systems, remounts, devices.

use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};

use super::*;
use crate::plan::rootfs::{Device, DeviceKind};

#[test]
fn a_read_only_tmpfs_takes_mounts_before_it_closes() {
    let name = "file_systems::a_read_only_tmpfs_takes_mounts_before_it_closes";
    inside(name, ROOTLESS, |scratch| {
        let tmpfs = || Source::New(file_system("tmpfs", &[]));
        let mut plan = empty_plan(scratch);
        plan.mounts = vec![
            mount(0, "/t", tmpfs(), libc::MOUNT_ATTR_RDONLY),
            mount(1, "/t/in", tmpfs(), 0),
        ];
        make_with_proc(&mut plan).unwrap();
        assert!(options_of("/t").starts_with("ro"));
        assert!(options_of("/t/in").starts_with("rw"));
    });
}

#[test]
fn a_tmpfs_keeps_the_mode_of_its_directory() {
    inside(
        "file_systems::a_tmpfs_keeps_the_mode_of_its_directory",
        ROOTLESS,
        |scratch| {
            let mut plan = empty_plan(scratch);
            let there = scratch.join("root/there");
            fs::create_dir(&there).unwrap();
            fs::set_permissions(&there, fs::Permissions::from_mode(0o1770)).unwrap();
            plan.mounts = vec![
                mount(0, "/there", Source::New(file_system("tmpfs", &[])), 0),
                mount(1, "/made", Source::New(file_system("tmpfs", &[])), 0),
                mount(
                    2,
                    "/given",
                    Source::New(file_system("tmpfs", &[("mode", "700")])),
                    0,
                ),
            ];
            make(&plan, &[Kind::User, Kind::Mount]).unwrap();
            let mode = |path| fs::metadata(path).unwrap().mode() & 0o7777;
            assert_eq!(
                (mode("/there"), mode("/made"), mode("/given")),
                (0o1770, 0o1777, 0o700)
            );
        },
    );
}

#[test]
fn an_option_that_the_file_system_refuses_is_named() {
    let name = "file_systems::an_option_that_the_file_system_refuses_is_named";
    inside(name, ROOTLESS, |scratch| {
        let mut plan = empty_plan(scratch);
        let tmpfs = file_system("tmpfs", &[("nonsense", "1")]);
        plan.mounts = vec![mount(0, "/t", Source::New(tmpfs), 0)];
        let text = make(&plan, &[Kind::User, Kind::Mount])
            .unwrap_err()
            .to_string();
        assert!(text.contains("Unknown parameter 'nonsense'"), "{text}");
        assert!(text.ends_with("Invalid argument"), "{text}");
        let unknown = Source::New(file_system("nosuchfs", &[]));
        plan.mounts = vec![mount(0, "/t", unknown, 0)];
        let text = make(&plan, &[Kind::User, Kind::Mount])
            .unwrap_err()
            .to_string();
        assert_eq!(
            text,
            r#"mounts[0] (/t): fsopen("nosuchfs", FSOPEN_CLOEXEC): No such device"#
        );
    });
}

#[test]
fn a_group_that_is_not_mapped_has_a_hint() {
    inside(
        "file_systems::a_group_that_is_not_mapped_has_a_hint",
        ROOTLESS,
        |scratch| {
            let mut plan = empty_plan(scratch);
            let pts = file_system("devpts", &[("newinstance", ""), ("gid", "5")]);
            plan.mounts = vec![mount(0, "/dev/pts", Source::New(pts), 0)];
            let error = make(&plan, &[Kind::User, Kind::Mount]).unwrap_err();
            assert_eq!(error.errno(), Some(libc::EINVAL), "{error}");
            assert!(error.hint().is_some_and(|h| h.contains("gid=5")), "{error}");
        },
    );
}

#[test]
fn overlay_takes_options_longer_than_fsconfig_does() {
    let name = "file_systems::overlay_takes_options_longer_than_fsconfig_does";
    inside(name, ROOT, |scratch| {
        mount_tmpfs(scratch, 0);
        let lower: Vec<String> = (0..20)
            .map(|i| {
                let directory = scratch.join(format!("lower-with-a-long-name-{i}"));
                fs::create_dir(&directory).unwrap();
                fs::write(directory.join(format!("file{i}")), "x").unwrap();
                directory.display().to_string()
            })
            .collect();
        let mut plan = empty_plan(scratch);
        let overlay = file_system("overlay", &[("lowerdir", &lower.join(":"))]);
        plan.mounts = vec![mount(0, "/o", Source::New(overlay), libc::MOUNT_ATTR_NODEV)];
        make_with_proc(&mut plan).unwrap();
        assert!(Path::new("/o/file19").exists());
        assert!(options_of("/o").contains("nodev"));
    });
}

#[test]
fn tmpcopyup_starts_with_what_was_there() {
    inside(
        "file_systems::tmpcopyup_starts_with_what_was_there",
        ROOT,
        |scratch| {
            let mut plan = empty_plan(scratch);
            let data = scratch.join("root/data");
            fs::create_dir_all(data.join("sub")).unwrap();
            fs::write(data.join("sub/file"), "content").unwrap();
            fs::set_permissions(data.join("sub/file"), fs::Permissions::from_mode(0o4750)).unwrap();
            std::os::unix::fs::chown(data.join("sub/file"), Some(7), Some(8)).unwrap();
            fs::set_permissions(data.join("sub/file"), fs::Permissions::from_mode(0o4750)).unwrap();
            std::os::unix::fs::symlink("sub/file", data.join("link")).unwrap();
            fs::set_permissions(&data, fs::Permissions::from_mode(0o1711)).unwrap();
            let tmpfs = Source::CopyUp(file_system("tmpfs", &[]));
            plan.mounts = vec![mount(0, "/data", tmpfs, libc::MOUNT_ATTR_RDONLY)];
            make_with_proc(&mut plan).unwrap();
            assert!(options_of("/data").starts_with("ro"));
            assert_eq!(fs::read("/data/link").unwrap(), b"content");
            let file = fs::metadata("/data/sub/file").unwrap();
            assert_eq!(
                (file.mode() & 0o7777, file.uid(), file.gid()),
                (0o4750, 7, 8)
            );
            assert_eq!(fs::metadata("/data").unwrap().mode() & 0o7777, 0o1711);
        },
    );
}

#[test]
fn a_remount_changes_what_is_there() {
    inside(
        "file_systems::a_remount_changes_what_is_there",
        ROOT,
        |scratch| {
            let mut plan = empty_plan(scratch);
            let remount = Source::Remount(file_system("tmpfs", &[("size", "8k")]));
            plan.mounts = vec![
                mount(0, "/t", Source::New(file_system("tmpfs", &[])), 0),
                mount(1, "/t", remount, libc::MOUNT_ATTR_NOEXEC),
            ];
            make_with_proc(&mut plan).unwrap();
            assert_eq!(options_of("/t"), "rw,noexec,relatime");
            assert!(mountinfo_line("/t").contains("size=8k"));
        },
    );
}

fn device(path: &str, kind: DeviceKind, (major, minor): (u32, u32)) -> Device {
    Device {
        index: Some(0),
        path: ContainerPath::new(path),
        kind,
        major,
        minor,
        mode: 0o640,
        uid: 3,
        gid: 4,
        bind: false,
    }
}

#[test]
fn nodes_are_made_with_owner_and_mode() {
    inside(
        "file_systems::nodes_are_made_with_owner_and_mode",
        ROOT,
        |scratch| {
            let mut plan = empty_plan(scratch);
            plan.devices = vec![
                device("/dev/deep/null", DeviceKind::Character, (1, 3)),
                device("/dev/loop", DeviceKind::Block, (7, 0)),
                device("/run/fifo", DeviceKind::Fifo, (0, 0)),
            ];
            make(&plan, &[Kind::Mount]).unwrap();
            let null = fs::metadata("/dev/deep/null").unwrap();
            assert_eq!(
                (null.mode() & 0o7777, null.uid(), null.gid()),
                (0o640, 3, 4)
            );
            assert_eq!(null.rdev(), libc::makedev(1, 3));
            assert!(
                fs::metadata("/dev/loop")
                    .unwrap()
                    .file_type()
                    .is_block_device()
            );
            assert!(fs::metadata("/run/fifo").unwrap().file_type().is_fifo());
        },
    );
}

#[test]
fn an_equal_node_is_left_and_another_file_is_covered() {
    let name = "file_systems::an_equal_node_is_left_and_another_file_is_covered";
    inside(name, ROOT, |scratch| {
        let mut plan = empty_plan(scratch);
        fs::create_dir(scratch.join("root/dev")).unwrap();
        fs::write(scratch.join("root/dev/zero"), "not a device").unwrap();
        plan.devices = vec![
            device("/dev/null", DeviceKind::Character, (1, 3)),
            device("/dev/null", DeviceKind::Character, (1, 3)),
            device("/dev/zero", DeviceKind::Character, (1, 5)),
        ];
        make(&plan, &[Kind::Mount]).unwrap();
        assert!(
            fs::metadata("/dev/null")
                .unwrap()
                .file_type()
                .is_char_device()
        );
        assert!(
            fs::metadata("/dev/zero")
                .unwrap()
                .file_type()
                .is_char_device()
        );
    });
}

#[test]
fn a_node_of_the_host_is_bound_only_if_it_is_that_device() {
    let name = "file_systems::a_node_of_the_host_is_bound_only_if_it_is_that_device";
    inside(name, ROOTLESS, |scratch| {
        let mut plan = empty_plan(scratch);
        let other = Device {
            bind: true,
            ..device("/dev/null", DeviceKind::Character, (1, 5))
        };
        plan.devices = vec![other];
        let text = make(&plan, &[Kind::User, Kind::Mount])
            .unwrap_err()
            .to_string();
        assert_eq!(
            text,
            "linux.devices[0] (/dev/null): /dev/null of the host is not the device 1:5"
        );
    });
}

#[test]
fn sysfs_is_bound_where_the_network_is_the_hosts() {
    let name = "file_systems::sysfs_is_bound_where_the_network_is_the_hosts";
    inside(name, ROOTLESS, |scratch| {
        let sysfs = || Source::Sysfs(file_system("sysfs", &[]));
        let mut plan = empty_plan(scratch);
        plan.mounts = vec![mount(0, "/sys", sysfs(), libc::MOUNT_ATTR_RDONLY)];
        let kinds = [Kind::User, Kind::Mount, Kind::Network];
        let error = make(&plan, &kinds).unwrap_err();
        assert!(error.is(Errno::EPERM), "{error}");
        make_with_proc(&mut plan).unwrap();
        assert!(options_of("/sys").starts_with("ro"));
        assert!(Path::new("/sys/kernel").exists());
    });
}
