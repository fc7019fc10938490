//! A runtime that is asked to end, or killed, while it waits for somebody else

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use serde_json::{Value, json};

use crate::harness::case::Case;
use crate::harness::container::Container;
use crate::harness::verdict::{Doing, Verdict, equal, holds};
use crate::probe::ask::Ask;
use crate::tests;

tests! {
    "runc-create(8)" Compat a_hook_that_hangs_does_not_keep_create_and_run_from_their_end;
    "runc-start(8)" Compat a_hook_that_hangs_inside_does_not_keep_start_from_its_end;
    "runc-start(8)" Compat a_start_that_is_killed_half_way_leaves_a_container_that_runs;
    "runc-create(8)" Compat a_limit_of_files_does_not_kill_the_runtime;
}

/// A pipe with a name, which keeps a hook that reads it waiting.
struct Latch {
    path: PathBuf,
}

impl Latch {
    fn new(path: PathBuf) -> Verdict<Self> {
        nix::unistd::mkfifo(&path, Mode::from_bits_truncate(0o666)).doing(path.display())?;
        Ok(Self { path })
    }

    /// A hook of the probe at `probe` that reads the latch, by its name for the hook.
    fn hook(probe: &Path, name: &Path) -> Value {
        let asks = json!([Ask::Read(name.to_owned())]).to_string();
        json!({"path": probe, "args": ["probe", "answer", asks]})
    }

    /// Waits until the hook is at it. The hook goes on when what is returned is dropped.
    fn reached(&self, case: &Case) -> Verdict<File> {
        case.wait_for("the hook", || {
            let mut options = File::options();
            let options = options.write(true).custom_flags(libc::O_NONBLOCK);
            Ok(options.open(&self.path).ok())
        })
    }
}

/// A created container whose `start` will hang in a startContainer hook.
fn hanging_inside<'a>(case: &'a Case) -> Verdict<(Container<'a>, Latch)> {
    let mut bundle = case.bundle()?;
    let latch = Latch::new(bundle.inside("/latch"))?;
    let hook = Latch::hook(Path::new("/bin/probe"), Path::new("/latch"));
    bundle.hook("startContainer", hook);
    Ok((case.create(&mut bundle)?, latch))
}

/// The verb has to fail, and the container to be gone.
fn a_hook_that_hangs_does_not_keep_create_and_run_from_their_end(case: &Case) -> Verdict {
    for (number, (verb, kind)) in [
        ("create", "prestart"),
        ("run", "prestart"),
        ("run", "startContainer"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut bundle = case.bundle_named(&format!("bundle{number}"))?;
        bundle.args(&["/bin/probe", "exit", "0"]);
        let latch = Latch::new(bundle.inside("/latch"))?;
        let hook = match kind {
            "prestart" => Latch::hook(case.host_probe(), &latch.path),
            _ => Latch::hook(Path::new("/bin/probe"), Path::new("/latch")),
        };
        bundle.hook(kind, hook).write()?;
        let call = case.runtime([verb, "--bundle"]).arg(&bundle.dir);
        let running = call.arg(&case.id).start()?;
        let _held = latch.reached(case)?;
        running.signal(Signal::SIGTERM)?;
        running.wait()?.refused()?;
        equal("containers after it", case.ids_in_state().len(), 0)?;
    }
    Ok(())
}

/// A failed startContainer hook stops the container (runtime.md#lifecycle).
fn a_hook_that_hangs_inside_does_not_keep_start_from_its_end(case: &Case) -> Verdict {
    let (container, latch) = hanging_inside(case)?;
    let running = container.verb("start").start()?;
    let _held = latch.reached(case)?;
    running.signal(Signal::SIGTERM)?;
    running.wait()?.refused()?;
    container.wait_stopped()
}

/// `delete` without --force would end a container that counts as created.
fn a_start_that_is_killed_half_way_leaves_a_container_that_runs(case: &Case) -> Verdict {
    let (container, latch) = hanging_inside(case)?;
    let running = container.verb("start").start()?;
    let held = latch.reached(case)?;
    running.signal(Signal::SIGKILL)?;
    running.wait()?;
    drop(held);
    case.wait_for("status running", || {
        Ok((container.status()? == "running").then_some(()))
    })?;
    container.verb("delete").run()?.refused().map(drop)
}

/// SIGXFSZ ends who does not expect it, without a word.
fn a_limit_of_files_does_not_kill_the_runtime(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.args(&["/bin/probe", "exit", "0"]);
    bundle.write()?;
    let log = case.dir.join("log");
    let bundle = ["--bundle", &bundle.dir.to_string_lossy()].map(str::to_owned);
    for (verb, options) in [
        ("create", &bundle[..]),
        ("run", &bundle[..]),
        ("state", &[]),
    ] {
        let call = case.runtime([verb]).args(options).arg(&case.id);
        let call = call.globals(["--log"]).globals([&log]);
        let outcome = call.through(["prlimit", "--fsize=0"]).run()?;
        holds(outcome.status == 1, outcome.told())?;
        equal("containers after it", case.ids_in_state().len(), 0)?;
    }
    Ok(())
}
