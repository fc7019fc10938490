//! `linux.resources.devices`: which devices the container may use.
//!
//! Runs in: parent.

use super::cgroup::{DeviceRule, RuleKind};
use crate::bundle::resources;

const MKNOD: u32 = 1;
const READ: u32 = 2;
const WRITE: u32 = 4;
const ALL: u32 = MKNOD | READ | WRITE;

/// What every container may use, whatever config.json denies, as runc and crun grant it: any
/// node may be made, and the default devices, ptmx, pts and tun may be used.
const DEFAULT_RULES: [(RuleKind, Option<u32>, Option<u32>, u32); 11] = [
    (RuleKind::Character, None, None, MKNOD),
    (RuleKind::Block, None, None, MKNOD),
    (RuleKind::Character, Some(1), Some(3), ALL),
    (RuleKind::Character, Some(1), Some(8), ALL),
    (RuleKind::Character, Some(1), Some(7), ALL),
    (RuleKind::Character, Some(5), Some(0), ALL),
    (RuleKind::Character, Some(1), Some(5), ALL),
    (RuleKind::Character, Some(1), Some(9), ALL),
    (RuleKind::Character, Some(136), None, ALL),
    (RuleKind::Character, Some(5), Some(2), ALL),
    (RuleKind::Character, Some(10), Some(200), ALL),
];

/// The rules of config.json, then the default ones.
pub fn plan(given: &[resources::DeviceRule]) -> Vec<DeviceRule> {
    let mut rules: Vec<DeviceRule> = given.iter().map(plan_one).collect();
    rules.extend(
        DEFAULT_RULES.map(|(kind, major, minor, access)| DeviceRule {
            allow: true,
            kind,
            major,
            minor,
            access,
        }),
    );
    rules
}

/// The checks have seen to it that type, numbers and access are legal.
fn plan_one(given: &resources::DeviceRule) -> DeviceRule {
    let number = |n: Option<i64>| n.and_then(|n| u32::try_from(n).ok());
    DeviceRule {
        allow: given.allow,
        kind: match given.kind.as_deref() {
            Some("c") => RuleKind::Character,
            Some("b") => RuleKind::Block,
            _ => RuleKind::All,
        },
        major: number(given.major),
        minor: number(given.minor),
        access: match given.access.as_deref() {
            None | Some("") => ALL,
            Some(letters) => letters
                .bytes()
                .fold(0, |mask, letter| mask | access(letter)),
        },
    }
}

fn access(letter: u8) -> u32 {
    match letter {
        b'm' => MKNOD,
        b'r' => READ,
        b'w' => WRITE,
        _ => 0,
    }
}
