//! The user namespace: whether it can be had, and who maps ids for it.
//!
//! Runs in: parent.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::sys::statvfs::{FsFlags, statvfs};

use super::Finding;
use crate::diagnose::hints::Situation;
use crate::error::Error;
use crate::host::{CAP_SETGID, CAP_SETUID, Host};
use crate::plan::Plan;
use crate::plan::namespaces::{IdMapWriter, Namespaces};
use crate::process::trial;
use crate::sys;

/// What has to be able to map another's ids, and the capability that lets it.
const TOOLS: [(&str, u8); 2] = [("newuidmap", CAP_SETUID), ("newgidmap", CAP_SETGID)];

/// Whether the namespaces can be made, or those to be joined be opened.
pub fn of_namespaces(namespaces: &Namespaces, situation: &Situation) -> Vec<Finding> {
    match trial::run(namespaces) {
        Ok(()) => Vec::new(),
        Err(error) => vec![Finding::error("namespaces", &error, situation)],
    }
}

/// Whether newuidmap and newgidmap, where the plan needs them, have the rights to do their work.
pub fn of_tools(plan: &Plan, host: &Host) -> Vec<Finding> {
    let maps = plan.namespaces.id_maps.as_ref();
    let are_used = maps.is_some_and(|maps| maps.writer == IdMapWriter::Newidmap);
    match are_used && !host.may_map_ids() {
        true => judge_tools(&find_tools(), has_no_new_privileges()),
        false => Vec::new(),
    }
}

/// The caller's subordinate ids.
pub fn of_host(host: &Host) -> Vec<Finding> {
    let Some(subordinate) = &host.subordinate else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    let user = &subordinate.user;
    if subordinate.tools {
        findings.extend(judge_tools(&find_tools(), has_no_new_privileges()));
    } else {
        findings.push(
            Finding::warning(
                "newuidmap",
                "newuidmap and newgidmap are not installed: only the user's own id can be mapped",
            )
            .hint("install the package uidmap or shadow-utils"),
        );
    }
    for (file, option, ranges) in [
        ("/etc/subuid", "--add-subuids", &subordinate.uids),
        ("/etc/subgid", "--add-subgids", &subordinate.gids),
    ] {
        // An image may have any id up to nobody's, 65534.
        const USUAL: u64 = 65_536;
        let count: u64 = ranges.iter().map(|(_, count)| u64::from(*count)).sum();
        let hint = format!("as root: usermod {option} FIRST-LAST {user}");
        if count == 0 {
            let text =
                format!("{file} gives no range to {user}: only the user's own id can be mapped");
            findings.push(
                Finding::warning("subordinate-ids", text)
                    .hint(hint)
                    .path(file),
            );
        } else if count < USUAL {
            let text = format!(
                "{file} gives {user} {count} ids: images with ids from {count} on up to 65534 need {USUAL}"
            );
            findings.push(Finding::note("subordinate-ids", text).hint(hint).path(file));
        }
    }
    findings
}

/// newuidmap or newgidmap as it is installed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Tool {
    path: PathBuf,
    /// Whether it has the right to write others' maps: by its owner or by a file capability.
    has_rights: bool,
    /// Whether it lies on a mount with nosuid, which takes that right away.
    nosuid: bool,
}

fn judge_tools(tools: &[Tool], no_new_privileges: bool) -> Vec<Finding> {
    let refused = |path: &Path, why: &str, hint: String| {
        let error = Error::unsupported(format!("{}: {why}", path.display()))
            .with_pointer("/linux/uidMappings")
            .with_path(path.to_string_lossy())
            .with_hint(hint);
        Finding::error("newuidmap", &error, &Situation::default())
    };
    if no_new_privileges && let Some(tool) = tools.first() {
        return vec![refused(
            &tool.path,
            "it gets no rights, since the caller runs with no_new_privs",
            "call rt from a process without it (podman and docker: not --security-opt no-new-privileges; systemd: NoNewPrivileges=no)".into(),
        )];
    }
    let mut findings = Vec::new();
    for tool in tools {
        let path = tool.path.display();
        if !tool.has_rights {
            findings.push(refused(
                &tool.path,
                "it is neither setuid root nor has it the capability to map ids",
                format!("as root: chmod u+s {path} (or install its package anew)"),
            ));
        } else if tool.nosuid {
            findings.push(refused(
                &tool.path,
                "it lies on a mount with nosuid, which takes its rights away",
                format!("mount the file system of {path} without nosuid"),
            ));
        }
    }
    findings
}

fn find_tools() -> Vec<Tool> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
    let look = |&(name, capability): &(&str, u8)| {
        let mut candidates = std::env::split_paths(&path).map(|dir| dir.join(name));
        let path = candidates.find(|path| path.is_file())?;
        let file = std::fs::metadata(&path).ok()?;
        let setuid_root = file.mode() & libc::S_ISUID != 0 && file.uid() == 0;
        let nosuid = statvfs(&path).is_ok_and(|fs| fs.flags().contains(FsFlags::ST_NOSUID));
        Some(Tool {
            has_rights: setuid_root || has_file_capability(&path, capability),
            nosuid,
            path,
        })
    };
    TOOLS.iter().filter_map(look).collect()
}

/// capabilities(7), "File capabilities": `struct vfs_cap_data`, in little endian.
fn has_file_capability(path: &Path, number: u8) -> bool {
    sys::metadata::short_attribute(path, c"security.capability")
        .is_some_and(|value| permits(&value, number))
}

fn permits(attribute: &[u8], number: u8) -> bool {
    let word = attribute.get(4..8).and_then(|bytes| bytes.try_into().ok());
    word.is_some_and(|bytes| u32::from_le_bytes(bytes) & (1 << number) != 0)
}

fn has_no_new_privileges() -> bool {
    nix::sys::prctl::get_no_new_privs().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::golden;

    fn tool(name: &str, has_rights: bool, nosuid: bool) -> Tool {
        Tool {
            path: Path::new("/usr/bin").join(name),
            has_rights,
            nosuid,
        }
    }

    #[test]
    fn a_tool_without_rights_is_named_with_the_command_that_mends_it() {
        let tools = [
            tool("newuidmap", false, false),
            tool("newgidmap", true, true),
        ];
        let found = judge_tools(&tools, false);
        assert_eq!(found.len(), 2);
        assert!(
            found[0]
                .hint
                .as_deref()
                .unwrap()
                .contains("chmod u+s /usr/bin/newuidmap")
        );
        assert!(found[1].message.contains("nosuid"), "{:?}", found[1]);
        assert_eq!(judge_tools(&[tool("newuidmap", true, false)], false), []);
        let found = judge_tools(&tools, true);
        assert!(matches!(found.as_slice(), [one] if one.message.contains("no_new_privs")));
    }

    #[test]
    fn a_file_capability_is_read_as_the_kernel_writes_it() {
        // cap_setuid=ep by setcap(8): revision 2, effective.
        let value = [
            1, 0, 0, 2, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        ];
        assert!(permits(&value, CAP_SETUID));
        assert!(!permits(&value, CAP_SETGID));
        assert!(!permits(&value[..6], CAP_SETUID));
    }

    #[test]
    fn a_user_without_ranges_is_told_the_files_and_the_command() {
        let mut host = golden::user();
        let subordinate = host.subordinate.as_mut().unwrap();
        subordinate.uids.clear();
        subordinate.gids = vec![(100_000, 1000)];
        let found = of_host(&host);
        let of = |file: &str| {
            let mut all = found.iter().filter(|f| f.path.as_deref() == Some(file));
            all.next().unwrap().clone()
        };
        let (uids, gids) = (of("/etc/subuid"), of("/etc/subgid"));
        assert!(uids.message.contains("no range to ann"), "{uids:?}");
        assert!(uids.hint.unwrap().contains("usermod --add-subuids"));
        assert!(gids.message.contains("1000 ids"), "{gids:?}");
        assert_eq!(of_host(&golden::root()), []);
    }
}
