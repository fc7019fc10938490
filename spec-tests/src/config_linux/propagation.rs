//! config-linux.md#rootfs-mount-propagation

use serde_json::json;

use crate::harness::case::Case;
use crate::harness::container::mount_at;
use crate::harness::host_mount::HostMount;
use crate::harness::verdict::{Verdict, equal, holds};
use crate::probe::ask::Ask;
use crate::tests;

tests! {
    "config-linux.md#rootfs-mount-propagation" Must a_private_root_is_private;
    "config-linux.md#rootfs-mount-propagation" Must a_slave_root_is_a_slave;
    "config-linux.md#rootfs-mount-propagation" Must a_shared_root_is_shared;
    "config-linux.md#rootfs-mount-propagation" Must an_unbindable_root_is_unbindable;
    "config-linux.md#rootfs-mount-propagation" Must mounts_of_the_container_never_reach_the_host_by_default;
    "config-linux.md#rootfs-mount-propagation" Must an_unknown_propagation_is_an_error;
}

/// The optional fields of / in a container whose bundle lies on a shared mount of the host.
fn propagation(case: &Case, word: &str) -> Verdict<Vec<String>> {
    case.need_root()?;
    let host = HostMount::shared_self_bind(&case.folder("shared")?)?;
    let mut bundle = case.bundle_named("shared/bundle")?;
    bundle.linux()["rootfsPropagation"] = json!(word);
    let answer = case.run_one(&mut bundle, Ask::Mounts)?;
    drop(host);
    Ok(mount_at(answer.mounts()?, "/")?.propagation.clone())
}

fn a_private_root_is_private(case: &Case) -> Verdict {
    equal(
        "propagation of /",
        propagation(case, "private")?,
        [] as [&str; 0],
    )
}

fn a_slave_root_is_a_slave(case: &Case) -> Verdict {
    let seen = propagation(case, "slave")?;
    holds(
        seen.iter().all(|field| !field.starts_with("shared:")),
        format!("propagation of / is {seen:?}"),
    )
}

fn a_shared_root_is_shared(case: &Case) -> Verdict {
    let seen = propagation(case, "shared")?;
    holds(
        seen.iter().any(|field| field.starts_with("shared:")),
        format!("propagation of / is {seen:?}"),
    )
}

fn an_unbindable_root_is_unbindable(case: &Case) -> Verdict {
    equal(
        "propagation of /",
        propagation(case, "unbindable")?,
        ["unbindable"],
    )
}

fn mounts_of_the_container_never_reach_the_host_by_default(case: &Case) -> Verdict {
    case.need_root()?;
    let host = HostMount::shared_self_bind(&case.folder("shared")?)?;
    let mut bundle = case.bundle_named("shared/bundle")?;
    bundle.mkdir("/at")?;
    bundle.mount(json!({"destination": "/by-config", "type": "tmpfs", "source": "tmpfs"}));
    bundle.capabilities(&["CAP_SYS_ADMIN"]);
    let mut container = case.started(&mut bundle)?;
    let mount = Ask::Mount {
        source: "none".into(),
        target: "/at".into(),
        kind: "tmpfs".into(),
        flags: 0,
    };
    container.ask_one(mount)?.done()?;
    let table = std::fs::read_to_string("/proc/self/mountinfo")?;
    let leaked: Vec<&str> = table
        .lines()
        .filter(|line| line.contains(&*bundle.rootfs().to_string_lossy()))
        .collect();
    equal(
        "mounts of the container on the host",
        leaked,
        [] as [&str; 0],
    )?;
    container.stop()?;
    container.delete()?;
    drop(host);
    Ok(())
}

fn an_unknown_propagation_is_an_error(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.linux()["rootfsPropagation"] = json!("sideways");
    case.create_refused(&bundle).map(drop)
}
