//! The state directory, by one and by ten at once.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::*;
use crate::error::Kind;

/// A directory that goes with the test.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("rt-{name}-{}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Scratch(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn root(&self) -> Root {
        Root::new(&self.0.join("root")).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub fn record(id: &str) -> Record {
    Record::new(id, "/bundle".into(), "/bundle/rootfs".into())
}

#[test]
fn an_id_is_checked_as_runc_does() {
    for id in ["web", "a.b", "..a", "a+b_c-d,e", "0", &"x".repeat(255)] {
        assert!(validate_id(id).is_ok(), "{id}");
    }
    for id in [
        "",
        ".",
        "..",
        "a/b",
        "/",
        "a b",
        "a\n",
        "ü",
        "a\0",
        "a:b",
        &"x".repeat(256),
    ] {
        let e = validate_id(id).unwrap_err().to_string();
        assert!(e.starts_with("invalid container ID format"), "{e}");
    }
}

const LONG: Duration = Duration::from_secs(20);

#[test]
fn a_slot_goes_unless_it_is_kept() {
    let scratch = Scratch::new("slot");
    let root = scratch.root();
    let slot = root.reserve("a").unwrap();
    slot.save(&record("a")).unwrap();
    assert_eq!(root.list().unwrap().len(), 1);
    drop(slot);
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
    let e = root.open("a").err().unwrap();
    assert_eq!(e.kind(), Kind::NoSuchContainer);
    assert_eq!(e.to_string(), r#"container "a" does not exist"#);
}

#[test]
fn directories_are_their_owners_alone() {
    let scratch = Scratch::new("modes");
    let mut root = Root::new(&scratch.path().join("x/y/root")).unwrap();
    root.runtime_dir = Some(scratch.path().into());
    root.reserve("a").unwrap().keep();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(root.path()), 0o1700);
    assert_eq!(mode(&root.path().join("a")), 0o700);
}

#[test]
fn the_root_directory_is_refused_by_any_name() {
    for path in ["/", "/tmp/..", "/proc/self/root"] {
        let e = Root::new(Path::new(path))
            .unwrap()
            .reserve("a")
            .err()
            .unwrap();
        assert_eq!(e.kind(), Kind::Usage, "{path}");
    }
}

#[test]
fn a_taken_id_is_refused_in_runcs_words() {
    let scratch = Scratch::new("taken");
    let slot = scratch.root().reserve("a").unwrap();
    slot.save(&record("a")).unwrap();
    slot.keep();
    let e = scratch.root().reserve("a").err().unwrap();
    assert_eq!(e.kind(), Kind::ContainerExists);
    assert!(
        e.to_string()
            .starts_with("container with given ID already exists")
    );
}

#[test]
fn remains_without_a_record_are_no_container() {
    let scratch = Scratch::new("remains");
    let root = scratch.root();
    let slot = root.reserve("a").unwrap();
    slot.save_config(b"{}").unwrap();
    slot.keep();
    assert!(root.open("a").is_err());
    assert!(root.list().unwrap().is_empty());
    assert!(root.remove_remains("a", Duration::ZERO).unwrap());
    assert!(!root.path().join("a").exists());
    root.reserve("a").unwrap().keep();
    drop(root.reserve("a").unwrap());
}

#[test]
fn a_draft_is_not_the_record_until_it_is_published() {
    let scratch = Scratch::new("draft");
    let slot = scratch.root().reserve("a").unwrap();
    slot.save(&record("a")).unwrap();
    let mut ready = record("a");
    ready.phase = Phase::Created;
    slot.draft(&ready).unwrap();
    let phase = || scratch.root().open("a").unwrap().record.phase;
    assert_eq!(phase(), Phase::Creating);
    slot.publish().unwrap();
    assert_eq!(phase(), Phase::Created);
    slot.draft(&ready).unwrap();
    let path = slot.path().to_owned();
    drop(slot);
    assert!(!path.exists(), "a draft stays behind");
}

#[test]
fn a_strangers_file_stops_the_removal_before_anything_is_gone() {
    let scratch = Scratch::new("stranger");
    let root = scratch.root();
    let slot = root.reserve("a").unwrap();
    slot.save(&record("a")).unwrap();
    std::fs::write(slot.path().join("x"), "").unwrap();
    slot.keep();
    let e = root.open("a").unwrap().remove().unwrap_err().to_string();
    assert!(e.contains(r#"did not make: "x""#), "{e}");
    assert!(root.open("a").is_ok());
}

/// Threads stand for processes: flock(2) knows open files, not their owners.
fn ten_at_once(work: impl Fn(u32) + Sync) {
    std::thread::scope(|scope| {
        for n in 0..10 {
            let work = &work;
            scope.spawn(move || work(n));
        }
    });
}

#[test]
fn of_ten_that_take_one_id_one_gets_it() {
    let scratch = Scratch::new("ten");
    for round in 0..50 {
        let id = format!("c{round}");
        let winners = AtomicU32::new(0);
        ten_at_once(|_| match scratch.root().reserve(&id) {
            Ok(slot) => {
                winners.fetch_add(1, Ordering::SeqCst);
                slot.save(&record(&id)).unwrap();
                slot.keep();
            }
            Err(e) => assert_eq!(e.kind(), Kind::ContainerExists, "{e}"),
        });
        assert_eq!(winners.into_inner(), 1);
    }
    assert_eq!(scratch.root().list().unwrap().len(), 50);
}

#[test]
fn ten_that_make_use_and_remove_one_id_never_meet() {
    let scratch = Scratch::new("storm");
    let inside = AtomicU32::new(0);
    let made = AtomicU32::new(0);
    let alone = || assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
    let leave = || assert_eq!(inside.fetch_sub(1, Ordering::SeqCst), 1);
    ten_at_once(|n| {
        let root = scratch.root();
        // How often one of them gets it in so many turns depends on how busy the machine is.
        for turn in 0.. {
            if turn >= 100 && made.load(Ordering::SeqCst) > 10 {
                break;
            }
            assert!(turn < 100_000, "nobody gets it");
            if let Ok(slot) = root.reserve("a") {
                alone();
                made.fetch_add(1, Ordering::SeqCst);
                let mut record = record("a");
                slot.save(&record).unwrap();
                record.phase = Phase::Created;
                slot.save(&record).unwrap();
                leave();
                if (n + turn) % 3 != 0 {
                    slot.keep();
                }
            }
            root.remove_remains("a", Duration::ZERO).unwrap();
            let Ok(mut container) = root.open("a") else {
                continue;
            };
            container.status().unwrap();
            if container.lock(LONG).is_ok() {
                alone();
                leave();
                container.remove().unwrap();
            }
        }
    });
    let _ = scratch.root().open("a").map(Container::remove);
    assert_eq!(std::fs::read_dir(scratch.root().path()).unwrap().count(), 0);
}

#[test]
fn a_container_of_another_user_is_read_and_not_acted_on() {
    let scratch = Scratch::new("stranger");
    let slot = scratch.root().reserve("a").unwrap();
    slot.save(&record("a")).unwrap();
    if let Err(e) = std::os::unix::fs::chown(slot.path(), Some(1234), None) {
        eprintln!("skipped: only root gives files away: {e}");
        return;
    }
    slot.keep();
    assert_eq!(scratch.root().look_at("a").unwrap().record.id, "a");
    let e = scratch.root().open("a").err().unwrap();
    assert_eq!(e.kind(), Kind::WrongState);
    assert!(e.to_string().ends_with("whose uid is 1234"), "{e}");
}

#[test]
fn a_directory_under_another_name_is_no_container() {
    let scratch = Scratch::new("renamed");
    let slot = scratch.root().reserve("a").unwrap();
    slot.save(&record("a")).unwrap();
    slot.keep();
    let root = scratch.root();
    std::fs::rename(root.path().join("a"), root.path().join("b")).unwrap();
    let e = root.look_at("b").err().unwrap().to_string();
    assert!(
        e.ends_with(r#"holds the state of another container, "a""#),
        "{e}"
    );
}

/// What a record of another user names as a cgroup is none, and might be a pipe.
#[test]
fn a_folder_that_is_no_cgroup_freezes_nobody() {
    let scratch = Scratch::new("frozen");
    let root = scratch.root();
    let false_cgroup = scratch.path().join("false");
    std::fs::create_dir(&false_cgroup).unwrap();
    std::fs::write(false_cgroup.join("cgroup.events"), "frozen 1\n").unwrap();
    let mut record = record("a");
    record.phase = Phase::Created;
    record.init = Identity::of(nix::unistd::Pid::this()).unwrap();
    record.cgroup = Some(CgroupRecord {
        mount: scratch.path().to_owned(),
        path: "false".into(),
        inode: None,
        manager: Manager::Cgroupfs,
    });
    let slot = root.reserve("a").unwrap();
    slot.save(&record).unwrap();
    slot.keep();
    let status = root.look_at("a").unwrap().status().unwrap();
    assert_eq!(status, Status::Running);
}

#[test]
fn a_record_without_an_end_is_not_read() {
    let scratch = Scratch::new("endless");
    let root = scratch.root();
    let slot = root.reserve("a").unwrap();
    slot.save(&record("a")).unwrap();
    slot.keep();
    let state = root.path().join("a/state.json");
    let file = std::fs::File::options().write(true).open(state).unwrap();
    file.set_len(1 << 32).unwrap();
    let e = root.look_at("a").err().unwrap().to_string();
    assert!(e.ends_with("is longer than 67108864 bytes"), "{e}");
}
