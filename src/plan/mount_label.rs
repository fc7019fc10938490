//! `linux.mountLabel`: the SELinux label of the files in new file systems.
//!
//! Runs in: parent.

use std::ffi::CStr;

use super::annotations::{self, MOUNT_CONTEXT_TYPE};
use super::c_string;
use super::rootfs::{FileSystem, MountLabel};
use crate::bundle::Bundle;
use crate::error::{Context, Result};

/// The label and the option that carries it, mount(8), "Filesystem-independent mount options".
/// An annotation of crun's, which podman sets, chooses the option.
pub fn plan(bundle: &Bundle) -> Result<Option<MountLabel>> {
    let label = bundle
        .config
        .linux()
        .mount_label
        .as_deref()
        .unwrap_or_default();
    if label.is_empty() {
        return Ok(None);
    }
    let option = match annotations::value(bundle, MOUNT_CONTEXT_TYPE) {
        Some("fscontext") => c"fscontext",
        Some("defcontext") => c"defcontext",
        Some("rootcontext") => c"rootcontext",
        // The checks have refused all others.
        _ => c"context",
    };
    Ok(Some(MountLabel {
        option: option.to_owned(),
        value: c_string(label, "/linux/mountLabel").at("/linux/mountLabel", || "linux")?,
    }))
}

/// Adds the label to a file system, unless its own options hold one.
///
/// Not to procfs, sysfs and cgroup2, whose files have labels of the policy's. An mqueue takes no
/// such option, and is labelled once it is mounted (runc and crun alike).
pub fn add(label: &MountLabel, fs: &mut FileSystem) {
    let has_one = fs.data.iter().any(|(key, _)| is_context(key));
    if fs.kind.as_c_str() != c"mqueue" && !has_one {
        fs.data
            .push((label.option.clone(), Some(label.value.clone())));
    }
}

/// Whether the option carries a label: its value may hold commas.
pub fn is_context(key: &CStr) -> bool {
    matches!(
        key.to_bytes(),
        b"context" | b"fscontext" | b"defcontext" | b"rootcontext"
    )
}

#[cfg(test)]
mod tests {
    use std::ffi::CString;

    use serde_json::{Value, json};

    use super::*;
    use crate::bundle::example;

    fn planned(annotation: Option<&str>) -> MountLabel {
        let mut config: Value = serde_json::from_str(&example(false)).unwrap();
        config["linux"]["mountLabel"] = json!("u:r:t:s0:c1,c2");
        if let Some(annotation) = annotation {
            config["annotations"][MOUNT_CONTEXT_TYPE] = json!(annotation);
        }
        let source = config.to_string().into_bytes();
        let bundle = Bundle::from_config(source, "/b".into()).unwrap();
        plan(&bundle).unwrap().unwrap()
    }

    fn file_system(kind: &CStr, option: Option<&CStr>) -> FileSystem {
        FileSystem {
            kind: kind.to_owned(),
            source: kind.to_owned(),
            superblock_flags: 0,
            data: Vec::from_iter(option.map(|o| (o.to_owned(), Some(c"x".to_owned())))),
        }
    }

    #[test]
    fn the_annotation_chooses_the_option() {
        assert_eq!(planned(None).option, c"context".to_owned());
        assert_eq!(
            planned(Some("rootcontext")).option,
            c"rootcontext".to_owned()
        );
    }

    #[test]
    fn a_label_of_its_own_stays_and_an_mqueue_gets_none() {
        let labelled = |mut fs: FileSystem| -> Vec<CString> {
            add(&planned(None), &mut fs);
            fs.data.into_iter().map(|(key, _)| key).collect()
        };
        assert_eq!(
            labelled(file_system(c"tmpfs", Some(c"size"))),
            [c"size".to_owned(), c"context".to_owned()]
        );
        assert_eq!(
            labelled(file_system(c"overlay", Some(c"fscontext"))),
            [c"fscontext".to_owned()]
        );
        assert!(labelled(file_system(c"mqueue", None)).is_empty());
    }
}
