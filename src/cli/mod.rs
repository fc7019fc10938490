//! The command line: a file per verb, with its options and its `run`.
//!
//! Owns every option that a caller may pass, and what an engine reads from standard output.
//! The table below is the table of contents. A verb is known here by functions alone, so that
//! a call builds the parser of the one verb that it names (see [`parse()`]).
//!
//! Runs in: parent, with the caller's privileges.

mod bundle_options;
mod check;
mod checkpoint;
mod create;
mod criu_options;
mod delete;
mod events;
mod exec;
mod features;
mod global;
mod kill;
mod late_hooks;
mod list;
#[cfg(any(test, feature = "manual"))]
mod manual;
mod matching;
mod mounts;
mod output;
mod parse;
mod passed;
mod pause;
mod pidfd_socket;
mod plan;
mod processes;
mod ps;
mod restore;
mod resume;
mod run;
mod signal;
mod spec;
mod spelling;
mod start;
mod state;
mod sub_cgroup;
mod update;
mod version;

use std::ffi::OsString;

use clap::{ArgMatches, Command};

use crate::error::Result;
use crate::process::shield;
use crate::trace;

pub use global::Global;
#[cfg(feature = "manual")]
pub use manual::write as write_manual;
pub use output::print;
pub use parse::{Parsed, parse};

/// Every verb, in the order of the help text.
static VERBS: [Entry; 20] = [
    entry::<create::Create>(),
    entry::<start::Start>(),
    entry::<run::Run>(),
    entry::<exec::Exec>(),
    entry::<kill::Kill>(),
    entry::<delete::Delete>(),
    entry::<state::State>(),
    entry::<list::List>(),
    entry::<ps::Ps>(),
    entry::<pause::Pause>(),
    entry::<resume::Resume>(),
    entry::<update::Update>(),
    entry::<events::Events>(),
    entry::<checkpoint::Checkpoint>(),
    entry::<restore::Restore>(),
    entry::<mounts::Mounts>(),
    entry::<check::Check>(),
    entry::<plan::Plan>(),
    entry::<spec::Spec>(),
    entry::<features::Features>(),
];

/// A verb's options, made from the command line, and what it does.
trait Verb: clap::Args {
    const NAME: &'static str;
    const ABOUT: &'static str;
    /// The usage line's words behind `rt NAME`, where clap's own would mislead.
    const USAGE: Option<&'static str> = None;
    /// The exit status of a call that fails after its options were understood.
    const FAILURE: u8 = 1;
    /// True for a verb that comes near a container's processes, which must not be able to
    /// write to the binary that it runs ([`shield`]).
    const SHIELDED: bool = false;

    /// Why this verb cannot do anything here, or not yet. Engines ask by `NAME --help` whether
    /// it works, so then that fails too.
    fn works() -> Result<()> {
        Ok(())
    }

    /// Returns the exit status: 0, or that of the payload.
    fn run(self, global: &Global) -> Result<u8>;
}

struct Entry {
    name: &'static str,
    about: &'static str,
    usage: Option<&'static str>,
    failure: u8,
    works: fn() -> Result<()>,
    shielded: bool,
    options: fn(Command) -> Command,
    run: fn(&mut ArgMatches, &Global) -> Result<u8>,
}

const fn entry<V: Verb>() -> Entry {
    Entry {
        name: V::NAME,
        about: V::ABOUT,
        usage: V::USAGE,
        failure: V::FAILURE,
        works: V::works,
        shielded: V::SHIELDED,
        options: V::augment_args,
        run: |matches, global| {
            V::from_arg_matches_mut(matches)
                .map_err(|e| parse::usage_error(&e))?
                .run(global)
        },
    }
}

/// Raises the shield of a verb that wants it before anything else is done, since all that is
/// done before it is done twice. What looks like a verb in other arguments costs a call or
/// three. A failure shows again in [`Call::run`], once the log is there to take it.
pub fn shield_early(arguments: &[OsString]) {
    let named = |verb: &&Entry| arguments.iter().skip(1).any(|word| word == verb.name);
    if VERBS
        .iter()
        .filter(|verb| verb.shielded)
        .any(|verb| named(&verb))
    {
        let _ = shield::raise();
    }
}

/// A verb with its options, ready to run.
pub struct Call {
    entry: &'static Entry,
    matches: ArgMatches,
    global: Global,
}

impl Call {
    /// Carries the verb out and returns the exit status, that of the payload included.
    pub fn run(mut self) -> Result<u8> {
        // A binary of tests would begin all of them again.
        if self.entry.shielded && !cfg!(test) {
            shield::raise()?;
        }
        self.global.begin_trace(|| self.title())?;
        let result = trace::during(self.entry.name, || {
            (self.entry.run)(&mut self.matches, &self.global)
        });
        trace::write();
        result
    }

    /// The verb, and the container that it is about: what the trace is headed with. Options are
    /// left out, since `--env` may hold a secret.
    fn title(&self) -> String {
        let id = self.matches.try_get_one::<String>("id").ok().flatten();
        let first = || {
            let words = self.matches.try_get_one::<OsString>("container_and_args");
            words
                .ok()
                .flatten()
                .map(|id| id.to_string_lossy().into_owned())
        };
        match id.cloned().or_else(first) {
            Some(id) => format!("rt {} {id:?}", self.entry.name),
            None => format!("rt {}", self.entry.name),
        }
    }

    /// The exit status of this verb where `run` fails.
    pub fn failure_status(&self) -> u8 {
        self.entry.failure
    }
}

#[cfg(test)]
mod flags_tests;
#[cfg(test)]
mod lifecycle_tests;
#[cfg(test)]
mod tests;
