//! Device rules as properties of a unit.
//!
//! systemd knows only lists of what is allowed, so it is told the smallest such list that
//! forbids nothing which the rules allow. rt's own program stands beside systemd's, and the
//! kernel asks both: the rules hold exactly, and what systemd does at a reload can take
//! nothing away from them.
//!
//! Runs in: parent.

use super::Property;
use super::value::Value;
use crate::plan::cgroup::{DeviceRule, RuleKind};

const ANY_ACCESS: u32 = 7;

/// DevicePolicy and DeviceAllow. A list adds to what a unit in use has; an empty one clears it.
pub fn properties(rules: &[DeviceRule]) -> Vec<Property> {
    let allow = |entries| Property::new("DeviceAllow", Value::Array("(ss)".into(), entries));
    let last = rules.iter().rposition(decides_everything);
    if last.is_some_and(|n| rules[n].allow) {
        return vec![policy("auto"), allow(Vec::new())];
    }
    let mut allowed: Vec<(String, u32)> = Vec::new();
    for rule in rules[last.map_or(0, |n| n + 1)..]
        .iter()
        .filter(|r| r.allow)
    {
        for name in names(rule) {
            match allowed.iter_mut().find(|(known, _)| *known == name) {
                Some((_, access)) => *access |= rule.access,
                None => allowed.push((name, rule.access)),
            }
        }
    }
    let entries: Vec<Value> = allowed
        .into_iter()
        .map(|(name, access)| Value::Struct(vec![Value::String(name), letters(access)]))
        .collect();
    vec![policy("strict"), allow(Vec::new()), allow(entries)]
}

fn policy(name: &str) -> Property {
    Property::new("DevicePolicy", Value::string(name))
}

fn decides_everything(rule: &DeviceRule) -> bool {
    rule.kind == RuleKind::All
        && rule.major.is_none()
        && rule.minor.is_none()
        && rule.access & ANY_ACCESS == ANY_ACCESS
}

/// systemd.resource-control(5), DeviceAllow=: `/dev/char/1:3`, all of a driver as `char-136`,
/// all as `char-*`. A minor number of any driver cannot be said, so all are named.
fn names(rule: &DeviceRule) -> Vec<String> {
    let kinds: &[&str] = match rule.kind {
        RuleKind::All => &["char", "block"],
        RuleKind::Character => &["char"],
        RuleKind::Block => &["block"],
    };
    kinds
        .iter()
        .map(|kind| match (rule.major, rule.minor) {
            (Some(major), Some(minor)) => format!("/dev/{kind}/{major}:{minor}"),
            (Some(major), None) => format!("{kind}-{major}"),
            (None, _) => format!("{kind}-*"),
        })
        .collect()
}

fn letters(access: u32) -> Value {
    let letters = [(2, 'r'), (4, 'w'), (1, 'm')];
    Value::String(
        letters
            .into_iter()
            .filter(|(bit, _)| access & bit != 0)
            .map(|(_, letter)| letter)
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(
        allow: bool,
        kind: RuleKind,
        major: Option<u32>,
        minor: Option<u32>,
        access: u32,
    ) -> DeviceRule {
        DeviceRule {
            allow,
            kind,
            major,
            minor,
            access,
        }
    }

    fn told(rules: &[DeviceRule]) -> (String, Vec<String>) {
        let properties = properties(rules);
        let Some(Value::Array(_, entries)) = properties.last().map(|p| &p.value) else {
            panic!("{properties:?}");
        };
        let entries = entries.iter().map(|entry| match entry {
            Value::Struct(pair) => {
                let words: Vec<&str> = pair.iter().filter_map(Value::as_str).collect();
                words.join(" ")
            }
            other => panic!("{other:?}"),
        });
        let policy = properties[0].value.as_str().unwrap().to_owned();
        (policy, entries.collect())
    }

    #[test]
    fn what_is_allowed_after_deny_all_is_listed() {
        use RuleKind::{All, Block, Character};
        let rules = [
            rule(true, Character, Some(9), None, 7),
            rule(false, All, None, None, 7),
            rule(true, Character, None, None, 1),
            rule(true, Character, Some(1), Some(3), 2),
            rule(true, Character, Some(1), Some(3), 4),
            rule(false, Character, Some(1), Some(5), 7),
            rule(true, Block, Some(8), None, 6),
            rule(true, All, Some(7), Some(1), 2),
        ];
        let (policy, entries) = told(&rules);
        assert_eq!(policy, "strict");
        assert_eq!(
            entries,
            [
                "char-* m",
                "/dev/char/1:3 rw",
                "block-8 rw",
                "/dev/char/7:1 r",
                "/dev/block/7:1 r"
            ]
        );
    }

    #[test]
    fn a_list_that_allows_everything_but_some_is_left_to_the_program() {
        let all = rule(true, RuleKind::All, None, None, 7);
        let one = rule(false, RuleKind::Character, Some(1), Some(3), 7);
        assert_eq!(told(&[all, one]), ("auto".into(), vec![]));
        assert_eq!(told(&[]).0, "strict");
    }
}
