//! runc-checkpoint(8), runc-restore(8): a container's processes as files, and back. Neither verb is in the
//! specification; engines call them as runc has them. Where CRIU cannot work, all of this is skipped.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;

use nix::fcntl::{Flock, FlockArg};
use serde_json::json;

use crate::harness::bundle::Bundle;
use crate::harness::call::{Call, Outcome};
use crate::harness::case::Case;
use crate::harness::console::FdSocket;
use crate::harness::container::{Container, mount_at, parse_line};
use crate::harness::host_mount::HostMount;
use crate::harness::verdict::{Doing, Stop, Verdict, equal, holds, skip};
use crate::probe::ask::{Answer, Ask, Mount};
use crate::tests;

tests! {
    "runc-restore(8)" Compat a_restored_payload_goes_on_where_it_was;
    "runc-checkpoint(8)" Compat a_checkpoint_ends_the_container_and_frees_its_id;
    "runc-checkpoint(8)" Compat leave_running_leaves_it_running;
    "runc-checkpoint(8)" Compat what_a_pre_dump_has_saved_is_restored_with_the_rest;
    "runc-checkpoint(8)" Compat a_parent_that_is_not_there_is_an_error;
    "runc-restore(8)" Compat an_open_tcp_connection_goes_on;
    "runc-checkpoint(8)" Compat a_failed_dump_says_why_and_the_payload_goes_on;
    "runc-restore(8)" Compat a_failed_restore_says_why_and_leaves_nothing;
    "runc-restore(8)" Compat a_file_lock_is_held_again;
    "runc-restore(8)" Compat a_terminal_is_sent_to_the_console_socket_again;
    "runc-restore(8)" Compat a_joined_network_namespace_is_joined_again;
    "runc-restore(8)" Compat mounts_are_as_they_were;
    "runc-restore(8)" Compat what_is_mounted_below_a_volume_comes_along_again;
    "runc-restore(8)" Compat missing_mount_points_are_made_again;
    "runc-restore(8)" Compat what_a_killed_restore_leaves_can_be_deleted;
    "CVE-2019-18837" Attack a_mount_point_that_became_a_link_makes_nothing_on_the_host;
    "runc-restore(8)" Compat a_container_with_a_user_namespace_is_restored;
    "runc-restore(8)" Compat kill_exec_pause_and_delete_know_a_restored_container;
    "runc-restore(8)" Compat device_rules_hold_again;
    "runc-restore(8)" Compat a_seccomp_profile_holds_again;
    "runc-restore(8)" Compat hooks_before_the_start_run_with_the_new_pid;
    "runc-restore(8)" Compat in_the_foreground_restore_returns_the_payloads_status;
    "runc-checkpoint(8)" Compat a_restored_container_can_be_saved_again;
    "runc-checkpoint(8)" Compat a_paused_container_can_be_saved;
    "runc-checkpoint(8)" Compat a_created_container_is_refused;
    "runc-checkpoint(8)" Compat the_log_is_in_the_work_path;
    "podman" Compat checkpoint_help_tells_that_it_works;
    "podman" Compat a_mount_context_without_value_is_told_as_go_does;
}

/// Skips where CRIU is not there or says that this kernel is not for it.
fn need_criu(case: &Case) -> Verdict {
    case.need_root()?;
    case.need_cgroup2()?;
    let checked = match Command::new("criu").arg("check").output() {
        Ok(checked) => checked,
        Err(error) => return skip(format!("needs criu in PATH: {error}")),
    };
    if !checked.status.success() {
        let said = String::from_utf8_lossy(&checked.stderr).into_owned();
        let last = said.lines().last().unwrap_or("without a word").to_owned();
        return skip(format!("`criu check` fails here: {last}"));
    }
    match case.runtime(["checkpoint", "--help"]).run()?.status {
        0 => Ok(()),
        _ => skip("the runtime was built without CRIU"),
    }
}

/// Skips where the kernel does not note which pages change.
fn need_memory_tracking() -> Verdict {
    let checked = Command::new("criu")
        .args(["check", "--feature", "mem_dirty_track"])
        .output()?;
    match checked.status.success() {
        true => Ok(()),
        false => skip("this kernel does not track changed pages (CONFIG_MEM_SOFT_DIRTY)"),
    }
}

fn images(case: &Case) -> PathBuf {
    case.dir.join("images")
}

fn checkpoint<'a>(case: &'a Case, id: &str, flags: &[&str]) -> Call<'a> {
    let call = case.runtime(["checkpoint", "--image-path"]);
    call.arg(images(case)).args(flags.iter().copied()).arg(id)
}

fn restore<'a>(case: &'a Case, bundle: &Bundle, flags: &[&str]) -> Call<'a> {
    let call = case.runtime(["restore", "--image-path"]);
    let call = call.arg(images(case)).arg("--bundle").arg(&bundle.dir);
    call.args(flags.iter().copied()).arg(&case.id)
}

/// A started container whose standard error is not a file of the host, which CRIU refuses.
fn started<'a>(case: &'a Case, bundle: &mut Bundle) -> Verdict<Container<'a>> {
    bundle.serves().write()?;
    let call = case.runtime(["create", "--bundle"]).arg(&bundle.dir);
    let quiet = ["sh", "-c", "exec \"$@\" 2>/dev/null", "sh"];
    let mut container = case.create_with(call.arg(&case.id).through(quiet), &case.id)?;
    container.start()?;
    container.ask_one(Ask::Process)?;
    Ok(container)
}

/// Saves the container and restores it, with new pipes to the probe. The end of the old ones before that
/// would be the probe's own end.
fn again<'a>(
    case: &'a Case,
    container: Container<'a>,
    bundle: &Bundle,
    flags: &[&str],
) -> Verdict<Container<'a>> {
    checkpoint(case, &case.id, flags).run()?.succeeded()?;
    drop(container);
    let mut all = vec!["--detach"];
    all.extend(flags);
    case.create_with(restore(case, bundle, &all), &case.id)
}

fn refused_in(case: &Case, outcome: Outcome, log: &str, words: &[&str]) -> Verdict {
    let outcome = outcome.refused()?;
    let log = images(case).join(log);
    holds(log.exists(), format!("there is no {}", log.display()))?;
    outcome.says(words).map(drop)
}

fn a_restored_payload_goes_on_where_it_was(case: &Case) -> Verdict {
    need_criu(case)?;
    let mut bundle = case.bundle()?;
    let mut container = started(case, &mut bundle)?;
    let child = container.ask_one(Ask::SpawnSleeper)?.number()?;
    let asks = [Ask::Count, Ask::Count, Ask::SetHostname("saved".into())];
    // The capability for the name is not there: what matters is the count.
    equal("the count", container.ask(&asks)?[1].number()?, 2)?;
    let before = container.ask_one(Ask::Process)?.process()?;
    let mut restored = again(case, container, &bundle, &[])?;
    equal("status", restored.status()?, "running")?;
    equal("the count", restored.ask_one(Ask::Count)?.number()?, 3)?;
    let after = restored.ask_one(Ask::Process)?.process()?;
    equal(
        "pid and session",
        (after.pid, after.sid),
        (before.pid, before.sid),
    )?;
    equal("arguments", &after.args, &before.args)?;
    equal("hostname", after.hostname.as_str(), "spec-tests")?;
    for field in [
        "CapEff",
        "CapPrm",
        "CapBnd",
        "CapInh",
        "CapAmb",
        "NoNewPrivs",
        "SigIgn",
    ] {
        equal(field, after.status.get(field), before.status.get(field))?;
    }
    restored
        .ask_one(Ask::Stat(format!("/proc/{child}").into()))?
        .stat()
        .map(drop)
}

fn a_checkpoint_ends_the_container_and_frees_its_id(case: &Case) -> Verdict {
    need_criu(case)?;
    let mut bundle = case.bundle()?;
    let container = started(case, &mut bundle)?;
    let pid = container.pid()?;
    checkpoint(case, &case.id, &[]).run()?.succeeded()?;
    case.runtime(["state", &case.id]).run()?.refused()?;
    equal(
        "entries in the state directory",
        case.ids_in_state().len(),
        0,
    )?;
    case.wait_for("the end of the payload", || {
        let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        Ok((state.is_empty() || state.contains(") Z ")).then_some(()))
    })
}

fn leave_running_leaves_it_running(case: &Case) -> Verdict {
    need_criu(case)?;
    let mut bundle = case.bundle()?;
    let mut container = started(case, &mut bundle)?;
    let pid = container.pid()?;
    checkpoint(case, &case.id, &["--leave-running"])
        .run()?
        .succeeded()?;
    equal("pid", container.pid()?, pid)?;
    equal("the count", container.ask_one(Ask::Count)?.number()?, 1)?;
    container.stop()?;
    container.delete()?;
    let mut restored = case.create_with(restore(case, &bundle, &["--detach"]), &case.id)?;
    // What was counted after the dump is not in it.
    equal("the count", restored.ask_one(Ask::Count)?.number()?, 1)
}

fn what_a_pre_dump_has_saved_is_restored_with_the_rest(case: &Case) -> Verdict {
    need_criu(case)?;
    need_memory_tracking()?;
    let mut bundle = case.bundle()?;
    let mut container = started(case, &mut bundle)?;
    let first = case.dir.join("first");
    let call = case.runtime(["checkpoint", "--pre-dump", "--image-path"]);
    call.arg(&first).arg(&case.id).run()?.succeeded()?;
    equal("the count", container.ask_one(Ask::Count)?.number()?, 1)?;
    checkpoint(case, &case.id, &["--parent-path", "../first"])
        .run()?
        .succeeded()?;
    let parent = std::fs::read_link(images(case).join("parent")).doing("the link to the parent")?;
    equal("the parent", parent, PathBuf::from("../first"))?;
    let mut restored = case.create_with(restore(case, &bundle, &["--detach"]), &case.id)?;
    equal("the count", restored.ask_one(Ask::Count)?.number()?, 2)
}

fn a_parent_that_is_not_there_is_an_error(case: &Case) -> Verdict {
    need_criu(case)?;
    let mut bundle = case.bundle()?;
    let mut container = started(case, &mut bundle)?;
    for parent in ["../missing", "/absolute"] {
        let flags = ["--parent-path", parent];
        checkpoint(case, &case.id, &flags).run()?.refused()?;
    }
    container.ask_one(Ask::Count)?.number().map(drop)
}

fn an_open_tcp_connection_goes_on(case: &Case) -> Verdict {
    need_criu(case)?;
    let mut bundle = case.bundle()?;
    let mut container = started(case, &mut bundle)?;
    container.ask_one(Ask::TcpOpen)?.done()?;
    let mut restored = again(case, container, &bundle, &["--tcp-established"])?;
    restored.ask_one(Ask::TcpUse)?.done()
}

fn a_failed_dump_says_why_and_the_payload_goes_on(case: &Case) -> Verdict {
    need_criu(case)?;
    let mut bundle = case.bundle()?;
    let mut container = started(case, &mut bundle)?;
    container.ask_one(Ask::TcpOpen)?.done()?;
    let outcome = checkpoint(case, &case.id, &[]).run()?;
    refused_in(case, outcome, "dump.log", &["Connected TCP socket"])?;
    equal("status", container.status()?, "running")?;
    container.ask_one(Ask::TcpUse)?.done()
}

fn a_failed_restore_says_why_and_leaves_nothing(case: &Case) -> Verdict {
    need_criu(case)?;
    let mut bundle = case.bundle()?;
    let _saved = started(case, &mut bundle)?;
    checkpoint(case, &case.id, &[]).run()?.succeeded()?;
    std::fs::remove_file(images(case).join("core-1.img"))?;
    let outcome = restore(case, &bundle, &["--detach"]).run()?;
    refused_in(case, outcome, "restore.log", &["restore.log"])?;
    equal(
        "entries in the state directory",
        case.ids_in_state().len(),
        0,
    )
}

fn a_file_lock_is_held_again(case: &Case) -> Verdict {
    need_criu(case)?;
    let mut bundle = case.bundle()?;
    let file = bundle.file("/tmp/lock", "")?;
    let mut container = started(case, &mut bundle)?;
    container
        .ask_one(Ask::HoldLock("/tmp/lock".into()))?
        .done()?;
    checkpoint(case, &case.id, &[]).run()?.refused()?;
    let _restored = again(case, container, &bundle, &["--file-locks"])?;
    let mine = std::fs::File::open(file)?;
    match Flock::lock(mine, FlockArg::LockExclusiveNonblock) {
        Err((_, nix::Error::EWOULDBLOCK)) => Ok(()),
        other => Err(Stop::Fail(format!("the lock is free: {other:?}"))),
    }
}

fn a_terminal_is_sent_to_the_console_socket_again(case: &Case) -> Verdict {
    need_criu(case)?;
    let mut bundle = case.bundle()?;
    bundle.process()["terminal"] = json!(true);
    bundle.serves().write()?;
    let socket = FdSocket::listen(case)?;
    let call = case.runtime(["run", "--detach", "--console-socket"]);
    let call = call.arg(socket.path()).arg("--bundle").arg(&bundle.dir);
    call.arg(&case.id).run()?.succeeded()?;
    let mut terminal = socket.receive()?;
    let asks = serde_json::to_string(&[Ask::Count])? + "\n";
    terminal.write(&asks)?;
    terminal.read_until("]\r\n[{\"Number\":1}]\r\n")?;
    checkpoint(case, &case.id, &[]).run()?.succeeded()?;
    drop(terminal);
    let flags = ["--detach", "--console-socket"];
    let call = case.runtime(["restore", "--image-path"]).arg(images(case));
    let call = call.args(flags).arg(socket.path()).arg("--bundle");
    call.arg(&bundle.dir).arg(&case.id).run()?.succeeded()?;
    let mut terminal = socket.receive()?;
    // The terminal's own echo must not look like an answer.
    let asks = [Ask::Process, Ask::Stat("/dev/console".into()), Ask::Count];
    terminal.write(&(serde_json::to_string(&asks)? + "\n"))?;
    let seen = terminal.read_until("}]\r\n")?;
    let line = seen
        .lines()
        .find(|line| line.starts_with("[{\"Process\""))
        .ok_or_else(|| Stop::Fail(format!("no answer in {seen:?}")))?;
    let answers = parse_line(line, asks.len())?;
    equal("terminals", answers[0].process()?.terminals, [true; 3])?;
    equal(
        "kind of the console",
        answers[1].stat()?.kind.as_str(),
        "char",
    )?;
    equal("the count", answers[2].number()?, 2)
}

fn a_joined_network_namespace_is_joined_again(case: &Case) -> Verdict {
    need_criu(case)?;
    let mut pod = case.bundle_named("pod")?;
    let sandbox = case.create_named(&mut pod, &format!("{}-pod", case.id))?;
    let path = format!("/proc/{}/ns/net", sandbox.pid()?);
    let inode = std::fs::metadata(&path)?.ino();
    let mut bundle = case.bundle()?;
    bundle.join_namespace("network", &path);
    let mut container = started(case, &mut bundle)?;
    container.ask_one(Ask::Loopback)?.done()?;
    let mut restored = again(case, container, &bundle, &[])?;
    let process = restored.ask_one(Ask::Process)?.process()?;
    let joined = process.namespaces.get("net").cloned().unwrap_or_default();
    equal("the namespace", joined, format!("net:[{inode}]"))?;
    restored.ask_one(Ask::Loopback)?.done()
}

/// What can be compared before and after: CRIU gives peer groups and devices new numbers.
fn shape(mounts: &[Mount]) -> Vec<String> {
    let mut all: Vec<String> = mounts
        .iter()
        .map(|mount| {
            let mut flags = mount.flags.clone();
            flags.sort();
            format!("{} {} {flags:?}", mount.target, mount.kind)
        })
        .collect();
    all.sort();
    all
}

fn mounts_are_as_they_were(case: &Case) -> Verdict {
    need_criu(case)?;
    let folder = case.folder("volume")?;
    std::fs::write(folder.join("file"), "of the volume")?;
    let file = case.file("single", "of the file")?;
    let mut bundle = case.bundle()?;
    bundle
        .bind(&folder, "/volume", &["rw"])
        .bind(&file, "/etc/single", &["ro"])
        .bind(&folder, "/tmp/link/below", &["ro", "nosuid", "nodev"])
        .symlink("../etc", "/tmp/link")?;
    let mut container = started(case, &mut bundle)?;
    let before = shape(container.ask_one(Ask::Mounts)?.mounts()?);
    let mut restored = again(case, container, &bundle, &[])?;
    let answers = restored.ask(&[
        Ask::Mounts,
        Ask::Read("/volume/file".into()),
        Ask::Read("/etc/single".into()),
        Ask::Write {
            path: "/etc/single".into(),
            text: "x".into(),
        },
        Ask::Read("/etc/below/file".into()),
        Ask::Create("/volume/new".into()),
        Ask::Read("/proc/timer_list".into()),
        Ask::List("/sys/firmware".into()),
        Ask::Write {
            path: "/proc/sys/kernel/hostname".into(),
            text: "x".into(),
        },
    ])?;
    let after = shape(answers[0].mounts()?);
    let differs = |a: &[String], b: &[String]| -> Vec<String> {
        a.iter().filter(|line| !b.contains(line)).cloned().collect()
    };
    equal(
        "what is lost",
        differs(&before, &after),
        Vec::<String>::new(),
    )?;
    equal(
        "what is new",
        differs(&after, &before),
        Vec::<String>::new(),
    )?;
    equal("the volume", answers[1].text()?, "of the volume")?;
    equal("the file", answers[2].text()?, "of the file")?;
    answers[3].failed_with("writing to the file", &[libc::EROFS])?;
    equal("through the link", answers[4].text()?, "of the volume")?;
    answers[5].done()?;
    holds(folder.join("new").exists(), "it is not the same folder")?;
    equal("the masked file", answers[6].text()?, "")?;
    equal("the masked folder", answers[7].names()?.len(), 0)?;
    answers[8].failed_with("writing to a read-only path", &[libc::EROFS])
}

fn what_is_mounted_below_a_volume_comes_along_again(case: &Case) -> Verdict {
    need_criu(case)?;
    let folder = case.folder("volume/with blank")?;
    let top = case.dir.join("volume");
    let _mounted = HostMount::tmpfs(&folder)?;
    std::fs::write(folder.join("file"), "below")?;
    let mut bundle = case.bundle()?;
    bundle.mount(
        json!({"destination": "/volume", "type": "bind", "source": top, "options": ["rbind"]}),
    );
    let mut container = started(case, &mut bundle)?;
    let read = Ask::Read("/volume/with blank/file".into());
    equal(
        "the file",
        container.ask_one(read.clone())?.text()?,
        "below",
    )?;
    let mut restored = again(case, container, &bundle, &[])?;
    equal("the file", restored.ask_one(read)?.text()?, "below")
}

/// A hook that ends its parent, the runtime, by SIGKILL.
fn what_a_killed_restore_leaves_can_be_deleted(case: &Case) -> Verdict {
    need_criu(case)?;
    let mut bundle = case.bundle()?;
    let _saved = started(case, &mut bundle)?;
    checkpoint(case, &case.id, &[]).run()?.succeeded()?;
    let kill = json!({"path": "/bin/sh", "args": ["sh", "-c", "kill -9 $PPID"]});
    bundle.hook("createRuntime", kill);
    bundle.write()?;
    let outcome = restore(case, &bundle, &["--detach"]).run()?;
    equal("the signal", outcome.signal, Some(libc::SIGKILL))?;
    case.runtime(["delete", "--force", &case.id])
        .run()?
        .succeeded()?;
    equal(
        "entries in the state directory",
        case.ids_in_state().len(),
        0,
    )
}

/// A mount point of the root is a link to a folder of the host by the time of the restore.
fn a_mount_point_that_became_a_link_makes_nothing_on_the_host(case: &Case) -> Verdict {
    need_criu(case)?;
    let host = case.folder("host")?;
    let volume = case.folder("volume")?;
    std::fs::write(volume.join("file"), "x")?;
    let mut bundle = case.bundle()?;
    bundle.bind(&volume, "/data/inner/volume", &["rw"]);
    let _saved = started(case, &mut bundle)?;
    checkpoint(case, &case.id, &[]).run()?.succeeded()?;
    std::fs::remove_dir_all(bundle.inside("/data")).doing("the mount point")?;
    bundle.symlink(&host, "/data")?;
    let before = std::fs::read_to_string("/proc/self/mountinfo")?;
    // It may be refused, or made below the root.
    restore(case, &bundle, &["--detach"]).run()?;
    let made: Vec<_> = std::fs::read_dir(&host)?.filter_map(Result::ok).collect();
    holds(made.is_empty(), format!("on the host: {made:?}"))?;
    let after = std::fs::read_to_string("/proc/self/mountinfo")?;
    equal("mounts on the host", after, before)
}

fn missing_mount_points_are_made_again(case: &Case) -> Verdict {
    need_criu(case)?;
    let folder = case.folder("volume")?;
    std::fs::write(folder.join("file"), "inner")?;
    let outer = case.folder("outer")?;
    let mut bundle = case.bundle()?;
    bundle
        .bind(&outer, "/made/outer", &["rw"])
        .bind(&folder, "/made/outer/inner", &["ro"]);
    let _saved = started(case, &mut bundle)?;
    checkpoint(case, &case.id, &[]).run()?.succeeded()?;
    // As on another host, where the image was just unpacked.
    std::fs::remove_dir(outer.join("inner")).doing("the mount point in the volume")?;
    std::fs::remove_dir_all(bundle.inside("/made")).doing("the mount point in the root")?;
    let call = restore(case, &bundle, &["--detach"]);
    let mut restored = case.create_with(call, &case.id)?;
    let answers = restored.ask(&[Ask::Read("/made/outer/inner/file".into()), Ask::Mounts])?;
    equal("the inner volume", answers[0].text()?, "inner")?;
    mount_at(answers[1].mounts()?, "/made/outer/inner").map(drop)
}

fn a_container_with_a_user_namespace_is_restored(case: &Case) -> Verdict {
    need_criu(case)?;
    let mut bundle = case.bundle()?;
    bundle.own_probe(case)?;
    bundle.namespace("user");
    for maps in ["uidMappings", "gidMappings"] {
        bundle.linux()[maps] = json!([{"containerID": 0, "hostID": 200_000, "size": 65536}]);
    }
    let status = Command::new("chown")
        .args(["-R", "200000:200000"])
        .arg(bundle.rootfs())
        .status()?;
    holds(status.success(), "chown")?;
    let mut container = started(case, &mut bundle)?;
    equal("the count", container.ask_one(Ask::Count)?.number()?, 1)?;
    let mut restored = again(case, container, &bundle, &[])?;
    let answers = restored.ask(&[Ask::Count, Ask::Read("/proc/self/uid_map".into())])?;
    equal("the count", answers[0].number()?, 2)?;
    let map: Vec<&str> = answers[1].text()?.split_whitespace().collect();
    equal("the map", map, ["0", "200000", "65536"])
}

fn kill_exec_pause_and_delete_know_a_restored_container(case: &Case) -> Verdict {
    need_criu(case)?;
    let mut bundle = case.bundle()?;
    let _saved = started(case, &mut bundle)?;
    checkpoint(case, &case.id, &[]).run()?.succeeded()?;
    let pid_file = case.dir.join("pid");
    let file = pid_file.to_string_lossy().into_owned();
    let flags = ["--detach", "--pid-file", &file];
    let mut restored = case.create_with(restore(case, &bundle, &flags), &case.id)?;
    let pid = restored.pid()?;
    equal(
        "the pid file",
        std::fs::read_to_string(pid_file)?,
        pid.to_string(),
    )?;
    let cgroup = std::fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    let own = cgroup.lines().find(|line| line.starts_with("0::"));
    holds(
        own.is_some_and(|line| line.contains(&case.id)),
        format!("it is not in a cgroup of its own: {cgroup:?}"),
    )?;
    let mine = restored.ask_one(Ask::Process)?.process()?.namespaces;
    let theirs = restored.exec_process(&[])?.namespaces;
    equal("namespaces of exec", theirs, mine)?;
    restored.verb("pause").run()?.succeeded()?;
    equal("status", restored.status()?, "paused")?;
    restored.verb("resume").run()?.succeeded()?;
    restored.ask_one(Ask::Count)?.number()?;
    restored.kill("TERM")?;
    restored.kill("KILL")?;
    restored.wait_stopped()?;
    restored.delete()
}

fn device_rules_hold_again(case: &Case) -> Verdict {
    need_criu(case)?;
    let mut bundle = case.bundle()?;
    bundle.linux()["resources"] = json!({"devices": [{"allow": false, "access": "rwm"}]});
    bundle.capabilities(&["CAP_MKNOD"]);
    let node = |major, minor, name: &str| Ask::Mknod {
        path: format!("/tmp/{name}").into(),
        kind: 'c',
        major,
        minor,
    };
    // /dev/mem may be made, as every node, and not opened.
    let mem = [node(1, 1, "mem"), Ask::Open("/tmp/mem".into())];
    let zero = [node(1, 5, "zero"), Ask::Open("/tmp/zero".into())];
    let judge = |answers: &[Answer]| -> Verdict {
        answers[1].failed_with("opening /dev/mem", &[libc::EPERM])
    };
    let mut container = started(case, &mut bundle)?;
    judge(&container.ask(&mem)?)?;
    let mut restored = again(case, container, &bundle, &[])?;
    judge(&restored.ask(&mem)?)?;
    restored.ask(&zero)?[1].done()
}

fn a_seccomp_profile_holds_again(case: &Case) -> Verdict {
    need_criu(case)?;
    let mut bundle = case.bundle()?;
    bundle.linux()["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"],
        "syscalls": [{"names": ["getppid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77}],
    });
    let forbidden = Ask::Call {
        number: libc::SYS_getppid,
        args: [0; 6],
    };
    let mut container = started(case, &mut bundle)?;
    equal("errno", container.ask_one(forbidden.clone())?.errno(), 77)?;
    let mut restored = again(case, container, &bundle, &[])?;
    equal("errno", restored.ask_one(forbidden)?.errno(), 77)
}

fn hooks_before_the_start_run_with_the_new_pid(case: &Case) -> Verdict {
    need_criu(case)?;
    let seen = case.dir.join("seen");
    let mut bundle = case.bundle()?;
    let _saved = started(case, &mut bundle)?;
    checkpoint(case, &case.id, &[]).run()?.succeeded()?;
    let probe = case.host_probe();
    bundle.hook(
        "createRuntime",
        json!({"path": probe, "args": ["probe", "hook", seen]}),
    );
    bundle.write()?;
    let call = restore(case, &bundle, &["--detach"]);
    let restored = case.create_with(call, &case.id)?;
    let text = std::fs::read_to_string(&seen).doing("what the hook saw")?;
    let pid = restored.pid()?.to_string();
    holds(text.contains(&pid), format!("no pid {pid} in {text}"))?;
    holds(text.contains(&case.id), format!("no id in {text}"))
}

fn in_the_foreground_restore_returns_the_payloads_status(case: &Case) -> Verdict {
    need_criu(case)?;
    let mut bundle = case.bundle()?;
    let mut container = started(case, &mut bundle)?;
    container.ask_one(Ask::Count)?.number()?;
    checkpoint(case, &case.id, &[]).run()?.succeeded()?;
    let asks =
        serde_json::to_string(&[Ask::Count])? + "\n" + &serde_json::to_string(&[Ask::Exit(23)])?;
    let (stdin, questions) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
    let (answers, stdout) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
    nix::unistd::write(&questions, (asks + "\n").as_bytes())?;
    let call = restore(case, &bundle, &[]).stdin(stdin).stdout(stdout);
    call.run()?.ended_with(23)?;
    let mut text = [0; 64];
    let length = nix::unistd::read(&answers, &mut text)?;
    equal(
        "the answer",
        String::from_utf8_lossy(&text[..length]),
        "[{\"Number\":2}]\n",
    )?;
    equal(
        "entries in the state directory",
        case.ids_in_state().len(),
        0,
    )
}

fn a_restored_container_can_be_saved_again(case: &Case) -> Verdict {
    need_criu(case)?;
    let mut bundle = case.bundle()?;
    let mut container = started(case, &mut bundle)?;
    for count in 1..4 {
        equal("the count", container.ask_one(Ask::Count)?.number()?, count)?;
        container = again(case, container, &bundle, &[])?;
        std::fs::remove_dir_all(images(case))?;
    }
    Ok(())
}

fn a_paused_container_can_be_saved(case: &Case) -> Verdict {
    need_criu(case)?;
    let mut bundle = case.bundle()?;
    let mut container = started(case, &mut bundle)?;
    equal("the count", container.ask_one(Ask::Count)?.number()?, 1)?;
    container.verb("pause").run()?.succeeded()?;
    let mut restored = again(case, container, &bundle, &[])?;
    equal("status", restored.status()?, "running")?;
    equal("the count", restored.ask_one(Ask::Count)?.number()?, 2)
}

fn a_created_container_is_refused(case: &Case) -> Verdict {
    need_criu(case)?;
    let mut bundle = case.bundle()?;
    let container = case.create(&mut bundle)?;
    checkpoint(case, &case.id, &[]).run()?.refused()?;
    equal("status", container.status()?, "created")
}

fn the_log_is_in_the_work_path(case: &Case) -> Verdict {
    need_criu(case)?;
    let mut bundle = case.bundle()?;
    let _saved = started(case, &mut bundle)?;
    let work = case.dir.join("work");
    let path = work.to_string_lossy().into_owned();
    checkpoint(case, &case.id, &["--work-path", &path])
        .run()?
        .succeeded()?;
    holds(work.join("dump.log").exists(), "no dump.log")?;
    let call = restore(case, &bundle, &["--detach", "--work-path", &path]);
    let _restored = case.create_with(call, &case.id)?;
    holds(work.join("restore.log").exists(), "no restore.log")?;
    let inside = images(case).join("dump.log").exists();
    holds(!inside, "there is a log in the images too")
}

fn checkpoint_help_tells_that_it_works(case: &Case) -> Verdict {
    need_criu(case)?;
    let outcome = case.runtime(["checkpoint", "--help"]).run()?.succeeded()?;
    holds(outcome.stdout.contains("--leave-running"), outcome.told())
}

fn a_mount_context_without_value_is_told_as_go_does(case: &Case) -> Verdict {
    let call = case.runtime(["restore", "--lsm-mount-context"]).bare();
    let outcome = call.run()?.refused()?;
    let said = outcome.stderr.clone() + &outcome.stdout;
    let texts = ["flag needs an argument", "requires an argument"];
    holds(texts.iter().any(|text| said.contains(text)), outcome.told())
}
