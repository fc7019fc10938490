//! Random profiles and system calls, from a seed that a failure prints.

use super::super::{Action, Arch, Condition, Operator, Profile, Rule};

/// xorshift64*: the tests need many numbers, not good ones.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 33) as usize % limit
    }

    pub fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// A value near an edge of 32 or 64 bits, or any.
    pub fn value(&mut self) -> u64 {
        const EDGES: [u64; 11] = [
            0,
            1,
            2,
            0x7e02_0000,
            0x7fff_ffff,
            0x8000_0000,
            0xffff_ffff,
            0x1_0000_0000,
            0x1_0000_0001,
            0xffff_ffff_0000_0000,
            u64::MAX,
        ];
        match self.below(4) {
            0 => self.next() >> self.below(64),
            1 => self.below(16) as u64,
            _ => self.one(&EDGES),
        }
    }
}

/// What a random profile may hold.
pub struct Limits<'a> {
    pub names: &'a [&'a str],
    pub arches: &'a [Arch],
    pub rules: usize,
    /// Whether rules for one call may differ in their action and overlap.
    pub overlapping: bool,
    /// What libseccomp 2.5.4 gets wrong is left out: the tree that it makes of several rules
    /// for one call errs where one of them has `GT`, `GE`, `LT` or `LE`, and `LE` behind
    /// another condition reads as `GT` on 32-bit ABIs; and where the first call of an
    /// architecture has conditions, its number may be compared without being loaded.
    pub sound_for_libseccomp: bool,
}

/// A profile that is valid.
pub fn profile(random: &mut Random, limits: &Limits) -> Profile {
    let default_action = random.one(Action::ALL);
    let architectures = limits
        .arches
        .iter()
        .copied()
        .filter(|_| random.chance(60))
        .collect::<Vec<_>>();
    let mut profile = Profile {
        default_action: Some(default_action),
        default_errno: errno(random, default_action),
        architectures,
        flags: None,
        listener_path: Some("/run/agent".to_owned()),
        listener_metadata: None,
        rules: Vec::new(),
    };
    if limits.sound_for_libseccomp {
        profile.rules.extend(unconditional(default_action));
    }
    let mut taken: Vec<(String, Action, Option<u32>, bool)> = Vec::new();
    for _ in 0..1 + random.below(limits.rules) {
        let action = random.one(Action::ALL);
        let errno = errno(random, action);
        let mut rule = Rule {
            names: Vec::new(),
            action,
            errno,
            args: args(random, limits.sound_for_libseccomp),
        };
        let names = 1 + if rule.args.is_empty() {
            random.below(40)
        } else {
            random.below(2)
        };
        for _ in 0..names {
            let name = random.one(limits.names).to_owned();
            let orders = rule.args.iter().any(|c| orders(c.operator));
            // One action for each call, but for those without conditions, which beat others.
            let clash = taken.iter().any(|(other, a, e, _)| {
                *other == name && (*a, *e) != (action, errno) && !rule.args.is_empty()
            });
            let unsound = limits.sound_for_libseccomp
                && taken
                    .iter()
                    .any(|(other, _, _, o)| *other == name && (orders || *o));
            if (limits.overlapping || !clash) && !unsound {
                taken.push((name.clone(), action, errno, orders));
                rule.names.push(name);
            }
        }
        if !rule.names.is_empty() {
            profile.rules.push(rule);
        }
    }
    profile
}

/// Rules for calls that every architecture has, the first numbers among them.
fn unconditional(default: Action) -> Option<Rule> {
    let names = [
        "read",
        "write",
        "io_setup",
        "io_destroy",
        "close",
        "exit",
        "exit_group",
    ];
    Some(Rule {
        names: names.map(str::to_owned).to_vec(),
        action: if default == Action::Allow {
            Action::Log
        } else {
            Action::Allow
        },
        errno: None,
        args: Vec::new(),
    })
}

fn errno(random: &mut Random, action: Action) -> Option<u32> {
    let takes = matches!(action, Action::Errno | Action::Trace);
    (takes && random.chance(70)).then(|| random.one(&[0, 1, 13, 38, 4094]))
}

fn orders(operator: Operator) -> bool {
    matches!(
        operator,
        Operator::Lt | Operator::Le | Operator::Ge | Operator::Gt
    )
}

fn args(random: &mut Random, sound_for_libseccomp: bool) -> Vec<Condition> {
    let count = random.one(&[0, 0, 0, 1, 1, 2, 3, 4]);
    let mut args: Vec<Condition> = Vec::new();
    for _ in 0..count {
        let mut operator = random.one(Operator::ALL);
        let index = random.below(6) as u32;
        let repeated = args.iter().any(|c| c.index == index);
        if sound_for_libseccomp && count > 1 && (operator == Operator::Le || repeated) {
            operator = random.one(&[Operator::Eq, Operator::MaskedEq]);
        }
        args.push(Condition {
            index,
            value: random.value(),
            value_two: random.value(),
            operator,
        });
    }
    args
}

/// Arguments at the edges of what `profile` compares them with.
pub fn arguments(random: &mut Random, profile: &Profile, name: &str) -> [u64; 6] {
    let mut args = std::array::from_fn(|_| random.value());
    let rules: Vec<&Rule> = profile
        .rules
        .iter()
        .filter(|rule| !rule.args.is_empty() && rule.names.iter().any(|n| n == name))
        .collect();
    for _ in 0..2 {
        if rules.is_empty() {
            break;
        }
        for c in &random.one(&rules).args {
            let near = match c.operator {
                Operator::MaskedEq => {
                    let noise = random.next() & random.next();
                    (c.value_two & c.value) | (noise & !c.value)
                }
                _ => c.value,
            };
            args[c.index as usize] = match random.below(8) {
                0 => near.wrapping_add(1),
                1 => near.wrapping_sub(1),
                2 => near ^ (1 << 32),
                3 => near ^ (1 << random.below(64)),
                4 => near & 0xffff_ffff,
                _ => near,
            };
        }
    }
    args
}
