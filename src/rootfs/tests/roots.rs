//! The root itself: its propagation, and each way of going in.

use super::*;

#[test]
fn a_shared_root_passes_mounts_on_and_pivots_all_the_same() {
    let name = "roots::a_shared_root_passes_mounts_on_and_pivots_all_the_same";
    inside(name, ROOT, |scratch| {
        let mut plan = empty_plan(scratch);
        plan.propagation = libc::MS_SHARED | libc::MS_REC;
        plan.root_propagation = Some(plan.propagation);
        make_with_proc(&mut plan).unwrap();
        assert!(mountinfo_line("/").contains(" shared:"));
    });
}

#[test]
fn a_private_root_is_private() {
    inside("roots::a_private_root_is_private", ROOT, |scratch| {
        let mut plan = empty_plan(scratch);
        plan.propagation = libc::MS_PRIVATE | libc::MS_REC;
        plan.root_propagation = Some(plan.propagation);
        make_with_proc(&mut plan).unwrap();
        assert!(!mountinfo_line("/").contains("shared:"));
        assert!(!mountinfo_line("/").contains("master:"));
    });
}

#[test]
fn what_is_bound_into_an_unbindable_root_is_bound_first() {
    let name = "roots::what_is_bound_into_an_unbindable_root_is_bound_first";
    inside(name, ROOT, |scratch| {
        let mut plan = empty_plan(scratch);
        plan.propagation = libc::MS_UNBINDABLE | libc::MS_REC;
        plan.root_propagation = Some(plan.propagation);
        plan.masked_paths = vec![ContainerPath::new("/file")];
        fs::write(scratch.join("root/file"), "").unwrap();
        plan.mounts = vec![mount(0, "/x", bind(scratch), 0)];
        make_with_proc(&mut plan).unwrap();
        assert!(mountinfo_line("/").contains(" unbindable "));
    });
}

#[test]
fn the_root_is_moved_where_it_cannot_be_pivoted() {
    inside(
        "roots::the_root_is_moved_where_it_cannot_be_pivoted",
        ROOT,
        |scratch| {
            let mut plan = empty_plan(scratch);
            plan.pivot = Pivot::MoveAndChroot;
            plan.readonly = true;
            make_with_proc(&mut plan).unwrap();
            assert!(options_of("/").starts_with("ro"));
            assert_eq!(std::env::current_dir().unwrap(), Path::new("/"));
            assert!(!scratch.exists());
            let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
            assert_eq!(table.matches(" - sysfs ").count(), 0, "{table}");
        },
    );
}

#[test]
fn the_root_is_moved_in_a_user_namespace() {
    inside(
        "roots::the_root_is_moved_in_a_user_namespace",
        ROOTLESS,
        |scratch| {
            let mut plan = empty_plan(scratch);
            plan.pivot = Pivot::MoveAndChroot;
            make(&plan, &[Kind::User, Kind::Mount]).unwrap();
            assert!(!scratch.exists());
        },
    );
}

#[test]
fn without_a_mount_namespace_the_root_is_changed_and_nothing_is_mounted() {
    let name = "roots::without_a_mount_namespace_the_root_is_changed_and_nothing_is_mounted";
    inside(name, ROOT, |scratch| {
        let mut plan = empty_plan(scratch);
        fs::write(scratch.join("root/here"), "").unwrap();
        plan.pivot = Pivot::Chroot;
        plan.mounts = vec![mount(0, "/t", Source::New(file_system("tmpfs", &[])), 0)];
        make(&plan, &[]).unwrap();
        assert!(Path::new("/here").exists());
        assert!(!Path::new("/t").exists());
    });
}

#[test]
fn a_missing_root_is_named() {
    inside("roots::a_missing_root_is_named", ROOTLESS, |scratch| {
        let plan = Rootfs {
            root: HostPath::new(scratch.join("nothing")),
            ..empty_plan(scratch)
        };
        let error = make(&plan, &[Kind::User, Kind::Mount]).unwrap_err();
        assert_eq!(error.pointer(), Some("/root/path"));
        assert!(error.is(Errno::ENOENT), "{error}");
    });
}

#[test]
fn the_root_cannot_be_mounted_over() {
    inside(
        "roots::the_root_cannot_be_mounted_over",
        ROOTLESS,
        |scratch| {
            let mut plan = empty_plan(scratch);
            plan.mounts = vec![mount(0, "/", Source::New(file_system("tmpfs", &[])), 0)];
            assert!(make(&plan, &[Kind::User, Kind::Mount]).is_err());
        },
    );
}
