//! The decision graph: what a filter asks, before it has addresses.
//!
//! Owns the nodes. Equal nodes are one node, so equal leaves, equal parts of a search and
//! equal argument checks are shared by all calls and architectures. A node is made after the
//! nodes it leads to, so ids fall along every path; the assembler relies on that.
//!
//! Runs in: parent, before anything is created.

use std::collections::HashMap;

use super::arch::Words;
use super::hash::Fast;
use super::profile::{Condition, Operator};

/// Byte offsets in `struct seccomp_data`, linux/seccomp.h.
pub const NUMBER: u32 = 0;
pub const ARCH: u32 = 4;
const ARGS: u32 = 16;

/// Above this many nodes a call's argument checks are no longer specialised, which could
/// double them with each rule.
const SPECIALISED_NODES: usize = 512;

pub type Id = u32;

/// A question about one 32-bit word of `struct seccomp_data`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Test {
    pub offset: u32,
    pub compare: Compare,
}

/// What is asked of one 32-bit word; a program of classic BPF can ask no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compare {
    Equal(u32),
    AtLeast(u32),
    /// Whether any bit of the mask is set.
    AnyOf(u32),
    /// Whether the word, masked by the first, is the second.
    MaskedEqual(u32, u32),
}

impl Compare {
    fn holds(self, word: u32) -> bool {
        match self {
            Compare::Equal(k) => word == k,
            Compare::AtLeast(k) => word >= k,
            Compare::AnyOf(mask) => word & mask != 0,
            Compare::MaskedEqual(mask, k) => word & mask == k,
        }
    }
}

/// An answer (`SECCOMP_RET_*`), or a question with a node for either outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Node {
    Return(u32),
    Branch { test: Test, yes: Id, no: Id },
}

/// Nodes without cycles, of which no two are the same.
#[derive(Default)]
pub struct Graph {
    nodes: Vec<Node>,
    ids: HashMap<Node, Id, Fast>,
}

impl Graph {
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    pub fn give(&mut self, value: u32) -> Id {
        self.intern(Node::Return(value))
    }

    pub fn branch(&mut self, test: Test, yes: Id, no: Id) -> Id {
        if yes == no {
            return yes;
        }
        let node = match test.compare {
            // The inverse needs no AND.
            Compare::MaskedEqual(mask, 0) => Node::Branch {
                test: Test {
                    compare: Compare::AnyOf(mask),
                    ..test
                },
                yes: no,
                no: yes,
            },
            Compare::MaskedEqual(mask, k) if mask == k && mask.is_power_of_two() => Node::Branch {
                test: Test {
                    compare: Compare::AnyOf(mask),
                    ..test
                },
                yes,
                no,
            },
            Compare::MaskedEqual(u32::MAX, k) => Node::Branch {
                test: Test {
                    compare: Compare::Equal(k),
                    ..test
                },
                yes,
                no,
            },
            _ => Node::Branch { test, yes, no },
        };
        self.intern(node)
    }

    fn intern(&mut self, node: Node) -> Id {
        let next = self.nodes.len() as Id;
        let id = *self.ids.entry(node).or_insert(next);
        if id == next {
            self.nodes.push(node);
        }
        id
    }

    /// Leads to `yes` where all of `conditions` hold, else to `no`. `budget` is the number of
    /// nodes up to which paths are shortened by what has been asked on them before.
    pub fn all(
        &mut self,
        conditions: &[Condition],
        words: Words,
        yes: Id,
        no: Id,
        budget: usize,
    ) -> Id {
        conditions.iter().rev().fold(yes, |yes, condition| {
            self.one(condition, words, yes, no, budget)
        })
    }

    /// The number of nodes up to which the checks of one more call may be specialised.
    pub fn budget(&self) -> usize {
        self.nodes.len() + SPECIALISED_NODES
    }

    fn one(&mut self, c: &Condition, words: Words, yes: Id, no: Id, budget: usize) -> Id {
        let base = ARGS + 8 * c.index;
        let (low, high) = match words {
            Words::Narrow { low } => (base + low, None),
            Words::Wide { low, high } => (base + low, Some(base + high)),
        };
        // As libseccomp has it, a 32-bit ABI sees the lower half of a value alone.
        let value = if high.is_some() {
            c.value
        } else {
            c.value & 0xffff_ffff
        };
        let mut check = Check {
            graph: self,
            low,
            high,
            budget,
        };
        match c.operator {
            Operator::Eq => check.equal(u64::MAX, value, yes, no),
            Operator::Ne => check.equal(u64::MAX, value, no, yes),
            Operator::MaskedEq => check.equal(c.value, c.value_two & c.value, yes, no),
            Operator::Ge => check.at_least(Some(value), yes, no),
            Operator::Lt => check.at_least(Some(value), no, yes),
            Operator::Gt => check.at_least(check.above(value), yes, no),
            Operator::Le => check.at_least(check.above(value), no, yes),
        }
    }

    /// A branch below which nothing is asked that the branch has answered.
    fn specialised(&mut self, test: Test, yes: Id, no: Id, budget: usize) -> Id {
        let yes = self.knowing(yes, test, true, budget, &mut HashMap::default());
        let no = self.knowing(no, test, false, budget, &mut HashMap::default());
        self.branch(test, yes, no)
    }

    /// `id` as it reads where `fact` is known to have had `outcome`.
    fn knowing(
        &mut self,
        id: Id,
        fact: Test,
        outcome: bool,
        budget: usize,
        done: &mut HashMap<Id, Id, Fast>,
    ) -> Id {
        let Node::Branch { test, yes, no } = self.nodes[id as usize] else {
            return id;
        };
        if self.nodes.len() >= budget {
            return id;
        }
        if let Some(known) = done.get(&id) {
            return *known;
        }
        let new = match decided(fact, outcome, test) {
            Some(true) => self.knowing(yes, fact, outcome, budget, done),
            Some(false) => self.knowing(no, fact, outcome, budget, done),
            None => {
                let yes = self.knowing(yes, fact, outcome, budget, done);
                let no = self.knowing(no, fact, outcome, budget, done);
                self.branch(test, yes, no)
            }
        };
        done.insert(id, new);
        new
    }

    /// A balanced search for the word at `offset` among `ranges`: pairs of first number and
    /// destination, rising, the first from 0.
    pub fn search(&mut self, offset: u32, ranges: &[(u32, Id)]) -> Id {
        match ranges {
            [] => unreachable!("the caller gives at least the range from 0"),
            [(_, only)] => *only,
            // One number among others costs one question, not two.
            [(_, around), (one, inner), (after, again)] if around == again && after - one == 1 => {
                let test = Test {
                    offset,
                    compare: Compare::Equal(*one),
                };
                self.branch(test, *inner, *around)
            }
            _ => {
                let middle = ranges.len() / 2;
                let below = self.search(offset, &ranges[..middle]);
                let above = self.search(offset, &ranges[middle..]);
                let test = Test {
                    offset,
                    compare: Compare::AtLeast(ranges[middle].0),
                };
                self.branch(test, above, below)
            }
        }
    }
}

/// What `fact` with its `outcome` says about `test`, if anything.
fn decided(fact: Test, outcome: bool, test: Test) -> Option<bool> {
    if fact.offset != test.offset {
        return None;
    }
    match (fact.compare, outcome) {
        _ if fact == test => Some(outcome),
        (Compare::Equal(word), true) => Some(test.compare.holds(word)),
        (Compare::AtLeast(limit), true) => match test.compare {
            Compare::AtLeast(k) if k <= limit => Some(true),
            Compare::Equal(k) if k < limit => Some(false),
            _ => None,
        },
        (Compare::AtLeast(limit), false) => match test.compare {
            Compare::AtLeast(k) | Compare::Equal(k) if k >= limit => Some(false),
            _ => None,
        },
        _ => None,
    }
}

/// One argument of a call, as one or two words.
struct Check<'g> {
    graph: &'g mut Graph,
    low: u32,
    high: Option<u32>,
    budget: usize,
}

impl Check<'_> {
    /// The smallest value above `value`, if there is one in this width.
    fn above(&self, value: u64) -> Option<u64> {
        let largest = if self.high.is_some() {
            u64::MAX
        } else {
            u64::from(u32::MAX)
        };
        (value < largest).then(|| value + 1)
    }

    fn test(&mut self, offset: u32, compare: Compare, yes: Id, no: Id) -> Id {
        self.graph
            .specialised(Test { offset, compare }, yes, no, self.budget)
    }

    fn equal(&mut self, mask: u64, value: u64, yes: Id, no: Id) -> Id {
        let mut next = yes;
        for (offset, mask, value) in [
            (Some(self.low), mask as u32, value as u32),
            (self.high, (mask >> 32) as u32, (value >> 32) as u32),
        ] {
            let Some(offset) = offset.filter(|_| mask != 0) else {
                continue;
            };
            let compare = if mask == u32::MAX {
                Compare::Equal(value)
            } else {
                Compare::MaskedEqual(mask, value)
            };
            next = self.test(offset, compare, next, no);
        }
        next
    }

    /// None: no value is that large.
    fn at_least(&mut self, value: Option<u64>, yes: Id, no: Id) -> Id {
        let Some(value) = value else { return no };
        let (high, low) = ((value >> 32) as u32, value as u32);
        let same_high = match low {
            0 => yes,
            low => self.test(self.low, Compare::AtLeast(low), yes, no),
        };
        let Some(offset) = self.high else {
            return same_high;
        };
        if low == 0 {
            return match high {
                0 => yes,
                high => self.test(offset, Compare::AtLeast(high), yes, no),
            };
        }
        let other_high = match high {
            0 => yes,
            u32::MAX => no,
            high => self.test(offset, Compare::AtLeast(high), yes, no),
        };
        self.test(offset, Compare::Equal(high), same_high, other_high)
    }
}
