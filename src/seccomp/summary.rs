//! What a program does, in few words: hundreds of instructions are nobody's reading.
//!
//! It is said of the program itself, not of the profile that it was made of, so it holds for
//! one that somebody else has compiled too.
//!
//! Runs in: parent.

use std::collections::BTreeSet;

use libc::{
    BPF_ABS, BPF_JA, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_LDX, BPF_RET, BPF_ST, BPF_STX, BPF_W,
};
use seccompiler::sock_filter;
use serde::ser::{Serialize, SerializeStruct as _, Serializer};

use super::arch::Arch;
use super::graph::ARCH;
use super::profile::{Action, Flag};
use super::{Filter, Listener};

/// The bits of a code that say what kind of instruction it is, BPF_CLASS.
const CLASS: u32 = 7;

impl Serialize for Filter {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut summary = to.serialize_struct("Filter", 6)?;
        summary.serialize_field("loaded", self.moment())?;
        summary.serialize_field("instructions", &self.program.len())?;
        summary.serialize_field("architectures", &architectures(&self.program))?;
        summary.serialize_field("actions", &actions(&self.program))?;
        summary.serialize_field("flags", &flags(self.flags))?;
        summary.serialize_field("listener", &self.listener)?;
        summary.end()
    }
}

impl Filter {
    /// When it is loaded: one that asks an agent before `create` returns, which has then handed
    /// the listener over; any other at `start`, as late as can be.
    fn moment(&self) -> &'static str {
        match self.listener {
            Some(_) => "before_ready",
            None => "at_start",
        }
    }
}

impl Serialize for Listener {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut listener = to.serialize_struct("Listener", 2)?;
        listener.serialize_field("path", &self.path.to_string_lossy())?;
        listener.serialize_field("metadata", &self.metadata)?;
        listener.end()
    }
}

/// What may be in the accumulator before an instruction; none of it, where it is never reached.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Before {
    architecture: bool,
    other: bool,
}

/// The instructions that can be reached, each with what is before it. Jumps go forward alone.
fn reached(program: &[sock_filter]) -> Vec<(&sock_filter, Before)> {
    let mut before = vec![Before::default(); program.len()];
    if let Some(first) = before.first_mut() {
        first.other = true;
    }
    for (n, at) in program.iter().enumerate() {
        let code = u32::from(at.code);
        let after = match code & CLASS {
            _ if before[n] == Before::default() => continue,
            BPF_RET => continue,
            BPF_LD => Before {
                architecture: code == BPF_LD | BPF_W | BPF_ABS && at.k == ARCH,
                other: code != BPF_LD | BPF_W | BPF_ABS || at.k != ARCH,
            },
            BPF_JMP | BPF_ST | BPF_STX | BPF_LDX => before[n],
            _ => Before {
                architecture: false,
                other: true,
            },
        };
        let distances = match code & CLASS {
            BPF_JMP if code == BPF_JMP | BPF_JA => [at.k, at.k],
            BPF_JMP => [at.jt.into(), at.jf.into()],
            _ => [0, 0],
        };
        for distance in distances {
            if let Some(to) = before.get_mut(n + 1 + distance as usize) {
                to.architecture |= after.architecture;
                to.other |= after.other;
            }
        }
    }
    let all = program.iter().zip(before);
    all.filter(|(_, before)| *before != Before::default())
        .collect()
}

/// The architectures that the program asks for. x32 is one with x86_64 to the kernel.
fn architectures(program: &[sock_filter]) -> Vec<String> {
    let mut found = Vec::new();
    for (at, before) in reached(program) {
        if before.architecture && u32::from(at.code) == BPF_JMP | BPF_JEQ | BPF_K {
            let name = Arch::ALL.iter().find(|arch| arch.audit() == at.k);
            let name = name.map_or_else(|| format!("{:#x}", at.k), |arch| arch.name().to_owned());
            if !found.contains(&name) {
                found.push(name);
            }
        }
    }
    found
}

/// What the program can answer, the strictest first, with the errno or the data for a tracer:
/// `SCMP_ACT_ERRNO(1)`.
fn actions(program: &[sock_filter]) -> Vec<String> {
    let reached = reached(program).into_iter().map(|(at, _)| at);
    let returns = reached.filter(|at| u32::from(at.code) == BPF_RET | BPF_K);
    // In the kernel's order, which takes the numbers for signed.
    let answers: BTreeSet<(i32, u32)> = returns
        .map(|at| {
            let action = at.k & libc::SECCOMP_RET_ACTION_FULL;
            (action.cast_signed(), at.k & libc::SECCOMP_RET_DATA)
        })
        .collect();
    let named = answers.into_iter().map(|(action, data)| {
        let name = Action::ALL
            .iter()
            // The newer of two names.
            .filter(|known| **known != Action::Kill)
            .find(|known| {
                known.return_value(None).is_ok_and(|value| {
                    value & libc::SECCOMP_RET_ACTION_FULL == action.cast_unsigned()
                })
            })
            .map_or_else(
                || format!("{action:#010x}"),
                |known| known.name().to_owned(),
            );
        match action.cast_unsigned() {
            libc::SECCOMP_RET_ERRNO | libc::SECCOMP_RET_TRACE => format!("{name}({data})"),
            _ => name,
        }
    });
    named.collect()
}

/// `SECCOMP_FILTER_FLAG_*` of seccomp(2); those of a listener are no words of a profile.
fn flags(bits: u32) -> Option<String> {
    let mut known: Vec<(u32, &str)> = Flag::ALL.iter().map(|f| (f.bit(), f.name())).collect();
    let of_listener = [
        (
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
            "SECCOMP_FILTER_FLAG_NEW_LISTENER",
        ),
        (
            libc::SECCOMP_FILTER_FLAG_TSYNC_ESRCH,
            "SECCOMP_FILTER_FLAG_TSYNC_ESRCH",
        ),
    ];
    known.extend(of_listener.map(|(bit, name)| (bit as u32, name)));
    let words: Vec<&str> = known
        .into_iter()
        .filter(|(bit, _)| bits & bit != 0)
        .map(|(_, name)| name)
        .collect();
    (!words.is_empty()).then(|| words.join("|"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::{Profile, compile, from_base64};
    use super::*;

    fn summary(profile: Value) -> Value {
        let profile: Profile = serde_json::from_value(profile).unwrap();
        let (filter, _) = compile(&profile, Arch::X86_64).unwrap();
        serde_json::to_value(filter).unwrap()
    }

    #[test]
    fn a_program_is_summed_up() {
        let found = summary(json!({
            "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38,
            "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
            "syscalls": [
                {"names": ["read"], "action": "SCMP_ACT_ALLOW"},
                {"names": ["mount"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1},
            ],
        }));
        assert_eq!(found["loaded"], "at_start");
        assert_eq!(
            found["architectures"],
            json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"])
        );
        assert_eq!(
            found["actions"],
            json!([
                "SCMP_ACT_KILL_THREAD",
                "SCMP_ACT_ERRNO(1)",
                "SCMP_ACT_ERRNO(38)",
                "SCMP_ACT_ALLOW"
            ])
        );
        assert_eq!(found["flags"], "SECCOMP_FILTER_FLAG_SPEC_ALLOW");
        assert!(found["instructions"].as_u64().unwrap() > 4);
        assert_eq!(found["listener"], Value::Null);
    }

    #[test]
    fn a_listener_is_named_and_changes_the_moment() {
        let found = summary(json!({
            "defaultAction": "SCMP_ACT_KILL_PROCESS", "listenerPath": "/run/agent",
            "syscalls": [
                {"names": ["read"], "action": "SCMP_ACT_ALLOW"},
                {"names": ["mount"], "action": "SCMP_ACT_NOTIFY"},
            ],
        }));
        assert_eq!(found["loaded"], "before_ready");
        assert_eq!(found["listener"]["path"], "/run/agent");
        let actions = found["actions"].as_array().unwrap();
        assert_eq!(actions[0], "SCMP_ACT_KILL_PROCESS");
        assert!(actions.contains(&json!("SCMP_ACT_NOTIFY")), "{actions:?}");
    }

    #[test]
    fn a_program_of_somebody_else_is_summed_up_too() {
        // ret ALLOW
        let filter = from_base64("BgAAAAAA/38=").unwrap();
        let found = serde_json::to_value(filter).unwrap();
        assert_eq!(found["architectures"], json!([]));
        assert_eq!(found["actions"], json!(["SCMP_ACT_ALLOW"]));
        assert_eq!(found["instructions"], 1);
    }
}
