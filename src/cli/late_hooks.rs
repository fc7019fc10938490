//! The hooks that run when `create` is long over: poststart and poststop.
//!
//! Owns their consequence: a failure is a warning, and the others and the verb go on
//! (runtime-spec runtime.md#lifecycle). A configuration that was good enough for `create`
//! and cannot be read any more has the same one.
//!
//! Runs in: parent.

use crate::bundle::Bundle;
use crate::error::{Error, Result};
use crate::hooks;
use crate::log;
use crate::plan::hooks::{Hook, Hooks};
use crate::state::{Container, Record, Report, Status};

/// The container's hooks, from its copy of config.json; none where there are none by the
/// name of `kind`.
pub fn read(container: &Container, kind: &str) -> Hooks {
    parse(container, kind).unwrap_or_else(|e| {
        log::warning(|| format!("no {kind} hooks: {e}"));
        Hooks::default()
    })
}

fn parse(container: &Container, kind: &str) -> Result<Hooks> {
    let source = container.config()?;
    if !may_name(&source, kind) {
        return Ok(Hooks::default());
    }
    let bundle = Bundle::from_config(source, container.record.bundle.clone())?;
    Hooks::plan(&bundle.config)
}

/// Whether a key of that name can be in this JSON text. To read a whole configuration with an
/// engine's seccomp profile in it takes longer than all else that `start` and `delete` do.
fn may_name(source: &[u8], key: &str) -> bool {
    std::str::from_utf8(source).map_or(true, |text| text.contains(key) || text.contains("\\u"))
}

/// Runs all of `hooks`, with the container's state on their standard input.
pub fn run(hooks: &[Hook], record: &Record, status: Status) {
    if hooks.is_empty() {
        return;
    }
    let errors = match serde_json::to_vec(&Report::for_hook(record, status)) {
        Ok(state) => hooks::run_all(hooks, &state),
        Err(e) => vec![Error::system(e.to_string())],
    };
    for error in errors {
        log::warning(|| error.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_not_missed_however_it_is_written() {
        assert!(may_name(br#"{"hooks":{"poststop":[]}}"#, "poststop"));
        assert!(may_name(br#"{"hooks":{"p\u006fststop":[]}}"#, "poststop"));
        assert!(may_name(b"\xff", "poststop"));
        assert!(!may_name(br#"{"hooks":{"prestart":[]}}"#, "poststop"));
    }
}
