//! A cgroup that has the path of the container's own, and is somebody else's

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use serde_json::json;

use crate::harness::case::Case;
use crate::harness::container::Container;
use crate::harness::verdict::{Doing, Verdict, equal, holds, skip};
use crate::probe::ask::Ask;
use crate::tests;

tests! {
    "runc-delete(8)" Compat delete_leaves_a_cgroup_alone_that_was_made_anew;
    "runc-kill(8)" Compat kill_all_reaches_nobody_in_a_cgroup_that_was_made_anew;
    "runc-pause(8)" Compat a_container_is_not_paused_by_a_cgroup_that_was_made_anew;
    "runc-exec(8)" Compat exec_goes_where_init_is_when_its_cgroup_was_made_anew;
    "runc-delete(8)" Compat the_end_of_a_container_leaves_its_successor_in_the_cgroup_alone;
    "runc-ps(8)" Compat the_processes_of_a_successor_in_the_cgroup_are_not_those_of_the_first;
}

/// A process of the host in a cgroup of its own. Dropped, both are gone.
struct Stranger {
    process: Child,
    cgroup: PathBuf,
}

impl Stranger {
    fn move_in(case: &Case, cgroup: &Path) -> Verdict<Self> {
        fs::create_dir(cgroup).doing(cgroup.display())?;
        let process = Command::new(case.host_probe()).arg("hang").spawn()?;
        let stranger = Self {
            process,
            cgroup: cgroup.to_owned(),
        };
        stranger.enter(cgroup)?;
        Ok(stranger)
    }

    fn enter(&self, cgroup: &Path) -> Verdict {
        let file = cgroup.join("cgroup.procs");
        fs::write(&file, self.process.id().to_string()).doing(file.display())
    }

    /// Fails unless it runs, where it was.
    fn is_alone(&mut self) -> Verdict {
        if let Some(status) = self.process.try_wait()? {
            return holds(
                false,
                format!("somebody else's process was ended: {status}"),
            );
        }
        let inside = fs::read_to_string(self.cgroup.join("cgroup.procs")).doing("cgroup.procs")?;
        equal(
            "who is in somebody else's cgroup",
            inside.trim(),
            self.process.id().to_string().as_str(),
        )
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = fs::write(self.cgroup.join("cgroup.freeze"), "0");
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir(&self.cgroup);
    }
}

/// A container that runs in a cgroup of this path, which is not systemd's.
fn started(case: &Case) -> Verdict<(Container<'_>, PathBuf)> {
    if case.uses_systemd() {
        return skip("the cgroup is systemd's to make");
    }
    let place = case.need_cgroups()?;
    let mut bundle = case.limited(&place, "anew", &json!({}))?;
    let container = case.started(&mut bundle)?;
    let cgroup = container.cgroup()?.path().to_owned();
    Ok((container, cgroup))
}

/// The same, its cgroup removed while it runs somewhere else.
fn driven_out(case: &Case) -> Verdict<(Container<'_>, PathBuf, PathBuf)> {
    let (container, cgroup) = started(case)?;
    let elsewhere = cgroup.with_extension("elsewhere");
    fs::create_dir(&elsewhere).doing(elsewhere.display())?;
    let file = elsewhere.join("cgroup.procs");
    fs::write(&file, container.pid()?.to_string()).doing(file.display())?;
    fs::remove_dir(&cgroup).doing(cgroup.display())?;
    Ok((container, cgroup, elsewhere))
}

fn delete_leaves_a_cgroup_alone_that_was_made_anew(case: &Case) -> Verdict {
    let (container, cgroup) = started(case)?;
    container.stop()?;
    fs::remove_dir(&cgroup).doing(cgroup.display())?;
    let mut stranger = Stranger::move_in(case, &cgroup)?;
    container.delete()?;
    equal(
        "entries in the state directory",
        case.ids_in_state().len(),
        0,
    )?;
    stranger.is_alone()
}

fn kill_all_reaches_nobody_in_a_cgroup_that_was_made_anew(case: &Case) -> Verdict {
    let (container, cgroup, elsewhere) = driven_out(case)?;
    let mut stranger = Stranger::move_in(case, &cgroup)?;
    let call = case.runtime(["kill", "--all", &container.id, "KILL"]);
    call.run()?.succeeded()?;
    stranger.is_alone()?;
    container.wait_stopped()?;
    stranger.is_alone()?;
    fs::remove_dir(&elsewhere).doing(elsewhere.display())
}

fn a_container_is_not_paused_by_a_cgroup_that_was_made_anew(case: &Case) -> Verdict {
    let (container, cgroup, elsewhere) = driven_out(case)?;
    let stranger = Stranger::move_in(case, &cgroup)?;
    let outcome = container.verb("pause").run()?;
    let text = fs::read_to_string(cgroup.join("cgroup.freeze")).doing("cgroup.freeze")?;
    equal("cgroup.freeze of somebody else", text.trim(), "0")?;
    outcome.refused()?.says(&["is gone"])?;
    fs::write(cgroup.join("cgroup.freeze"), "1").doing("cgroup.freeze")?;
    case.wait_for("somebody else to stand still", || {
        let events = fs::read_to_string(cgroup.join("cgroup.events"))?;
        Ok(events.contains("frozen 1").then_some(()))
    })?;
    equal("status", container.status()?, "running")?;
    drop(stranger);
    container.stop()?;
    fs::remove_dir(&elsewhere).doing(elsewhere.display())
}

fn exec_goes_where_init_is_when_its_cgroup_was_made_anew(case: &Case) -> Verdict {
    let (container, cgroup, elsewhere) = driven_out(case)?;
    let mut stranger = Stranger::move_in(case, &cgroup)?;
    let seen = container.exec(&[], &[Ask::Read("/proc/self/cgroup".into())])?;
    let seen = seen[0].text()?.to_owned();
    let wanted = elsewhere.file_name().unwrap_or_default().to_string_lossy();
    holds(
        seen.lines()
            .any(|line| line.starts_with("0::") && line.ends_with(&*wanted)),
        format!("exec is in {seen}, init in {}", elsewhere.display()),
    )?;
    stranger.is_alone()?;
    container.stop()?;
    fs::remove_dir(&elsewhere).doing(elsewhere.display())
}

/// A container that has ended, and one that runs in its cgroup: an empty cgroup stays until its
/// container is deleted, and another may be given it before.
fn succeeded(case: &Case) -> Verdict<(Container<'_>, Container<'_>)> {
    let place = case.need_cgroups()?;
    let mut bundle = case.limited(&place, "shared", &json!({}))?;
    let first = case.started(&mut bundle)?;
    first.stop()?;
    let mut second = case.create_named(&mut bundle, &format!("{}-second", case.id))?;
    second.start()?;
    second.ask_one(Ask::Process)?;
    Ok((first, second))
}

fn the_end_of_a_container_leaves_its_successor_in_the_cgroup_alone(case: &Case) -> Verdict {
    let (first, mut second) = succeeded(case)?;
    case.runtime(["kill", "--all", &first.id, "KILL"]).run()?;
    first.delete()?;
    equal("the successor's status", second.status()?, "running")?;
    second.ask_one(Ask::Process)?.process()?;
    second.stop()
}

fn the_processes_of_a_successor_in_the_cgroup_are_not_those_of_the_first(case: &Case) -> Verdict {
    let (first, second) = succeeded(case)?;
    let listed = |container: &Container<'_>| -> Verdict<String> {
        let call = case.runtime(["ps", "--format", "json", &container.id]);
        Ok(call.run()?.succeeded()?.stdout.trim().to_owned())
    };
    equal("the first", listed(&first)?.as_str(), "[]")?;
    let wanted = format!("[{}]", second.pid()?);
    equal("the second", listed(&second)?, wanted)?;
    first.delete()?;
    second.stop()
}
