//! The seccomp profile as the program that the kernel gets.

use crate::bundle::Bundle;
use crate::error::{Error, Result};
use crate::log;
use crate::seccomp::{self, Arch, Filter, Profile};

/// crun's annotation: the path of an agent's socket for engines that cannot say it in
/// linux.seccomp.
const RECEIVER: &str = "run.oci.seccomp.receiver";

/// Compiles `linux.seccomp`. None where config.json has no profile.
pub fn plan(bundle: &Bundle) -> Result<Option<Filter>> {
    let Some(profile) = &bundle.config.linux().seccomp else {
        return Ok(None);
    };
    let Some(native) = Arch::native() else {
        return Err(Error::unsupported(
            "linux.seccomp: there is no table of system calls for this machine",
        )
        .with_pointer("/linux/seccomp"));
    };
    let (filter, skipped) = match bundle.config.annotations.get(RECEIVER) {
        Some(path) if profile.listener_path.is_none() => {
            let listener_path = Some(path.clone());
            let profile = Profile {
                listener_path,
                ..profile.clone()
            };
            seccomp::compile(&profile, native)?
        }
        _ => seccomp::compile(profile, native)?,
    };
    if !skipped.names.is_empty() {
        log::debug(|| {
            let names = skipped.names.join(", ");
            format!("linux.seccomp: unknown system calls, passed over: {names}")
        });
    }
    for arch in skipped.architectures {
        log::debug(|| {
            format!(
                "linux.seccomp: no table for {}: its calls are killed",
                arch.name()
            )
        });
    }
    Ok(Some(filter))
}
