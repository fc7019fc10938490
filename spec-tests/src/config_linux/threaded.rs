//! config-linux.md#cgroups-path, where the path leads below or beside a threaded cgroup: what can be had there, what the
//! verbs make of it, and what is said of the rest.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use serde_json::{Value, json};

use crate::harness::bundle::Bundle;
use crate::harness::case::Case;
use crate::harness::cgroup::Place;
use crate::harness::container::Container;
use crate::harness::verdict::{Doing, Verdict, equal, fail, holds, skip};
use crate::probe::ask::Ask;
use crate::tests;

tests! {
    "config-linux.md#cgroups-path" Should a_container_below_a_threaded_cgroup_runs;
    "config-linux.md#cgroups-path" Should a_container_beside_a_threaded_cgroup_runs;
    "config-linux.md#cgroups-path" Should a_container_below_a_cgroup_with_processes_has_the_limits_that_can_be_had;
    "config-linux.md#cgroups-path" Compat a_limit_that_a_threaded_cgroup_cannot_have_is_refused;
    "config-linux.md#cgroups-path" Compat a_refused_limit_leaves_a_cgroup_with_processes_as_it_was;
    "runc-update(8)" Compat an_update_that_a_threaded_cgroup_cannot_have_is_refused;
    "config-linux.md#pids" Should a_fork_bomb_stops_in_a_threaded_cgroup;
    "config-linux.md#cgroup-ownership" Should a_threaded_cgroup_is_given_to_the_payloads_user;
    "runc-exec(8)" Compat exec_enters_a_threaded_cgroup_and_those_below;
    "runc-pause(8)" Compat a_threaded_container_is_paused;
    "runc-ps(8)" Compat ps_shows_the_processes_of_a_threaded_container;
    "runc-kill(8)" Compat a_kill_reaches_every_process_of_a_threaded_container;
    "runc-delete(8)" Compat a_threaded_container_is_deleted_by_force;
    "rt-check(1)" Compat check_foresees_what_a_threaded_cgroup_cannot_have;
}

/// A cgroup of the test's own, which is removed with those below it, however the test ends.
struct Tree {
    place: Place,
    /// For `linux.cgroupsPath`.
    path: String,
    directory: PathBuf,
    /// A process in it that is no container's.
    stranger: Option<Child>,
}

impl Tree {
    fn new(case: &Case) -> Verdict<Self> {
        if case.uses_systemd() {
            return skip("systemd makes no threaded cgroups");
        }
        let place = case.need_cgroups()?;
        let path = case.cgroups_path(&place, "tree");
        let directory = Path::new("/sys/fs/cgroup").join(path.trim_start_matches('/'));
        fs::create_dir(&directory).doing(directory.display())?;
        Ok(Self {
            place,
            path,
            directory,
            stranger: None,
        })
    }

    /// One with the threaded cgroup `threads` in it.
    fn threaded(case: &Case) -> Verdict<Self> {
        let tree = Self::new(case)?;
        let threads = tree.directory.join("threads");
        fs::create_dir(&threads).doing(threads.display())?;
        fs::write(threads.join("cgroup.type"), "threaded").doing("cgroup.type")?;
        Ok(tree)
    }

    fn populate(&mut self, case: &Case) -> Verdict {
        let stranger = Command::new(case.host_probe()).arg("hang").spawn()?;
        let pid = stranger.id().to_string();
        self.stranger = Some(stranger);
        let procs = self.directory.join("cgroup.procs");
        fs::write(&procs, pid).doing(procs.display())
    }

    fn read(&self, file: &str) -> Verdict<String> {
        let path = self.directory.join(file);
        let text = fs::read_to_string(&path).doing(path.display())?;
        Ok(text.trim_end().to_owned())
    }

    /// A bundle whose container has the cgroup `below` in the tree.
    fn bundle(&self, case: &Case, below: &str, resources: &Value) -> Verdict<Bundle> {
        let mut bundle = case.bundle()?;
        bundle.linux()["cgroupsPath"] = json!(format!("{}/{below}", self.path));
        bundle.linux()["resources"] = resources.clone();
        Ok(bundle)
    }

    fn started<'a>(&self, case: &'a Case, below: &str) -> Verdict<Container<'a>> {
        let container = case.started(&mut self.bundle(case, below, &json!({}))?)?;
        self.holds_container(&container, below)?;
        Ok(container)
    }

    /// The payload is where config.json says, in threaded mode.
    fn holds_container(&self, container: &Container<'_>, below: &str) -> Verdict {
        let directory = self.directory.join(below);
        // crun 1.21 may put the payload into one more level.
        let seen = container.cgroup()?;
        equal("the payload's cgroup", seen.path(), directory.as_path())?;
        equal("its type", seen.read("cgroup.type")?.as_str(), "threaded")
    }

    /// A limit whose controller tells no threads apart, and the words that name it.
    fn domain_limit(&self) -> Verdict<(Value, &'static str)> {
        if self.place.has("memory") {
            return Ok((json!({"memory": {"limit": 64 << 20}}), "memory"));
        }
        let limit = json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 0}]});
        match self.place.has("hugetlb") {
            true => Ok((limit, "hugetlb")),
            false => skip("the caller has neither the controller memory nor hugetlb"),
        }
    }

    /// The bundle is refused in runc's words, and nothing stays of it.
    fn refuses(&self, case: &Case, below: &str, resources: &Value) -> Verdict {
        let bundle = self.bundle(case, below, resources)?;
        let outcome = case.create_refused(&bundle)?;
        outcome.says(&["with domain controllers -- it is in"])?;
        let directory = self.directory.join(below);
        holds(
            !directory.exists(),
            format!("{} stayed", directory.display()),
        )
    }

    /// A container of init and a sleeper without a pid namespace: init's end is not that of both.
    fn with_two_processes<'a>(&self, case: &'a Case) -> Verdict<Container<'a>> {
        let mut bundle = self.bundle(case, "threads/leaf", &json!({}))?;
        bundle.without_namespace("pid");
        let mut container = case.started(&mut bundle)?;
        container.ask_one(Ask::SpawnSleeper)?.number()?;
        Ok(container)
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        if let Some(stranger) = &mut self.stranger {
            let _ = stranger.kill();
            let _ = stranger.wait();
        }
        for below in ["threads/inner", "threads", "beside", "inner", ""] {
            let _ = fs::remove_dir(self.directory.join(below));
        }
    }
}

fn end(container: &Container<'_>) -> Verdict {
    container.stop()?;
    container.delete()
}

fn a_container_below_a_threaded_cgroup_runs(case: &Case) -> Verdict {
    let tree = Tree::threaded(case)?;
    let container = tree.started(case, "threads/leaf")?;
    end(&container)?;
    let leaf = tree.directory.join("threads/leaf");
    holds(!leaf.exists(), format!("{} stayed", leaf.display()))
}

fn a_container_beside_a_threaded_cgroup_runs(case: &Case) -> Verdict {
    let tree = Tree::threaded(case)?;
    let container = tree.started(case, "beside/leaf")?;
    end(&container)
}

fn a_container_below_a_cgroup_with_processes_has_the_limits_that_can_be_had(
    case: &Case,
) -> Verdict {
    let mut tree = Tree::new(case)?;
    case.need_controller("pids")?;
    tree.populate(case)?;
    let resources = json!({"pids": {"limit": 30}});
    let container = case.started(&mut tree.bundle(case, "inner/leaf", &resources)?)?;
    tree.holds_container(&container, "inner/leaf")?;
    equal("pids.max", tree.read("inner/leaf/pids.max")?.as_str(), "30")?;
    end(&container)
}

fn a_limit_that_a_threaded_cgroup_cannot_have_is_refused(case: &Case) -> Verdict {
    let tree = Tree::threaded(case)?;
    let (resources, _) = tree.domain_limit()?;
    tree.refuses(case, "threads/leaf", &resources)?;
    tree.refuses(case, "leaf", &resources)
}

/// Its own processes keep the one controller off; the other could be had, and would make all other cgroups below unfit
/// for processes.
fn a_refused_limit_leaves_a_cgroup_with_processes_as_it_was(case: &Case) -> Verdict {
    let mut tree = Tree::new(case)?;
    for controller in ["cpu", "memory"] {
        case.need_controller(controller)?;
    }
    tree.populate(case)?;
    let resources = json!({"cpu": {"shares": 512}, "memory": {"limit": 64 << 20}});
    let outcome = case.create_refused(&tree.bundle(case, "leaf", &resources)?)?;
    outcome.says(&["memory"])?;
    equal("cgroup.type", tree.read("cgroup.type")?.as_str(), "domain")?;
    equal(
        "cgroup.subtree_control",
        tree.read("cgroup.subtree_control")?.as_str(),
        "",
    )
}

fn an_update_that_a_threaded_cgroup_cannot_have_is_refused(case: &Case) -> Verdict {
    let tree = Tree::threaded(case)?;
    let (resources, controller) = tree.domain_limit()?;
    let container = tree.started(case, "threads/leaf")?;
    let file = case.file("resources.json", &resources.to_string())?;
    let update = case.runtime(["update", "--resources"]).arg(file);
    let outcome = update.arg(&container.id).run()?.refused()?;
    outcome.says(&[controller])?;
    end(&container)
}

fn a_fork_bomb_stops_in_a_threaded_cgroup(case: &Case) -> Verdict {
    let tree = Tree::threaded(case)?;
    case.need_controller("pids")?;
    let resources = json!({"pids": {"limit": 40}});
    let mut container = case.started(&mut tree.bundle(case, "threads/leaf", &resources)?)?;
    tree.holds_container(&container, "threads/leaf")?;
    let limit = |wanted| {
        equal(
            "pids.max",
            tree.read("threads/leaf/pids.max")?.as_str(),
            wanted,
        )
    };
    limit("40")?;
    let update = ["update", "--pids-limit", "20", &container.id];
    case.runtime(update).run()?.succeeded()?;
    limit("20")?;
    let forked = container.ask_one(Ask::Fork { most: 200 })?.number()?;
    // The payload itself is one of them.
    equal("children before fork was refused", forked, 19)?;
    end(&container)
}

fn a_threaded_cgroup_is_given_to_the_payloads_user(case: &Case) -> Verdict {
    case.need_root()?;
    let tree = Tree::threaded(case)?;
    let mut bundle = tree.bundle(case, "threads/leaf", &json!({}))?;
    bundle.namespace("cgroup").mount(json!({
        "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["rw"],
    }));
    bundle.process()["user"] = json!({"uid": 1234, "gid": 1234});
    let mut container = case.started(&mut bundle)?;
    // What the payload makes for a thread of its own is as unfit at first as its own was.
    let own = Path::new("/sys/fs/cgroup/of-the-payload");
    let write = |file: &str, text: &str| Ask::Write {
        path: own.join(file),
        text: text.into(),
    };
    for ask in [
        Ask::Mkdir(own.into()),
        write("cgroup.type", "threaded"),
        write("cgroup.procs", "0"),
    ] {
        container.ask_one(ask)?.done()?;
    }
    end(&container)
}

fn exec_enters_a_threaded_cgroup_and_those_below(case: &Case) -> Verdict {
    let tree = Tree::threaded(case)?;
    let container = tree.started(case, "threads/leaf")?;
    let below = tree.directory.join("threads/leaf/below");
    fs::create_dir(&below).doing(below.display())?;
    fs::write(below.join("cgroup.type"), "threaded").doing("cgroup.type")?;
    let own = [Ask::Read("/proc/self/cgroup".into())];
    for (flags, end) in [(&[][..], "/leaf"), (&["--cgroup", "below"], "/leaf/below")] {
        let answers = container.exec(flags, &own)?;
        let text = answers[0].text()?;
        holds(
            text.lines()
                .any(|line| line.starts_with("0::") && line.ends_with(end)),
            format!("with {flags:?} it is in {text}"),
        )?;
    }
    fs::remove_dir(&below).doing(below.display())?;
    end(&container)
}

fn a_threaded_container_is_paused(case: &Case) -> Verdict {
    let tree = Tree::threaded(case)?;
    let mut container = tree.started(case, "threads/leaf")?;
    container.verb("pause").run()?.succeeded()?;
    equal("status", container.status()?.as_str(), "paused")?;
    let events = tree.read("threads/leaf/cgroup.events")?;
    holds(events.contains("frozen 1"), &events)?;
    container.verb("resume").run()?.succeeded()?;
    equal("status", container.status()?.as_str(), "running")?;
    container.ask_one(Ask::Process)?.process()?;
    end(&container)
}

fn processes(case: &Case) -> Verdict<Vec<i32>> {
    let call = case.runtime(["ps", "--format", "json", &case.id]);
    let outcome = call.run()?.succeeded()?;
    serde_json::from_str(&outcome.stdout).doing(outcome.told())
}

fn ps_shows_the_processes_of_a_threaded_container(case: &Case) -> Verdict {
    let tree = Tree::threaded(case)?;
    let mut container = tree.started(case, "threads/leaf")?;
    container.ask_one(Ask::SpawnSleeper)?.number()?;
    let listed = processes(case)?;
    equal("how many", listed.len(), 2)?;
    holds(
        listed.contains(&container.pid()?.as_raw()),
        format!("init is not in {listed:?}"),
    )?;
    end(&container)
}

fn a_kill_reaches_every_process_of_a_threaded_container(case: &Case) -> Verdict {
    let tree = Tree::threaded(case)?;
    let container = tree.with_two_processes(case)?;
    let call = case.runtime(["kill", "--all", &container.id, "KILL"]);
    call.run()?.succeeded()?;
    container.wait_stopped()?;
    case.wait_for("the end of all", || {
        let events = tree.read("threads/leaf/cgroup.events")?;
        Ok(events.contains("populated 0").then_some(()))
    })?;
    container.delete()
}

fn a_threaded_container_is_deleted_by_force(case: &Case) -> Verdict {
    let tree = Tree::threaded(case)?;
    let container = tree.with_two_processes(case)?;
    let call = case.runtime(["delete", "--force", &container.id]);
    call.run()?.succeeded()?;
    let leaf = tree.directory.join("threads/leaf");
    holds(!leaf.exists(), format!("{} stayed", leaf.display()))
}

fn check_foresees_what_a_threaded_cgroup_cannot_have(case: &Case) -> Verdict {
    if case.runtime(["check", "--help"]).run()?.status != 0 {
        return skip("the runtime has no check");
    }
    let tree = Tree::threaded(case)?;
    let (resources, controller) = tree.domain_limit()?;
    for below in ["threads/leaf", "beside/leaf"] {
        let bundle = tree.bundle(case, below, &resources)?;
        bundle.write()?;
        let folder: &Path = &bundle.dir;
        let call = case.runtime(["check", "--json", "--bundle"]).arg(folder);
        let outcome = call.run()?;
        let findings: Vec<Value> = serde_json::from_str(&outcome.stdout).doing(outcome.told())?;
        let text = |finding: &Value| finding["message"].as_str().unwrap_or_default().to_owned();
        if !findings
            .iter()
            .any(|f| text(f).contains("domain controllers") && text(f).contains(controller))
        {
            return fail(format!("{below}: {}", outcome.stdout));
        }
    }
    Ok(())
}
