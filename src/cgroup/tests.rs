//! The kernel itself, in a mount namespace of the test's own.

use std::process::{Child, Command};
use std::time::Duration;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::Pid;

use super::handle::FREEZE;
use super::*;
use crate::plan::HostPath;
use crate::plan::cgroup::{RuleKind, Setting};

/// Runs `test` with a cgroup2 mount and the name of a cgroup that is not there. A thread may
/// have a mount namespace of its own, which ends with it.
pub(super) fn with_cgroup2(name: &str, test: impl FnOnce(&Path, PathBuf) + Send + 'static) {
    let name = PathBuf::from(format!("rt-test-{}-{name}", std::process::id()));
    let thread = std::thread::spawn(move || {
        let dir = std::env::temp_dir().join(&name);
        let prepare = || -> nix::Result<()> {
            unshare(CloneFlags::CLONE_NEWNS)?;
            let none = None::<&str>;
            mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
            nix::unistd::mkdir(&dir, nix::sys::stat::Mode::S_IRWXU)?;
            mount(Some("none"), &dir, Some("cgroup2"), MsFlags::empty(), none)
        };
        let result = prepare();
        match result {
            Ok(()) => test(&dir, name),
            Err(errno) => eprintln!("skipped, no cgroup2 mount can be made here: {errno}"),
        }
        let _ = nix::mount::umount2(&dir, nix::mount::MntFlags::MNT_DETACH);
        let _ = std::fs::remove_dir(&dir);
    });
    thread.join().unwrap();
}

pub(super) fn plan(mount: &Path, path: &Path) -> Cgroup {
    Cgroup {
        placement: Placement::Path {
            mount: HostPath::new(mount),
            path: path.to_owned(),
        },
        settings: Vec::new(),
        devices: None,
        owner: None,
        required: true,
    }
}

pub(super) fn make(mount: &Path, path: &Path) -> Guard {
    create(&plan(mount, path), Privilege::Host)
        .unwrap()
        .unwrap()
}

pub(super) fn sleeper() -> Child {
    Command::new("sleep").arg("60").spawn().unwrap()
}

pub(super) fn pid(child: &Child) -> Pid {
    Pid::from_raw(child.id() as i32)
}

#[test]
fn a_guard_takes_away_all_that_it_made_and_nothing_else() {
    with_cgroup2("guard", |mount, name| {
        let leaf = name.join("a/b");
        let guard = make(mount, &leaf);
        let Guard::Directory(made) = &guard else {
            panic!("a directory is made by rt");
        };
        assert_eq!(made.made, [name.clone(), name.join("a"), leaf.clone()]);
        let mut child = sleeper();
        guard.handle().unwrap().attach(pid(&child)).unwrap();
        std::fs::create_dir(mount.join(&leaf).join("sub")).unwrap();
        drop(guard);
        assert!(!mount.join(&name).exists());
        child.wait().unwrap();

        let outer = make(mount, &name);
        drop(make(mount, &leaf));
        assert!(mount.join(&name).exists() && !mount.join(&leaf).exists());
        outer.keep();
        Handle::open(mount, &name)
            .unwrap()
            .unwrap()
            .remove()
            .unwrap();
        assert!(Handle::open(mount, &name).unwrap().is_none());
    });
}

#[test]
fn an_empty_cgroup_is_taken_and_one_with_processes_refused() {
    with_cgroup2("existing", |mount, name| {
        let first = make(mount, &name);
        drop(make(mount, &name));
        assert!(mount.join(&name).exists(), "who took it does not remove it");
        let mut child = sleeper();
        first.handle().unwrap().attach(pid(&child)).unwrap();
        let e = create(&plan(mount, &name), Privilege::Host).err().unwrap();
        assert!(
            e.to_string()
                .contains(&format!("is not empty: it holds processes {}", child.id())),
            "{e}"
        );
        drop(first);
        child.wait().unwrap();
    });
}

#[test]
fn a_cgroup_that_is_to_stand_still_takes_no_container() {
    with_cgroup2("frozen", |mount, name| {
        let guard = make(mount, &name);
        let handle = guard.handle().unwrap();
        handle.check_running().unwrap();
        std::fs::write(mount.join(&name).join("cgroup.freeze"), "1").unwrap();
        let e = handle.check_running().err().unwrap();
        assert!(e.to_string().ends_with("is frozen"), "{e}");
    });
}

#[test]
fn freezing_killing_and_listing_reach_the_whole_subtree() {
    with_cgroup2("verbs", |mount, name| {
        let guard = make(mount, &name);
        let mut children = [sleeper(), sleeper()];
        // First: one that has controllers handed down through it takes no process any more.
        guard.handle().unwrap().attach(pid(&children[0])).unwrap();
        let below = make(mount, &name.join("below"));
        below.handle().unwrap().attach(pid(&children[1])).unwrap();
        let mut listed = guard.handle().unwrap().processes().unwrap();
        listed.sort_unstable();
        assert_eq!(listed, children.each_ref().map(pid));
        let of_process = Handle::of_process(mount, pid(&children[1]))
            .unwrap()
            .unwrap();
        assert_eq!(of_process.path(), name.join("below"));

        guard.handle().unwrap().freeze().unwrap();
        // A process that was about to do something may wake up for a moment.
        let below_is_frozen = below
            .handle()
            .unwrap()
            .directory()
            .wait_for_event("frozen 1", FREEZE);
        assert!(below_is_frozen.unwrap());
        let e = guard.handle().unwrap().check_unused().unwrap_err();
        assert!(e.to_string().contains("is not empty"));
        guard.handle().unwrap().thaw().unwrap();
        assert!(!guard.handle().unwrap().is_frozen().unwrap());
        assert!(guard.handle().unwrap().oom_kills().is_ok());

        guard.handle().unwrap().freeze().unwrap();
        guard.handle().unwrap().kill_all().unwrap();
        for child in &mut children {
            use std::os::unix::process::ExitStatusExt;
            assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
        }
        guard.handle().unwrap().remove().unwrap();
        assert!(!mount.join(&name).exists());
        guard.handle().unwrap().kill_all().unwrap();
        guard.handle().unwrap().remove().unwrap();
        assert!(guard.handle().unwrap().processes().unwrap().is_empty());
    });
}

#[test]
fn without_cgroup_kill_a_process_that_multiplies_is_killed_too() {
    with_cgroup2("fork", |mount, name| {
        let guard = make(mount, &name);
        let procs = mount.join(&name).join("cgroup.procs");
        let script = format!(
            "echo $$ > {} ; while :; do (sleep 60 &) ; sleep 0.01 ; done",
            procs.display()
        );
        let mut child = Command::new("sh").args(["-c", &script]).spawn().unwrap();
        while guard.handle().unwrap().processes().unwrap().len() < 5 {
            std::thread::sleep(Duration::from_millis(5));
        }
        guard.handle().unwrap().kill_each().unwrap();
        assert!(guard.handle().unwrap().processes().unwrap().is_empty());
        child.wait().unwrap();
    });
}

#[test]
fn removal_waits_for_the_last_process() {
    with_cgroup2("late", |mount, name| {
        let guard = make(mount, &name);
        let mut child = Command::new("sleep").arg("0.3").spawn().unwrap();
        guard.handle().unwrap().attach(pid(&child)).unwrap();
        guard.handle().unwrap().remove().unwrap();
        child.wait().unwrap();
    });
}

#[test]
fn a_setting_without_its_controller_names_it_and_leaves_nothing() {
    with_cgroup2("setting", |mount, name| {
        let mut plan = plan(mount, &name);
        plan.settings = vec![
            Setting::new("/x", "cgroup.max.depth", "7"),
            Setting::new("/linux/resources/unified/nosuch.max", "nosuch.max", "1"),
        ];
        let e = create(&plan, Privilege::Host).err().unwrap();
        assert_eq!(e.pointer(), Some("/linux/resources/unified/nosuch.max"));
        assert!(
            e.to_string()
                .starts_with("linux.resources.unified[\"nosuch.max\"]: nosuch.max needs the controller \"nosuch\": "),
            "{e}"
        );
        assert!(e.hint().unwrap().contains("no controller"), "{e:?}");
        assert!(!mount.join(&name).exists());
    });
}

/// hugetlb is the one controller that a hybrid host leaves to cgroup2. The test does not
/// switch it on in the root, which is not its own.
#[test]
fn a_controller_is_switched_on_down_the_path_for_a_setting_that_needs_it() {
    with_cgroup2("hugetlb", |mount, name| {
        let enabled = std::fs::read_to_string(mount.join("cgroup.subtree_control")).unwrap();
        if !enabled.split_whitespace().any(|name| name == "hugetlb") {
            return eprintln!("skipped: hugetlb is not switched on in the root");
        }
        let mut plan = plan(mount, &name.join("a/b"));
        let mut setting = Setting::new(
            "/linux/resources/hugepageLimits/0",
            "hugetlb.2MB.max",
            "4194304",
        );
        plan.settings = vec![setting.clone()];
        let guard = create(&plan, Privilege::Host).unwrap().unwrap();
        let written = guard
            .handle()
            .unwrap()
            .directory()
            .read("hugetlb.2MB.max")
            .unwrap();
        assert_eq!(written, "4194304\n");
        drop(guard);

        setting.value = "many".into();
        plan.settings = vec![setting];
        let e = create(&plan, Privilege::Host).err().unwrap();
        assert!(
            e.is(Errno::EINVAL) && e.hint().unwrap().contains("hugetlb.2MB.max"),
            "{e:?}"
        );

        let occupied = make(mount, &name);
        let mut child = sleeper();
        occupied.handle().unwrap().attach(pid(&child)).unwrap();
        let e = create(&plan, Privilege::Host).err().unwrap();
        assert!(
            e.is(Errno::EBUSY) && e.hint().unwrap().contains("processes in a cgroup above"),
            "{e:?}"
        );
        drop(occupied);
        child.wait().unwrap();
    });
}

#[test]
fn without_the_right_to_make_one_a_container_goes_without_unless_it_needs_one() {
    with_cgroup2("right", |mount, name| {
        let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
        nix::mount::mount(None::<&str>, mount, None::<&str>, flags, None::<&str>).unwrap();
        let mut plan = plan(mount, &name);
        let e = create(&plan, Privilege::Rootless).err().unwrap();
        assert!(
            e.is(Errno::EROFS) && e.hint().unwrap().contains("Delegate=yes"),
            "{e:?}"
        );
        plan.required = false;
        assert!(create(&plan, Privilege::Rootless).unwrap().is_none());
        plan.devices = Some(Vec::new());
        assert!(create(&plan, Privilege::Rootless).unwrap().is_none());
        assert!(create(&plan, Privilege::Host).is_err());
    });
}

#[test]
fn a_root_container_without_a_cgroup_is_not_silently_free_to_use_any_device() {
    let mut plan = plan(Path::new("/nonexistent"), Path::new("x"));
    plan.required = false;
    plan.devices = Some(Vec::new());
    plan.placement = Placement::None {
        reason: "no cgroup2 is mounted".into(),
    };
    let e = create(&plan, Privilege::Host).err().unwrap();
    assert_eq!(
        e.to_string(),
        "linux.resources.devices needs a cgroup: no cgroup2 is mounted"
    );
    assert!(create(&plan, Privilege::Rootless).unwrap().is_none());
    plan.placement = Placement::Disabled;
    assert!(create(&plan, Privilege::Host).unwrap().is_none());
    plan.required = true;
    assert!(create(&plan, Privilege::Host).is_err());
}

#[test]
fn a_user_goes_without_a_cgroup_that_its_processes_could_not_enter() {
    with_cgroup2("enter", |mount, name| {
        let nobody = nix::unistd::Uid::from_raw(65534);
        let parent = make(mount, &name);
        nix::unistd::chown(&mount.join(&name), Some(nobody), None).unwrap();
        let mut plan = plan(mount, &name.join("leaf"));
        plan.required = false;
        // The identity that files are looked up with is this thread's alone.
        nix::unistd::setfsuid(nobody);
        let unentered = create(&plan, Privilege::Rootless).unwrap().is_none();
        plan.required = true;
        let e = create(&plan, Privilege::Rootless).err().unwrap();
        plan.placement = Placement::Path {
            mount: HostPath::new(mount),
            path: "no-right".into(),
        };
        plan.required = false;
        let unmade = create(&plan, Privilege::Rootless).unwrap().is_none();
        nix::unistd::setfsuid(nix::unistd::Uid::from_raw(0));
        assert!(unentered && unmade);
        assert!(e.to_string().contains("faccessat"), "{e}");
        assert!(
            parent
                .handle()
                .unwrap()
                .directory()
                .children()
                .unwrap()
                .is_empty()
        );
    });
}

#[test]
fn the_device_program_decides_what_may_be_opened() {
    with_cgroup2("devices", |mount, name| {
        let mut plan = plan(mount, &name);
        let rule = |allow, minor, access| DeviceRule {
            allow,
            kind: RuleKind::Character,
            major: Some(1),
            minor: Some(minor),
            access,
        };
        plan.devices = Some(vec![rule(true, 3, 6), rule(true, 5, 6), rule(false, 5, 4)]);
        let guard = create(&plan, Privilege::Host).unwrap().unwrap();
        guard.confine(&plan, Privilege::Host).unwrap();
        let procs = mount.join(&name).join("cgroup.procs");
        let open = |what: &str| {
            let script = format!("echo $$ > {} && : {what}", procs.display());
            Command::new("sh")
                .args(["-c", &script])
                .stderr(std::process::Stdio::null())
                .status()
                .unwrap()
                .success()
        };
        assert!(open("<>/dev/null"));
        assert!(open("</dev/zero"));
        assert!(!open("<>/dev/zero"));
        assert!(!open("</dev/full"));

        plan.devices = Some(vec![rule(true, 7, 6)]);
        confine_devices(
            guard.handle().unwrap(),
            plan.devices.as_ref().unwrap(),
            Privilege::Host,
        )
        .unwrap();
        assert_eq!(
            sys::bpf::attached_device_programs(guard.fd().unwrap())
                .unwrap()
                .len(),
            1
        );
        assert!(open("</dev/full"));
        assert!(!open("<>/dev/null"));
    });
}
