//! The hooks that run when init is made or gone: poststart and poststop.
//!
//! Owns what follows from a failure (runtime-spec runtime.md#lifecycle): of a poststart hook
//! it ends the container and is the verb's own; of a poststop hook it is a warning, and the
//! others and the verb go on.
//!
//! Runs in: parent.

use crate::bundle::Bundle;
use crate::error::{Error, Result};
use crate::hooks;
use crate::log;
use crate::plan::hooks::Hooks;
use crate::process::foreground::Signals;
use crate::process::record::for_hooks;
use crate::state::{Container, Record, Status};

/// The container's hooks, from its copy of config.json; none where there are none by the
/// name of `kind`. A configuration that was good enough for `create` and cannot be read any
/// more is no reason to keep the container: a warning.
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
    let bundle = Bundle::from_state(source, container.record.bundle.clone())?;
    Hooks::plan(&bundle)
}

/// Whether a key of that name can be in this JSON text. To read a whole configuration with an
/// engine's seccomp profile in it takes longer than all else that `start` and `delete` do.
fn may_name(source: &[u8], key: &str) -> bool {
    std::str::from_utf8(source).map_or(true, |text| text.contains(key) || text.contains("\\u"))
}

/// Runs the poststart hooks in their order up to the first that fails.
pub fn run_poststart(hooks: &Hooks, record: &Record, signals: &Signals) -> Result<()> {
    if hooks.poststart.is_empty() {
        return Ok(());
    }
    let state = for_hooks(record, Status::Running)?;
    let outputs = hooks::Outputs::open(hooks)?;
    let place = hooks::Place::outside(&record.bundle).until(signals);
    hooks::run(&hooks.poststart, &state, &place, &outputs)
}

/// Runs all of the poststop hooks, when nothing else is left of the container. `signals` are those
/// of a caller that has them blocked.
pub fn run_poststop(hooks: &Hooks, record: &Record, signals: Option<&Signals>) {
    if hooks.poststop.is_empty() {
        return;
    }
    let run = |outputs: &hooks::Outputs| -> Result<Vec<Error>> {
        let state = for_hooks(record, Status::Stopped)?;
        let mut place = hooks::Place::outside(&record.bundle);
        if let Some(signals) = signals {
            place = place.until(signals);
        }
        Ok(hooks::run_all(&hooks.poststop, &state, &place, outputs))
    };
    // A file that is lost is no reason not to clean up.
    let (outputs, lost) = match hooks::Outputs::open(hooks) {
        Ok(outputs) => (outputs, None),
        Err(e) => (hooks::Outputs::default(), Some(e)),
    };
    let errors = run(&outputs).unwrap_or_else(|e| vec![e]);
    for error in lost.into_iter().chain(errors) {
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
