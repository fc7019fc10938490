//! Hooks that are run for real, by /bin/sh.

use nix::fcntl::FdFlag;

use super::*;
use crate::plan::HostPath;

fn shell(script: &str) -> Hook {
    let args = ["name", "-c", script].map(|arg| CString::new(arg).unwrap());
    Hook {
        pointer: "/hooks/prestart/0".into(),
        path: HostPath::new("/bin/sh"),
        args: args.into(),
        env: Environment::Given(vec![c"ONE=1".into()]),
        timeout: Some(Duration::from_secs(20)),
    }
}

fn nowhere() -> Place<'static> {
    Place::inside(None, &[])
}

fn error_of(hook: &Hook) -> String {
    run(
        std::slice::from_ref(hook),
        b"{}",
        &nowhere(),
        &Outputs::default(),
    )
    .unwrap_err()
    .to_string()
}

#[test]
fn a_hook_gets_the_state_and_its_own_environment_alone() {
    let script = r#"test "$(cat)" = '{"id":"x"}' && test "$0 $ONE $HOME" = "name 1 " || exit 3"#;
    // dash takes $0 from the argument after the script.
    let mut hook = shell(script);
    hook.args.push(c"name".into());
    run(&[hook], br#"{"id":"x"}"#, &nowhere(), &Outputs::default()).unwrap();
}

#[test]
fn a_state_larger_than_a_pipe_arrives_whole_and_may_be_left_unread() {
    let state = vec![b'x'; 300_000];
    run(
        &[shell("test $(wc -c) -eq 300000"), shell("exit 0")],
        &state,
        &nowhere(),
        &Outputs::default(),
    )
    .unwrap();
}

#[test]
fn a_failure_names_place_path_status_and_words() {
    assert_eq!(
        error_of(&shell("echo out; echo one >&2; echo two >&2; exit 7")),
        "hooks.prestart[0] (/bin/sh): exit status 7, stderr: one; two, stdout: out"
    );
    assert_eq!(
        error_of(&shell("kill -TERM $$")),
        "hooks.prestart[0] (/bin/sh): killed by SIGTERM"
    );
}

#[test]
fn a_program_that_is_not_there_says_so() {
    let hook = Hook {
        path: HostPath::new("/nonexistent/hook"),
        ..shell("")
    };
    assert_eq!(
        error_of(&hook),
        r#"hooks.prestart[0] (/nonexistent/hook): execve("/nonexistent/hook"): No such file or directory"#
    );
}

#[test]
fn a_hook_that_runs_too_long_is_killed() {
    let hook = Hook {
        timeout: Some(Duration::from_millis(300)),
        ..shell("echo at work >&2; exec sleep 60")
    };
    let begin = Instant::now();
    assert_eq!(
        error_of(&hook),
        "hooks.prestart[0] (/bin/sh): ran past its timeout of 0.3 s and was killed, stderr: at work"
    );
    assert!(begin.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_timeout_may_be_longer_than_time_lasts() {
    let hook = Hook {
        timeout: Some(Duration::from_secs(i64::MAX as u64)),
        ..shell("exit 0")
    };
    run(&[hook], b"", &nowhere(), &Outputs::default()).unwrap();
}

#[test]
fn a_process_left_behind_does_not_hold_up_the_caller() {
    let begin = Instant::now();
    run(
        &[shell("sleep 5 & exit 0")],
        b"",
        &nowhere(),
        &Outputs::default(),
    )
    .unwrap();
    assert!(begin.elapsed() < Duration::from_secs(4));
}

#[test]
fn a_flood_of_output_neither_blocks_nor_is_kept() {
    let error = error_of(&shell("head -c 1000000 /dev/zero | tr '\\0' x >&2; exit 1"));
    assert!(error.len() < 2 * KEPT_BYTES, "{}", error.len());
}

#[test]
fn signals_are_at_their_defaults_and_no_descriptor_is_left() {
    // The test binary ignores SIGPIPE, as every Rust program does.
    let script =
        "grep Sig[IB] /proc/self/status >&2; ls -l /proc/self/fd | grep -c 'stray' >&2; exit 9";
    let stray = memory::anonymous_file(c"stray").unwrap();
    fcntl(&stray, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
    assert_eq!(
        error_of(&shell(script)),
        "hooks.prestart[0] (/bin/sh): exit status 9, stderr: \
         SigBlk: 0000000000000000; SigIgn: 0000000000000000; 0"
    );
}

#[test]
fn the_first_failure_ends_a_run_but_not_a_run_of_all() {
    let dir = tempfile_name();
    let touch = shell(&format!("touch {dir}"));
    let hooks = [shell("exit 1"), touch];
    run(&hooks, b"", &nowhere(), &Outputs::default()).unwrap_err();
    assert!(!std::path::Path::new(&dir).exists());
    assert_eq!(
        run_all(&hooks, b"", &nowhere(), &Outputs::default()).len(),
        1
    );
    std::fs::remove_file(&dir).unwrap();
}

fn tempfile_name() -> String {
    let dir = std::env::temp_dir();
    format!("{}/rt-hook-{}", dir.display(), std::process::id())
}
