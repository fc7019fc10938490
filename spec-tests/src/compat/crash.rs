//! Several runtimes at once, many in a row, and one that dies

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::config::hooks::report_from;
use crate::harness::case::Case;
use crate::harness::container::Container;
use crate::harness::verdict::{Doing, Verdict, equal, holds};
use crate::probe::ask::Ask;
use crate::tests;

tests! {
    "runtime.md#create" Must of_several_creates_of_one_id_one_succeeds;
    "runtime.md#state" Compat containers_of_many_runtimes_at_once_all_live;
    "runc-exec(8)" Compat a_hundred_execs_make_nothing_grow;
    "runc-start(8)" Compat of_ten_starts_at_once_one_succeeds;
    "runc(8)" Compat ten_calls_at_once_on_one_container_do_no_harm;
    "runc-delete(8)" Compat what_a_killed_create_leaves_can_be_deleted;
    "runc-delete(8)" Compat several_forced_deletes_at_once_do_no_harm;
}

fn of_several_creates_of_one_id_one_succeeds(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.args(&["/bin/probe", "hang"]).write()?;
    let mut running = Vec::new();
    for _ in 0..8 {
        running.push(case.create_call(&bundle)?.start()?);
    }
    let mut created = 0;
    for one in running {
        created += usize::from(one.wait()?.status == 0);
    }
    equal("creates that succeeded", created, 1)?;
    case.runtime(["start", &case.id])
        .run()?
        .succeeded()
        .map(drop)
}

fn of_ten_starts_at_once_one_succeeds(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let log = report_from(case, &mut bundle, "poststart", "0");
    let mut container = case.create(&mut bundle)?;
    let mut running = Vec::new();
    for _ in 0..10 {
        running.push(container.verb("start").start()?);
    }
    let mut started = 0;
    for one in running {
        started += usize::from(one.wait()?.status == 0);
    }
    equal("starts that succeeded", started, 1)?;
    let reports = fs::read_to_string(&log).doing(log.display())?;
    equal("runs of the hook after a start", reports.lines().count(), 1)?;
    container.ask_one(Ask::Process)?.process().map(drop)
}

/// Whatever they answer, the container lives as before, and its last word is one whole record.
fn ten_calls_at_once_on_one_container_do_no_harm(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let mut container = case.started(&mut bundle)?;
    let before = container.state()?;
    for _ in 0..3 {
        let id = case.id.as_str();
        let calls: [&[&str]; 10] = [
            &["state", id],
            &["start", id],
            &["delete", id],
            &["kill", id, "0"],
            &["exec", id, "/bin/probe", "exit", "0"],
            &["exec", id, "/bin/probe", "exit", "0"],
            &["list"],
            &["ps", "--format", "json", id],
            &["delete", id],
            &["state", id],
        ];
        let mut running = Vec::new();
        for call in calls {
            running.push((call[0], case.runtime(call.iter().copied()).start()?));
        }
        for (verb, one) in running {
            let outcome = one.wait()?;
            match verb {
                "start" | "delete" => drop(outcome.refused()?),
                // Without a cgroup of its own nobody knows a container's processes.
                "ps" => {}
                _ => drop(outcome.succeeded()?),
            }
        }
    }
    container.ask_one(Ask::Process)?.process()?;
    equal("the state", container.state()?, before)
}

fn containers_of_many_runtimes_at_once_all_live(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.args(&["/bin/probe", "hang"]).write()?;
    let ids: Vec<String> = (0..6)
        .map(|number| format!("{}-{number}", case.id))
        .collect();
    let mut running = Vec::new();
    for id in &ids {
        running.push(
            case.runtime(["run", "--detach", "--bundle"])
                .arg(&bundle.dir)
                .arg(id)
                .start()?,
        );
    }
    for one in running {
        one.wait()?.succeeded()?;
    }
    let outcome = case.runtime(["list", "-q"]).run()?.succeeded()?;
    let mut seen: Vec<String> = outcome.stdout.lines().map(str::to_owned).collect();
    seen.sort();
    equal("the list", seen, ids)
}

/// What an exec could leave behind it, each with how much there is.
fn burden(case: &Case, container: &mut Container<'_>) -> Verdict<BTreeMap<String, u64>> {
    let mut burden = BTreeMap::new();
    let mut folders = vec![case.root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).doing(folder.display())? {
            let entry = entry?;
            let path = entry.path();
            match entry.metadata()? {
                found if found.is_dir() => folders.push(path),
                found => drop(burden.insert(path.display().to_string(), found.len())),
            }
        }
    }
    let own = Path::new("/proc/self/mountinfo");
    let mounts = fs::read_to_string(own).doing(own.display())?;
    let of_test = mounts
        .lines()
        .filter(|line| line.contains(&*case.dir.to_string_lossy()));
    burden.insert("mounts of the host".into(), of_test.count() as u64);
    for path in ["/proc", "/proc/self/fd"] {
        let inside = container.ask_one(Ask::List(path.into()))?;
        let numbers = inside.names()?.iter().filter(|n| n.parse::<u32>().is_ok());
        burden.insert(format!("numbers in {path}"), numbers.count() as u64);
    }
    let inside = container.ask_one(Ask::Read("/proc/self/mountinfo".into()))?;
    burden.insert("mounts".into(), inside.text()?.lines().count() as u64);
    Ok(burden)
}

fn a_hundred_execs_make_nothing_grow(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let mut container = case.started(&mut bundle)?;
    let exec = || {
        let words = ["exec", &case.id, "/bin/probe", "exit", "0"];
        case.runtime(words).run()?.succeeded().map(drop)
    };
    exec()?;
    let before = burden(case, &mut container)?;
    (0..100).try_for_each(|_| exec())?;
    equal("what is there", burden(case, &mut container)?, before)
}

fn what_a_killed_create_leaves_can_be_deleted(case: &Case) -> Verdict {
    // At ten moments of its life; the suite looks for leftovers at the end.
    for step in 0..10u64 {
        let mut bundle = case.bundle_named(&format!("bundle{step}"))?;
        bundle.args(&["/bin/probe", "hang"]);
        let running = case.create_call(&bundle)?.start()?;
        std::thread::sleep(Duration::from_millis(step * 2));
        running.signal(Signal::SIGKILL)?;
        running.wait()?;
        case.runtime(["delete", "--force", &case.id])
            .run()?
            .succeeded()?;
        let ids = case.ids_in_state();
        holds(
            ids.is_empty(),
            format!(
                "after a kill at {} ms the state directory has {ids:?}",
                step * 2
            ),
        )?;
    }
    // And the id is free again.
    let mut bundle = case.bundle()?;
    let container = case.started(&mut bundle)?;
    equal("status", container.status()?, "running")
}

fn several_forced_deletes_at_once_do_no_harm(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let _container = case.started(&mut bundle)?;
    let mut running = Vec::new();
    for _ in 0..4 {
        running.push(case.runtime(["delete", "--force", &case.id]).start()?);
    }
    for one in running {
        one.wait()?;
    }
    case.runtime(["state", &case.id]).run()?.refused().map(drop)
}
