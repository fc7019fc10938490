//! Seccomp: from the profile of config.json to one program of classic BPF.
//!
//! Owns every decision about system calls. The program asks for the architecture, then
//! searches the call's number among ranges with equal answers, then checks arguments;
//! docs/design/0003-seccomp.md says how it came to be and what it costs. Loading it is
//! [`crate::sys::seccomp`]'s part.
//!
//! What a profile means where the specification is silent, as runc has it:
//! * Conditions of one rule all have to hold; but where one rule has two conditions on the
//!   same argument, each of its conditions is a rule of its own.
//! * A rule whose action is the default is passed over.
//! * A rule without conditions beats those with, the first one of them if there are several.
//! * The native architecture is always among those of the profile.
//! * A call of another architecture kills the thread, as does one of x32 on x86_64.
//! * Where the default action refuses, calls above the largest that the profile names give
//!   ENOSYS, so that a C library that is newer than the profile falls back.
//!
//! And as nobody has it, since libseccomp's answer depends on the order of its tree: where
//! conditions of several rules hold at once, the strictest action wins, by the order in which
//! the kernel ranks several filters.
//!
//! Runs in: parent, before anything is created.

mod arch;
mod assemble;
mod calls;
mod graph;
mod hash;
mod profile;
mod raw;
mod summary;
mod tables;

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;

use seccompiler::BpfProgram;

pub use arch::Arch;
pub use profile::{Action, Condition, Flag, Operator, Profile, Rule};
pub use raw::from_base64;

use crate::error::{Context, Error, Result};
use arch::X32_BIT;
use calls::Calls;
use graph::{Graph, Id};

const POINTER: &str = "/linux/seccomp";

/// A profile made ready for the kernel.
#[derive(Clone, PartialEq)]
pub struct Filter {
    pub program: BpfProgram,
    /// `SECCOMP_FILTER_FLAG_*` for seccomp(2).
    pub flags: u32,
    /// Who answers the calls with `SCMP_ACT_NOTIFY`; none where the profile has no such rule.
    pub listener: Option<Listener>,
}

/// The program by its length: nobody reads hundreds of instructions in a plan.
impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Filter")
            .field(
                "program",
                &format_args!("{} instructions", self.program.len()),
            )
            .field("flags", &format_args!("{:#x}", self.flags))
            .field("listener", &self.listener)
            .finish()
    }
}

/// The agent's socket and what it is told, config-linux.md#seccomp.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    pub path: PathBuf,
    pub metadata: Option<String>,
}

/// What the profile says and the program does not, for the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// Names that no architecture of the profile has.
    pub names: Vec<String>,
    /// Architectures without a table: their calls are killed like those of an architecture
    /// that the profile does not list.
    pub architectures: Vec<Arch>,
}

/// Compiles `profile` for a kernel of the architecture `native`.
///
/// # Errors
/// No default action, an errno that cannot be returned, an argument index above 5, `WAIT_KILLABLE_RECV` without
/// a `NOTIFY` rule, more than 4096 instructions: with the JSON pointer of the place.
pub fn compile(profile: &Profile, native: Arch) -> Result<(Filter, Skipped)> {
    let default_action = profile.default_action.ok_or_else(|| {
        Error::invalid("linux.seccomp: has no defaultAction")
            .with_pointer(format!("{POINTER}/defaultAction"))
    })?;
    let default = default_action
        .return_value(profile.default_errno)
        .map_err(|e| e.with_pointer(format!("{POINTER}/defaultErrnoRet")))
        .context(|| "linux.seccomp.defaultErrnoRet")?;
    let flags = flags(profile)?;
    let calls = Calls::read(profile, default)?;
    let mut compiler = Compiler {
        graph: Graph::default(),
        calls,
        default,
        stub: !default_action.is_permissive(),
        skipped: Skipped::default(),
    };
    let root = compiler.architectures(profile, native);
    let program =
        assemble::assemble(compiler.graph.nodes(), root).at(POINTER, || "linux.seccomp")?;
    let listener = profile.listener()?;
    let mut skipped = compiler.skipped;
    skipped.names = compiler.calls.never_met();
    Ok((
        Filter {
            program,
            flags,
            listener,
        },
        skipped,
    ))
}

impl Profile {
    /// Whether any call is to be answered by an agent.
    pub fn notifies(&self) -> bool {
        self.default_action == Some(Action::Notify)
            || self.rules.iter().any(|rule| rule.action == Action::Notify)
    }

    /// Who is asked, where anybody is.
    fn listener(&self) -> Result<Option<Listener>> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let metadata = given(&self.listener_metadata);
        let refuse = |message, field| {
            let e = Error::invalid(format!("linux.seccomp.{field}: {message}"));
            Err(e.with_pointer(format!("{POINTER}/{field}")))
        };
        match given(&self.listener_path) {
            Some(path) if self.notifies() => Ok(Some(Listener {
                path: path.into(),
                metadata,
            })),
            None if self.notifies() => refuse(
                "SCMP_ACT_NOTIFY needs the path of an agent's socket",
                "listenerPath",
            ),
            None if metadata.is_some() => {
                refuse("has no listenerPath beside it", "listenerMetadata")
            }
            _ => Ok(None),
        }
    }
}

impl Flag {
    /// `SECCOMP_FILTER_FLAG_*`, linux/seccomp.h.
    fn bit(self) -> u32 {
        let bit = match self {
            Flag::Tsync => libc::SECCOMP_FILTER_FLAG_TSYNC,
            Flag::Log => libc::SECCOMP_FILTER_FLAG_LOG,
            Flag::SpecAllow => libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW,
            Flag::WaitKillableRecv => libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
        };
        bit as u32
    }

    /// Whether the running kernel knows it: `WAIT_KILLABLE_RECV` is of Linux 5.19.
    pub fn is_supported(self) -> bool {
        let needs = match self {
            Flag::WaitKillableRecv => libc::SECCOMP_FILTER_FLAG_NEW_LISTENER as u32,
            _ => 0,
        };
        crate::sys::seccomp::knows_flag(self.bit() | needs)
    }
}

impl Action {
    /// Whether the running kernel knows it: `NOTIFY` is of Linux 5.0.
    pub fn is_supported(self) -> bool {
        self.return_value(None).is_ok_and(|value| {
            crate::sys::seccomp::knows_action(value & libc::SECCOMP_RET_ACTION_FULL)
        })
    }
}

/// The flags of seccomp(2). Without a list in config.json `SPEC_ALLOW` is set, as runc and
/// crun do: the mitigation that it switches off costs interpreters a factor of two.
fn flags(profile: &Profile) -> Result<u32> {
    let mut bits = 0;
    let given = profile.flags.as_deref().unwrap_or(&[Flag::SpecAllow]);
    for (n, flag) in given.iter().enumerate() {
        if *flag == Flag::WaitKillableRecv && !profile.notifies() {
            let e = Error::invalid(format!(
                "linux.seccomp.flags[{n}]: {} needs a rule with {}",
                flag.name(),
                Action::Notify.name()
            ));
            return Err(e.with_pointer(format!("{POINTER}/flags/{n}")));
        }
        bits |= flag.bit();
    }
    if profile.notifies() {
        bits |= libc::SECCOMP_FILTER_FLAG_NEW_LISTENER as u32;
        if bits & Flag::Tsync.bit() != 0 {
            // The two together only in this form, Linux 5.7.
            bits |= libc::SECCOMP_FILTER_FLAG_TSYNC_ESRCH as u32;
        }
    }
    Ok(bits)
}

struct Compiler<'p> {
    graph: Graph,
    calls: Calls<'p>,
    default: u32,
    /// Whether calls above the largest named one give ENOSYS.
    stub: bool,
    skipped: Skipped,
}

impl Compiler<'_> {
    /// The dispatch on the architecture, the native one asked for first.
    fn architectures(&mut self, profile: &Profile, native: Arch) -> Id {
        let mut all = vec![native];
        for arch in &profile.architectures {
            if !all.contains(arch) {
                all.push(*arch);
            }
        }
        let mut audits: Vec<u32> = Vec::new();
        for arch in &all {
            if !audits.contains(&arch.audit()) {
                audits.push(arch.audit());
            }
        }
        let mut node = self.graph.give(libc::SECCOMP_RET_KILL_THREAD);
        for audit in audits.into_iter().rev() {
            let same: Vec<Arch> = all.iter().copied().filter(|a| a.audit() == audit).collect();
            if let Some(numbers) = self.numbers(&same) {
                let test = graph::Test {
                    offset: graph::ARCH,
                    compare: graph::Compare::Equal(audit),
                };
                node = self.graph.branch(test, numbers, node);
            }
        }
        node
    }

    /// The search among the call numbers of architectures that the kernel names alike: one, or
    /// x86_64 with x32. None where there is no table.
    fn numbers(&mut self, same: &[Arch]) -> Option<Id> {
        let mut ranges = Ranges::default();
        let bad = self.graph.give(libc::SECCOMP_RET_KILL_THREAD);
        let default = self.graph.give(self.default);
        let x32 = same.contains(&Arch::X32);
        match same {
            [Arch::X32] => ranges.from(0, bad),
            [Arch::X32 | Arch::X86_64, ..] => {
                self.fill(&mut ranges, Arch::X86_64, 0);
                if !x32 {
                    ranges.from(X32_BIT, bad);
                    // A tracer puts -1 where a call is to be skipped, and the filter runs
                    // again after it (seccomp(2)): that is no call of x32.
                    ranges.from(u32::MAX, default);
                }
            }
            [arch, ..] => {
                if !self.fill(&mut ranges, *arch, 0) {
                    self.skipped.architectures.push(*arch);
                    return None;
                }
            }
            [] => return None,
        }
        if x32 {
            self.fill(&mut ranges, Arch::X32, X32_BIT);
        }
        Some(self.graph.search(graph::NUMBER, &ranges.0))
    }

    /// Appends the answers for the calls of `arch`, whose numbers begin at `first`. False
    /// where there is no table.
    fn fill(&mut self, ranges: &mut Ranges, arch: Arch, first: u32) -> bool {
        let default = self.graph.give(self.default);
        let Some(answers) = self.calls.answers(arch, &mut self.graph) else {
            return false;
        };
        let enosys = self
            .graph
            .give(libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32);
        ranges.from(first, default);
        // Largest number 0: as in runc, whose sentinel it is.
        let largest = answers
            .last()
            .filter(|(number, _)| self.stub && *number != 0);
        if largest.is_some() && arch == Arch::S390x {
            // Number 0 carries calls that do not fit in the instruction; it stays 0 where
            // the kernel does not know them.
            ranges.from(0, enosys);
            ranges.from(1, default);
        }
        for (number, answer) in &answers {
            ranges.from(*number, *answer);
            ranges.from(number + 1, default);
        }
        if let Some((largest, _)) = largest {
            ranges.from(largest + 1, enosys);
        }
        true
    }
}

/// Ranges of numbers with one answer each, rising: the first number and the answer.
#[derive(Default)]
struct Ranges(Vec<(u32, Id)>);

impl Ranges {
    /// From `first` on the answer is `answer`. `first` does not fall.
    fn from(&mut self, first: u32, answer: Id) {
        if self.0.last().is_some_and(|(last, _)| *last == first) {
            self.0.pop();
        }
        if self.0.last().is_none_or(|(_, last)| *last != answer) {
            self.0.push((first, answer));
        }
    }
}
