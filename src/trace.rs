//! The trace: where a start spends its time (`--trace`).
//!
//! Owns the steps that each process notes, and the forms in which they are written: a table for
//! people, and the Trace Event Format for what draws pictures of them (Perfetto, Chrome's
//! about:tracing). Without `--trace` a step is one look at one flag.
//!
//! Runs in: every process. Those of a container hand their steps to the parent over the wire
//! (see [`divert`]), and the parent writes all of them when it ends ([`write()`]).

mod form;

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use nix::sys::resource::{UsageWho, getrusage};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// One thing that one process did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The process, by the name that it has in `ps` and in errors.
    who: Cow<'static, str>,
    what: Cow<'static, str>,
    /// Since 1970. Not CLOCK_MONOTONIC, which a time namespace changes in the middle of a start.
    began: Duration,
    took: Duration,
}

impl Step {
    fn ended(&self) -> Duration {
        self.began + self.took
    }

    /// Whether `other` is a part of this step.
    fn holds(&self, other: &Step) -> bool {
        self.who == other.who && self.began <= other.began && other.ended() <= self.ended()
    }
}

type Diversion = Box<dyn Fn(&[Step]) + Send>;

enum Destination {
    Nowhere,
    Table(File),
    Stderr,
    Events(File),
    Diverted(Diversion),
}

struct Trace {
    title: String,
    who: &'static str,
    steps: Vec<Step>,
    destination: Destination,
}

static ON: AtomicBool = AtomicBool::new(false);
static TRACE: Mutex<Trace> = Mutex::new(Trace {
    title: String::new(),
    who: "parent",
    steps: Vec::new(),
    destination: Destination::Nowhere,
});

/// So many steps of a process fit into one message of the wire, whose names are paths.
const STEPS_PER_MESSAGE: usize = 8;

/// The longest name of a step, in characters: so many of them stay below a message's length.
const LONGEST_NAME: usize = 1000;

/// Begins the trace, which has `title` above it. `place` is a file, which is only ever appended to, or `-` for standard error;
/// a name that ends in `.json` gets the Trace Event Format, any other a table.
///
/// What came before this call is the first step, by the processor's time: nothing else is known
/// of a time at which rt did not run yet, or ran from another copy of its binary.
pub fn begin(place: &OsStr, title: String) -> Result<()> {
    let destination = match place.as_bytes() {
        b"-" => Destination::Stderr,
        name => {
            let file = File::options()
                .append(true)
                .create(true)
                .open(place)
                .map_err(|e| Error::io("open", Path::new(place), &e).within("--trace"))?;
            match name.ends_with(b".json") {
                true => Destination::Events(file),
                false => Destination::Table(file),
            }
        }
    };
    ON.store(true, Ordering::Relaxed);
    let now = now();
    let took = processor_time();
    with(|trace| {
        trace.title = title;
        trace.destination = destination;
        trace.steps.push(Step {
            who: trace.who.into(),
            what: "start of the program (processor time)".into(),
            began: now.saturating_sub(took),
            took,
        });
    });
    Ok(())
}

/// A step that lasts until it is dropped.
#[must_use = "a step ends where it is dropped"]
pub struct Open(Option<Begun>);

struct Begun {
    /// None for this process.
    who: Option<&'static str>,
    what: Cow<'static, str>,
    at: Duration,
}

impl Open {
    fn new<T: Into<Cow<'static, str>>>(
        who: Option<&'static str>,
        what: impl FnOnce() -> T,
    ) -> Open {
        Open(is_on().then(|| Begun {
            who,
            what: what().into(),
            at: now(),
        }))
    }
}

/// Begins a step.
pub fn step(what: &'static str) -> Open {
    Open::new(None, || what)
}

/// Carries `action` out as a step.
pub fn during<T>(what: &'static str, action: impl FnOnce() -> T) -> T {
    let _step = step(what);
    action()
}

/// Begins a step whose name is put together only where there is a trace.
pub fn step_of(what: impl FnOnce() -> String) -> Open {
    Open::new(None, || {
        what().chars().take(LONGEST_NAME).collect::<String>()
    })
}

/// Begins the last step of the process `who`, which it cannot note itself: it ends with execve(2).
/// It begins no sooner than what `who` itself has to say ends.
pub fn last_step_of(who: &'static str, what: &'static str) -> Open {
    Open::new(Some(who), || what)
}

impl Drop for Open {
    fn drop(&mut self) {
        let Some(Begun { who, what, at }) = self.0.take() else {
            return;
        };
        let end = now();
        with(|trace| {
            let last = |who: &str| {
                let own = trace.steps.iter().filter(|step| step.who == who);
                own.map(Step::ended).max().unwrap_or_default()
            };
            let began = who.map_or(at, |who| at.max(last(who)));
            trace.steps.push(Step {
                who: who.unwrap_or(trace.who).into(),
                what,
                began,
                took: end.saturating_sub(began),
            });
        });
    }
}

/// In a process just born: calls it `who` from now on, and forgets what its parent had noted.
pub fn rename(who: &'static str) {
    with(|trace| {
        trace.who = who;
        trace.steps.clear();
    });
}

/// Hands later steps to `to`, by [`hand_over`]. What was noted before is the parent's own.
pub fn divert(to: impl Fn(&[Step]) + Send + 'static) {
    if is_on() {
        with(|trace| {
            trace.steps.clear();
            trace.destination = Destination::Diverted(Box::new(to));
        });
    }
}

/// Notes steps no more: nobody is there to take them, and no descriptor may be kept for that.
pub fn stop() {
    with(|trace| trace.destination = Destination::Nowhere);
}

/// Gives all steps of this process to where they were diverted.
pub fn hand_over() {
    if is_on() {
        with(|trace| {
            let steps = std::mem::take(&mut trace.steps);
            if let Destination::Diverted(to) = &trace.destination {
                steps.chunks(STEPS_PER_MESSAGE).for_each(to);
            }
        });
    }
}

/// Takes the steps of another process.
pub fn receive(steps: Vec<Step>) {
    with(|trace| trace.steps.extend(steps));
}

/// Writes the trace of this process and all of its children. A place that cannot be written to is
/// no reason to fail what is over.
pub fn write() {
    if !is_on() {
        return;
    }
    with(|trace| {
        trace
            .steps
            .sort_by_key(|step| (step.began, std::cmp::Reverse(step.took)));
        let (title, steps) = (&trace.title, &trace.steps);
        let _ = match &mut trace.destination {
            Destination::Table(file) => file.write_all(form::table(title, steps).as_bytes()),
            Destination::Stderr => {
                std::io::stderr().write_all(form::table(title, steps).as_bytes())
            }
            Destination::Events(file) => {
                let is_empty = file.metadata().is_ok_and(|file| file.len() == 0);
                let begin = if is_empty { "[\n" } else { "" };
                file.write_all(format!("{begin}{}", form::events(title, steps)).as_bytes())
            }
            Destination::Nowhere | Destination::Diverted(_) => Ok(()),
        };
    });
}

fn is_on() -> bool {
    ON.load(Ordering::Relaxed)
}

fn now() -> Duration {
    SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default()
}

/// What this process has used of the processor, in all programs that it has executed.
fn processor_time() -> Duration {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else {
        return Duration::ZERO;
    };
    [usage.user_time(), usage.system_time()]
        .into_iter()
        .map(|time| {
            let microseconds = time.tv_sec().saturating_mul(1_000_000) + time.tv_usec();
            Duration::from_micros(u64::try_from(microseconds).unwrap_or(0))
        })
        .sum()
}

fn with<T>(f: impl FnOnce(&mut Trace) -> T) -> T {
    // One thread, so the lock is never contended; a poisoned one still holds a trace.
    f(&mut TRACE
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_the_longest_names_fits_the_wire() {
        let name = "\u{1}".repeat(LONGEST_NAME);
        let step = Step {
            who: "parent".into(),
            what: name.into(),
            began: now(),
            took: Duration::MAX,
        };
        let message = serde_json::to_vec(&vec![step; STEPS_PER_MESSAGE]).unwrap();
        assert!(message.len() < 60 << 10, "{}", message.len());
    }

    #[test]
    fn without_a_trace_no_name_is_put_together() {
        drop(step_of(|| panic!("nobody asked")));
    }
}
