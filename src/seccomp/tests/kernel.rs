//! The kernel's own word: programs are loaded, and decide, in a child process.

use super::super::{Arch, Filter, Profile, compile};
use super::random::{self, Limits, Random};
use super::{DEFAULTS, profile};
use crate::sys::memory::SharedWord;
use crate::sys::seccomp::load;
use crate::sys::seccomp::tests::{End, in_child, raw_call, raw_call_i386, word_of_child};

/// The errno with which the kernel refuses `filter`, if it does.
fn refused(filter: &Filter) -> Option<i32> {
    let word = word_of_child(|word| match load(&filter.program, filter.flags) {
        Ok(()) => word.store(1),
        Err(e) => word.store(1000 + e.errno().unwrap_or(0)),
    });
    assert_ne!(word, 0, "the child ended early");
    (word > 1000).then_some(word - 1000)
}

fn native_compiled(profile: &Profile) -> Filter {
    compile(profile, Arch::native().unwrap()).unwrap().0
}

/// The status of a child that runs `then` under the profile, and the word that it left.
fn under(json: &str, then: impl FnOnce(&SharedWord)) -> End {
    let filter = native_compiled(&profile(json));
    in_child(|word| {
        load(&filter.program, filter.flags).unwrap();
        then(word);
    })
}

#[test]
fn the_kernel_takes_the_default_profiles() {
    for (name, json) in DEFAULTS {
        assert_eq!(refused(&native_compiled(&profile(json))), None, "{name}");
    }
}

/// The fuzz target: from text that is nearly a profile to a program that the kernel takes.
/// `RT_SECCOMP_PROFILES` says how many; CONTRIBUTING.md has the command.
#[test]
fn the_kernel_takes_whatever_compiles() {
    let profiles = std::env::var("RT_SECCOMP_PROFILES")
        .ok()
        .and_then(|n| n.parse().ok());
    let (mut parsed, mut compiled) = (0, 0);
    for seed in 0..profiles.unwrap_or(300_u64) {
        let mut random = Random::new(seed);
        let json = nearly_a_profile(&mut random);
        let Ok(profile) = serde_json::from_str::<Profile>(&json) else {
            continue;
        };
        parsed += 1;
        let native = random.one(&[Arch::X86_64, Arch::Aarch64, Arch::S390x]);
        let Ok((filter, _)) = compile(&profile, native) else {
            continue;
        };
        compiled += 1;
        assert_eq!(refused(&filter), None, "seed {seed}: {json}");
    }
    assert!(compiled > 20, "{parsed} parsed, {compiled} compiled");
}

#[test]
fn the_kernel_takes_random_profiles() {
    let names = [
        "read",
        "ioctl",
        "socket",
        "semop",
        "clone",
        "personality",
        "futex",
        "openat",
    ];
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let limits = Limits {
            names: &names,
            arches: Arch::ALL,
            rules: 60,
            overlapping: true,
            sound_for_libseccomp: false,
        };
        let profile = random::profile(&mut random, &limits);
        assert_eq!(refused(&native_compiled(&profile)), None, "seed {seed}");
    }
}

/// Every field and every kind of word in little space, so that a few exchanged words matter.
const SMALL: &str = r#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38,
    "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_PPC"],
    "flags": ["SECCOMP_FILTER_FLAG_LOG"], "listenerPath": "/run/agent", "listenerMetadata": "",
    "syscalls": [
        {"names": ["read", "socketcall", "socket"], "action": "SCMP_ACT_ALLOW", "args": null},
        {"names": ["semop"], "action": "SCMP_ACT_TRACE", "errnoRet": 5, "args": [
            {"index": 1, "value": 4294967296, "valueTwo": 0, "op": "SCMP_CMP_NE"},
            {"index": 5, "value": 3, "valueTwo": 2, "op": "SCMP_CMP_MASKED_EQ"}]},
        {"names": ["read", "semop"], "action": "SCMP_ACT_NOTIFY", "args": [
            {"index": 1, "value": 0, "op": "SCMP_CMP_GT"},
            {"index": 1, "value": 18446744073709551615, "op": "SCMP_CMP_LT"}]}]}"#;

/// A profile with a few words exchanged for others or for noise.
fn nearly_a_profile(random: &mut Random) -> String {
    const WORDS: [&str; 28] = [
        "0",
        "1",
        "5",
        "6",
        "-1",
        "4096",
        "18446744073709551615",
        "null",
        "[]",
        "{}",
        "\"SCMP_ACT_ALLOW\"",
        "\"SCMP_ACT_NOTIFY\"",
        "\"SCMP_ACT_ERRNO\"",
        "\"SCMP_ACT_TRACE\"",
        "\"SCMP_CMP_GE\"",
        "\"SCMP_CMP_LE\"",
        "\"SCMP_CMP_MASKED_EQ\"",
        "\"SCMP_ARCH_S390X\"",
        "\"SCMP_ARCH_MIPS\"",
        "\"errnoRet\"",
        "\"socketcall\"",
        "\"read\"",
        "true",
        "\"\"",
        "4294967295",
        "-1.5e3",
        "\"SCMP_ACT_KILL_PROCESS\"",
        "\"SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV\"",
    ];
    let json = match random.below(3) {
        0 => random.one(&DEFAULTS).1,
        _ => SMALL,
    };
    let mut tokens: Vec<&str> = json
        .split_inclusive([',', ':', '[', ']', '{', '}', '\n'])
        .collect();
    for _ in 0..random.below(7) {
        let at = random.below(tokens.len());
        let (from, word) = (random.below(tokens.len()), random.one(&WORDS));
        match random.below(8) {
            0 => tokens[at] = word,
            1 => drop(tokens.remove(at)),
            2 => tokens.swap(at, from),
            // A word in place of a value keeps the text whole.
            _ => {
                let end = tokens[at]
                    .trim_end_matches([',', ':', '[', ']', '{', '}', '\n'])
                    .len();
                let rest = &tokens[at][end..];
                let is_value = end > 0 && !rest.starts_with(':') && !tokens[at].trim().is_empty();
                if is_value {
                    tokens.splice(at..=at, [word, rest]);
                }
            }
        }
    }
    tokens.concat()
}

#[test]
fn the_kernel_acts_as_the_profile_says() {
    let rules = r#""syscalls": [
        {"names": ["getppid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77},
        {"names": ["getpgid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 78,
         "args": [{"index": 0, "value": 4294967297, "op": "SCMP_CMP_EQ"}]},
        {"names": ["getuid"], "action": "SCMP_ACT_LOG"},
        {"names": ["getgid"], "action": "SCMP_ACT_TRACE"}]"#;
    let json = format!(r#"{{"defaultAction": "SCMP_ACT_ALLOW", {rules}}}"#);
    let end = under(&json, |word| {
        let answers = [
            raw_call(libc::SYS_getppid, [0; 6]) == -77,
            raw_call(libc::SYS_getpgid, [0x1_0000_0001, 0, 0, 0, 0, 0]) == -78,
            raw_call(libc::SYS_getpgid, [0; 6]) > 0,
            raw_call(libc::SYS_getuid, [0; 6]) >= 0,
            raw_call(libc::SYS_getgid, [0; 6]) == -i64::from(libc::ENOSYS),
        ];
        word.store(answers.iter().filter(|as_said| **as_said).count() as i32);
    });
    assert_eq!(end, End { word: 5, status: 0 });
}

#[test]
fn killing_actions_end_the_process_by_sigsys() {
    for action in ["KILL", "KILL_THREAD", "KILL_PROCESS", "TRAP"] {
        let json = format!(
            r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {{"names": ["getppid"], "action": "SCMP_ACT_{action}"}}]}}"#
        );
        let end = under(&json, |_| {
            raw_call(libc::SYS_getppid, [0; 6]);
        });
        let status = end.status;
        assert!(libc::WIFSIGNALED(status), "{action}");
        assert_eq!(libc::WTERMSIG(status), libc::SIGSYS, "{action}");
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn calls_of_32_bit_programs_are_judged_too() {
    let json = |architectures: &str| {
        format!(
            r#"{{"defaultAction": "SCMP_ACT_ALLOW", "architectures": [{architectures}], "syscalls": [
            {{"names": ["getppid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77}}]}}"#
        )
    };
    const GETPPID: u32 = 64;
    const GETPID: u32 = 20;
    let listed = under(&json(r#""SCMP_ARCH_X86""#), |word| {
        word.store(raw_call_i386(GETPPID) + i32::from(raw_call_i386(GETPID) <= 0));
    });
    assert_eq!(
        listed,
        End {
            word: -77,
            status: 0
        }
    );
    let unlisted = under(&json(""), |word| word.store(raw_call_i386(GETPID)));
    assert_eq!(unlisted.word, 0);
    assert_eq!(libc::WTERMSIG(unlisted.status), libc::SIGSYS);
}
