//! Every option of runc and crun, by verb, with the caller that uses it: each is understood, and
//! no option is there that nobody asked for.

use std::collections::BTreeSet;
use std::ffi::OsString;

use clap::{Args, Command};

use super::parse::{Parsed, parse};
use super::{Global, VERBS};

/// What stands behind the options of a verb.
const TAILS: [(&str, &str); 4] = [
    ("exec", "ID sh"),
    ("mounts", "add ID FILE"),
    ("list check spec features", ""),
    ("", "ID"),
];

/// (verb, options, who passes them). An option that takes a value has one; `-no-subreaper` is
/// go-runc's.
const OPTIONS: [(&str, &str, &str); 73] = [
    ("", "--root R|--root=R", "all engines; cri-o with ="),
    (
        "",
        "--log-format json|--log-format=json|--log-format text",
        "go-runc; podman with =",
    ),
    (
        "",
        "--log /dev/null|--log=/dev/null|--log file:/dev/null",
        "go-runc, podman; crun's people",
    ),
    ("", "--log syslog:rt|--log journald:rt", "crun's people"),
    (
        "",
        "--log-level error|--log-level=warning|--log-level debug",
        "crun's people",
    ),
    ("", "--debug", "people"),
    ("", "--trace /dev/null", "people"),
    ("", "--systemd-cgroup", "conmon, go-runc, cri-o, buildah"),
    (
        "",
        "--cgroup-manager=systemd|--cgroup-manager cgroupfs|--cgroup-manager disabled",
        "podman",
    ),
    (
        "",
        "--rootless=true|--rootless=false|--rootless auto",
        "go-runc",
    ),
    ("", "--criu /usr/sbin/criu", "runc's people"),
    (
        "create run restore",
        "-b B|--bundle B|--bundle=B",
        "all engines",
    ),
    (
        "create run restore",
        "-f F|--config F|--config=F",
        "crun's people",
    ),
    (
        "create run restore",
        "--console-socket S",
        "conmon, go-runc, buildah",
    ),
    ("create run exec restore", "--pidfd-socket S", "go-runc"),
    (
        "create run exec restore",
        "--pid-file P",
        "conmon, go-runc, buildah",
    ),
    (
        "create run restore",
        "--no-pivot",
        "conmon, go-runc, buildkit",
    ),
    (
        "create run restore",
        "--no-new-keyring",
        "conmon, go-runc, buildah",
    ),
    (
        "create run exec restore",
        "--preserve-fds 2",
        "podman by conmon, go-runc",
    ),
    ("create run exec restore", "--no-subreaper", "crun's people"),
    ("create run restore", "-no-subreaper", "go-runc"),
    ("create run exec restore", "-d|--detach", "conmon, go-runc"),
    ("run", "--keep", "buildkit"),
    ("kill", "-a|--all", "go-runc, podman, cri-o"),
    ("kill delete", "-r|--regex", "crun's people"),
    ("delete", "-f|--force", "all engines"),
    (
        "exec",
        "-p F|--process F",
        "conmon, go-runc, buildkit, cri-o",
    ),
    ("exec", "--console-socket S", "conmon, go-runc"),
    (
        "exec",
        "-t|--tty|--tty=true|--tty=false",
        "conmon of before 2.0.30",
    ),
    ("exec", "--cwd /", "runc's and crun's people"),
    ("exec", "-e A=B|--env A=B", "runc's and crun's people"),
    ("exec", "-u 1|-u 1:2|--user 1:2", "runc's and crun's people"),
    ("exec", "-g 5|--additional-gids 5", "runc's people"),
    (
        "exec",
        "-c CAP_KILL|--cap CAP_KILL",
        "runc's and crun's people",
    ),
    ("exec", "--no-new-privs", "runc's and crun's people"),
    ("exec", "--process-label L", "runc's and crun's people"),
    ("exec", "--apparmor A", "runc's and crun's people"),
    (
        "exec",
        "--cgroup x|--cgroup memory:x",
        "runc's and crun's people",
    ),
    ("exec", "--ignore-paused", "runc's people"),
    ("list", "-q|--quiet", "people"),
    (
        "list ps",
        "-f json|--format json|--format=json|-f table",
        "go-runc",
    ),
    ("events", "--interval 5s|--interval=5s", "go-runc"),
    ("events", "--stats", "go-runc"),
    (
        "update",
        "-r -|--resources -|--resources=-|--resources=F",
        "podman, go-runc, cri-o",
    ),
    ("update", "--blkio-weight 100", "runc's people"),
    (
        "update",
        "--cpu-period 1|--cpu-quota -1|--cpu-burst 1|--cpu-idle 1",
        "runc's people",
    ),
    (
        "update",
        "--cpu-share 2|--cpu-shares 2",
        "runc's people; crun's with s",
    ),
    (
        "update",
        "--cpu-rt-period 1|--cpu-rt-runtime 1",
        "runc's people",
    ),
    (
        "update",
        "--cpuset-cpus 0-1|--cpuset-mems 0",
        "runc's people",
    ),
    (
        "update",
        "--memory 64m|--memory -1|--memory-reservation 1g|--memory-swap -1",
        "runc's people",
    ),
    (
        "update",
        "--kernel-memory 1m|--kernel-memory-tcp 1m",
        "runc's people, of before cgroup v2",
    ),
    ("update", "--pids-limit 7|--pids-limit -1", "runc's people"),
    (
        "update",
        "--l3-cache-schema L3:0=f|--mem-bw-schema MB:0=20",
        "runc's people",
    ),
    (
        "check",
        "--bundle B|-b B|--config F|-f F",
        "people, as create",
    ),
    ("check", "--json", "programs that start containers"),
    (
        "plan",
        "--bundle B|-b B|--config F|-f F|--no-pivot|--no-new-keyring|--preserve-fds 2",
        "people, as create",
    ),
    ("plan", "--format text|--format json", "people; programs"),
    ("spec", "-b B|--bundle B", "runc's people"),
    ("spec", "-f F|--file F", "crun's people"),
    ("spec", "--rootless", "people"),
    (
        "checkpoint restore",
        "--image-path I --work-path W",
        "conmon, podman, go-runc, cri-o",
    ),
    (
        "checkpoint restore",
        "--tcp-established --file-locks",
        "podman, go-runc, cri-o",
    ),
    (
        "checkpoint restore",
        "--tcp-close --tcp-skip-in-flight",
        "podman; runc's people",
    ),
    (
        "checkpoint restore",
        "--ext-unix-sk --shell-job --link-remap",
        "go-runc",
    ),
    ("checkpoint restore", "--lazy-pages --auto-dedup", "go-runc"),
    (
        "checkpoint restore",
        "--manage-cgroups-mode soft|--manage-cgroups-mode full|--manage-cgroups-mode strict|--manage-cgroups-mode ignore",
        "go-runc",
    ),
    (
        "checkpoint restore",
        "--empty-ns network --empty-ns network",
        "go-runc",
    ),
    (
        "checkpoint restore",
        "--network-lock iptables|--network-lock nftables|--network-lock skip",
        "crun's people",
    ),
    ("checkpoint", "--leave-running", "podman, go-runc, cri-o"),
    ("checkpoint", "--parent-path ../P --pre-dump", "podman"),
    ("checkpoint", "--status-fd 3 --page-server a:1", "go-runc"),
    (
        "restore",
        "--lsm-profile=selinux:X --lsm-mount-context=X",
        "podman by conmon",
    ),
    (
        "restore",
        "--lsm-profile apparmor:X --lsm-mount-context X",
        "runc's people",
    ),
];

fn tail(verb: &str) -> &'static str {
    let found = TAILS
        .iter()
        .find(|(verbs, _)| verbs.split(' ').any(|v| v == verb));
    found.map_or("ID", |(_, tail)| tail)
}

/// Each verb with each of its ways to write an option, and the callers.
fn lines() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    OPTIONS.iter().flat_map(|(verbs, forms, caller)| {
        verbs
            .split(' ')
            .flat_map(move |verb| forms.split('|').map(move |form| (verb, form, *caller)))
    })
}

#[test]
fn every_option_of_runc_and_crun_is_understood() {
    for (verb, form, caller) in lines() {
        let line = match verb {
            "" => format!("{form} list"),
            verb => format!("{verb} {form} {}", tail(verb)),
        };
        let words = std::iter::once("rt").chain(line.split_whitespace());
        match parse(words.map(OsString::from)) {
            Ok(Parsed::Call(_)) => {}
            Ok(_) => panic!("{line} ({caller}): a text"),
            Err(e) => panic!("{line} ({caller}): {e}"),
        }
    }
    // The next test of this process logs where the others do.
    crate::log::configure(
        crate::log::Level::Error,
        crate::log::Format::Text,
        Some(crate::log::Destination::Stderr),
    );
}

#[test]
fn every_option_has_a_caller() {
    let mut listed: BTreeSet<(String, String)> = BTreeSet::new();
    for (verb, form, _) in lines() {
        for word in form
            .split(' ')
            .filter(|word| word.starts_with('-') && word.len() > 1)
        {
            let name = word.split('=').next().unwrap_or(word);
            if name.parse::<i32>().is_err() {
                listed.insert((verb.to_owned(), name.to_owned()));
            }
        }
    }
    let global = Global::augment_args(Command::new("rt"));
    let verbs = VERBS
        .iter()
        .map(|verb| (verb.name, (verb.options)(Command::new(verb.name))));
    for (verb, command) in std::iter::once(("", global)).chain(verbs) {
        for option in command.get_arguments().filter(|arg| !arg.is_positional()) {
            let long = option.get_long().map(|name| format!("--{name}"));
            let short = option.get_short().map(|letter| format!("-{letter}"));
            for name in long.into_iter().chain(short) {
                assert!(
                    listed.contains(&(verb.to_owned(), name.clone())),
                    "{verb} {name}: who passes it?"
                );
            }
        }
    }
}
