//! config.md#linux-mount-options

use serde_json::json;

use crate::harness::bundle::Bundle;
use crate::harness::case::Case;
use crate::harness::container::mount_at;
use crate::harness::host_mount::HostMount;
use crate::harness::verdict::{Verdict, equal, fail, holds};
use crate::probe::ask::{Ask, Mount};
use crate::tests;

tests! {
    "config.md#linux-mount-options" Must flags_of_a_new_file_system_are_set;
    "config.md#linux-mount-options" Must flags_of_a_bind_mount_are_set;
    "config.md#linux-mount-options" Must ro_refuses_writes;
    "config.md#linux-mount-options" Must noexec_refuses_to_run;
    "config.md#linux-mount-options" Must nodev_refuses_devices;
    "config.md#linux-mount-options" Must of_contradicting_flags_the_last_one_wins;
    "config.md#linux-mount-options" Must rro_reaches_mounts_below;
    "config.md#linux-mount-options" Must every_recursive_option_reaches_mounts_below;
    "config.md#linux-mount-options" Must ro_does_not_reach_mounts_below;
    "config.md#linux-mount-options" Must a_private_mount_has_no_peers;
    "config.md#linux-mount-options" Must an_rslave_mount_receives_from_the_host;
    "config.md#linux-mount-options" Must an_rshared_mount_sends_to_the_host;
    "config.md#linux-mount-options" Must an_unbindable_mount_is_unbindable;
    "config.md#linux-mount-options" Must tmpcopyup_fills_the_tmpfs;
    "config.md#linux-mount-options" Must relatime_and_its_relatives_are_set;
}

fn run_mounts(case: &Case, bundle: &mut Bundle) -> Verdict<Vec<Mount>> {
    Ok(case.run_one(bundle, Ask::Mounts)?.mounts()?.to_vec())
}

fn has_flag(mount: &Mount, flag: &str) -> bool {
    mount.flags.iter().any(|have| have == flag)
}

fn flags_of_a_new_file_system_are_set(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let flags = ["ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime"];
    bundle
        .mount(json!({"destination": "/at", "type": "tmpfs", "source": "tmpfs", "options": flags}));
    let mounts = run_mounts(case, &mut bundle)?;
    let mount = mount_at(&mounts, "/at")?;
    for flag in flags {
        holds(
            has_flag(mount, flag),
            format!("{flag} is not in {:?}", mount.flags),
        )?;
    }
    Ok(())
}

fn flags_of_a_bind_mount_are_set(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let source = case.folder("source")?;
    let flags = ["ro", "nosuid", "nodev", "noexec"];
    bundle.bind(&source, "/at", &flags);
    let mounts = run_mounts(case, &mut bundle)?;
    let mount = mount_at(&mounts, "/at")?;
    for flag in flags {
        holds(
            has_flag(mount, flag),
            format!("{flag} is not in {:?}", mount.flags),
        )?;
    }
    Ok(())
}

fn ro_refuses_writes(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let source = case.folder("source")?;
    bundle.bind(&source, "/at", &["ro"]);
    case.run_one(&mut bundle, Ask::Create("/at/new".into()))?
        .failed_with("a new file", &[libc::EROFS])
}

fn noexec_refuses_to_run(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let source = case.folder("source")?;
    std::fs::copy(case.host_probe(), source.join("probe"))?;
    bundle
        .bind(&source, "/with", &["noexec"])
        .bind(&source, "/without", &["exec"]);
    let run = |path: &str| Ask::Spawn(vec![path.to_owned(), "exit".to_owned(), "3".to_owned()]);
    let answers = case.run(&mut bundle, &[run("/with/probe"), run("/without/probe")])?;
    answers[0].failed_with("the program on the noexec mount", &[libc::EACCES])?;
    equal("status of the other", answers[1].number()?, 3)
}

fn nodev_refuses_devices(case: &Case) -> Verdict {
    case.need_root()?;
    let mut bundle = case.bundle()?;
    bundle.capabilities(&["CAP_MKNOD"]);
    bundle.mount(
        json!({"destination": "/with", "type": "tmpfs", "source": "tmpfs", "options": ["nodev"]}),
    );
    bundle.mount(
        json!({"destination": "/without", "type": "tmpfs", "source": "tmpfs", "options": ["dev"]}),
    );
    let null = |path: &str| Ask::Mknod {
        path: path.into(),
        kind: 'c',
        major: 1,
        minor: 3,
    };
    let asks = [
        null("/with/null"),
        Ask::Open("/with/null".into()),
        null("/without/null"),
        Ask::Open("/without/null".into()),
    ];
    let answers = case.run(&mut bundle, &asks)?;
    answers[0].done()?;
    answers[1].failed_with("the device on the nodev mount", &[libc::EACCES])?;
    answers[2].done()?;
    answers[3].done()
}

fn of_contradicting_flags_the_last_one_wins(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let options = ["ro", "rw", "exec", "noexec", "nosuid", "suid"];
    bundle.mount(
        json!({"destination": "/at", "type": "tmpfs", "source": "tmpfs", "options": options}),
    );
    let mounts = run_mounts(case, &mut bundle)?;
    let mount = mount_at(&mounts, "/at")?;
    let wanted = [
        ("rw", true),
        ("ro", false),
        ("noexec", true),
        ("nosuid", false),
    ];
    for (flag, wanted) in wanted {
        equal(
            &format!("{flag} in {:?}", mount.flags),
            has_flag(mount, flag),
            wanted,
        )?;
    }
    Ok(())
}

/// A folder of the host with a tmpfs below it, bound with these options at /at.
fn below_a_bind(case: &Case, options: &[&str]) -> Verdict<Vec<Mount>> {
    case.need_root()?;
    let source = case.folder("source")?;
    let _below = HostMount::tmpfs(&case.folder("source/below")?)?;
    let mut bundle = case.bundle()?;
    bundle
        .mount(json!({"destination": "/at", "type": "none", "source": source, "options": options}));
    run_mounts(case, &mut bundle)
}

fn rro_reaches_mounts_below(case: &Case) -> Verdict {
    let mounts = below_a_bind(case, &["rbind", "rro", "rnosuid"])?;
    for place in ["/at", "/at/below"] {
        let mount = mount_at(&mounts, place)?;
        holds(
            has_flag(mount, "ro") && has_flag(mount, "nosuid"),
            format!("{place} has {:?}", mount.flags),
        )?;
    }
    Ok(())
}

/// Each sets its flag on both mounts, and its opposite behind it takes it away from both.
fn every_recursive_option_reaches_mounts_below(case: &Case) -> Verdict {
    const OPTIONS: [(&str, &str, &str); 7] = [
        ("rro", "rrw", "ro"),
        ("rnosuid", "rsuid", "nosuid"),
        ("rnodev", "rdev", "nodev"),
        ("rnoexec", "rexec", "noexec"),
        ("rnodiratime", "rdiratime", "nodiratime"),
        ("rnoatime", "ratime", "noatime"),
        ("rnosymfollow", "rsymfollow", "nosymfollow"),
    ];
    case.need_root()?;
    let source = case.folder("source")?;
    let _below = HostMount::tmpfs(&case.folder("source/below")?)?;
    let mut bundle = case.bundle()?;
    let mut bind = |at: &str, options: &[&str]| {
        bundle.bind(&source, at, &[&["rbind"], options].concat());
    };
    bind("/strict", &["rstrictatime"]);
    for (set, clear, flag) in OPTIONS {
        bind(&format!("/{flag}"), &[set]);
        bind(&format!("/no-{flag}"), &[set, clear]);
    }
    let mounts = run_mounts(case, &mut bundle)?;
    for below in ["", "/below"] {
        let strict = mount_at(&mounts, &format!("/strict{below}"))?;
        holds(
            !has_flag(strict, "relatime") && !has_flag(strict, "noatime"),
            format!("rstrictatime makes {:?} of {below:?}", strict.flags),
        )?;
        for (set, clear, flag) in OPTIONS {
            for (place, wanted) in [(format!("/{flag}"), true), (format!("/no-{flag}"), false)] {
                let mount = mount_at(&mounts, &format!("{place}{below}"))?;
                holds(
                    has_flag(mount, flag) == wanted,
                    format!("{set} and {clear}: {} has {:?}", mount.target, mount.flags),
                )?;
            }
        }
    }
    Ok(())
}

fn ro_does_not_reach_mounts_below(case: &Case) -> Verdict {
    let mounts = below_a_bind(case, &["rbind", "ro"])?;
    holds(
        has_flag(mount_at(&mounts, "/at")?, "ro"),
        "/at is not read-only",
    )?;
    holds(
        has_flag(mount_at(&mounts, "/at/below")?, "rw"),
        "/at/below is read-only",
    )
}

fn a_private_mount_has_no_peers(case: &Case) -> Verdict {
    case.need_root()?;
    let host = HostMount::shared_tmpfs(&case.folder("source")?)?;
    let mut bundle = case.bundle()?;
    bundle.bind(host.path(), "/at", &["rprivate"]);
    let mounts = run_mounts(case, &mut bundle)?;
    let none: &[String] = &[];
    equal(
        "its propagation",
        mount_at(&mounts, "/at")?.propagation.as_slice(),
        none,
    )
}

fn an_rslave_mount_receives_from_the_host(case: &Case) -> Verdict {
    case.need_root()?;
    let host = HostMount::shared_tmpfs(&case.folder("source")?)?;
    std::fs::create_dir(host.path().join("later"))?;
    let mut bundle = case.bundle()?;
    bundle.linux()["rootfsPropagation"] = json!("rslave");
    bundle.bind(host.path(), "/at", &["rslave"]);
    let mut container = case.started(&mut bundle)?;
    let later = HostMount::tmpfs(&host.path().join("later"))?;
    std::fs::write(later.path().join("mark"), "from the host")?;
    equal(
        "the mark",
        container
            .ask_one(Ask::Read("/at/later/mark".into()))?
            .text()?,
        "from the host",
    )?;
    container.stop()?;
    container.delete()
}

fn an_rshared_mount_sends_to_the_host(case: &Case) -> Verdict {
    case.need_root()?;
    let host = HostMount::shared_tmpfs(&case.folder("source")?)?;
    std::fs::create_dir(host.path().join("inner"))?;
    let mut bundle = case.bundle()?;
    bundle.capabilities(&["CAP_SYS_ADMIN"]);
    bundle.linux()["rootfsPropagation"] = json!("rshared");
    bundle.bind(host.path(), "/at", &["rshared"]);
    let mut container = case.started(&mut bundle)?;
    let inner = Ask::Mount {
        source: "none".into(),
        target: "/at/inner".into(),
        kind: "tmpfs".into(),
        flags: 0,
    };
    container.ask_one(inner)?.done()?;
    container
        .ask_one(Ask::Create("/at/inner/mark".into()))?
        .done()?;
    let seen = host.path().join("inner/mark").exists();
    container
        .ask_one(Ask::Unmount("/at/inner".into()))?
        .done()?;
    container.stop()?;
    container.delete()?;
    if seen {
        Ok(())
    } else {
        fail("the mount made inside did not come out")
    }
}

fn an_unbindable_mount_is_unbindable(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let source = case.folder("source")?;
    bundle.bind(&source, "/at", &["unbindable"]);
    let mounts = run_mounts(case, &mut bundle)?;
    equal(
        "its propagation",
        &mount_at(&mounts, "/at")?.propagation,
        &["unbindable"],
    )
}

fn tmpcopyup_fills_the_tmpfs(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.file_with_mode("/full/sub/file", "from the root", 0o640)?;
    bundle.symlink("sub/file", "/full/link")?;
    bundle.mount(json!({"destination": "/full", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"]}));
    let asks = [
        Ask::Read("/full/link".into()),
        Ask::Stat("/full/sub/file".into()),
        Ask::ReadLink("/full/link".into()),
        Ask::Mounts,
        Ask::Create("/full/new".into()),
    ];
    let answers = case.run(&mut bundle, &asks)?;
    equal("the file", answers[0].text()?, "from the root")?;
    equal("its mode", answers[1].stat()?.mode, 0o640)?;
    equal("the link", answers[2].text()?, "sub/file")?;
    equal(
        "the type",
        mount_at(answers[3].mounts()?, "/full")?.kind.as_str(),
        "tmpfs",
    )?;
    answers[4].done()?;
    holds(
        !bundle.inside("/full/new").exists(),
        "the new file is in the root and not in the tmpfs",
    )
}

fn relatime_and_its_relatives_are_set(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    for (place, flag) in [("/r", "relatime"), ("/n", "noatime"), ("/s", "strictatime")] {
        bundle.mount(
            json!({"destination": place, "type": "tmpfs", "source": "tmpfs", "options": [flag]}),
        );
    }
    let mounts = run_mounts(case, &mut bundle)?;
    holds(
        has_flag(mount_at(&mounts, "/r")?, "relatime"),
        "/r is not relatime",
    )?;
    holds(
        has_flag(mount_at(&mounts, "/n")?, "noatime"),
        "/n is not noatime",
    )?;
    let strict = mount_at(&mounts, "/s")?;
    // The kernel shows strictatime by showing neither of the others.
    holds(
        !has_flag(strict, "relatime") && !has_flag(strict, "noatime"),
        format!("/s has {:?}", strict.flags),
    )
}
