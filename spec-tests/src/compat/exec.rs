//! exec: flags, process files, and where the process ends up

use serde_json::json;

use crate::harness::case::Case;
use crate::harness::container::parse_line;
use crate::harness::verdict::{Doing, Verdict, equal, holds};
use crate::probe::ask::Ask;
use crate::tests;

tests! {
    "runc-exec(8)" Compat exec_joins_all_namespaces;
    "runc-exec(8)" Compat exec_joins_the_cgroup;
    "runc-exec(8)" Compat exec_ends_with_the_process_status;
    "runc-exec(8)" Compat exec_takes_cwd_env_and_user_from_flags;
    "runc-exec(8)" Compat exec_in_an_absent_folder_is_an_error;
    "runc-exec(8)" Compat exec_has_the_containers_environment;
    "runc-exec(8)" Compat exec_takes_the_process_from_a_file;
    "runc-exec(8)" Compat options_after_the_id_belong_to_the_payload;
    "runc-exec(8)" Compat exec_detached_writes_the_pid_and_returns;
    "runc-exec(8)" Compat exec_in_a_stopped_container_is_an_error;
    "runc-exec(8)" Compat exec_in_an_unknown_container_is_an_error;
    "runc-exec(8)" Compat exec_of_a_missing_program_says_so;
    "runc-exec(8)" Compat exec_keeps_the_capabilities_of_config;
    "runc-exec(8)" Compat exec_can_add_a_capability;
    "runc-exec(8)" Compat exec_leaves_an_unknown_capability_out;
    "runc-exec(8)" Compat exec_keeps_no_new_privileges;
    "runc-exec(8)" Compat exec_passes_the_streams;
    "runc-exec(8)" Compat exec_has_only_the_standard_descriptors;
    "runc-exec(8)" Compat exec_has_the_limits_of_config;
    "runc-exec(8)" Compat exec_in_a_created_container_works;
    "runc-exec(8)" Compat exec_sees_the_containers_root;
    "runc-exec(8)" Compat exec_can_set_no_new_privileges;
    "runc-exec(8)" Compat exec_can_add_groups;
    "runc-exec(8)" Compat exec_has_the_umask_of_config;
    "runc-exec(8)" Compat exec_has_the_groups_of_config;
    "runc-exec(8)" Compat a_label_that_nobody_enforces_is_an_error;
}

fn exec_joins_all_namespaces(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.namespace("cgroup");
    let mut container = case.started(&mut bundle)?;
    let first = container.ask_one(Ask::Process)?.process()?;
    let second = container.exec_process(&[])?;
    for name in ["pid", "net", "ipc", "uts", "mnt", "user", "cgroup"] {
        equal(
            name,
            second.namespaces.get(name),
            first.namespaces.get(name),
        )?;
    }
    holds(second.pid > 1, format!("its pid is {}", second.pid))
}

fn exec_joins_the_cgroup(case: &Case) -> Verdict {
    case.need_cgroup2()?;
    let path = case.cgroups_path(&case.need_cgroups()?, "cg");
    let mut bundle = case.bundle()?;
    bundle.linux()["cgroupsPath"] = json!(path);
    let mut container = case.started(&mut bundle)?;
    let first = container.ask_one(Ask::Read("/proc/self/cgroup".into()))?;
    let second = container
        .exec(&[], &[Ask::Read("/proc/self/cgroup".into())])?
        .remove(0);
    equal("the cgroups", second.text()?, first.text()?)
}

fn exec_ends_with_the_process_status(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let container = case.started(&mut bundle)?;
    for status in [0, 7, 200] {
        let call = case.runtime([
            "exec",
            &container.id,
            "/bin/probe",
            "exit",
            &status.to_string(),
        ]);
        call.run()?.ended_with(status)?;
    }
    let killed = case
        .runtime(["exec", &container.id, "/bin/probe", "raise", "9"])
        .run()?;
    equal("status after SIGKILL", killed.status, 137)
}

fn exec_takes_cwd_env_and_user_from_flags(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let container = case.started(&mut bundle)?;
    let mut flags = vec!["--cwd", "/tmp", "--env", "ADDED=yes", "--env", "SECOND=2"];
    if case.is_root() {
        flags.extend(["--user", "1000:1001"]);
    }
    let process = container.exec_process(&flags)?;
    equal("cwd", process.cwd.as_str(), "/tmp")?;
    equal("ADDED", process.env_of("ADDED"), ["yes"])?;
    equal("SECOND", process.env_of("SECOND"), ["2"])?;
    let wanted = if case.is_root() { (1000, 1001) } else { (0, 0) };
    equal("uid and gid", (process.uid, process.gid), wanted)
}

fn exec_in_an_absent_folder_is_an_error(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let container = case.started(&mut bundle)?;
    let call = case.runtime([
        "exec",
        "--cwd",
        "/no/such/folder",
        &container.id,
        "/bin/probe",
        "exit",
        "0",
    ]);
    let refused = call.run()?;
    holds(
        refused.status != 0 && refused.stderr.contains("o such file or directory"),
        format!("status {}: {}", refused.status, refused.stderr),
    )?;
    let made = bundle.rootfs().join("no");
    holds(!made.exists(), "exec made the folder")
}

fn exec_has_the_containers_environment(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.env("OF_CONFIG=yes");
    let container = case.started(&mut bundle)?;
    let process = container.exec_process(&[])?;
    equal("OF_CONFIG", process.env_of("OF_CONFIG"), ["yes"])?;
    equal("PATH", process.env_of("PATH"), ["/bin"])
}

fn exec_takes_the_process_from_a_file(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let container = case.started(&mut bundle)?;
    let process = json!({
        "terminal": false,
        "user": {"uid": 0, "gid": 0},
        "args": ["/bin/probe", "answer", "[\"Process\"]"],
        "env": ["PATH=/bin", "FROM=file"],
        "cwd": "/tmp",
        "capabilities": {"bounding": ["CAP_KILL"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"]},
        "noNewPrivileges": true
    });
    let file = case.file("process.json", &process.to_string())?;
    let outcome = case
        .runtime(["exec", "--process"])
        .arg(file)
        .arg(&container.id)
        .run()?
        .succeeded()?;
    let process = parse_line(&outcome.stdout, 1)?.remove(0).process()?;
    equal("cwd", process.cwd.as_str(), "/tmp")?;
    equal("FROM", process.env_of("FROM"), ["file"])?;
    equal("CapEff", process.bits("CapEff"), Some(1 << 5))
}

fn options_after_the_id_belong_to_the_payload(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let container = case.started(&mut bundle)?;
    let args = [
        "/bin/probe",
        "answer",
        "[\"Process\"]",
        "--cwd",
        "/tmp",
        "-d",
        "--help",
    ];
    let outcome = case
        .runtime(["exec", &container.id])
        .args(args)
        .run()?
        .succeeded()?;
    let process = parse_line(&outcome.stdout, 1)?.remove(0).process()?;
    equal("args", process.args, args)?;
    equal("cwd", process.cwd.as_str(), "/")
}

fn exec_detached_writes_the_pid_and_returns(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let container = case.started(&mut bundle)?;
    let file = case.dir.join("exec-pid");
    let call = case
        .runtime(["exec", "--detach", "--pid-file"])
        .arg(&file)
        .args([&container.id, "/bin/probe", "hang"]);
    call.run()?.succeeded()?;
    let pid = std::fs::read_to_string(&file).doing("the pid file")?;
    // A runtime may return before execve; the pid must be the program's in the end.
    case.wait_for("the program under the pid in the file", || {
        let line = std::fs::read(format!("/proc/{}/cmdline", pid.trim()))
            .doing("cmdline of the pid in the file")?;
        Ok((line == b"/bin/probe\0hang\0").then_some(()))
    })
}

fn exec_in_a_stopped_container_is_an_error(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let container = case.started(&mut bundle)?;
    container.stop()?;
    case.runtime(["exec", &container.id, "/bin/probe", "exit", "0"])
        .run()?
        .refused()
        .map(drop)
}

fn exec_in_an_unknown_container_is_an_error(case: &Case) -> Verdict {
    case.runtime(["exec", &case.id, "/bin/true"])
        .run()?
        .refused()?
        .says(&["does not exist"])
        .map(drop)
}

fn exec_of_a_missing_program_says_so(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let container = case.started(&mut bundle)?;
    let words = [
        "executable file not found",
        "executable file `no-such-program` not found",
        "no such file or directory",
    ];
    case.runtime(["exec", &container.id, "no-such-program"])
        .run()?
        .refused()?
        .says(&words)?;
    case.runtime(["exec", &container.id, "/no/such/program"])
        .run()?
        .refused()?
        .says(&words)
        .map(drop)
}

fn exec_keeps_the_capabilities_of_config(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.capabilities(&["CAP_KILL", "CAP_CHOWN"]);
    let container = case.started(&mut bundle)?;
    let process = container.exec_process(&[])?;
    for field in ["CapBnd", "CapPrm", "CapEff"] {
        equal(field, process.bits(field), Some(1 << 5 | 1))?;
    }
    equal("CapInh", process.bits("CapInh"), Some(0))
}

fn exec_can_add_a_capability(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.capabilities(&["CAP_KILL"]);
    let container = case.started(&mut bundle)?;
    let process = container.exec_process(&["--cap", "CAP_CHOWN"])?;
    equal("CapEff", process.bits("CapEff"), Some(1 << 5 | 1))
}

fn exec_leaves_an_unknown_capability_out(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.capabilities(&["CAP_KILL"]);
    let container = case.started(&mut bundle)?;
    let flags = ["--cap", "CAP_FLY", "--cap", "CAP_CHOWN"];
    let process = container.exec_process(&flags)?;
    equal("CapEff", process.bits("CapEff"), Some(1 << 5 | 1))
}

fn exec_keeps_no_new_privileges(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let container = case.started(&mut bundle)?;
    equal(
        "no_new_privs",
        container.exec_process(&[])?.no_new_privs,
        true,
    )
}

fn exec_passes_the_streams(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let container = case.started(&mut bundle)?;
    let asks = serde_json::to_string(&[
        Ask::ReadFd(0),
        Ask::WriteFd {
            fd: 2,
            text: "to error\n".into(),
        },
    ])?;
    let outcome = case
        .runtime(["exec", &container.id, "/bin/probe", "answer", &asks])
        .input("typed")?
        .run()?
        .succeeded()?;
    equal(
        "what it read",
        parse_line(&outcome.stdout, 2)?[0].text()?,
        "typed",
    )?;
    equal("standard error", outcome.stderr.as_str(), "to error\n")
}

fn exec_has_only_the_standard_descriptors(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let container = case.started(&mut bundle)?;
    let extra: Vec<(i32, String)> = container
        .exec_process(&[])?
        .fds
        .into_iter()
        .filter(|(fd, _)| *fd > 2)
        .collect();
    equal("descriptors above 2", extra, [])
}

fn exec_has_the_limits_of_config(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.process()["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 500, "hard": 600}]);
    bundle.process()["oomScoreAdj"] = json!(444);
    let container = case.started(&mut bundle)?;
    let process = container.exec_process(&[])?;
    equal(
        "RLIMIT_NOFILE",
        process.rlimits.get("RLIMIT_NOFILE"),
        Some(&(500, 600)),
    )?;
    equal("oom_score_adj", process.oom_score_adj, Some(444))
}

fn exec_in_a_created_container_works(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let container = case.create(&mut bundle)?;
    container.exec_process(&[])?;
    equal("status after it", container.status()?, "created")
}

fn exec_sees_the_containers_root(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.mount(json!({"destination": "/only-here", "type": "tmpfs", "source": "tmpfs"}));
    let mut container = case.started(&mut bundle)?;
    container
        .ask_one(Ask::Create("/only-here/mark".into()))?
        .done()?;
    let names = container
        .exec(&[], &[Ask::List("/only-here".into())])?
        .remove(0);
    equal("/only-here", names.names()?, ["mark"])
}

fn exec_can_set_no_new_privileges(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.process()["noNewPrivileges"] = json!(false);
    let container = case.started(&mut bundle)?;
    for (flags, expected) in [(&[][..], false), (&["--no-new-privs"], true)] {
        let process = container.exec_process(flags)?;
        equal("no_new_privs", process.no_new_privs, expected)?;
    }
    Ok(())
}

fn exec_can_add_groups(case: &Case) -> Verdict {
    case.need_root()?;
    let mut bundle = case.bundle()?;
    let container = case.started(&mut bundle)?;
    let process = container.exec_process(&["-g", "70", "-g", "71"])?;
    equal("the groups", process.groups, [70, 71])
}

fn exec_has_the_umask_of_config(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.process()["user"]["umask"] = json!(0o027);
    let container = case.started(&mut bundle)?;
    equal("the umask", container.exec_process(&[])?.umask, 0o027)
}

fn exec_has_the_groups_of_config(case: &Case) -> Verdict {
    case.need_root()?;
    let mut bundle = case.bundle()?;
    bundle.process()["user"]["additionalGids"] = json!([70, 71]);
    let container = case.started(&mut bundle)?;
    equal("the groups", container.exec_process(&[])?.groups, [70, 71])
}

fn a_label_that_nobody_enforces_is_an_error(case: &Case) -> Verdict {
    let apparmor = std::fs::read_to_string("/sys/module/apparmor/parameters/enabled");
    let enforced = [
        (
            "--apparmor",
            apparmor.is_ok_and(|text| text.starts_with('Y')),
        ),
        (
            "--process-label",
            std::path::Path::new("/sys/fs/selinux/enforce").exists(),
        ),
    ];
    let mut bundle = case.bundle()?;
    let container = case.started(&mut bundle)?;
    for (option, _) in enforced.iter().filter(|(_, enforced)| !enforced) {
        case.runtime(["exec", option, "no-such-label", &container.id])
            .args(["/bin/probe", "exit", "0"])
            .run()?
            .refused()?;
    }
    Ok(())
}
