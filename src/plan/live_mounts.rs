//! The plan of mounts that come into a container which runs already: `rt mounts add`.
//!
//! Runs in: parent; a function of its arguments.

use super::create::CreateOptions;
use super::faults::Faults;
use super::mounts;
use super::namespaces::Namespaces;
use super::rootfs::{Mount, Rootfs, Source};
use crate::bundle::Bundle;
use crate::error::{Context, Error, Result};
use crate::host::Host;

/// Plans the mounts of `bundle`, the container's with others in the place of its own.
pub fn for_mounts(
    bundle: &Bundle,
    options: &CreateOptions,
    host: &Host,
) -> Result<(Rootfs, Namespaces)> {
    let config = &bundle.config;
    let mut faults = Faults::default();
    let namespaces = Namespaces::plan(config, host, &mut Vec::new(), &mut faults)?;
    if let Some((uids, gids)) = namespaces.ids_inside(host) {
        faults.take(mounts::check_ids(config, uids, gids));
    }
    let rootfs = Rootfs::plan(bundle, options, &namespaces, host, false, &mut faults);
    if let Some(first) = faults.into_first() {
        return Err(first);
    }
    for (index, entry) in rootfs.mounts.iter().enumerate() {
        refuse_what_comes_at_create_alone(entry).at(&format!("/mounts/{index}"), || {
            format!("mounts[{index}] ({})", entry.destination)
        })?;
    }
    Ok((rootfs, namespaces))
}

/// procfs shows the pid namespace of whoever mounts it, and a new cgroup2 or sysfs what that
/// process is in; none of that is the container's.
fn refuse_what_comes_at_create_alone(entry: &Mount) -> Result<()> {
    let what = match &entry.source {
        Source::Bind {
            copy_symlink: false,
            ..
        }
        | Source::New(_)
        | Source::CopyUp(_) => return Ok(()),
        Source::Bind { .. } => "copy-symlink",
        Source::Proc(_) => "proc",
        Source::Sysfs(_) => "sysfs",
        Source::Cgroup(_) => "cgroup",
        Source::Remount(_) => "remount",
    };
    Err(Error::unsupported(format!(
        "{what}: only when the container is made"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::example;
    use crate::plan::golden;

    fn planned(mounts: &str) -> Result<(Rootfs, Namespaces)> {
        let bundle = Bundle::from_config(example(false).into_bytes(), "/bundle".into())?;
        let bundle = bundle.with_mounts(mounts.as_bytes())?;
        for_mounts(&bundle, &CreateOptions::default(), &golden::root())
    }

    #[test]
    fn the_mounts_of_the_file_take_the_place_of_the_containers() {
        let (rootfs, _) = planned(
            r#"[{"destination": "/a", "type": "bind", "source": "/x", "options": ["ro"]},
                {"destination": "/b", "type": "tmpfs", "source": "tmpfs"}]"#,
        )
        .unwrap();
        let places: Vec<&str> = rootfs
            .mounts
            .iter()
            .map(|entry| entry.destination.as_str())
            .collect();
        assert_eq!(places, ["/a", "/b"]);
    }

    #[test]
    fn what_cannot_come_later_is_refused_by_name() {
        for (mount, words) in [
            (
                r#"{"destination": "/p", "type": "proc"}"#,
                "mounts[0] (/p): proc: only when",
            ),
            (
                r#"{"destination": "/s", "type": "sysfs"}"#,
                "sysfs: only when",
            ),
            (
                r#"{"destination": "/s", "options": ["remount", "ro"]}"#,
                "remount: only when",
            ),
            (
                r#"{"destination": "/b", "type": "bind"}"#,
                "mounts[0].source",
            ),
            (r#"{"type": "tmpfs"}"#, "mounts[0].destination"),
        ] {
            let e = planned(&format!("[{mount}]")).unwrap_err();
            assert!(e.to_string().contains(words), "{e}");
        }
        let e = planned(r#"{"mounts": []}"#).unwrap_err();
        assert_eq!(e.to_string(), "has to be a list of mounts");
    }
}
