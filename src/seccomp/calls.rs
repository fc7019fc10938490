//! What the profile says about each system call.
//!
//! Owns the reading of rules: which apply to a call, and in which order.
//!
//! Runs in: parent, before anything is created.

use std::collections::HashMap;

use super::arch::{Arch, BUNDLED, Words};
use super::graph::{Graph, Id};
use super::hash::Fast;
use super::profile::{Action, Condition, Operator, Profile, Rule};
use super::{POINTER, tables};
use crate::error::{Error, Result};

/// Arguments of a system call are numbered 0 to 5.
const LARGEST_INDEX: u32 = 5;

/// A rule as it is checked: all of the conditions, then the value for the kernel.
struct Clause {
    action: Action,
    value: u32,
    conditions: Vec<Condition>,
}

/// The rules by the names they are for.
pub struct Calls<'p> {
    default: u32,
    clauses: Vec<Clause>,
    /// Name -> index into `named`.
    names: HashMap<&'p str, usize, Fast>,
    named: Vec<Named<'p>>,
}

/// The first argument under which a bundle carries a call, and the bits of it that the kernel
/// looks at.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Carried {
    first: u32,
    mask: u64,
}

impl Carried {
    /// socketcall(2) takes an int, ipc(2) the lower half of one: above it callers put a version
    /// (ksys_ipc of ipc/syscall.c), by which a rule that compared the whole would be evaded.
    fn new(by: &str, first: u32) -> Carried {
        let mask = match by {
            "ipc" => 0xffff,
            _ => 0xffff_ffff,
        };
        Carried { first, mask }
    }
}

struct Named<'p> {
    name: &'p str,
    /// Indices into `Calls::clauses`, in the order of the profile.
    clauses: Vec<usize>,
    /// Whether an architecture of the profile has this call.
    met: bool,
}

impl<'p> Calls<'p> {
    /// Sorts the rules of `profile` by name.
    ///
    /// # Errors
    /// An argument index above 5; an errno that the action does not take.
    pub fn read(profile: &'p Profile, default: u32) -> Result<Calls<'p>> {
        let mut calls = Calls {
            default,
            clauses: Vec::with_capacity(profile.rules.len()),
            names: HashMap::with_capacity_and_hasher(512, Fast::default()),
            named: Vec::with_capacity(512),
        };
        for (n, rule) in profile.rules.iter().enumerate() {
            calls.add(n, rule)?;
        }
        Ok(calls)
    }

    fn add(&mut self, n: usize, rule: &'p Rule) -> Result<()> {
        let value = rule.action.return_value(rule.errno).map_err(|e| {
            e.with_pointer(format!("{POINTER}/syscalls/{n}/errnoRet"))
                .within(format!("linux.seccomp.syscalls[{n}].errnoRet"))
        })?;
        for (m, condition) in rule.args.iter().enumerate() {
            if condition.index > LARGEST_INDEX {
                let e = Error::invalid(format!(
                    "linux.seccomp.syscalls[{n}].args[{m}].index: no argument has the index {}: the largest is {LARGEST_INDEX}",
                    condition.index
                ));
                return Err(e.with_pointer(format!("{POINTER}/syscalls/{n}/args/{m}/index")));
            }
        }
        let first = self.clauses.len();
        if value != self.default {
            let clause = |conditions| Clause {
                action: rule.action,
                value,
                conditions,
            };
            if repeats_an_argument(&rule.args) {
                self.clauses
                    .extend(rule.args.iter().map(|c| clause(vec![*c])));
            } else {
                self.clauses.push(clause(rule.args.clone()));
            }
        }
        for name in &rule.names {
            let at = *self.names.entry(name).or_insert_with(|| {
                self.named.push(Named {
                    name,
                    clauses: Vec::new(),
                    met: false,
                });
                self.named.len() - 1
            });
            self.named[at].clauses.extend(first..self.clauses.len());
        }
        Ok(())
    }

    /// The named calls of `arch` with what is to be done about each, by rising numbers. None
    /// where there is no table.
    pub fn answers(&mut self, arch: Arch, graph: &mut Graph) -> Option<Vec<(u32, Id)>> {
        let mut met: Vec<(u32, usize)> = Vec::with_capacity(512);
        let mut bundles: Vec<(u32, &str)> = Vec::new();
        let has_table = tables::walk(arch, |number, name| {
            if let Some(at) = self.names.get(name) {
                met.push((number, *at));
            }
            if arch.bundles_calls() && matches!(name, "socketcall" | "ipc") {
                bundles.push((number, name));
            }
        });
        if !has_table {
            return None;
        }
        let words = arch.words();
        let mut answers: Vec<(u32, Id)> = Vec::with_capacity(met.len() + bundles.len());
        for (number, at) in met {
            self.named[at].met = true;
            if !bundles.iter().any(|(bundle, _)| *bundle == number) {
                let clauses = self.named[at].clauses.iter().map(|c| (*c, None));
                answers.push((number, self.answer(clauses, words, graph)));
            }
        }
        for (number, call) in bundles {
            if let Some(answer) = self.bundle(call, words, graph) {
                let at = answers.partition_point(|(before, _)| *before < number);
                answers.insert(at, (number, answer));
            }
        }
        Some(answers)
    }

    /// The answer for socketcall(2) or ipc(2): by the rules for the calls that it carries and
    /// its own. None where the profile names none of them.
    fn bundle(&mut self, call: &str, words: Words, graph: &mut Graph) -> Option<Id> {
        let mut clauses: Vec<(usize, Option<Carried>)> = Vec::new();
        let mut named = false;
        let own = std::iter::once((call, call, None));
        let carried = BUNDLED
            .iter()
            .map(|(name, by, first)| (*name, *by, Some(Carried::new(by, *first))));
        for (name, by, first) in own.chain(carried) {
            if let Some(at) = self.names.get(name).filter(|_| by == call) {
                self.named[*at].met = true;
                named = true;
                let all = &self.named[*at].clauses;
                // What beats the other rules for a call does so where it is carried, too.
                let beats = |c: &&usize| conditions(&self.clauses[**c], None, words).is_empty();
                match all.iter().find(beats) {
                    Some(only) => clauses.push((*only, first)),
                    None => clauses.extend(all.iter().map(|c| (*c, first))),
                }
            }
        }
        clauses.sort_unstable();
        named.then(|| self.answer(clauses.into_iter(), words, graph))
    }

    /// The node that decides by `clauses`: each an index, with what the call carries it under
    /// where it is bundled.
    fn answer(
        &self,
        clauses: impl Iterator<Item = (usize, Option<Carried>)>,
        words: Words,
        graph: &mut Graph,
    ) -> Id {
        let mut conditional: Vec<(&Clause, Vec<Condition>)> = Vec::new();
        for (at, bundled) in clauses {
            let clause = &self.clauses[at];
            let conditions = conditions(clause, bundled, words);
            if conditions.is_empty() {
                return graph.give(clause.value);
            }
            conditional.push((clause, conditions));
        }
        // Stable: among equals the first of the profile.
        conditional.sort_by_key(|(clause, _)| clause.action);
        let budget = graph.budget();
        let default = graph.give(self.default);
        conditional
            .iter()
            .rev()
            .fold(default, |no, (clause, conditions)| {
                let yes = graph.give(clause.value);
                graph.all(conditions, words, yes, no, budget)
            })
    }

    /// The names that no architecture asked for so far has.
    pub fn never_met(&self) -> Vec<String> {
        let never = self.named.iter().filter(|named| !named.met);
        never.map(|named| named.name.to_owned()).collect()
    }
}

/// SPEC: config-linux.md does not say what two conditions on one argument mean; runc, which
/// began without the AND of conditions, makes each condition of such a rule an alternative.
fn repeats_an_argument(conditions: &[Condition]) -> bool {
    (1..conditions.len()).any(|n| {
        conditions[..n]
            .iter()
            .any(|c| c.index == conditions[n].index)
    })
}

/// The conditions of a clause that can fail. In a bundle the first argument is the number of
/// the carried call, and what the rule says about that argument cannot be checked: it lies
/// in the caller's memory, with all the others.
fn conditions(clause: &Clause, bundled: Option<Carried>, words: Words) -> Vec<Condition> {
    let mask = match words {
        Words::Narrow { .. } => u64::from(u32::MAX),
        Words::Wide { .. } => u64::MAX,
    };
    let carried = bundled.map(|carried| Condition {
        index: 0,
        value: carried.mask,
        value_two: carried.first.into(),
        operator: Operator::MaskedEq,
    });
    let own = clause.conditions.iter().copied().filter(|c| {
        let holds_always = c.operator == Operator::MaskedEq && c.value & mask == 0;
        !holds_always && (bundled.is_none() || c.index != 0)
    });
    carried.into_iter().chain(own).collect()
}
