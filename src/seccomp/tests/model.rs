//! The meaning of a profile, said as plainly as possible: rule by rule, call by call. It also
//! covers what libseccomp cannot judge: overlapping rules with different actions, and what
//! it gets wrong.

use std::collections::HashMap;

use super::super::arch::{BUNDLED, Words};
use super::super::{Arch, Condition, Operator, Profile, Rule, compile, tables};
use super::machine::{Data, run, verify};
use super::oracle::{big_endian, first};
use super::random::{self, Limits, Random};

const KILL: u32 = 0;
const ENOSYS: u32 = 0x0005_0026;

struct Model<'p> {
    profile: &'p Profile,
    default: u32,
    tables: HashMap<Arch, HashMap<u32, &'static str>>,
}

impl<'p> Model<'p> {
    fn new(profile: &'p Profile, native: Arch) -> Model<'p> {
        let mut tables = HashMap::new();
        for arch in profile.architectures.iter().copied().chain([native]) {
            let mut table = HashMap::new();
            if tables::walk(arch, |number, name| {
                table.insert(number, name);
            }) {
                tables.insert(arch, table);
            }
        }
        let default = profile
            .default_action
            .unwrap()
            .return_value(profile.default_errno)
            .unwrap();
        Model {
            profile,
            default,
            tables,
        }
    }

    fn decide(&self, arch: Arch, data: &Data) -> u32 {
        let arch = match arch {
            Arch::X86_64 | Arch::X32 if data.number < 0x4000_0000 => Arch::X86_64,
            Arch::X86_64 | Arch::X32 if self.tables.contains_key(&Arch::X32) => Arch::X32,
            Arch::X86_64 | Arch::X32
                if data.number == u32::MAX && self.tables.contains_key(&Arch::X86_64) =>
            {
                return self.default;
            }
            Arch::X86_64 | Arch::X32 => return KILL,
            other => other,
        };
        let Some(table) = self.tables.get(&arch) else {
            return KILL;
        };
        if self.is_beyond(arch, table, data.number) {
            return ENOSYS;
        }
        let name = table.get(&data.number).copied().unwrap_or("");
        let carried = BUNDLED
            .iter()
            .filter(|(_, by, first)| {
                // As much as the kernel looks at.
                let mask = if name == "ipc" { 0xffff } else { 0xffff_ffff };
                let arg = data.args[0] & mask;
                arch.bundles_calls() && *by == name && u64::from(*first) == arg
            })
            .map(|(carried, _, _)| *carried)
            .next();
        if let Some(value) = self.unconditional(name, arch) {
            return value;
        }
        let carried_value = carried.and_then(|carried| self.unconditional(carried, arch));
        let mut matching: Vec<(usize, &Rule)> = Vec::new();
        for (n, rule) in self.profile.rules.iter().enumerate() {
            let own = rule.names.iter().any(|n| n == name) && holds(rule, data, arch, false);
            let for_carried =
                carried.is_some_and(|carried| rule.names.iter().any(|n| n == carried));
            let carries = for_carried
                && match carried_value {
                    Some(value) => value == self.value(rule) && unconditional(rule, arch),
                    None => holds(rule, data, arch, true),
                };
            if (own || carries) && self.value(rule) != self.default {
                matching.push((n, rule));
            }
        }
        let strictest = matching.iter().min_by_key(|(n, rule)| (rule.action, *n));
        strictest.map_or(self.default, |(_, rule)| self.value(rule))
    }

    fn value(&self, rule: &Rule) -> u32 {
        rule.action.return_value(rule.errno).unwrap()
    }

    fn unconditional(&self, name: &str, arch: Arch) -> Option<u32> {
        self.profile
            .rules
            .iter()
            .filter(|rule| rule.names.iter().any(|n| n == name) && unconditional(rule, arch))
            .map(|rule| self.value(rule))
            .find(|value| *value != self.default)
    }

    fn is_beyond(&self, arch: Arch, table: &HashMap<u32, &str>, number: u32) -> bool {
        let named = |name: &str| {
            self.profile
                .rules
                .iter()
                .any(|r| r.names.iter().any(|n| n == name))
        };
        let carries = |name: &str| {
            arch.bundles_calls()
                && BUNDLED
                    .iter()
                    .any(|(carried, by, _)| *by == name && named(carried))
        };
        let largest = table
            .iter()
            .filter(|(_, name)| named(name) || carries(name))
            .map(|(n, _)| *n)
            .max();
        let Some(largest) = largest.filter(|largest| *largest != 0) else {
            return false;
        };
        !self.profile.default_action.unwrap().is_permissive()
            && (number > largest || (arch == Arch::S390x && number == 0))
    }
}

fn wide(arch: Arch) -> bool {
    matches!(arch.words(), Words::Wide { .. })
}

/// Whether no argument can make `rule` fail.
fn unconditional(rule: &Rule, arch: Arch) -> bool {
    let mask = if wide(arch) { u64::MAX } else { 0xffff_ffff };
    let always = |c: &Condition| c.operator == Operator::MaskedEq && c.value & mask == 0;
    if repeats(rule) {
        rule.args.iter().any(always)
    } else {
        rule.args.iter().all(always)
    }
}

fn repeats(rule: &Rule) -> bool {
    rule.args
        .iter()
        .enumerate()
        .any(|(n, c)| rule.args[..n].iter().any(|d| d.index == c.index))
}

fn holds(rule: &Rule, data: &Data, arch: Arch, carried: bool) -> bool {
    let one = |c: &Condition| {
        let mask = if wide(arch) { u64::MAX } else { 0xffff_ffff };
        let (arg, value) = (data.args[c.index as usize] & mask, c.value & mask);
        if carried && c.index == 0 {
            return true;
        }
        match c.operator {
            Operator::Eq => arg == value,
            Operator::Ne => arg != value,
            Operator::Lt => arg < value,
            Operator::Le => arg <= value,
            Operator::Ge => arg >= value,
            Operator::Gt => arg > value,
            Operator::MaskedEq => arg & value == c.value_two & value,
        }
    };
    if repeats(rule) {
        rule.args.iter().any(one)
    } else {
        rule.args.iter().all(one)
    }
}

#[test]
fn random_profiles_decide_as_they_read() {
    let mut names: Vec<&str> = BUNDLED.iter().map(|(name, _, _)| *name).collect();
    for arch in [Arch::X86_64, Arch::X86, Arch::Arm, Arch::S390x] {
        tables::walk(arch, |_, name| names.push(name));
    }
    let profiles = std::env::var("RT_SECCOMP_PROFILES")
        .ok()
        .and_then(|n| n.parse().ok());
    for seed in 0..profiles.unwrap_or(50) {
        let mut random = Random::new(seed);
        let arches: Vec<Arch> = (0..4).map(|_| random.one(Arch::ALL)).collect();
        let few: Vec<&str> = (0..1 + random.below(40))
            .map(|_| random.one(&names))
            .collect();
        let limits = Limits {
            names: &few,
            arches: &arches,
            rules: 25,
            overlapping: true,
            sound_for_libseccomp: false,
        };
        let profile = random::profile(&mut random, &limits);
        let native = random.one(&[Arch::X86_64, Arch::Aarch64, Arch::S390x, Arch::Riscv64]);
        let (filter, _) = compile(&profile, native).unwrap();
        verify(&filter.program);
        check(&profile, native, &filter.program, &mut random, &few);
    }
}

/// So many rules for so few calls that their checks are no longer specialised, and that jumps
/// are longer than a conditional one can be.
#[test]
fn crowded_calls_decide_as_they_read() {
    let profiles = std::env::var("RT_SECCOMP_PROFILES")
        .ok()
        .and_then(|n| n.parse().ok());
    let (mut longest, mut too_long) = (0, 0);
    for seed in 0..profiles.unwrap_or(12) {
        let mut random = Random::new(seed);
        let calls = ["ioctl", "socket", "semop", "clone", "ipc", "msgctl", "read"];
        let few: Vec<&str> = (0..1 + random.below(3))
            .map(|_| random.one(&calls))
            .collect();
        let limits = Limits {
            names: &few,
            // The same architecture twice, too.
            arches: &[Arch::X86, Arch::X86, Arch::S390x, Arch::X32, Arch::Ppc64le],
            rules: 20 << random.below(5),
            overlapping: true,
            sound_for_libseccomp: false,
        };
        let mut profile = random::profile(&mut random, &limits);
        // One without conditions would beat all others.
        profile.rules.retain(|rule| {
            let mask = u64::from(u32::MAX);
            let always = |c: &Condition| c.operator == Operator::MaskedEq && c.value & mask == 0;
            !rule.args.is_empty() && !rule.args.iter().any(always)
        });
        let native = random.one(&[Arch::X86_64, Arch::S390x]);
        let Ok((filter, _)) = compile(&profile, native) else {
            too_long += 1;
            continue;
        };
        verify(&filter.program);
        longest = longest.max(filter.program.len());
        for _ in 0..10 {
            check(&profile, native, &filter.program, &mut random, &few);
        }
    }
    assert!(longest > 500 && too_long == 0, "{longest}, {too_long}");
}

fn check(
    profile: &Profile,
    native: Arch,
    program: &[seccompiler::sock_filter],
    random: &mut Random,
    names: &[&str],
) {
    let model = Model::new(profile, native);
    let unlisted = [random.one(Arch::ALL), random.one(Arch::ALL)];
    let arches: Vec<Arch> = model.tables.keys().copied().chain(unlisted).collect();
    for arch in &arches {
        let numbers: HashMap<&str, u32> = model
            .tables
            .get(arch)
            .map(|table| {
                table
                    .iter()
                    .map(|(number, name)| (*name, *number))
                    .collect()
            })
            .unwrap_or_default();
        let special = [0, 1, 0x3fff_ffff, 0x4000_0000, 0x4000_0205, u32::MAX];
        let mut calls: Vec<(u32, &str)> = special.map(|number| (number, "")).to_vec();
        calls.extend((0..480).step_by(29).map(|n| (first(*arch) + n, "")));
        for name in names {
            for _ in 0..8 {
                calls.extend(numbers.get(name).map(|number| (*number, *name)));
                let bundle = BUNDLED.iter().find(|(carried, _, _)| carried == name);
                let bundle = bundle.and_then(|(_, by, _)| numbers.get(by));
                calls.extend(bundle.map(|number| (*number, *name)));
            }
        }
        for (number, name) in calls {
            let mut args = random::arguments(random, profile, name);
            let bundle = BUNDLED.iter().find(|(carried, _, _)| *carried == name);
            if let Some((_, _, first)) = bundle
                && random.chance(50)
            {
                args[0] = u64::from(*first);
                if random.chance(30) {
                    args[0] |= random.one(&[1 << 16, 1 << 32, u64::MAX << 16]);
                }
            }
            let data = Data {
                number,
                audit: arch.audit(),
                args,
                big_endian: big_endian(*arch),
            };
            let (ours, model) = (run(program, &data).0, model.decide(*arch, &data));
            assert_eq!(
                ours, model,
                "ours {ours:#x}, the model {model:#x} for {name} of {arch:?}: {data:#x?} on {native:?} under {profile:#?}"
            );
        }
    }
}
