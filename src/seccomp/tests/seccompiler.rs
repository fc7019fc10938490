//! seccompiler as a second judge, for the profiles that it can express: one action besides
//! the default, one architecture, conditions that are all compared in 64 bits.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

use super::super::{Action, Arch, Condition, Operator, Profile, Rule, compile, tables};
use super::machine::{Data, run, verify};
use super::random::{self, Random};

/// Its form of a condition; `Le` and the others are the same, the mask is part of the operator.
fn condition(c: &Condition) -> SeccompCondition {
    let (operator, value) = match c.operator {
        Operator::Eq => (SeccompCmpOp::Eq, c.value),
        Operator::Ne => (SeccompCmpOp::Ne, c.value),
        Operator::Lt => (SeccompCmpOp::Lt, c.value),
        Operator::Le => (SeccompCmpOp::Le, c.value),
        Operator::Ge => (SeccompCmpOp::Ge, c.value),
        Operator::Gt => (SeccompCmpOp::Gt, c.value),
        Operator::MaskedEq => (SeccompCmpOp::MaskedEq(c.value), c.value_two),
    };
    SeccompCondition::new(c.index as u8, SeccompCmpArgLen::Qword, operator, value).unwrap()
}

pub fn seccompilers(profile: &Profile, arch: Arch, target: TargetArch) -> BpfProgram {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    tables::walk(arch, |number, name| {
        let for_name = |rule: &&Rule| rule.names.iter().any(|n| n == name);
        let of_call: Vec<&Rule> = profile.rules.iter().filter(for_name).collect();
        let all = |rule: &&Rule| rule.args.is_empty();
        if of_call.iter().any(all) {
            rules.insert(number.into(), Vec::new());
        } else if !of_call.is_empty() {
            let rule = |r: &&Rule| SeccompRule::new(r.args.iter().map(condition).collect());
            rules.insert(
                number.into(),
                of_call.iter().map(|r| rule(r).unwrap()).collect(),
            );
        }
    });
    SeccompFilter::new(rules, SeccompAction::Log, SeccompAction::Errno(13), target)
        .unwrap()
        .try_into()
        .unwrap()
}

/// Each argument at most once in a rule: two conditions on one are alternatives for us.
fn args(random: &mut Random) -> Vec<Condition> {
    (0..6)
        .filter(|_| random.chance(20))
        .collect::<Vec<u32>>()
        .into_iter()
        .map(|index| Condition {
            index,
            value: random.value(),
            value_two: random.value(),
            operator: random.one(Operator::ALL),
        })
        .collect()
}

#[test]
fn random_profiles_decide_as_seccompiler_does() {
    for seed in 0..300 {
        let mut random = Random::new(seed);
        let (arch, target) = random.one(&[
            (Arch::X86_64, TargetArch::x86_64),
            (Arch::Aarch64, TargetArch::aarch64),
            (Arch::Riscv64, TargetArch::riscv64),
        ]);
        let mut calls: Vec<(u32, &str)> = Vec::new();
        tables::walk(arch, |number, name| calls.push((number, name)));
        let few: Vec<(u32, &str)> = (0..12).map(|_| random.one(&calls)).collect();
        let rules = (0..20).map(|_| Rule {
            names: vec![random.one(&few).1.to_owned()],
            action: Action::Errno,
            errno: Some(13),
            args: args(&mut random),
        });
        let profile = Profile {
            // Permissive, so that there is no ENOSYS.
            default_action: Some(Action::Log),
            default_errno: None,
            architectures: Vec::new(),
            flags: None,
            listener_path: None,
            listener_metadata: None,
            rules: rules.collect(),
        };
        let ours = compile(&profile, arch).unwrap().0.program;
        verify(&ours);
        let theirs = seccompilers(&profile, arch, target);
        for (number, name) in &few {
            for _ in 0..60 {
                let args = random::arguments(&mut random, &profile, name);
                let data = Data {
                    number: *number,
                    audit: arch.audit(),
                    args,
                    big_endian: false,
                };
                let (ours, theirs) = (run(&ours, &data).0, run(&theirs, &data).0);
                assert_eq!(
                    ours, theirs,
                    "seed {seed}: {name} {data:#x?} under {profile:#?}"
                );
            }
        }
    }
}
