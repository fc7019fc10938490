//! Several runtimes at once, and one that dies

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::harness::case::Case;
use crate::harness::verdict::{Verdict, equal, holds};
use crate::tests;

tests! {
    "runtime.md#create" Must of_several_creates_of_one_id_one_succeeds;
    "runtime.md#state" Compat containers_of_many_runtimes_at_once_all_live;
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
