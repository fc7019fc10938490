//! Equal decisions: ours, libseccomp's fed as runc feeds it, and seccompiler's.
//!
//! Differences that are ours by intent, and left out here:
//! * names that only one of the two tables has (asserted in [`our_tables_agree_with_libseccomps`]);
//! * where actions differ and conditions overlap, libseccomp's answer depends on its tree;
//! * numbers at and above 2^31 on x86_64 without x32: killed as x32's, where runc's ENOSYS
//!   stub, which looks at one bit, lets some of them through to itself.
//! * ipc(2) and socketcall(2) with bits set in their first argument that the kernel does not look
//!   at: libseccomp compares all of them, so that a rule for a carried call can be evaded;
//! * the ENOSYS stub counts the direct numbers of calls that 32-bit x86 also bundles
//!   (`socket` is 359 there); runc's does not see those.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::super::arch::BUNDLED;
use seccompiler::sock_filter;

use super::super::{Action, Arch, Profile, compile, tables};
use super::machine::{Data, run, verify};
use super::oracle::{ARCHES, Oracle, big_endian, first};
use super::random::{self, Limits, Random};
use super::{DEFAULTS, profile};

/// Name -> number of every call of one architecture.
type Table = HashMap<&'static str, u32>;

fn our_table(arch: Arch) -> Table {
    let mut table = Table::new();
    assert!(tables::walk(arch, |number, name| {
        table.insert(name, number);
    }));
    table
}

fn all_names() -> BTreeSet<&'static str> {
    let mut names: BTreeSet<_> = BUNDLED.iter().map(|(name, _, _)| *name).collect();
    for arch in Arch::ALL {
        tables::walk(*arch, |_, name| {
            names.insert(name);
        });
    }
    names
}

/// Libseccomp's table, as far as it has names of ours.
fn their_table(oracle: &mut Oracle, arch: Arch) -> Table {
    let bundles = arch.bundles_calls();
    let bundled = |name: &str| BUNDLED.iter().any(|(n, _, _)| *n == name);
    let number = |name| Some((name, oracle.number(arch, name)?));
    let names = all_names().into_iter().filter(|n| !(bundles && bundled(n)));
    names.filter_map(number).collect()
}

#[test]
fn a_table_rises_and_has_each_name_once() {
    for arch in Arch::ALL {
        let (mut last, mut names) = (None, HashSet::new());
        tables::walk(*arch, |number, name| {
            assert!(last.is_none_or(|last| last < number), "{arch:?} {number}");
            assert!(names.insert(name), "{arch:?} {name}");
            last = Some(number);
        });
    }
}

#[test]
fn our_tables_agree_with_libseccomps() {
    let Some(mut oracle) = Oracle::start() else {
        return;
    };
    for arch in ARCHES {
        let (ours, theirs) = (our_table(arch), their_table(&mut oracle, arch));
        for (name, number) in &theirs {
            if let Some(ours) = ours.get(name) {
                assert_eq!(ours, number, "{arch:?} {name}");
            }
        }
        for name in theirs.keys() {
            assert!(
                ours.contains_key(name),
                "{arch:?}: only libseccomp has {name}"
            );
        }
        for name in ours.keys().filter(|name| !theirs.contains_key(*name)) {
            let bundled = arch.bundles_calls() && BUNDLED.iter().any(|(n, _, _)| n == name);
            assert!(
                bundled || NEWER.contains(name),
                "{arch:?}: only we have {name}"
            );
        }
    }
}

/// Calls that are newer than Debian's libseccomp.
const NEWER: [&str; 16] = [
    "statmount",
    "listmount",
    "lsm_get_self_attr",
    "lsm_set_self_attr",
    "lsm_list_modules",
    "mseal",
    "setxattrat",
    "getxattrat",
    "listxattrat",
    "removexattrat",
    "open_tree_attr",
    "file_getattr",
    "file_setattr",
    "uretprobe",
    "uprobe",
    "riscv_hwprobe",
];

/// One profile on one machine, and what its decisions are compared with.
struct Comparison<'p> {
    profile: &'p Profile,
    native: Arch,
    ours: Vec<sock_filter>,
    theirs: Vec<sock_filter>,
    tables: HashMap<Arch, Table>,
}

impl<'p> Comparison<'p> {
    /// None where libseccomp finds two rules with different actions that overlap, and gives
    /// up: in calls that carry others, what does not overlap elsewhere may do so.
    fn new(oracle: &mut Oracle, profile: &'p Profile, native: Arch) -> Option<Comparison<'p>> {
        let (filter, _) = compile(profile, native).unwrap();
        verify(&filter.program);
        let theirs = match oracle.compile(profile, native) {
            Ok(program) => program,
            Err(errno) if errno == -libc::EEXIST => return None,
            Err(errno) => {
                let small = smallest(profile, |p| oracle.compile(p, native) == Err(errno));
                panic!("libseccomp: {errno} for {small:#?}")
            }
        };
        let arches = profile.architectures.iter().copied().chain([native]);
        let tables = arches.map(|arch| (arch, our_table(arch))).collect();
        Some(Comparison {
            profile,
            native,
            ours: filter.program,
            theirs,
            tables,
        })
    }

    /// Decides every call number of every architecture both ways, `tries` times where there
    /// are conditions; the number of decisions.
    fn decide(&self, oracle: &mut Oracle, random: &mut Random, tries: usize) -> usize {
        let mut decisions = 0;
        let unlisted = ARCHES
            .into_iter()
            .find(|arch| !self.tables.contains_key(arch));
        let arches: Vec<Arch> = self.tables.keys().copied().chain(unlisted).collect();
        for arch in arches {
            let names: HashMap<u32, &str> = self
                .tables
                .get(&arch)
                .map(|table| {
                    table
                        .iter()
                        .map(|(name, number)| (*number, *name))
                        .collect()
                })
                .unwrap_or_default();
            let first = first(arch);
            let special = [
                0,
                0x000f_0003,
                0x000f_0010,
                0x3fff_ffff,
                0x4000_0000,
                0x4000_0205,
                0x7fff_ffff,
                u32::MAX,
            ];
            // Some lie far from the others: ARM's private calls.
            let beyond = names.keys().copied().filter(|n| *n >= first + 600);
            for number in (first..first + 600).chain(beyond).chain(special) {
                let name = names.get(&number).copied().unwrap_or("");
                for _ in 0..if self.has_conditions(name) { tries } else { 1 } {
                    let data = self.data(random, arch, number, name);
                    if self.differs(arch, &data).is_some() {
                        let small = smallest(self.profile, |p| {
                            Comparison::new(oracle, p, self.native)
                                .is_some_and(|c| c.differs(arch, &data).is_some())
                        });
                        let comparison = Comparison::new(oracle, &small, self.native).unwrap();
                        let (ours, theirs) = comparison.differs(arch, &data).unwrap();
                        panic!(
                            "ours {ours:#x}, theirs {theirs:#x} for {name} of {arch:?}, {data:#x?} on {:?} under {small:#?}",
                            self.native
                        );
                    }
                    decisions += 1;
                }
            }
        }
        decisions
    }

    fn has_conditions(&self, name: &str) -> bool {
        matches!(name, "socketcall" | "ipc")
            || self
                .profile
                .rules
                .iter()
                .any(|rule| !rule.args.is_empty() && rule.names.iter().any(|n| n == name))
    }

    /// A call with arguments near what the profile compares them with.
    fn data(&self, random: &mut Random, arch: Arch, number: u32, name: &str) -> Data {
        let (_, _, first) = random.one(&BUNDLED);
        let (carried, _, _) = BUNDLED
            .iter()
            .find(|(_, by, n)| *by == name && *n == first)
            .copied()
            .unwrap_or((name, "", 0));
        let mut args = random::arguments(random, self.profile, carried);
        if carried != name {
            args[0] = u64::from(first);
        }
        // What the kernel does not look at, and libseccomp does.
        match name {
            "ipc" if arch.bundles_calls() => args[0] &= 0xffff,
            "socketcall" if arch.bundles_calls() => args[0] &= 0xffff_ffff,
            _ => {}
        }
        Data {
            number,
            audit: arch.audit(),
            args,
            big_endian: big_endian(arch),
        }
    }

    /// Our decision and theirs, where they are not the same.
    fn differs(&self, arch: Arch, data: &Data) -> Option<(u32, u32)> {
        let (ours, _) = run(&self.ours, data);
        let theirs = self
            .enosys(arch, data.number)
            .unwrap_or_else(|| run(&self.theirs, data).0);
        (ours != theirs).then_some((ours, theirs))
    }

    /// runc's ENOSYS stub, written from its description.
    fn enosys(&self, arch: Arch, number: u32) -> Option<u32> {
        let x32 = self.tables.contains_key(&Arch::X32);
        let arch = match arch {
            Arch::X86_64 | Arch::X32 if number < 0x4000_0000 => Arch::X86_64,
            Arch::X86_64 | Arch::X32 if x32 => Arch::X32,
            Arch::X86_64 | Arch::X32 => return None,
            other => other,
        };
        let table = self
            .tables
            .get(&arch)
            .filter(|_| !self.profile.default_action.unwrap().is_permissive())?;
        let named = self.profile.rules.iter().flat_map(|rule| &rule.names);
        let numbers = named.flat_map(|name| {
            let bundle = BUNDLED
                .iter()
                .find(|(n, _, _)| n == name && arch.bundles_calls());
            let bundle = bundle.map(|(_, by, _)| *by);
            [Some(name.as_str()), bundle]
                .into_iter()
                .flatten()
                .filter_map(|n| table.get(n))
                .copied()
                .collect::<Vec<_>>()
        });
        let largest = numbers.max().filter(|largest| *largest != 0)?;
        (number > largest || (arch == Arch::S390x && number == 0)).then_some(0x0005_0026)
    }
}

/// `profile` without all that does not matter to its being `bad`.
fn smallest(profile: &Profile, mut bad: impl FnMut(&Profile) -> bool) -> Profile {
    let mut profile = profile.clone();
    let mut try_without = |profile: &mut Profile, smaller: Profile| {
        let bad = bad(&smaller);
        if bad {
            *profile = smaller;
        }
        bad
    };
    for rule in (0..profile.rules.len()).rev() {
        let mut smaller = profile.clone();
        smaller.rules.remove(rule);
        if try_without(&mut profile, smaller) {
            continue;
        }
        for name in (0..profile.rules[rule].names.len()).rev() {
            let mut smaller = profile.clone();
            smaller.rules[rule].names.remove(name);
            try_without(&mut profile, smaller);
        }
        for arg in (0..profile.rules[rule].args.len()).rev() {
            let mut smaller = profile.clone();
            smaller.rules[rule].args.remove(arg);
            try_without(&mut profile, smaller);
        }
    }
    profile
}

#[test]
fn default_profiles_decide_as_libseccomp_does() {
    let Some(mut oracle) = Oracle::start() else {
        return;
    };
    let mut random = Random::new(1);
    for (name, json) in DEFAULTS {
        let native = if name.ends_with("x86_64") {
            Arch::X86_64
        } else {
            Arch::Aarch64
        };
        let profile = profile(json);
        let comparison = Comparison::new(&mut oracle, &profile, native).unwrap();
        let decisions = comparison.decide(&mut oracle, &mut random, 300);
        eprintln!(
            "{name}: {decisions} decisions; {} instructions, libseccomp {}",
            comparison.ours.len(),
            comparison.theirs.len()
        );
    }
}

/// Families whose members one profile may list: libseccomp refuses to mix byte orders.
const FAMILIES: [&[Arch]; 6] = [
    &[Arch::X86_64, Arch::X86, Arch::X32],
    &[Arch::X86_64, Arch::X86, Arch::X32],
    &[Arch::Aarch64, Arch::Arm],
    &[
        Arch::Mips64,
        Arch::Mips,
        Arch::S390x,
        Arch::Ppc,
        Arch::Ppc64,
    ],
    &[Arch::Mipsel64, Arch::Mipsel, Arch::Ppc64le, Arch::Riscv64],
    &[Arch::Riscv64, Arch::X32, Arch::Aarch64],
];

#[test]
fn random_profiles_decide_as_libseccomp_does() {
    let Some(mut oracle) = Oracle::start() else {
        return;
    };
    let names: Vec<&str> = all_names()
        .into_iter()
        .filter(|n| !NEWER.contains(n) && oracle.playable(n))
        .collect();
    let profiles = std::env::var("RT_SECCOMP_PROFILES")
        .ok()
        .and_then(|n| n.parse().ok());
    let (mut decisions, mut refused) = (0, 0);
    for seed in 0..profiles.unwrap_or(80) {
        let mut random = Random::new(seed);
        let arches = random.one(&FAMILIES);
        // A short list of names makes several rules for one call likely.
        let few: Vec<&str> = (0..1 + random.below(60))
            .map(|_| random.one(&names))
            .collect();
        let limits = Limits {
            names: &few,
            arches,
            // In a program for the other byte order libseccomp turns the returns that it
            // copies within reach of far jumps around twice.
            rules: if big_endian(arches[0]) { 6 } else { 20 },
            overlapping: false,
            sound_for_libseccomp: true,
        };
        let profile = random::profile(&mut random, &limits);
        if profile.default_action == Some(Action::Notify) {
            continue; // libseccomp refuses it
        }
        match Comparison::new(&mut oracle, &profile, arches[0]) {
            Some(comparison) => decisions += comparison.decide(&mut oracle, &mut random, 40),
            None => refused += 1,
        }
    }
    eprintln!("{decisions} decisions; {refused} profiles refused by libseccomp");
}
