//! config-linux.md#user-namespace-mappings

use serde_json::json;

use crate::harness::bundle::Bundle;
use crate::harness::case::Case;
use crate::harness::verdict::{Verdict, equal, holds, skip};
use crate::probe::ask::Ask;
use crate::tests;

tests! {
    "config-linux.md#user-namespace-mappings" Must ids_are_mapped_as_config_says;
    "config-linux.md#user-namespace-mappings" Must several_ranges_are_mapped;
    "config-linux.md#user-namespace-mappings" Must files_of_the_container_belong_to_the_mapped_ids;
    "config-linux.md#user-namespace-mappings" Must files_of_others_belong_to_the_overflow_id;
    "config-linux.md#user-namespace-mappings" Must another_user_of_the_mapping_can_be_taken;
    "config-linux.md#user-namespace-mappings" Must an_unmapped_user_is_an_error;
    "config-linux.md#user-namespace-mappings" Must capabilities_count_in_the_new_namespace;
}

/// A user namespace with two ranges, whose id 0 is `zero` on the host; skips where there are no subordinate ids.
fn two_ranges(case: &Case, bundle: &mut Bundle) -> Verdict<u32> {
    let (zero, uids, gids) = if case.is_root() {
        (200_000, (300_000, 65536), (300_000, 65536))
    } else {
        let user = case.need_rootless()?;
        match (user.subuids, user.subgids) {
            (Some(uids), Some(gids)) => (user.uid, uids, gids),
            _ => return skip("the user has no subordinate ids"),
        }
    };
    let zero_gid = if case.is_root() {
        zero
    } else {
        case.need_rootless()?.gid
    };
    bundle.namespace("user");
    let map = |zero: u32, range: (u32, u32)| json!([{"containerID": 0, "hostID": zero, "size": 1}, {"containerID": 1, "hostID": range.0, "size": range.1}]);
    bundle.linux()["uidMappings"] = map(zero, uids);
    bundle.linux()["gidMappings"] = map(zero_gid, gids);
    Ok(zero)
}

/// As root the tree must be writable for the mapped root.
fn own_tree(bundle: &Bundle, host_uid: u32) -> Verdict {
    let id = (
        Some(nix::unistd::Uid::from_raw(host_uid)),
        Some(nix::unistd::Gid::from_raw(host_uid)),
    );
    for place in ["/", "/tmp", "/etc"] {
        nix::unistd::chown(&bundle.inside(place), id.0, id.1)?;
    }
    Ok(())
}

fn ids_are_mapped_as_config_says(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let host = if case.is_root() {
        bundle.namespace("user");
        bundle.linux()["uidMappings"] =
            json!([{"containerID": 0, "hostID": 200_000, "size": 1000}]);
        bundle.linux()["gidMappings"] =
            json!([{"containerID": 0, "hostID": 200_000, "size": 1000}]);
        (200_000, 1000)
    } else {
        (case.need_rootless()?.uid, 1)
    };
    let answers = case.run(
        &mut bundle,
        &[Ask::Process, Ask::Read("/proc/self/uid_map".into())],
    )?;
    equal("uid", answers[0].process()?.uid, 0)?;
    let map: Vec<u32> = answers[1]
        .text()?
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    // Seen from inside, the second column is in the reader's parent namespace: the host.
    equal("uid_map", map, [0, host.0, host.1])
}

fn several_ranges_are_mapped(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let zero = two_ranges(case, &mut bundle)?;
    let answer = case.run_one(&mut bundle, Ask::Read("/proc/self/uid_map".into()))?;
    let rows: Vec<Vec<u32>> = answer
        .text()?
        .lines()
        .map(|line| {
            line.split_whitespace()
                .filter_map(|word| word.parse().ok())
                .collect()
        })
        .collect();
    equal("rows of uid_map", rows.len(), 2)?;
    equal("the first row", &rows[0], &[0, zero, 1])?;
    equal(
        "the second row's first id and size",
        (rows[1][0], rows[1][2]),
        (1, 65536),
    )
}

fn files_of_the_container_belong_to_the_mapped_ids(case: &Case) -> Verdict {
    use std::os::unix::fs::MetadataExt;
    let mut bundle = case.bundle()?;
    let zero = two_ranges(case, &mut bundle)?;
    if case.is_root() {
        own_tree(&bundle, zero)?;
    }
    case.run_one(&mut bundle, Ask::Create("/etc/new".into()))?
        .done()?;
    equal(
        "owner of the new file on the host",
        std::fs::metadata(bundle.inside("/etc/new"))?.uid(),
        zero,
    )
}

fn files_of_others_belong_to_the_overflow_id(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    two_ranges(case, &mut bundle)?;
    bundle.file("/etc/of-root", "")?;
    // Root's own file: mapped in neither mode.
    bundle.bind(std::path::Path::new("/etc/passwd"), "/etc/of-root", &["ro"]);
    let answer = case.run_one(&mut bundle, Ask::Stat("/etc/of-root".into()))?;
    equal(
        "uid and gid of a file of the host's root",
        (answer.stat()?.uid, answer.stat()?.gid),
        (65534, 65534),
    )
}

fn another_user_of_the_mapping_can_be_taken(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    two_ranges(case, &mut bundle)?;
    bundle.process()["user"] = json!({"uid": 100, "gid": 101, "additionalGids": [102]});
    let process = case.run_process(&mut bundle)?;
    equal("uid and gid", (process.uid, process.gid), (100, 101))?;
    holds(
        process.groups.contains(&102),
        format!("the groups are {:?}", process.groups),
    )
}

fn an_unmapped_user_is_an_error(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    if case.is_root() {
        two_ranges(case, &mut bundle)?;
        bundle.process()["user"] = json!({"uid": 500_000, "gid": 0});
    } else {
        bundle.process()["user"] = json!({"uid": 1, "gid": 0});
    }
    // Not before start, some runtimes say; the payload must not run in any case.
    bundle.answers(&[Ask::Process])?;
    case.run_call(&bundle)?.run()?.refused().map(drop)
}

fn capabilities_count_in_the_new_namespace(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    two_ranges(case, &mut bundle)?;
    bundle.capabilities(&["CAP_SYS_ADMIN", "CAP_SYS_TIME"]);
    bundle.mkdir("/at")?;
    let asks = [
        Ask::SetHostname("changed".into()),
        Ask::Mount {
            source: "none".into(),
            target: "/at".into(),
            kind: "tmpfs".into(),
            flags: 0,
        },
    ];
    let answers = case.run(&mut bundle, &asks)?;
    // Both belong to namespaces that the new user namespace owns.
    answers[0].done()?;
    answers[1].done()
}
