//! The hooks.
//!
//! Runs in: parent.

use super::{Check, Report, Run};
use crate::bundle::config::{Config, Hook};

pub const CHECKS: &[Check] = &[
    Check {
        name: "hook-path-is-absolute",
        clause: "config.md#posix-platform-hooks",
        pointer: "/hooks/*/*/path",
        run: Run::Config(hook_path_is_absolute),
    },
    Check {
        name: "hook-timeout-is-positive",
        clause: "config.md#posix-platform-hooks",
        pointer: "/hooks/*/*/timeout",
        run: Run::Config(hook_timeout_is_positive),
    },
];

fn hooks(config: &Config) -> impl Iterator<Item = (String, &Hook)> {
    let lists = config.hooks.iter().flat_map(|hooks| hooks.lists());
    lists.flat_map(|(name, hooks)| {
        let hooks = hooks.iter().enumerate();
        hooks.map(move |(n, hook)| (format!("/hooks/{name}/{n}"), hook))
    })
}

fn hook_path_is_absolute(config: &Config, report: &mut Report) {
    for (pointer, hook) in hooks(config) {
        match hook.path.as_deref() {
            None | Some("") => report.add(format!("{pointer}/path"), "is missing"),
            Some(path) if !path.starts_with('/') => report.add(
                format!("{pointer}/path"),
                format!("{path:?} must be an absolute path"),
            ),
            Some(_) => {}
        }
    }
}

fn hook_timeout_is_positive(config: &Config, report: &mut Report) {
    for (pointer, hook) in hooks(config) {
        if let Some(seconds) = hook.timeout
            && seconds <= 0
        {
            report.add(
                format!("{pointer}/timeout"),
                format!("{seconds} must be greater than zero"),
            );
        }
    }
}
