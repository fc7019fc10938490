//! What a profile means, case by case, and what is refused.

use super::super::{Arch, Filter, Skipped, compile};
use super::machine::{Data, run, verify};
use super::profile;

const ALLOW: u32 = 0x7fff_0000;
const KILL: u32 = 0;
const ENOSYS: u32 = 0x0005_0026;
const EPERM: u32 = 0x0005_0001;

fn compiled(json: &str) -> (Filter, Skipped) {
    let (filter, skipped) = compile(&profile(json), Arch::X86_64).unwrap();
    verify(&filter.program);
    (filter, skipped)
}

fn decide(json: &str, arch: Arch, number: u32, args: [u64; 6]) -> u32 {
    let data = Data {
        number,
        audit: arch.audit(),
        args,
        big_endian: false,
    };
    run(&compiled(json).0.program, &data).0
}

/// The error's pointer and text.
fn refused(json: &str) -> (String, String) {
    let e = compile(&profile(json), Arch::X86_64).unwrap_err();
    (e.pointer().unwrap().to_owned(), e.to_string())
}

#[test]
fn an_empty_profile_is_one_answer_for_the_native_architecture() {
    let json = r#"{"defaultAction": "SCMP_ACT_ALLOW"}"#;
    assert_eq!(decide(json, Arch::X86_64, 0, [0; 6]), ALLOW);
    assert_eq!(decide(json, Arch::X86, 0, [0; 6]), KILL);
    assert_eq!(decide(json, Arch::X86_64, 0x4000_0000, [0; 6]), KILL);
    assert_eq!(decide(json, Arch::X86_64, u32::MAX, [0; 6]), ALLOW);
}

#[test]
fn calls_above_the_largest_named_one_do_not_exist() {
    let json = r#"{"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86"],
        "syscalls": [{"names": ["close"], "action": "SCMP_ACT_ALLOW"}]}"#;
    for (arch, number, answer) in [
        (Arch::X86_64, 2, EPERM),
        (Arch::X86_64, 3, ALLOW),
        (Arch::X86_64, 4, ENOSYS),
        (Arch::X86, 5, EPERM),
        (Arch::X86, 6, ALLOW),
        (Arch::X86, 7, ENOSYS),
    ] {
        assert_eq!(
            decide(json, arch, number, [0; 6]),
            answer,
            "{arch:?} {number}"
        );
    }
    for permissive in ["ALLOW", "LOG", "TRACE"] {
        let json = json
            .replace("T_ALLOW", "T_KILL")
            .replace("ERRNO", permissive);
        assert_ne!(
            decide(&json, Arch::X86_64, 4, [0; 6]),
            ENOSYS,
            "{permissive}"
        );
    }
}

#[test]
fn conditions_on_one_argument_are_alternatives() {
    let json = r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
        {"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [
            {"index": 0, "value": 3, "op": "SCMP_CMP_EQ"},
            {"index": 0, "value": 5, "op": "SCMP_CMP_EQ"},
            {"index": 1, "value": 7, "op": "SCMP_CMP_EQ"}]},
        {"names": ["write"], "action": "SCMP_ACT_ALLOW", "args": [
            {"index": 0, "value": 3, "op": "SCMP_CMP_EQ"},
            {"index": 1, "value": 7, "op": "SCMP_CMP_EQ"}]}]}"#;
    for (number, args, answer) in [
        (0, [3, 0], ALLOW),
        (0, [5, 0], ALLOW),
        (0, [0, 7], ALLOW),
        (0, [0, 0], EPERM),
        (1, [3, 7], ALLOW),
        (1, [3, 0], EPERM),
        (1, [0, 7], EPERM),
        (1, [3 | 1 << 32, 7], EPERM),
    ] {
        let args = [args[0], args[1], 0, 0, 0, 0];
        assert_eq!(
            decide(json, Arch::X86_64, number, args),
            answer,
            "{number} {args:?}"
        );
    }
}

#[test]
fn the_strictest_of_overlapping_rules_wins_in_any_order() {
    let allow = r#"{"names": ["read"], "action": "SCMP_ACT_ALLOW",
        "args": [{"index": 0, "value": 10, "op": "SCMP_CMP_LT"}]}"#;
    let refuse = r#"{"names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 9,
        "args": [{"index": 0, "value": 3, "op": "SCMP_CMP_EQ"}]}"#;
    for (first, second) in [(allow, refuse), (refuse, allow)] {
        let json =
            format!(r#"{{"defaultAction": "SCMP_ACT_KILL", "syscalls": [{first}, {second}]}}"#);
        assert_eq!(
            decide(&json, Arch::X86_64, 0, [3, 0, 0, 0, 0, 0]),
            0x0005_0009
        );
        assert_eq!(decide(&json, Arch::X86_64, 0, [4, 0, 0, 0, 0, 0]), ALLOW);
    }
}

#[test]
fn a_rule_without_conditions_beats_those_with() {
    let json = r#"{"defaultAction": "SCMP_ACT_KILL", "syscalls": [
        {"names": ["read"], "action": "SCMP_ACT_ERRNO",
         "args": [{"index": 0, "value": 3, "op": "SCMP_CMP_EQ"}]},
        {"names": ["read"], "action": "SCMP_ACT_ALLOW"},
        {"names": ["read"], "action": "SCMP_ACT_TRAP"}]}"#;
    assert_eq!(decide(json, Arch::X86_64, 0, [3, 0, 0, 0, 0, 0]), ALLOW);
}

#[test]
fn a_socket_rule_holds_in_socketcall_too() {
    let json = r#"{"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86"], "syscalls": [
        {"names": ["socket"], "action": "SCMP_ACT_ALLOW"}]}"#;
    assert_eq!(decide(json, Arch::X86, 359, [0; 6]), ALLOW);
    assert_eq!(decide(json, Arch::X86, 102, [1, 0, 0, 0, 0, 0]), ALLOW);
    assert_eq!(decide(json, Arch::X86, 102, [2, 0, 0, 0, 0, 0]), EPERM);
}

#[test]
fn the_version_in_ipcs_first_argument_evades_no_rule() {
    let json = r#"{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86"], "syscalls": [
        {"names": ["shmget"], "action": "SCMP_ACT_ERRNO"}]}"#;
    for (first, answer) in [(23, EPERM), (0x1_0017, EPERM), (24, ALLOW)] {
        assert_eq!(decide(json, Arch::X86, 117, [first, 0, 0, 0, 0, 0]), answer);
    }
}

#[test]
fn names_that_nobody_knows_are_reported() {
    let (_, skipped) = compiled(
        r#"{"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86", "SCMP_ARCH_S390"],
        "syscalls": [{"names": ["read", "send", "waitpid", "no_such_call"], "action": "SCMP_ACT_ALLOW"}]}"#,
    );
    assert_eq!(skipped.names, ["no_such_call"]);
    assert_eq!(skipped.architectures, [Arch::S390]);
}

#[test]
fn flags_are_the_kernels() {
    for (flags, bits) in [
        ("", 0x4), // SPEC_ALLOW where there is no list
        (r#","flags": []"#, 0),
        (
            r#","flags": ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_TSYNC"]"#,
            0x3,
        ),
    ] {
        let json = format!(r#"{{"defaultAction": "SCMP_ACT_ALLOW"{flags}}}"#);
        assert_eq!(compiled(&json).0.flags, bits, "{flags}");
    }
    let notify = r#"{"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/run/agent",
        "listenerMetadata": "m", "flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],
        "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]}"#;
    let (filter, _) = compiled(notify);
    assert_eq!(filter.flags, 0x28);
    // Beside a listener TSYNC has to come with TSYNC_ESRCH.
    let (beside, _) = compiled(&notify.replace("WAIT_KILLABLE_RECV", "TSYNC"));
    assert_eq!(beside.flags, 0x19);
    let listener = filter.listener.unwrap();
    assert_eq!(listener.path.to_str(), Some("/run/agent"));
    assert_eq!(listener.metadata.as_deref(), Some("m"));
}

#[test]
fn bad_profiles_are_refused_with_their_place() {
    let rule =
        |rule: &str| format!(r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{rule}]}}"#);
    for (json, pointer, words) in [
        (
            rule(r#"{"names": ["read"], "action": "SCMP_ACT_ERRNO",
                "args": [{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]}"#),
            "/linux/seccomp/syscalls/0/args/0/index",
            "no argument has the index 6",
        ),
        (
            rule(r#"{"names": ["read"], "action": "SCMP_ACT_KILL", "errnoRet": 1}"#),
            "/linux/seccomp/syscalls/0/errnoRet",
            "SCMP_ACT_KILL takes no errno",
        ),
        (
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1}"#.to_owned(),
            "/linux/seccomp/defaultErrnoRet",
            "SCMP_ACT_ALLOW takes no errno",
        ),
        (
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]}"#
                .to_owned(),
            "/linux/seccomp/flags/0",
            "needs a rule with SCMP_ACT_NOTIFY",
        ),
        (too_large(), "/linux/seccomp", "more than 4096 instructions"),
    ] {
        let (at, text) = refused(&json);
        assert_eq!(at, pointer);
        assert!(text.contains(words), "{text}");
    }
}

/// A rule for each of 3000 values.
fn too_large() -> String {
    let rules: Vec<String> = (0..3000)
        .map(|n| {
            format!(
                r#"{{"names": ["ioctl"], "action": "SCMP_ACT_ERRNO",
                "args": [{{"index": 1, "value": {}, "op": "SCMP_CMP_EQ"}}]}}"#,
                n * 7_000_000_000_u64
            )
        })
        .collect();
    format!(
        r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{}]}}"#,
        rules.join(",")
    )
}

#[test]
fn far_jumps_reach_their_destinations() {
    // 300 answers that all differ: most of the checks lie beyond a jump of 255.
    let mut rules = Vec::new();
    for n in 0..300 {
        rules.push(format!(
            r#"{{"names": ["ioctl"], "action": "SCMP_ACT_ERRNO", "errnoRet": {},
            "args": [{{"index": 1, "value": {}, "op": "SCMP_CMP_EQ"}}]}}"#,
            n + 100,
            n * 0x1_0000_0001_u64
        ));
    }
    let json = format!(
        r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{}]}}"#,
        rules.join(",")
    );
    let (filter, _) = compiled(&json);
    let decide = |value| {
        let args = [0, value, 0, 0, 0, 0];
        let data = Data {
            number: 16,
            audit: Arch::X86_64.audit(),
            args,
            big_endian: false,
        };
        run(&filter.program, &data).0
    };
    for n in 0..300 {
        assert_eq!(decide(n * 0x1_0000_0001), 0x0005_0000 | (n as u32 + 100));
        assert_eq!(decide(n * 0x1_0000_0001 + 1), ALLOW);
    }
}

#[test]
fn what_has_been_asked_is_not_asked_again() {
    // Five values of one argument: two loads, one question for the upper half.
    let values = [0u64, 8, 131_072, 131_080, 0xffff_ffff];
    let rules: Vec<String> = values
        .iter()
        .map(|v| {
            format!(
                r#"{{"names": ["personality"], "action": "SCMP_ACT_ALLOW",
                "args": [{{"index": 0, "value": {v}, "op": "SCMP_CMP_EQ"}}]}}"#
            )
        })
        .collect();
    let json = format!(
        r#"{{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{}]}}"#,
        rules.join(",")
    );
    let (filter, _) = compiled(&json);
    let data = Data {
        number: 135,
        audit: Arch::X86_64.audit(),
        args: [9, 0, 0, 0, 0, 0],
        big_endian: false,
    };
    let (answer, executed) = run(&filter.program, &data);
    assert_eq!(answer, EPERM);
    assert!(executed <= 4 + 2 + 1 + 5 + 2, "{executed} instructions");
}
