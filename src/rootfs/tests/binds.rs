//! Bind mounts, their mount points and their flags.

use super::*;

#[test]
fn a_file_is_bound_on_a_file_that_is_made() {
    inside(
        "binds::a_file_is_bound_on_a_file_that_is_made",
        ROOTLESS,
        |scratch| {
            let file = scratch.join("hosts");
            fs::write(&file, "localhost").unwrap();
            let mut plan = empty_plan(scratch);
            plan.mounts = vec![mount(0, "/etc/deep/hosts", bind(&file), 0)];
            make(&plan, &[Kind::User, Kind::Mount]).unwrap();
            assert_eq!(fs::read("/etc/deep/hosts").unwrap(), b"localhost");
        },
    );
}

#[test]
fn a_missing_source_is_named_with_its_place() {
    inside(
        "binds::a_missing_source_is_named_with_its_place",
        ROOTLESS,
        |scratch| {
            let mut plan = empty_plan(scratch);
            plan.mounts = vec![mount(3, "/x", bind("/nonexistent/y"), 0)];
            let error = make(&plan, &[Kind::User, Kind::Mount]).unwrap_err();
            let text = error.to_string();
            assert_eq!(error.pointer(), Some("/mounts/3"));
            assert!(text.starts_with("mounts[3] (/x): open"), "{text}");
            assert!(text.contains(r#""/nonexistent/y""#), "{text}");
            assert!(text.ends_with(": No such file or directory"), "{text}");
        },
    );
}

#[test]
fn flags_of_the_source_stay_unless_they_are_asked_to_go() {
    let name = "binds::flags_of_the_source_stay_unless_they_are_asked_to_go";
    inside(name, ROOT, |scratch| {
        let source = noexec_mount(scratch);
        let mut plan = empty_plan(scratch);
        plan.mounts = vec![
            mount(0, "/kept", bind(&source), libc::MOUNT_ATTR_NOSUID),
            Mount {
                clear: libc::MOUNT_ATTR_NOEXEC,
                ..mount(1, "/cleared", bind(&source), 0)
            },
            Mount {
                clear: libc::MOUNT_ATTR__ATIME,
                ..mount(2, "/noatime", bind(&source), libc::MOUNT_ATTR_NOATIME)
            },
        ];
        make_with_proc(&mut plan).unwrap();
        assert_eq!(options_of("/kept"), "rw,nosuid,noexec,relatime");
        assert_eq!(options_of("/cleared"), "rw,relatime");
        assert_eq!(options_of("/noatime"), "rw,noexec,noatime");
    });
}

#[test]
fn a_flag_that_the_host_locked_cannot_be_cleared_and_is_named() {
    let name = "binds::a_flag_that_the_host_locked_cannot_be_cleared_and_is_named";
    // A mount that is there before the user namespace is: its flags are locked.
    inside(name, ROOTLESS, |scratch| {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let Some(source) = table.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(' ').collect();
            (fields[5].contains("noexec") && fields[4].starts_with("/dev/")).then_some(fields[4])
        }) else {
            return;
        };
        let mut plan = empty_plan(scratch);
        plan.mounts = vec![mount(0, "/kept", bind(source), libc::MOUNT_ATTR_RDONLY)];
        make_with_proc(&mut plan).unwrap();
        assert!(options_of("/kept").contains("noexec"));
        assert!(options_of("/kept").starts_with("ro"));

        fs::create_dir_all("/second").unwrap();
        let root = Root::open_host(&HostPath::new("/")).unwrap();
        let entry = Mount {
            clear: libc::MOUNT_ATTR_NOEXEC,
            ..mount(0, "/second", bind("/kept"), 0)
        };
        let error = with_context(&[Kind::User], |context| {
            super::super::mount::apply(&root, &entry, &plan, context).map(drop)
        })
        .unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with("the host has locked noexec of this mount: mount_setattr("),
            "{text}"
        );
        assert!(error.hint().is_some_and(|hint| hint.contains("noexec")));
    });
}

#[test]
fn a_recursive_flag_reaches_the_mounts_below() {
    inside(
        "binds::a_recursive_flag_reaches_the_mounts_below",
        ROOT,
        |scratch| {
            let source = scratch.join("tree");
            fs::create_dir_all(source.join("x")).unwrap();
            mount_tmpfs(&source, 0);
            fs::create_dir_all(source.join("below")).unwrap();
            mount_tmpfs(&source.join("below"), 0);
            let mut plan = empty_plan(scratch);
            plan.mounts = vec![
                Mount {
                    recursive_set: libc::MOUNT_ATTR_RDONLY,
                    ..mount(0, "/all", bind(&source), 0)
                },
                mount(1, "/top", bind(&source), libc::MOUNT_ATTR_RDONLY),
            ];
            make_with_proc(&mut plan).unwrap();
            assert!(options_of("/all").starts_with("ro"));
            assert!(options_of("/all/below").starts_with("ro"));
            assert!(options_of("/top").starts_with("ro"));
            assert!(options_of("/top/below").starts_with("rw"));
        },
    );
}

#[test]
fn a_symlink_can_be_copied_bound_or_mounted_on() {
    inside(
        "binds::a_symlink_can_be_copied_bound_or_mounted_on",
        ROOT,
        |scratch| {
            let source = |path: &str, nofollow, copy_symlink| Source::Bind {
                path: HostPath::new(scratch.join(path)),
                recursive: true,
                nofollow,
                copy_symlink,
            };
            std::os::unix::fs::symlink("target", scratch.join("link")).unwrap();
            fs::write(scratch.join("file"), "file").unwrap();
            let mut plan = empty_plan(scratch);
            std::os::unix::fs::symlink("nowhere", scratch.join("root/there")).unwrap();
            plan.mounts = vec![
                mount(0, "/a/copied", source("link", false, true), 0),
                mount(1, "/bound", source("link", true, false), 0),
                Mount {
                    destination_nofollow: true,
                    ..mount(2, "/there", source("file", false, false), 0)
                },
            ];
            make(&plan, &[Kind::Mount]).unwrap();
            assert_eq!(fs::read_link("/a/copied").unwrap(), Path::new("target"));
            assert_eq!(fs::read_link("/bound").unwrap(), Path::new("target"));
            assert_eq!(fs::read("/there").unwrap(), b"file");
            assert!(!Path::new("/nowhere").exists());
        },
    );
}

#[test]
fn a_link_to_what_is_missing_has_its_target_made_inside() {
    let name = "binds::a_link_to_what_is_missing_has_its_target_made_inside";
    inside(name, ROOTLESS, |scratch| {
        let file = scratch.join("file");
        fs::write(&file, "x").unwrap();
        let mut plan = empty_plan(scratch);
        let root = scratch.join("root");
        fs::create_dir_all(root.join("var")).unwrap();
        std::os::unix::fs::symlink("/run", root.join("var/run")).unwrap();
        std::os::unix::fs::symlink("../up/there", root.join("var/file")).unwrap();
        plan.mounts = vec![
            mount(0, "/var/run/lock", bind(scratch.join("root/var")), 0),
            mount(1, "/var/file", bind(&file), 0),
        ];
        make(&plan, &[Kind::User, Kind::Mount]).unwrap();
        assert!(Path::new("/run/lock/run").is_symlink());
        assert_eq!(fs::read("/up/there").unwrap(), b"x");
    });
}

#[test]
fn a_circle_of_links_is_an_error() {
    inside(
        "binds::a_circle_of_links_is_an_error",
        ROOTLESS,
        |scratch| {
            let mut plan = empty_plan(scratch);
            std::os::unix::fs::symlink("b", scratch.join("root/a")).unwrap();
            std::os::unix::fs::symlink("a", scratch.join("root/b")).unwrap();
            plan.mounts = vec![mount(0, "/a/x", bind(scratch), 0)];
            let error = make(&plan, &[Kind::User, Kind::Mount]).unwrap_err();
            assert_eq!(error.errno(), Some(libc::ELOOP));
        },
    );
}

#[test]
fn propagation_is_set_in_the_order_given() {
    inside(
        "binds::propagation_is_set_in_the_order_given",
        ROOT,
        |scratch| {
            let mut plan = empty_plan(scratch);
            plan.mounts = vec![
                Mount {
                    propagation: vec![libc::MS_PRIVATE | libc::MS_REC, libc::MS_SHARED],
                    ..mount(0, "/shared", bind(scratch), 0)
                },
                Mount {
                    propagation: vec![libc::MS_UNBINDABLE],
                    ..mount(1, "/unbindable", bind(scratch), 0)
                },
            ];
            make_with_proc(&mut plan).unwrap();
            assert!(mountinfo_line("/shared").contains(" shared:"));
            assert!(mountinfo_line("/unbindable").contains(" unbindable "));
        },
    );
}

#[test]
fn a_directory_on_a_file_is_said_in_words() {
    inside(
        "binds::a_directory_on_a_file_is_said_in_words",
        ROOTLESS,
        |scratch| {
            let mut plan = empty_plan(scratch);
            fs::write(scratch.join("root/file"), "").unwrap();
            fs::create_dir(scratch.join("root/directory")).unwrap();
            for (source, destination) in [("", "/file"), ("root/file", "/directory")] {
                plan.mounts = vec![mount(0, destination, bind(scratch.join(source)), 0)];
                let error = with_context(&[Kind::User, Kind::Mount], |context| {
                    prepare(&plan, context).map(drop)
                });
                let text = error.unwrap_err().to_string();
                assert!(text.contains("is not a directory"), "{text}");
            }
        },
    );
}

/// A tmpfs with noexec in the scratch directory.
fn noexec_mount(scratch: &Path) -> PathBuf {
    let source = scratch.join("noexec");
    fs::create_dir_all(&source).unwrap();
    mount_tmpfs(&source, libc::MS_NOEXEC);
    source
}
