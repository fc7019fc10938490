//! Every call that an engine makes, as its source writes it.

use std::ffi::OsString;

use super::parse::{Parsed, parse};
use crate::error::{Error, Kind};

fn parsed(line: &str) -> Result<Parsed, Error> {
    parse(
        std::iter::once("rt")
            .chain(line.split_whitespace())
            .map(OsString::from),
    )
}

fn verb(line: &str) -> String {
    match parsed(line) {
        Ok(Parsed::Call(call)) => call.entry.name.to_owned(),
        Ok(_) => panic!("{line}: a text"),
        Err(e) => panic!("{line}: {e}"),
    }
}

fn usage_error(line: &str) -> String {
    match parsed(line) {
        Ok(_) => panic!("{line}: understood"),
        Err(e) => {
            assert_eq!(e.kind(), Kind::Usage, "{line}: {e}");
            e.to_string()
        }
    }
}

fn text(line: &str) -> String {
    match parsed(line) {
        Ok(Parsed::Text(text)) => text,
        Ok(_) => panic!("{line}: a call"),
        Err(e) => panic!("{line}: {e}"),
    }
}

/// What callers execute, as their sources write it.
const LINES: &[&str] = &[
    // conmon
    "create --bundle B --pid-file P --no-pivot --no-new-keyring --console-socket S ID",
    "--systemd-cgroup create --bundle B --pid-file P ID",
    "--systemd-cgroup create --bundle B --pid-file P --preserve-fds 3 ID",
    "--systemd-cgroup restore --bundle B --pid-file P --no-pivot --no-new-keyring --detach \
         --image-path I --work-path B --tcp-established --tcp-close --file-locks \
         --lsm-mount-context=X --lsm-profile=selinux:X --console-socket S ID",
    "exec --pid-file P --process F --detach --console-socket S ID",
    "exec --pid-file P --process F -d --tty ID",
    "--systemd-cgroup --cgroup-manager disabled create --bundle B --pid-file P --no-pivot \
         --no-new-keyring --preserve-fds 1 --console-socket S ID",
    "--systemd-cgroup exec --pid-file P --process F --detach --preserve-fds 2 ID",
    // podman
    "--log-format=json --log /dev/null start ID",
    "--cgroup-manager disabled create --bundle B --pid-file P ID",
    "start ID",
    "kill ID 15",
    "kill --all ID 9",
    "delete --force ID",
    "pause ID",
    "resume ID",
    "update --resources=FILE ID",
    "checkpoint --image-path I --work-path W --leave-running --tcp-established --file-locks \
         --pre-dump --parent-path ../P ID",
    "state ID",
    // go-runc, by containerd's shim and docker
    "--root R --log-format json --systemd-cgroup --rootless=true create --bundle B \
         --pid-file P --console-socket S --no-pivot --no-new-keyring --detach --preserve-fds 2 ID",
    "--root R --rootless=false create --bundle B --pid-file P --pidfd-socket S ID",
    "--root R start ID",
    "--root R --log /dev/null --log-format json --systemd-cgroup --rootless=true delete --force ID",
    "--root R --log /dev/null --log-format json pause ID",
    "--root R --log /dev/null --log-format json resume ID",
    "exec --process F --console-socket S --pidfd-socket S --detach --pid-file P ID",
    "kill --all ID 9",
    "ps --format json ID",
    "ps --format table ID -o pid,args",
    "update --resources=- ID",
    "update --resources - ID",
    "checkpoint --image-path I --work-path W --empty-ns network --empty-ns user \
         --leave-running --status-fd 3 ID",
    "restore --image-path I --work-path W --detach --pid-file P --console-socket S \
         --no-pivot -no-subreaper --bundle B ID",
    "list --format=json",
    "events --stats ID",
    "events --interval=5s ID",
    "features",
    // buildkit
    "run --bundle B --no-pivot ID",
    "run --bundle B --keep ID",
    "exec --process F ID",
    // buildah
    "--systemd-cgroup create --bundle B --pid-file P --no-new-keyring --console-socket S ID",
    "kill ID SIGKILL",
    "delete ID",
    // cri-o
    "--root=R --systemd-cgroup start ID",
    "--root R kill -a ID KILL",
    "--root R --systemd-cgroup pause ID",
    "--root R --systemd-cgroup resume ID",
    "--root R --systemd-cgroup state ID",
    "--root R delete --force ID",
    "--root R exec --process F ID",
    "--root R checkpoint --file-locks --image-path I --work-path W --leave-running ID",
    "--root R update --resources - ID",
    // by hand, as runc's and crun's manuals have it
    "--debug --log-level=warning --criu /x run -b B -f F -d ID",
    "exec -t -u 1:2 -e A=B -c CAP_KILL -g 5 --cwd / --no-new-privs --cgroup x ID sh -c true",
    "exec --tty=true --apparmor A --process-label L --ignore-paused ID sh",
    "update --memory -1 --memory-swap 64m --cpu-quota -1 --pids-limit 7 ID",
    "update --cpu-idle 1 --cpu-burst 5 --l3-cache-schema L3:0=f --kernel-memory 1m ID",
    "list -q",
    "list -f table",
    "spec --rootless -b B",
    "mounts add ID FILE",
];

#[test]
fn what_engines_execute_is_understood() {
    for line in LINES {
        let expected = line
            .split_whitespace()
            .find(|word| super::VERBS.iter().any(|verb| verb.name == *word))
            .unwrap();
        assert_eq!(verb(line), expected, "{line}");
    }
}

#[test]
fn options_behind_the_container_belong_to_the_payload() {
    use clap::FromArgMatches;
    let options = |line: &str| match parsed(line) {
        Ok(Parsed::Call(call)) => super::exec::Exec::from_arg_matches(&call.matches).unwrap(),
        _ => panic!("{line}"),
    };
    for (line, args, tty, detach) in [
        (
            "exec ID ls -t --detach",
            vec!["ls", "-t", "--detach"],
            false,
            false,
        ),
        ("exec ID -t", vec!["-t"], false, false),
        (
            "exec -t ID --tty=x -- -v",
            vec!["--tty=x", "--", "-v"],
            true,
            false,
        ),
        ("exec -td ID sh", vec!["sh"], true, true),
        ("exec -dt ID sh", vec!["sh"], true, true),
        (
            "exec --tty=false ID sh --help",
            vec!["sh", "--help"],
            false,
            false,
        ),
        ("exec -- ID sh -c x", vec!["sh", "-c", "x"], false, false),
        (
            "exec ID sh -no-subreaper",
            vec!["sh", "-no-subreaper"],
            false,
            false,
        ),
    ] {
        let exec = options(line);
        assert_eq!(exec.id(), "ID", "{line}");
        assert_eq!(exec.args(), args, "{line}");
        assert_eq!((exec.tty, exec.detach), (tty, detach), "{line}");
    }
}

#[test]
fn a_usage_error_names_the_option_and_the_usage() {
    for (line, words) in [
        ("create", "<CONTAINER>"),
        ("create --nope ID", "unexpected argument '--nope'"),
        ("create A B", "unexpected argument 'B'"),
        ("create --preserve-fds x ID", "invalid value 'x'"),
        ("--nope list", "unexpected argument '--nope'"),
        ("--log-format xml list", "invalid value 'xml'"),
        ("creat ID", "unrecognized subcommand 'creat'"),
        ("exec --user root ID sh", "not the number of a user"),
        ("kill", "<CONTAINER>"),
        ("kill ID TERM more", "more"),
        ("mounts swap ID FILE", "invalid value 'swap'"),
        ("list -f xml", "invalid value 'xml'"),
        ("restore --lsm-mount-context", "requires an argument"),
        ("", "Usage: rt"),
    ] {
        let error = usage_error(line);
        assert!(error.contains(words), "{line}: {error}");
        let way_on = ["Usage: rt", "try '--help'"];
        assert!(
            way_on.iter().any(|words| error.contains(words)),
            "{line}: {error}"
        );
    }
    assert!(usage_error("creat ID").contains("create"));
}

#[test]
fn the_version_is_three_lines_that_engines_take_apart() {
    for line in ["--version", "-v", "-V", "--root R --version"] {
        let text = text(line);
        let lines: Vec<&str> = text.trim().split('\n').collect();
        // go-runc of before 2021 splits each line once and wants two parts.
        for (line, separator) in lines.iter().zip(["version ", ": ", ": "]) {
            assert_eq!(line.split(separator).count(), 2, "{line}");
        }
        assert_eq!(lines.len(), 3);
        assert!(lines[0].starts_with("rt version "));
        assert!(lines[1].starts_with("commit: "));
        assert_eq!(lines[2], "spec: 1.3.0");
    }
}

#[test]
fn help_is_there_for_all_and_for_each() {
    let all = text("--help");
    for verb in &super::VERBS {
        assert!(
            all.contains(&format!("{:10}  {}", verb.name, verb.about)),
            "{all}"
        );
        let Ok(parsed) = parsed(&format!("{} --help", verb.name)) else {
            panic!("{}", verb.name);
        };
        let text = match parsed {
            Parsed::Text(text) if (verb.works)().is_ok() => text,
            // podman asks `checkpoint --help` whether it works.
            Parsed::TextThen(text, error) => {
                assert_eq!(error.kind(), Kind::Unsupported);
                text
            }
            _ => panic!("{}", verb.name),
        };
        assert!(text.contains(&format!("Usage: rt {}", verb.name)), "{text}");
    }
    assert!(text("help kill").contains("Usage: rt kill"));
    assert!(text("-?").contains("Usage: rt"));
}

#[test]
fn every_parser_is_well_formed() {
    for verb in &super::VERBS {
        (verb.options)(clap::Command::new(verb.name)).debug_assert();
    }
}

#[test]
fn a_name_that_asks_for_a_handler_is_refused() {
    for (name, refused) in [
        ("/usr/bin/krun", true),
        ("crun-wasm", true),
        ("/x/crun", false),
        ("runc", false),
    ] {
        let result = parse([OsString::from(name), "list".into()]);
        assert_eq!(result.is_err(), refused, "{name}");
    }
}
