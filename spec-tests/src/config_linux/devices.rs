//! config-linux.md#devices and config-linux.md#default-devices

use serde_json::json;

use crate::harness::bundle::Bundle;
use crate::harness::case::Case;
use crate::harness::verdict::{Verdict, equal, holds};
use crate::probe::ask::Ask;
use crate::tests;

tests! {
    "config-linux.md#default-devices" Must the_default_devices_are_there;
    "config-linux.md#default-devices" Must the_default_devices_work;
    "config-linux.md#default-devices" Must ptmx_leads_to_the_containers_own_devpts;
    "config-linux.md#default-devices" Must a_configured_ptmx_gives_way_to_the_containers_own;
    "runtime-linux.md#dev-symbolic-links" Must the_default_links_are_there;
    "config-linux.md#default-devices" Must without_a_terminal_there_is_no_console;
    "config-linux.md#devices" Must configured_devices_are_made;
    "config-linux.md#devices" Must a_device_below_a_missing_folder_is_made;
    "config-linux.md#devices" Must mode_and_owner_of_a_device_are_set;
    "config-linux.md#devices" Must a_device_in_a_user_namespace_is_as_configured;
    "config-linux.md#devices" Must a_fifo_is_made;
    "config-linux.md#devices" Must a_block_device_is_made;
    "config-linux.md#devices" Must a_host_device_is_given_to_a_rootless_container;
    "config-linux.md#devices" Must a_file_in_the_place_of_a_device_is_an_error;
    "config-linux.md#devices" Must an_unknown_device_type_is_an_error;
}

const DEFAULT: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

fn the_default_devices_are_there(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let asks: Vec<Ask> = DEFAULT
        .iter()
        .map(|(path, _, _)| Ask::Stat((*path).into()))
        .collect();
    let answers = case.run(&mut bundle, &asks)?;
    for (answer, (path, major, minor)) in answers.iter().zip(DEFAULT) {
        let stat = answer.stat()?;
        equal(
            path,
            (stat.kind.as_str(), stat.major, stat.minor),
            ("char", major, minor),
        )?;
        equal(&format!("mode of {path}"), stat.mode, 0o666)?;
    }
    Ok(())
}

fn the_default_devices_work(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let write = |path: &str| Ask::Write {
        path: path.into(),
        text: "text".into(),
    };
    let answers = case.run(
        &mut bundle,
        &[
            write("/dev/null"),
            Ask::Read("/dev/null".into()),
            write("/dev/full"),
            Ask::Open("/dev/zero".into()),
            Ask::Open("/dev/urandom".into()),
        ],
    )?;
    answers[0].done()?;
    equal("/dev/null", answers[1].text()?, "")?;
    answers[2].failed_with("writing to /dev/full", &[libc::ENOSPC])?;
    answers[3].done()?;
    answers[4].done()
}

fn ptmx_leads_to_the_containers_own_devpts(case: &Case) -> Verdict {
    ptmx_is_the_containers_own(case, &mut case.bundle()?)
}

/// docker's --privileged lists all devices of the host.
fn a_configured_ptmx_gives_way_to_the_containers_own(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.linux()["devices"] = json!([{"path": "/dev/ptmx", "type": "c", "major": 5, "minor": 2}]);
    ptmx_is_the_containers_own(case, &mut bundle)
}

fn ptmx_is_the_containers_own(case: &Case, bundle: &mut Bundle) -> Verdict {
    let answers = case.run(
        bundle,
        &[
            Ask::Open("/dev/ptmx".into()),
            Ask::Stat("/dev/ptmx".into()),
            Ask::ReadLink("/dev/ptmx".into()),
        ],
    )?;
    answers[0].done()?;
    if answers[1].stat()?.kind == "link" {
        holds(
            answers[2].text()?.ends_with("pts/ptmx"),
            format!("/dev/ptmx is a link to {:?}", answers[2]),
        )?;
    }
    Ok(())
}

fn the_default_links_are_there(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let links = [
        ("/dev/fd", "/proc/self/fd"),
        ("/dev/stdin", "/proc/self/fd/0"),
        ("/dev/stdout", "/proc/self/fd/1"),
        ("/dev/stderr", "/proc/self/fd/2"),
    ];
    let asks: Vec<Ask> = links
        .iter()
        .map(|(link, _)| Ask::ReadLink((*link).into()))
        .collect();
    let answers = case.run(&mut bundle, &asks)?;
    for (answer, (link, target)) in answers.iter().zip(links) {
        equal(link, answer.text()?, target)?;
    }
    Ok(())
}

fn without_a_terminal_there_is_no_console(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    case.run_one(&mut bundle, Ask::Stat("/dev/console".into()))?
        .failed_with("/dev/console", &[libc::ENOENT])
}

fn configured_devices_are_made(case: &Case) -> Verdict {
    case.need_root()?;
    let mut bundle = case.bundle()?;
    bundle.linux()["devices"] = json!([
        {"path": "/dev/a-null", "type": "c", "major": 1, "minor": 3},
        {"path": "/dev/a-zero", "type": "u", "major": 1, "minor": 5},
    ]);
    let answers = case.run(
        &mut bundle,
        &[
            Ask::Stat("/dev/a-null".into()),
            Ask::Stat("/dev/a-zero".into()),
        ],
    )?;
    for (answer, wanted) in answers.iter().zip([("char", 1, 3), ("char", 1, 5)]) {
        let stat = answer.stat()?;
        equal(
            "kind, major, minor",
            (stat.kind.as_str(), stat.major, stat.minor),
            wanted,
        )?;
    }
    Ok(())
}

fn a_device_below_a_missing_folder_is_made(case: &Case) -> Verdict {
    case.need_root()?;
    let mut bundle = case.bundle()?;
    bundle.linux()["devices"] =
        json!([{"path": "/dev/deep/er/null", "type": "c", "major": 1, "minor": 3}]);
    equal(
        "its kind",
        case.run_one(&mut bundle, Ask::Stat("/dev/deep/er/null".into()))?
            .stat()?
            .kind
            .as_str(),
        "char",
    )
}

fn mode_and_owner_of_a_device_are_set(case: &Case) -> Verdict {
    case.need_root()?;
    let mut bundle = case.bundle()?;
    bundle.linux()["devices"] = json!([{"path": "/dev/mine", "type": "c", "major": 1, "minor": 3, "fileMode": 0o640, "uid": 1000, "gid": 1001}]);
    let answer = case.run_one(&mut bundle, Ask::Stat("/dev/mine".into()))?;
    let stat = answer.stat()?;
    equal(
        "mode, uid, gid",
        (stat.mode, stat.uid, stat.gid),
        (0o640, 1000, 1001),
    )
}

/// The host has none at these paths, and bound nodes would have the owner and mode of the host's.
fn a_device_in_a_user_namespace_is_as_configured(case: &Case) -> Verdict {
    case.need_root()?;
    let mut bundle = case.bundle()?;
    bundle.namespace("user");
    let mapping = json!([{"containerID": 0, "hostID": 200_000, "size": 65536}]);
    bundle.linux()["uidMappings"] = mapping.clone();
    bundle.linux()["gidMappings"] = mapping;
    bundle.linux()["devices"] = json!([
        {"path": "/dev/a-null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o640, "uid": 1000, "gid": 1001},
        {"path": "/dev/a-full", "type": "c", "major": 1, "minor": 7, "fileMode": 0o666},
    ]);
    let write = Ask::Write {
        path: "/dev/a-full".into(),
        text: "x".into(),
    };
    let answers = case.run(&mut bundle, &[Ask::Stat("/dev/a-null".into()), write])?;
    let stat = answers[0].stat()?;
    equal(
        "kind, major, minor",
        (stat.kind.as_str(), stat.major, stat.minor),
        ("char", 1, 3),
    )?;
    equal(
        "mode, uid, gid",
        (stat.mode, stat.uid, stat.gid),
        (0o640, 1000, 1001),
    )?;
    answers[1].failed_with("writing to a full device", &[libc::ENOSPC])
}

fn a_fifo_is_made(case: &Case) -> Verdict {
    case.need_root()?;
    let mut bundle = case.bundle()?;
    bundle.linux()["devices"] = json!([{"path": "/dev/pipe", "type": "p", "fileMode": 0o600}]);
    let answer = case.run_one(&mut bundle, Ask::Stat("/dev/pipe".into()))?;
    equal(
        "kind and mode",
        (answer.stat()?.kind.as_str(), answer.stat()?.mode),
        ("fifo", 0o600),
    )
}

fn a_block_device_is_made(case: &Case) -> Verdict {
    case.need_root()?;
    let mut bundle = case.bundle()?;
    bundle.linux()["devices"] =
        json!([{"path": "/dev/a-loop", "type": "b", "major": 7, "minor": 0}]);
    let answer = case.run_one(&mut bundle, Ask::Stat("/dev/a-loop".into()))?;
    let stat = answer.stat()?;
    equal(
        "kind, major, minor",
        (stat.kind.as_str(), stat.major, stat.minor),
        ("block", 7, 0),
    )
}

fn a_host_device_is_given_to_a_rootless_container(case: &Case) -> Verdict {
    case.need_rootless()?;
    let mut bundle = case.bundle()?;
    // mknod is not allowed: the node of the same path on the host is bound.
    bundle.linux()["devices"] = json!([{"path": "/dev/full", "type": "c", "major": 1, "minor": 7}]);
    let answers = case.run(
        &mut bundle,
        &[
            Ask::Stat("/dev/full".into()),
            Ask::Write {
                path: "/dev/full".into(),
                text: "x".into(),
            },
        ],
    )?;
    equal(
        "major and minor",
        (answers[0].stat()?.major, answers[0].stat()?.minor),
        (1, 7),
    )?;
    answers[1].failed_with("writing to /dev/full", &[libc::ENOSPC])
}

fn a_file_in_the_place_of_a_device_is_an_error(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let path = "/no-such-device-of-the-host";
    bundle.file(path, "text")?;
    bundle.linux()["devices"] = json!([{"path": path, "type": "c", "major": 1, "minor": 3}]);
    case.create_refused(&bundle).map(drop)
}

fn an_unknown_device_type_is_an_error(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.linux()["devices"] = json!([{"path": "/dev/x", "type": "z", "major": 1, "minor": 3}]);
    case.create_refused(&bundle).map(drop)
}
