//! One process per test, a few at a time, each with a deadline.
//!
//! ```text
//!     main --fork--> worker (subreaper, own mount namespace, the user's ids) --spawn--> runtime, which makes the container
//!          <--JSON--
//! ```
//!
//! Every process that a test starts stays below its worker, so whatever a test leaves can be found and ended.
//!
//! Runs in: the suite's main process; `work` in the worker.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Gid, Pid, Uid, pipe2, setgroups, setresgid, setresuid};

use super::case::Case;
use super::host::{Mode, World};
use super::leftovers;
use super::verdict::{Level, Stop, Test, Verdict, fail};
use crate::options::Options;
use crate::sys;

struct Worker {
    index: usize,
    test: &'static Test,
    pid: Pid,
    answer: OwnedFd,
    started: Instant,
    deadline: Instant,
}

/// Runs the tests, numbered from `first`, and hands each outcome out as it comes. False: SIGINT or SIGTERM stopped it
/// early.
pub fn run_all(
    tests: &[&'static Test],
    first: usize,
    world: &World,
    options: &Options,
    mut done: impl FnMut(usize, &'static Test, &Verdict, Duration),
) -> bool {
    let interrupt = catch_interrupt();
    let mut waiting = (first..).zip(tests.iter().copied());
    let mut running: Vec<Worker> = Vec::new();
    let mut stopped = false;
    loop {
        while running.len() < options.jobs && !stopped {
            let Some((index, test)) = waiting.next() else {
                break;
            };
            match start(index, test, world, options.timeout) {
                Ok(worker) => running.push(worker),
                Err(stop) => done(index, test, &Err(stop), Duration::ZERO),
            }
        }
        if running.is_empty() {
            return !stopped;
        }
        wait_for_any(&running, interrupt.as_ref());
        if interrupt
            .as_ref()
            .is_some_and(|signals| matches!(signals.read_signal(), Ok(Some(_))))
        {
            stopped = true;
            for worker in &mut running {
                worker.deadline = Instant::now();
            }
        }
        let (over, still): (Vec<Worker>, Vec<Worker>) = running
            .into_iter()
            .partition(|worker| is_readable(worker) || worker.deadline <= Instant::now());
        running = still;
        for worker in over {
            let (index, test, taken) = (worker.index, worker.test, worker.started.elapsed());
            done(index, test, &finish(worker), taken);
        }
    }
}

/// SIGINT and SIGTERM as a descriptor, so that they never leave half a test behind.
fn catch_interrupt() -> Option<SignalFd> {
    let mut set = SigSet::empty();
    set.add(Signal::SIGINT);
    set.add(Signal::SIGTERM);
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&set), None).ok()?;
    SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC).ok()
}

fn wait_for_any(running: &[Worker], interrupt: Option<&SignalFd>) {
    let next = running
        .iter()
        .map(|worker| worker.deadline)
        .min()
        .unwrap_or_else(Instant::now);
    let left = next.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
    let mut fds: Vec<PollFd<'_>> = running
        .iter()
        .map(|worker| PollFd::new(worker.answer.as_fd(), PollFlags::POLLIN))
        .collect();
    fds.extend(interrupt.map(|signals| PollFd::new(signals.as_fd(), PollFlags::POLLIN)));
    // An interrupted poll is a round without news.
    let _ = poll(
        &mut fds,
        PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX),
    );
}

fn is_readable(worker: &Worker) -> bool {
    sys::readable_before(worker.answer.as_fd(), Instant::now()).unwrap_or(true)
}

fn start(index: usize, test: &'static Test, world: &World, timeout: Duration) -> Verdict<Worker> {
    let case = Case::prepare(world, index, timeout)?;
    let (answer, tell) = pipe2(OFlag::O_CLOEXEC)?;
    match sys::fork()? {
        ForkResult::Parent { child } => {
            // The worker's own deadline comes first and says more.
            Ok(Worker {
                index,
                test,
                pid: child,
                answer,
                started: Instant::now(),
                deadline: Instant::now() + timeout + Duration::from_secs(5),
            })
        }
        ForkResult::Child => {
            drop(answer);
            let outcome = work(test, world, &case);
            let text = serde_json::to_string(&outcome).unwrap_or_default();
            let _ = File::from(tell).write_all(text.as_bytes());
            std::process::exit(0);
        }
    }
}

fn work(test: &Test, world: &World, case: &Case) -> Verdict {
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?;
    nix::sys::prctl::set_child_subreaper(true)?;
    if world.privileged {
        unshare(CloneFlags::CLONE_NEWNS)?;
    }
    if let (true, Mode::Rootless(user)) = (world.privileged, &world.mode) {
        let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
        setgroups(&[gid])?;
        setresgid(gid, gid, gid)?;
        setresuid(uid, uid, uid)?;
    }
    let before = leftovers::Before::look()?;
    let outcome = if test.level == Level::Attack {
        case.control()
    } else {
        Ok(())
    }
    .and_then(|()| (test.run)(case));
    let left = leftovers::clear(case, &before);
    match (outcome, left.is_empty()) {
        (outcome, true) => outcome,
        (Err(Stop::Fail(message)), false) => {
            fail(format!("{message}\nand left behind: {}", left.join(", ")))
        }
        (_, false) => fail(format!("left behind: {}", left.join(", "))),
    }
}

/// Takes the worker's answer; ends it with all its descendants when it has none in time.
fn finish(worker: Worker) -> Verdict {
    let late = !is_readable(&worker);
    if late {
        leftovers::end_family(worker.pid);
    }
    let mut text = String::new();
    let read = File::from(worker.answer).read_to_string(&mut text);
    let _ = waitpid(worker.pid, None);
    if late {
        return fail("it was still running at its deadline and was ended");
    }
    match read
        .map_err(|error| error.to_string())
        .and_then(|_| serde_json::from_str(&text).map_err(|error| error.to_string()))
    {
        Ok(outcome) => outcome,
        Err(_) => fail("the test's own process ended without a word (a panic of the suite?)"),
    }
}

/// Descendants of a process by their parents in /proc.
pub fn descendants(of: Pid) -> Vec<Pid> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for entry in std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
    {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else {
            continue;
        };
        if let Some(parent) = parent_of(pid) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = Vec::new();
    let mut open = vec![of.as_raw()];
    while let Some(pid) = open.pop() {
        for child in children.get(&pid).into_iter().flatten() {
            found.push(Pid::from_raw(*child));
            open.push(*child);
        }
    }
    found
}

/// The fourth field of /proc/PID/stat, after a name that may hold anything.
fn parent_of(pid: i32) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}
