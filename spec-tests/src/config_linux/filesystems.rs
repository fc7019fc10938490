//! config-linux.md#default-filesystems

use crate::harness::case::Case;
use crate::harness::container::mount_at;
use crate::harness::verdict::{Verdict, equal, fail};
use crate::probe::ask::Ask;
use crate::tests;

tests! {
    "config-linux.md#default-filesystems" Should the_file_systems_of_config_are_of_their_types;
    "config-linux.md#default-filesystems" Must nothing_is_mounted_but_what_config_says;
    "config-linux.md#personality" Must personality_is_set;
}

fn the_file_systems_of_config_are_of_their_types(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let answer = case.run_one(&mut bundle, Ask::Mounts)?;
    for (place, kind) in [
        ("/proc", "proc"),
        ("/sys", "sysfs"),
        ("/dev/pts", "devpts"),
        ("/dev/shm", "tmpfs"),
    ] {
        equal(
            place,
            mount_at(answer.mounts()?, place)?.kind.as_str(),
            kind,
        )?;
    }
    Ok(())
}

fn nothing_is_mounted_but_what_config_says(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let answer = case.run_one(&mut bundle, Ask::Mounts)?;
    // /sys may be a recursive bind of the host's, /dev nodes may be bind mounts, and masks are mounts.
    let allowed = ["/proc", "/sys", "/dev"];
    for mount in answer.mounts()? {
        let target = mount.target.as_str();
        let known = target == "/"
            || allowed
                .iter()
                .any(|top| target == *top || target.starts_with(&format!("{top}/")));
        if !known {
            return fail(format!("{target} ({}) is mounted", mount.kind));
        }
    }
    Ok(())
}

fn personality_is_set(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.linux()["personality"] = serde_json::json!({"domain": "LINUX32"});
    const PER_LINUX32: i32 = 0x0008;
    equal(
        "personality",
        case.run_process(&mut bundle)?.personality,
        PER_LINUX32,
    )
}
