//! What the runtime takes from the container's own tree, and should not

use std::path::Path;

use serde_json::json;

use crate::harness::bundle::Bundle;
use crate::harness::case::Case;
use crate::harness::console::FdSocket;
use crate::harness::container::parse_line;
use crate::harness::swapper::Swapper;
use crate::harness::verdict::{Verdict, equal, fail, holds};
use crate::probe::ask::{Answer, Ask};
use crate::tests;

tests! {
    "CVE-2025-31133" Attack a_null_device_that_is_a_link_does_not_unmask;
    "CVE-2025-31133" Attack a_null_device_that_is_a_file_does_not_unmask;
    "CVE-2025-31133" Attack a_volume_as_dev_with_a_false_null_does_not_unmask;
    "CVE-2025-52565" Attack a_false_pts_is_not_put_at_the_console;
    "CVE-2025-52881" Attack a_false_proc_does_not_catch_sysctls;
    "CVE-2025-52881, CVE-2019-16884" Attack a_false_proc_does_not_catch_the_score;
    "CVE-2019-19921" Attack a_volume_over_proc_is_no_proc;
    "CVE-2023-25809" Attack the_hosts_cgroups_cannot_be_written_by_a_rootless_container;
    "CVE-2023-25809" Attack a_read_only_sysfs_of_the_callers_network_is_so_throughout;
    "CVE-2015-3630" Attack kernel_settings_are_not_writable_by_default;
}

/// Enough that a runtime that binds by name loses some.
const CONSOLE_ROUNDS: usize = 30;

const SECRET: &str = "to be masked";

/// /masked must not show the file whose place /dev/null has taken, nor be itself.
fn mask_holds(case: &Case, bundle: &mut Bundle) -> Verdict {
    bundle.file("/masked", SECRET)?;
    bundle.file("/other", SECRET)?;
    bundle.linux()["maskedPaths"] = json!(["/masked"]);
    let write = Ask::Write {
        path: "/masked".into(),
        text: "overwritten!".into(),
    };
    let asks = [Ask::Read("/masked".into()), write];
    bundle.answers(&asks)?;
    let outcome = case.run_call(bundle)?.run()?;
    if let Some(line) = outcome.stdout.lines().find(|line| line.starts_with('[')) {
        let answers = parse_line(line, asks.len())?;
        if matches!(&answers[0], Answer::Text(text) if !text.is_empty()) {
            return fail(format!("the masked file reads as {:?}", answers[0]));
        }
    }
    for path in ["/masked", "/other"] {
        let text = std::fs::read_to_string(bundle.inside(path))?;
        holds(
            !text.contains("overwritten!"),
            format!("{path} was written through the mask"),
        )?;
    }
    Ok(())
}

fn without_dev(bundle: &mut Bundle) {
    bundle
        .without_mount("/dev")
        .without_mount("/dev/pts")
        .without_mount("/dev/shm")
        .without_mount("/dev/mqueue");
}

fn a_null_device_that_is_a_link_does_not_unmask(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    without_dev(&mut bundle);
    bundle.symlink("/other", "/dev/null")?;
    mask_holds(case, &mut bundle)
}

fn a_null_device_that_is_a_file_does_not_unmask(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    without_dev(&mut bundle);
    bundle.file("/dev/null", SECRET)?;
    mask_holds(case, &mut bundle)
}

fn a_volume_as_dev_with_a_false_null_does_not_unmask(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    without_dev(&mut bundle);
    let volume = case.folder("volume")?;
    std::os::unix::fs::symlink("/other", volume.join("null"))?;
    // A bind mount at /dev: devices are the bundle's own matter, and the link stays.
    bundle.bind(&volume, "/dev", &["rw"]);
    mask_holds(case, &mut bundle)
}

fn a_false_pts_is_not_put_at_the_console(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    // The payload's terminal is of a devpts elsewhere. Where it is looked for by name there is a link, which leads
    // to the terminal when it is opened and, with luck, to another file when it is bound.
    bundle.without_mount("/dev/pts");
    let volume = case.folder("volume")?;
    let link = |target: &str, name: &str| std::os::unix::fs::symlink(target, volume.join(name));
    link("/real-pts/ptmx", "ptmx")?;
    link("/real-pts/0", "0")?;
    link("/other", "false")?;
    bundle.file("/other", SECRET)?;
    bundle.mount(
        json!({"destination": "/real-pts", "type": "devpts", "source": "devpts",
        "options": ["newinstance", "ptmxmode=0666", "mode=0620"]}),
    );
    bundle.bind(&volume, "/dev/pts", &["rw"]);
    bundle.process()["terminal"] = json!(true);
    bundle.args(&["/bin/probe", "hang"]).write()?;
    let socket = FdSocket::listen(case)?;
    let asks = serde_json::to_string(&[Ask::Stat("/dev/console".into())])?;
    let _swapper = Swapper::start(&volume.join("0"), &volume.join("false"))?;
    for _ in 0..CONSOLE_ROUNDS {
        let call = case
            .runtime(["create", "--console-socket"])
            .arg(socket.path())
            .arg("--bundle")
            .arg(&bundle.dir);
        if call.arg(&case.id).run()?.status == 0
            && case.runtime(["start", &case.id]).run()?.status == 0
        {
            let outcome = case.wait_for("an exec", || {
                let outcome = case
                    .runtime(["exec", &case.id, "/bin/probe", "answer", &asks])
                    .run()?;
                Ok((outcome.status == 0).then_some(outcome))
            })?;
            if let Answer::Stat(stat) = &parse_line(&outcome.stdout, 1)?[0] {
                equal(
                    "what is at /dev/console",
                    (stat.kind.as_str(), stat.major),
                    ("char", 136),
                )?;
            }
        }
        case.runtime(["delete", "--force", &case.id])
            .run()?
            .succeeded()?;
    }
    Ok(())
}

/// A bundle whose /proc is a volume with a link at `path`; answers the file that the link names.
fn with_false_proc(case: &Case, path: &str) -> Verdict<(Bundle, std::path::PathBuf)> {
    let mut bundle = case.bundle()?;
    bundle.without_mount("/proc");
    let volume = case.folder("volume")?;
    let link = volume.join(path);
    if let Some(parent) = link.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::os::unix::fs::symlink("/caught", &link)?;
    std::fs::create_dir_all(volume.join("self/fd"))?;
    bundle.bind(&volume, "/proc", &["rw"]);
    bundle.linux()["maskedPaths"] = json!([]);
    bundle.linux()["readonlyPaths"] = json!([]);
    let caught = bundle.file("/caught", "untouched")?;
    Ok((bundle, caught))
}

fn untouched(caught: &Path) -> Verdict {
    equal(
        "the file that a link in the false /proc names",
        std::fs::read_to_string(caught)?.as_str(),
        "untouched",
    )
}

fn a_false_proc_does_not_catch_sysctls(case: &Case) -> Verdict {
    case.need_root()?;
    let (mut bundle, caught) = with_false_proc(case, "sys/net/ipv4/ip_forward")?;
    bundle.linux()["sysctl"] = json!({"net.ipv4.ip_forward": "1"});
    bundle.args(&["/bin/probe", "exit", "0"]);
    case.run_call(&bundle)?.run()?;
    untouched(&caught)
}

fn a_false_proc_does_not_catch_the_score(case: &Case) -> Verdict {
    let (mut bundle, caught) = with_false_proc(case, "self/oom_score_adj")?;
    bundle.process()["oomScoreAdj"] = json!(500);
    bundle.args(&["/bin/probe", "exit", "0"]);
    case.run_call(&bundle)?.run()?;
    untouched(&caught)
}

fn a_volume_over_proc_is_no_proc(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let volume = case.folder("volume")?;
    std::fs::create_dir_all(volume.join("self/attr"))?;
    for name in ["exec", "current"] {
        std::fs::write(volume.join("self/attr").join(name), "")?;
    }
    // After the true /proc, as an image's volume comes.
    bundle.bind(&volume, "/proc", &["rw"]);
    bundle.process()["apparmorProfile"] = json!("some-profile");
    bundle.args(&["/bin/probe", "exit", "0"]);
    let outcome = case.run_call(&bundle)?.run()?;
    let written = ["exec", "current"].iter().any(|name| {
        std::fs::read_to_string(volume.join("self/attr").join(name))
            .is_ok_and(|text| !text.is_empty())
    });
    holds(
        !written,
        format!("the profile was written to the volume: {}", outcome.told()),
    )
}

fn the_hosts_cgroups_cannot_be_written_by_a_rootless_container(case: &Case) -> Verdict {
    case.need_rootless()?;
    let mut bundle = case.bundle()?;
    bundle.mount(
        json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
        "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]}),
    );
    bundle.answers(&[Ask::Mounts])?;
    let outcome = case.run_call(&bundle)?.run()?;
    let Some(line) = outcome.stdout.lines().find(|line| line.starts_with('[')) else {
        return Ok(());
    };
    let answer = parse_line(line, 1)?.remove(0);
    // What is uppermost at each place is what a process can reach; /sys/fs/cgroup covers what the host has below it.
    let top = answer
        .mounts()?
        .iter()
        .rev()
        .find(|mount| mount.target == "/sys/fs/cgroup");
    match top {
        Some(mount) => holds(
            mount.flags.iter().any(|flag| flag == "ro"),
            format!("/sys/fs/cgroup has {:?}", mount.flags),
        ),
        None => Ok(()),
    }
}

/// An ordinary user cannot mount one; what is bound in its place has the host's mounts in it.
fn a_read_only_sysfs_of_the_callers_network_is_so_throughout(case: &Case) -> Verdict {
    case.need_rootless()?;
    let mut bundle = case.bundle()?;
    bundle.without_namespace("network");
    bundle.without_mount("/sys").without_mount("/sys/fs/cgroup");
    bundle.mount(
        json!({"destination": "/sys", "type": "sysfs", "source": "sysfs",
        "options": ["nosuid", "noexec", "nodev", "ro"]}),
    );
    bundle.answers(&[Ask::Mounts])?;
    let outcome = case.run_call(&bundle)?.run()?;
    let Some(line) = outcome.stdout.lines().find(|line| line.starts_with('[')) else {
        return Ok(());
    };
    for mount in parse_line(line, 1)?.remove(0).mounts()? {
        if Path::new(&mount.target).starts_with("/sys") {
            holds(
                mount.flags.iter().any(|flag| flag == "ro"),
                format!("{} has {:?}", mount.target, mount.flags),
            )?;
        }
    }
    Ok(())
}

fn kernel_settings_are_not_writable_by_default(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let write = |path: &str| Ask::Write {
        path: path.into(),
        text: String::new(),
    };
    let asks = [
        write("/proc/sys/kernel/core_pattern"),
        write("/proc/sysrq-trigger"),
        write("/proc/irq/default_smp_affinity"),
        write("/sys/kernel/uevent_helper"),
        write("/sys/kernel/profiling"),
    ];
    bundle.capabilities(&["CAP_DAC_OVERRIDE", "CAP_SYS_ADMIN"]);
    for (ask, answer) in asks.iter().zip(case.run(&mut bundle, &asks)?) {
        if answer == Answer::Done {
            return fail(format!("it can be opened for writing: {ask:?}"));
        }
    }
    Ok(())
}
