//! sd_notify(3): from the payload to the caller's service manager

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::harness::call::{Call, Outcome, Running};
use crate::harness::case::Case;
use crate::harness::container::Container;
use crate::harness::verdict::{Verdict, equal, fail, holds};
use crate::probe::ask::Ask;
use crate::tests;

tests! {
    "runc(8)" Compat start_waits_until_the_payload_is_ready;
    "runc(8)" Compat ready_comes_with_the_pid_to_watch;
    "runc(8)" Compat run_in_the_background_waits_too;
    "runc(8)" Compat run_in_the_foreground_passes_ready_on;
    "runc(8)" Compat start_ends_with_a_container_that_never_gets_ready;
    "systemd" Compat a_container_that_never_gets_ready_can_be_deleted;
    "systemd" Compat a_payload_that_talks_without_end_does_not_keep_start;
    "systemd" Compat a_status_is_passed_on;
    "systemd" Compat descriptors_for_the_manager_are_not_passed_on;
    "runc(8)" Compat the_notify_socket_cannot_be_replaced_from_inside;
    "runc(8)" Compat without_a_manager_there_is_no_notify_socket;
    "systemd" Compat a_manager_that_is_gone_stops_nothing;
    "podman" Compat an_engines_own_notify_socket_stays;
}

/// What systemd is to a service.
struct Manager<'a> {
    case: &'a Case,
    socket: UnixDatagram,
    path: PathBuf,
}

impl<'a> Manager<'a> {
    fn new(case: &'a Case) -> Verdict<Self> {
        let path = case.dir.join("manager");
        let socket = UnixDatagram::bind(&path)?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        Ok(Self { case, socket, path })
    }

    /// The call as a service that this manager started.
    fn calls<'b>(&self, call: Call<'b>) -> Call<'b> {
        call.env("NOTIFY_SOCKET", &self.path.to_string_lossy())
    }

    /// A datagram that has come, if any.
    fn next(&self) -> Option<String> {
        let mut buffer = [0; 4096];
        // A descriptor that came with it is closed, as a manager does with a barrier.
        let length = self.socket.recv(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
    }

    /// All that comes up to a line that `ends`.
    fn hear_until(&self, ends: impl Fn(&str) -> bool) -> Verdict<Vec<String>> {
        let mut lines = Vec::new();
        let deadline = Instant::now() + self.case.patience();
        while Instant::now() < deadline {
            let Some(message) = self.next() else { continue };
            lines.extend(message.lines().map(str::to_owned));
            if lines.iter().any(|line| ends(line)) {
                return Ok(lines);
            }
        }
        fail(format!("the manager heard no more than {lines:?}"))
    }

    /// Takes what still comes, a barrier say, until the call has ended.
    fn see_off(&self, running: Running<'_>) -> Verdict<Outcome> {
        let deadline = Instant::now() + self.case.patience();
        while !has_ended(&running) {
            if Instant::now() > deadline {
                running.signal(Signal::SIGKILL)?;
                return fail(format!("it hung: {}", running.wait()?.told()));
            }
            self.next();
            self.case.reap_orphans();
        }
        running.wait()
    }

    fn hear_ready(&self) -> Verdict<Vec<String>> {
        self.hear_until(|line| line == "READY=1")
    }

    /// A container whose probe serves, and a `start` that waits for it.
    fn starting(&self) -> Verdict<(Container<'a>, Running<'a>)> {
        let mut bundle = self.case.bundle()?;
        bundle.serves();
        let call = self.calls(self.case.create_call(&bundle)?);
        let mut container = self.case.create_with(call, &self.case.id)?;
        let start = self
            .calls(self.case.runtime(["start", &self.case.id]))
            .start()?;
        container.ask_one(Ask::Process)?;
        Ok((container, start))
    }
}

fn has_ended(running: &Running<'_>) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", running.pid()));
    stat.map_or(true, |stat| stat.contains(") Z "))
}

fn start_waits_until_the_payload_is_ready(case: &Case) -> Verdict {
    let manager = Manager::new(case)?;
    let (mut container, start) = manager.starting()?;
    container.ask_one(Ask::SleepMs(200))?;
    holds(!has_ended(&start), "start came back before READY=1")?;
    container.ask_one(Ask::Notify("READY=1".into()))?.done()?;
    manager.hear_ready()?;
    manager.see_off(start)?.succeeded().map(drop)
}

fn ready_comes_with_the_pid_to_watch(case: &Case) -> Verdict {
    let manager = Manager::new(case)?;
    let (mut container, start) = manager.starting()?;
    let wanted = format!("MAINPID={}", container.pid()?);
    container.ask_one(Ask::Notify("READY=1".into()))?.done()?;
    let lines = manager.hear_until(|line| line == wanted)?;
    holds(
        lines.iter().any(|line| line == "READY=1") || manager.hear_ready().is_ok(),
        "no READY=1",
    )?;
    manager.see_off(start)?.succeeded().map(drop)
}

fn run_in_the_background_waits_too(case: &Case) -> Verdict {
    let manager = Manager::new(case)?;
    let mut bundle = case.bundle()?;
    bundle.answers(&[
        Ask::SleepMs(300),
        Ask::Notify("READY=1".into()),
        Ask::SleepMs(600_000),
    ])?;
    bundle.write()?;
    let call = case.runtime(["run", "--detach", "--bundle"]);
    let call = call.arg(&bundle.dir).arg(&case.id);
    let run = manager.calls(call).start()?;
    let lines = manager.hear_until(|line| line.starts_with("MAINPID="))?;
    let state = case.runtime(["state", &case.id]).run()?.succeeded()?.stdout;
    let state: serde_json::Value = serde_json::from_str(&state)?;
    let wanted = format!("MAINPID={}", state["pid"]);
    holds(lines.contains(&wanted), format!("{lines:?}, not {wanted}"))?;
    manager.see_off(run)?.succeeded()?;
    let delete = case.runtime(["delete", "--force", &case.id]);
    delete.run()?.succeeded().map(drop)
}

fn run_in_the_foreground_passes_ready_on(case: &Case) -> Verdict {
    let manager = Manager::new(case)?;
    let mut bundle = case.bundle()?;
    bundle.answers(&[Ask::Notify("READY=1".into()), Ask::SleepMs(500)])?;
    let run = manager.calls(case.run_call(&bundle)?).start()?;
    manager.hear_ready()?;
    manager.see_off(run)?.succeeded().map(drop)
}

fn start_ends_with_a_container_that_never_gets_ready(case: &Case) -> Verdict {
    let manager = Manager::new(case)?;
    let (mut container, start) = manager.starting()?;
    container.hang_up();
    manager.see_off(start)?;
    Ok(())
}

fn a_container_that_never_gets_ready_can_be_deleted(case: &Case) -> Verdict {
    let manager = Manager::new(case)?;
    let (container, start) = manager.starting()?;
    // One that waits for start, which waits for the container, is ended at the test's deadline.
    let delete = case.runtime(["delete", "--force", &container.id]);
    delete.run()?.succeeded()?;
    manager.see_off(start)?;
    Ok(())
}

/// Each datagram asks for many things, and there is always one more.
fn a_payload_that_talks_without_end_does_not_keep_start(case: &Case) -> Verdict {
    let manager = Manager::new(case)?;
    let (mut container, start) = manager.starting()?;
    let wordy = "MAINPID=99\n".repeat(40);
    container.tell(&[Ask::KeepNotifying(wordy)])?;
    std::thread::sleep(Duration::from_millis(300));
    start.signal(Signal::SIGTERM)?;
    manager.see_off(start)?;
    Ok(())
}

fn a_status_is_passed_on(case: &Case) -> Verdict {
    let manager = Manager::new(case)?;
    let mut bundle = case.bundle()?;
    bundle.answers(&[Ask::Notify("STATUS=half way".into()), Ask::SleepMs(300)])?;
    let run = manager.calls(case.run_call(&bundle)?).start()?;
    manager.hear_until(|line| line == "STATUS=half way")?;
    manager.see_off(run)?.succeeded().map(drop)
}

fn descriptors_for_the_manager_are_not_passed_on(case: &Case) -> Verdict {
    let manager = Manager::new(case)?;
    let mut bundle = case.bundle()?;
    bundle.answers(&[
        Ask::Notify("FDSTORE=1\nFDNAME=x\nNOTIFYACCESS=all".into()),
        Ask::Notify("READY=1\nFDSTORE=1".into()),
        Ask::SleepMs(300),
    ])?;
    let run = manager.calls(case.run_call(&bundle)?).start()?;
    let lines = manager.hear_ready()?;
    manager.see_off(run)?.succeeded()?;
    let reaches = |line: &&String| line.starts_with("FD") || line.starts_with("NOTIFYACCESS");
    equal("what reaches the manager", lines.iter().find(reaches), None)
}

fn the_notify_socket_cannot_be_replaced_from_inside(case: &Case) -> Verdict {
    let manager = Manager::new(case)?;
    let (mut container, start) = manager.starting()?;
    let process = container.ask_one(Ask::Process)?.process()?;
    let socket = PathBuf::from(process.env_of("NOTIFY_SOCKET").concat());
    let Some(directory) = socket.parent() else {
        return fail("no NOTIFY_SOCKET in the payload's environment");
    };
    container
        .ask_one(Ask::Create(directory.join("other")))?
        .failed_with("a file beside the socket", &[libc::EROFS])?;
    container.hang_up();
    manager.see_off(start)?;
    Ok(())
}

fn without_a_manager_there_is_no_notify_socket(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let process = case.run_process(&mut bundle)?;
    let found = process.env_of("NOTIFY_SOCKET");
    holds(found.is_empty(), format!("NOTIFY_SOCKET is {found:?}"))?;
    let mut bundle = case.bundle_named("second")?;
    let outcome = case.run_one(&mut bundle, Ask::Mounts)?;
    let found = outcome.mounts()?.iter().find(|m| m.target == "/run/notify");
    holds(found.is_none(), format!("{found:?}"))
}

fn a_manager_that_is_gone_stops_nothing(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.args(&["/bin/probe", "exit", "17"]);
    let call = case.run_call(&bundle)?;
    let call = call.env("NOTIFY_SOCKET", "/nonexistent/notify");
    call.run()?.ended_with(17).map(drop)
}

/// podman with --sdnotify=container: conmon has the socket, and a mount in its place.
fn an_engines_own_notify_socket_stays(case: &Case) -> Verdict {
    let engine = case.dir.join("engine");
    std::fs::create_dir(&engine)?;
    let conmon = UnixDatagram::bind(engine.join("notify.sock"))?;
    conmon.set_read_timeout(Some(case.patience()))?;
    let mut bundle = case.bundle()?;
    bundle.bind(&engine, "/run/notify", &[]);
    bundle.env("NOTIFY_SOCKET=/run/notify/notify.sock");
    bundle.answers(&[Ask::Notify("READY=1".into())])?;
    let manager = Manager::new(case)?;
    let run = manager.calls(case.run_call(&bundle)?).start()?;
    manager.see_off(run)?.succeeded()?;
    let mut buffer = [0; 64];
    match conmon.recv(&mut buffer) {
        Ok(length) => equal(
            "what conmon hears",
            &buffer[..length],
            b"READY=1".as_slice(),
        ),
        Err(_) => fail("the engine's socket heard nothing"),
    }
}
