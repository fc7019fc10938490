//! Annotations that are addressed to the runtime: crun's `run.oci.*`, which podman, buildah and
//! people set.
//!
//! Owns their names. SPEC: config.md#annotations: one that is not known is no error; a line of
//! the log at the level of debug says so.
//!
//! Runs in: parent; functions of config.json.

use super::HostPath;
use crate::bundle::Bundle;
use crate::error::{Error, Result};
use crate::log;

pub const DELEGATE_CGROUP: &str = "run.oci.delegate-cgroup";
pub const HOOKS_STDERR: &str = "run.oci.hooks.stderr";
pub const HOOKS_STDOUT: &str = "run.oci.hooks.stdout";
pub const KEEP_ORIGINAL_GROUPS: &str = "run.oci.keep_original_groups";
pub const MOUNT_CONTEXT_TYPE: &str = "run.oci.mount_context_type";
pub const PIDFD_RECEIVER: &str = "run.oci.pidfd_receiver";
pub const SECCOMP_BPF_DATA: &str = "run.oci.seccomp_bpf_data";
/// With any value but 0: a system call that the profile names and rt does not know is an error.
pub const SECCOMP_FAIL_UNKNOWN_SYSCALL: &str = "run.oci.seccomp_fail_unknown_syscall";
pub const SECCOMP_RECEIVER: &str = "run.oci.seccomp.receiver";
pub const SYSTEMD_SUBGROUP: &str = "run.oci.systemd.subgroup";

/// Who has made config.json.
pub const CONTAINER_MANAGER: &str = "io.container.manager";
/// podman's name there.
pub const PODMAN: &str = "libpod";

/// Runs the container by something else than the kernel: a virtual machine, WebAssembly.
const HANDLER: &str = "run.oci.handler";

/// Those that change what rt does.
const HONOURED: &[&str] = &[
    DELEGATE_CGROUP,
    HOOKS_STDERR,
    HOOKS_STDOUT,
    KEEP_ORIGINAL_GROUPS,
    MOUNT_CONTEXT_TYPE,
    PIDFD_RECEIVER,
    SECCOMP_BPF_DATA,
    SECCOMP_FAIL_UNKNOWN_SYSCALL,
    SECCOMP_RECEIVER,
    SYSTEMD_SUBGROUP,
];

/// Refuses what would make another container than the one that was asked for, and names the
/// rest that rt leaves alone.
pub fn check(bundle: &Bundle) -> Result<()> {
    if let Some(handler) = value(bundle, HANDLER) {
        return Err(Error::unsupported(format!(
            "annotations[{HANDLER:?}]: {handler:?}: rt has no handlers, it runs containers only"
        ))
        .with_pointer(pointer(HANDLER)));
    }
    for key in bundle.config.annotations.keys() {
        if key.starts_with("run.oci.") && !HONOURED.contains(&key.as_str()) {
            log::debug(|| format!("annotations[{key:?}]: not known: left alone"));
        }
    }
    Ok(())
}

/// The value of `key`; none where it is empty.
pub fn value<'a>(bundle: &'a Bundle, key: &str) -> Option<&'a str> {
    let value = bundle.config.annotations.get(key).map(String::as_str);
    value.filter(|value| !value.is_empty())
}

/// The value of `key` as a path of the host, as seen from the bundle.
pub fn path(bundle: &Bundle, key: &str) -> Option<HostPath> {
    value(bundle, key).map(|path| HostPath::new(bundle.dir.join(path)))
}

/// The JSON pointer of an annotation. Its name holds neither `~` nor `/`.
pub fn pointer(key: &str) -> String {
    format!("/annotations/{key}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundle(annotations: &str) -> Bundle {
        let config = format!(
            r#"{{"ociVersion": "1.0.2", "root": {{"path": "rootfs"}},
            "process": {{"cwd": "/", "args": ["true"], "user": {{"uid": 0, "gid": 0}}}},
            "annotations": {{{annotations}}}}}"#
        );
        Bundle::from_config(config.into_bytes(), "/b".into()).unwrap()
    }

    #[test]
    fn a_handler_is_refused_and_the_unknown_is_not() {
        let e = check(&bundle(r#""run.oci.handler": "wasm""#)).unwrap_err();
        assert_eq!(e.pointer(), Some("/annotations/run.oci.handler"));
        for tolerated in [
            r#""run.oci.nonsense": "1""#,
            r#""run.oci.handler": """#,
            r#""run.oci.keep_original_groups": "1""#,
            r#""org.example": "x""#,
        ] {
            check(&bundle(tolerated)).unwrap();
        }
    }

    #[test]
    fn every_one_that_counts_is_in_the_documents() {
        let text = include_str!("../../docs/annotations.md");
        for key in HONOURED.iter().chain([&HANDLER]) {
            assert!(text.contains(&format!("`{key}`")), "{key}");
        }
    }

    #[test]
    fn a_path_is_seen_from_the_bundle() {
        let bundle = bundle(r#""run.oci.hooks.stdout": "log", "run.oci.pidfd_receiver": "/s""#);
        assert_eq!(path(&bundle, HOOKS_STDOUT), Some(HostPath::new("/b/log")));
        assert_eq!(path(&bundle, PIDFD_RECEIVER), Some(HostPath::new("/s")));
        assert_eq!(path(&bundle, HOOKS_STDERR), None);
    }
}
