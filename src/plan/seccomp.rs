//! The seccomp profile as the program that the kernel gets.

use super::annotations::{self, SECCOMP_BPF_DATA, SECCOMP_FAIL_UNKNOWN_SYSCALL, SECCOMP_RECEIVER};
use crate::bundle::Bundle;
use crate::error::{Context, Error, Result};
use crate::log;
use crate::seccomp::{self, Arch, Filter, Profile};
use crate::trace;

/// Compiles `linux.seccomp`, or takes the program that an annotation has in its place. None
/// where config.json has neither. `receiver` is the path of an agent's socket for a profile that
/// needs one and names none, nor does an annotation.
pub fn plan(
    bundle: &Bundle,
    receiver: Option<&str>,
    warnings: &mut Vec<String>,
) -> Result<Option<Filter>> {
    if let Some(data) = annotations::value(bundle, SECCOMP_BPF_DATA) {
        return seccomp::from_base64(data)
            .map(Some)
            .at(&annotations::pointer(SECCOMP_BPF_DATA), || {
                format!("annotations[{SECCOMP_BPF_DATA:?}]")
            });
    }
    let Some(profile) = &bundle.config.linux().seccomp else {
        return Ok(None);
    };
    if profile.is_empty() {
        warnings.push(
            "config.json: linux.seccomp: has neither defaultAction nor syscalls: no filter is made of it"
                .to_owned(),
        );
        return Ok(None);
    }
    let Some(native) = Arch::native() else {
        return Err(Error::unsupported(
            "linux.seccomp: there is no table of system calls for this machine",
        )
        .with_pointer("/linux/seccomp"));
    };
    let _step = trace::step("linux.seccomp");
    let (filter, skipped) = match annotations::value(bundle, SECCOMP_RECEIVER).or(receiver) {
        Some(path) if profile.listener_path.is_none() => {
            let listener_path = Some(path.to_owned());
            let profile = Profile {
                listener_path,
                ..profile.clone()
            };
            seccomp::compile(&profile, native)?
        }
        _ => seccomp::compile(profile, native)?,
    };
    let is_strict =
        annotations::value(bundle, SECCOMP_FAIL_UNKNOWN_SYSCALL).is_some_and(|value| value != "0");
    if is_strict && !skipped.names.is_empty() {
        return Err(Error::invalid(format!(
            "linux.seccomp.syscalls: unknown system calls, which annotations[{SECCOMP_FAIL_UNKNOWN_SYSCALL:?}] forbids: {}",
            skipped.names.join(", ")
        ))
        .with_pointer("/linux/seccomp/syscalls"));
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(seccomp: &str, annotations: &str) -> Result<Option<Filter>> {
        planned_with_warnings(seccomp, annotations, &mut Vec::new())
    }

    fn planned_with_warnings(
        seccomp: &str,
        annotations: &str,
        warnings: &mut Vec<String>,
    ) -> Result<Option<Filter>> {
        let config = format!(
            r#"{{"ociVersion": "1.0.2", "root": {{"path": "rootfs"}},
            "process": {{"cwd": "/", "args": ["true"], "user": {{"uid": 0, "gid": 0}}}},
            "annotations": {{{annotations}}}, "linux": {{"seccomp": {seccomp}}}}}"#
        );
        let bundle = Bundle::from_config(config.into_bytes(), "/b".into())?;
        plan(&bundle, None, warnings)
    }

    const NOTIFY: &str = r#"{"defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]}"#;

    #[test]
    fn the_annotation_names_the_agent_where_the_profile_does_not() {
        let e = planned(NOTIFY, "").unwrap_err();
        assert_eq!(e.pointer(), Some("/linux/seccomp/listenerPath"));
        let filter = planned(NOTIFY, r#""run.oci.seccomp.receiver": "/run/agent""#);
        let listener = filter.unwrap().unwrap().listener.unwrap();
        assert_eq!(listener.path.to_str(), Some("/run/agent"));
    }

    #[test]
    fn unknown_calls_are_an_error_where_an_annotation_says_so() {
        let profile = NOTIFY
            .replace("mkdir", "nosuchcall")
            .replace("NOTIFY", "ERRNO");
        let key = SECCOMP_FAIL_UNKNOWN_SYSCALL;
        planned(&profile, "").unwrap();
        planned(&profile, &format!(r#""{key}": "0""#)).unwrap();
        let e = planned(&profile, &format!(r#""{key}": "1""#)).unwrap_err();
        assert!(e.to_string().ends_with("forbids: nosuchcall"), "{e}");
    }

    #[test]
    fn a_bad_word_is_refused_with_its_place() {
        for (rest, place) in [
            (r#""defaultAction": "X_NOSUCH""#, "defaultAction"),
            (r#""architectures": ["X_NOSUCH"]"#, "architectures/0"),
            (r#""flags": ["X_NOSUCH"]"#, "flags/0"),
            (
                r#""syscalls": [{"names": ["mkdir"], "action": "X_NOSUCH"}]"#,
                "syscalls/0/action",
            ),
            (
                r#""syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_LOG", "args": [
                    {"index": 0, "value": 1, "op": "X_NOSUCH"}]}]"#,
                "syscalls/0/args/0/op",
            ),
        ] {
            let e = planned(&format!("{{{rest}}}"), "").unwrap_err();
            let place = format!("/linux/seccomp/{place}");
            assert_eq!(e.pointer(), Some(place.as_str()));
            assert!(e.to_string().contains("X_NOSUCH"), "{e}");
        }
    }

    #[test]
    fn without_a_profile_there_is_no_filter() {
        let mut warnings = Vec::new();
        let filter = planned_with_warnings("null", "", &mut warnings);
        assert_eq!((filter.unwrap(), warnings.len()), (None, 0));
        for nothing in [
            "{}",
            r#"{"defaultAction": ""}"#,
            r#"{"defaultAction": null, "syscalls": null, "flags": []}"#,
        ] {
            let mut warnings = Vec::new();
            let filter = planned_with_warnings(nothing, "", &mut warnings);
            assert_eq!((filter.unwrap(), warnings.len()), (None, 1), "{nothing}");
        }
    }

    #[test]
    fn rules_without_a_default_action_are_refused() {
        for default in ["", r#""defaultAction": "","#] {
            let rules = format!(
                r#"{{{default} "syscalls": [{{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}}]}}"#
            );
            let e = planned(&rules, "").unwrap_err();
            assert_eq!(e.pointer(), Some("/linux/seccomp/defaultAction"));
            assert!(e.to_string().ends_with("has no defaultAction"), "{e}");
        }
    }

    #[test]
    fn a_rule_for_no_name_is_none() {
        let without = NOTIFY
            .replace(r#"["mkdir"]"#, "null")
            .replace("NOTIFY", "ERRNO");
        let filter = planned(&without, "").unwrap().unwrap();
        let all = planned(r#"{"defaultAction": "SCMP_ACT_ALLOW"}"#, "").unwrap();
        assert_eq!(filter.program, all.unwrap().program);
    }
}
