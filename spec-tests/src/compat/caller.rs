//! What a container has of its caller, and what not: keyring, orphans, descriptors, cgroup

use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;
use serde_json::json;

use crate::harness::case::Case;
use crate::harness::container::parse_line;
use crate::harness::verdict::{Doing, Verdict, equal, holds, skip};
use crate::probe::ask::{Answer, Ask, Process};
use crate::sys;
use crate::tests;

tests! {
    "keyctl(2)" Compat the_payload_has_a_session_keyring_of_its_own;
    "keyctl(2)" Compat exec_joins_the_containers_session_keyring;
    "runc-create(8)" Compat no_new_keyring_keeps_the_callers;
    "runc-run(8)" Compat run_adopts_the_payloads_orphans;
    "runc-run(8)" Compat no_subreaper_leaves_the_orphans_to_others;
    "sd_listen_fds(3)" Compat listen_fds_of_another_process_are_not_passed_on;
    "runc-run(8)" Compat preserved_descriptors_stand_behind_those_of_listen_fds;
    "runc(8)" Compat every_word_for_rootless_is_accepted;
    "crun(1)" Compat without_a_cgroup_manager_the_payload_stays_in_the_callers_cgroup;
    "crun(1)" Compat exec_remembers_that_there_is_no_cgroup_manager;
    "config.md#process" Must exec_has_the_personality_and_time_of_the_container;
    "config.md#process" Must exec_runs_on_the_cpus_of_config;
    "sched_setaffinity(2)" Compat the_callers_cpus_are_not_the_containers;
    "config.md#process" Must a_process_file_sets_the_size_of_its_console;
}

/// KEYCTL_GET_KEYRING_ID of KEY_SPEC_SESSION_KEYRING.
const SESSION_KEYRING: [u64; 6] = [0, -3_i64 as u64, 0, 0, 0, 0];

fn session_keyring() -> Ask {
    Ask::Call {
        number: libc::SYS_keyctl,
        args: SESSION_KEYRING,
    }
}

fn own_keyring() -> Verdict<i64> {
    sys::call(libc::SYS_keyctl, SESSION_KEYRING).doing("keyctl")
}

fn the_payload_has_a_session_keyring_of_its_own(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let theirs = case.run_one(&mut bundle, session_keyring())?.number()?;
    holds(theirs != own_keyring()?, format!("both have {theirs}"))
}

fn exec_joins_the_containers_session_keyring(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let mut container = case.started(&mut bundle)?;
    let first = container.ask_one(session_keyring())?.number()?;
    let second = container.exec(&[], &[session_keyring()])?[0].number()?;
    equal("the keyring", second, first)
}

fn no_new_keyring_keeps_the_callers(case: &Case) -> Verdict {
    case.need_root()?;
    let mut bundle = case.bundle()?;
    bundle.answers(&[session_keyring()])?.write()?;
    let outcome = case
        .runtime(["run", "--no-new-keyring", "--bundle"])
        .arg(&bundle.dir)
        .arg(&case.id)
        .run()?
        .succeeded()?;
    let theirs = parse_line(&outcome.stdout, 1)?[0].number()?;
    equal("the keyring", theirs, own_keyring()?)
}

/// How many processes are the runtime's children while the payload has made an orphan: one whose
/// parent has ended before it.
fn children_with_an_orphan(case: &Case, flags: &[&str]) -> Verdict<usize> {
    case.need_cgroup2()?;
    let mut bundle = case.bundle()?;
    bundle.without_namespace("pid");
    let orphan = serde_json::to_string(&[Ask::SpawnSleeper])?;
    let probe = ["/bin/probe".into(), "answer".into(), orphan];
    bundle
        .answers(&[
            Ask::Spawn(probe.into()),
            Ask::Create("/tmp/made".into()),
            Ask::SleepMs(60_000),
        ])?
        .write()?;
    let running = case
        .runtime(["run"])
        .args(flags)
        .arg("--bundle")
        .arg(&bundle.dir)
        .arg(&case.id)
        .start()?;
    case.wait_for("the orphan", || {
        Ok(bundle.inside("/tmp/made").exists().then_some(()))
    })?;
    let mut count = 0;
    let tasks = format!("/proc/{}/task", running.pid());
    for task in std::fs::read_dir(&tasks).doing(&tasks)? {
        let children = std::fs::read_to_string(task?.path().join("children")).unwrap_or_default();
        count += children.split_whitespace().count();
    }
    case.runtime(["kill", "--all", &case.id, "KILL"])
        .run()?
        .succeeded()?;
    running.wait()?.ended_with(128 + libc::SIGKILL)?;
    Ok(count)
}

fn run_adopts_the_payloads_orphans(case: &Case) -> Verdict {
    equal("children", children_with_an_orphan(case, &[])?, 2)
}

fn no_subreaper_leaves_the_orphans_to_others(case: &Case) -> Verdict {
    let children = children_with_an_orphan(case, &["--no-subreaper"])?;
    equal("children", children, 1)
}

fn listen_fds_of_another_process_are_not_passed_on(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.answers(&[Ask::Process])?;
    let outcome = case
        .run_call(&bundle)?
        .env("LISTEN_FDS", "1")
        .env("LISTEN_PID", "1")
        .fd(std::fs::File::open("/dev/null")?, 3)
        .run()?
        .succeeded()?;
    let process = parse_line(&outcome.stdout, 1)?.remove(0).process()?;
    equal("LISTEN_FDS", process.env_of("LISTEN_FDS").len(), 0)?;
    holds(!process.fds.contains_key(&3), "descriptor 3 is passed on")
}

fn preserved_descriptors_stand_behind_those_of_listen_fds(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle
        .answers(&[Ask::ReadFd(3), Ask::ReadFd(4), Ask::Process])?
        .write()?;
    let open = |text: &str| std::fs::File::open(case.file(text, text)?).map_err(Into::into);
    let (first, second): (Verdict<_>, Verdict<_>) = (open("listen"), open("preserve"));
    let outcome = case
        .runtime(["run", "--preserve-fds", "1", "--bundle"])
        .arg(&bundle.dir)
        .arg(&case.id)
        .through(["sh", "-c", "export LISTEN_PID=$$; exec \"$@\"", "sh"])
        .env("LISTEN_FDS", "1")
        .fd(first?, 3)
        .fd(second?, 4)
        .run()?
        .succeeded()?;
    let answers = parse_line(&outcome.stdout, 3)?;
    equal("descriptor 3", answers[0].text()?, "listen")?;
    equal("descriptor 4", answers[1].text()?, "preserve")?;
    let process = answers[2].process()?;
    equal("LISTEN_FDS", process.env_of("LISTEN_FDS"), ["1"])
}

fn every_word_for_rootless_is_accepted(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.args(&["/bin/probe", "exit", "6"]);
    let words = match case.is_root() {
        true => &["--rootless=true", "--rootless=false", "--rootless=auto"][..],
        // With false an ordinary user asks for what he may not do.
        false => &["--rootless=true", "--rootless=auto"],
    };
    for word in words {
        case.run_call(&bundle)?
            .globals([*word])
            .run()?
            .ended_with(6)?;
    }
    Ok(())
}

/// The line of cgroup2.
fn cgroup_of(answer: &Answer) -> Verdict<String> {
    let text = answer.text()?;
    let line = text.lines().find(|line| line.starts_with("0::"));
    Ok(line.unwrap_or_default().to_owned())
}

fn own_cgroup() -> Verdict<String> {
    let text = std::fs::read_to_string("/proc/self/cgroup").doing("/proc/self/cgroup")?;
    cgroup_of(&Answer::Text(text))
}

const CGROUP: &str = "/proc/self/cgroup";

fn without_a_cgroup_manager_the_payload_stays_in_the_callers_cgroup(case: &Case) -> Verdict {
    case.need_cgroup2()?;
    let mut bundle = case.bundle()?;
    bundle.linux()["cgroupsPath"] = json!(format!("/{}-cg", case.id));
    bundle.answers(&[Ask::Read(CGROUP.into())])?;
    let outcome = case
        .run_call(&bundle)?
        .globals(["--cgroup-manager=disabled"])
        .run()?
        .succeeded()?;
    let seen = parse_line(&outcome.stdout, 1)?.remove(0);
    equal("the cgroup", cgroup_of(&seen)?, own_cgroup()?)
}

fn exec_remembers_that_there_is_no_cgroup_manager(case: &Case) -> Verdict {
    case.need_cgroup2()?;
    let mut bundle = case.bundle()?;
    bundle.linux()["cgroupsPath"] = json!(format!("/{}-cg", case.id));
    bundle.serves().write()?;
    let call = case
        .runtime(["create", "--bundle"])
        .globals(["--cgroup-manager", "disabled"])
        .arg(&bundle.dir)
        .arg(&case.id);
    let container = case.create_with(call, &case.id)?;
    container.start()?;
    let seen = container.exec(&[], &[Ask::Read(CGROUP.into())])?.remove(0);
    equal("the cgroup", cgroup_of(&seen)?, own_cgroup()?)
}

fn exec_has_the_personality_and_time_of_the_container(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.linux()["personality"] = json!({"domain": "LINUX32"});
    bundle.namespace("time");
    bundle.linux()["timeOffsets"] = json!({"boottime": {"secs": 100_000, "nanosecs": 0}});
    let mut container = case.started(&mut bundle)?;
    let first = container.ask_one(Ask::Process)?.process()?;
    let second = container.exec_process(&[])?;
    equal("personality", second.personality, 8)?;
    equal("personality", second.personality, first.personality)?;
    for name in ["time", "time_for_children"] {
        equal(
            name,
            second.namespaces.get(name),
            first.namespaces.get(name),
        )?;
    }
    Ok(())
}

/// One of several CPUs that the suite may use.
fn one_of_the_cpus() -> Verdict<String> {
    let of_caller = sched_getaffinity(Pid::from_raw(0)).doing("sched_getaffinity")?;
    let mut cpus = (0..CpuSet::count()).filter(|cpu| of_caller.is_set(*cpu).unwrap_or(false));
    match (cpus.next(), cpus.next()) {
        (Some(first), Some(_)) => Ok(first.to_string()),
        _ => skip("there is one processor, which leaves no choice"),
    }
}

fn allowed(process: &Process) -> Option<String> {
    process.status.get("Cpus_allowed_list").cloned()
}

/// It would be those of systemd's CPUAffinity=, where the container has a cpuset with others, too.
fn the_callers_cpus_are_not_the_containers(case: &Case) -> Verdict {
    let one = one_of_the_cpus()?;
    let mut bundle = case.bundle()?;
    bundle.serves().write()?;
    let bound = ["taskset", "--cpu-list", &one];
    let call = case.create_call(&bundle)?.through(bound);
    let mut container = case.create_with(call, &case.id)?;
    container.start()?;
    let init = container.ask_one(Ask::Process)?.process()?;
    holds(allowed(&init) != Some(one.clone()), "init is bound to it")?;
    let ask = serde_json::to_string(&[Ask::Process])?;
    let call = case.runtime(["exec", &container.id, "/bin/probe", "answer", &ask]);
    let outcome = call.through(bound).run()?.succeeded()?;
    let second = parse_line(&outcome.stdout, 1)?.remove(0).process()?;
    holds(allowed(&second) != Some(one), "exec is bound to it")
}

fn exec_runs_on_the_cpus_of_config(case: &Case) -> Verdict {
    let first = one_of_the_cpus()?;
    let mut bundle = case.bundle()?;
    bundle.process()["execCPUAffinity"] = json!({"final": first});
    let mut container = case.started(&mut bundle)?;
    equal(
        "the CPUs of exec",
        allowed(&container.exec_process(&[])?),
        Some(first.clone()),
    )?;
    let init = container.ask_one(Ask::Process)?.process()?;
    holds(allowed(&init) != Some(first), "init is confined too")
}

fn a_process_file_sets_the_size_of_its_console(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let container = case.started(&mut bundle)?;
    let asks = serde_json::to_string(&[Ask::WindowSize])?;
    let process = json!({
        "terminal": true,
        "consoleSize": {"height": 33, "width": 111},
        "user": {"uid": 0, "gid": 0},
        "args": ["/bin/probe", "answer", asks],
        "env": ["PATH=/bin"],
        "cwd": "/"
    });
    let file = case.file("process.json", &process.to_string())?;
    let socket = crate::harness::console::FdSocket::listen(case)?;
    case.runtime(["exec", "--detach", "--console-socket"])
        .arg(socket.path())
        .arg("--process")
        .arg(file)
        .arg(&container.id)
        .run()?
        .succeeded()?;
    let seen = socket.receive()?.read_until("]\r\n")?;
    holds(seen.contains("33x111"), format!("the size is {seen:?}"))
}
