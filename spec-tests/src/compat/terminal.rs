//! Terminals: by console socket, and in the foreground

use nix::libc;
use nix::sys::termios::{LocalFlags, tcgetattr};
use serde_json::json;

use crate::harness::bundle::Bundle;
use crate::harness::case::Case;
use crate::harness::console::{FdSocket, Terminal};
use crate::harness::container::parse_line;
use crate::harness::verdict::{Stop, Verdict, equal, holds};
use crate::probe::ask::{Answer, Ask};
use crate::tests;

tests! {
    "config.md#process" Must a_terminal_is_sent_to_the_console_socket;
    "config.md#process" Must console_size_is_set;
    "config.md#process" Must the_console_is_at_dev_console;
    "config.md#process" Must the_terminal_is_the_controlling_one;
    "runc(8)" Compat a_terminal_without_a_console_socket_is_an_error_when_detached;
    "runc(8)" Compat a_console_socket_without_a_terminal_is_an_error;
    "runc(8)" Compat a_missing_console_socket_is_an_error;
    "runc-exec(8)" Compat exec_sends_a_terminal_to_its_console_socket;
    "runc-run(8)" Compat in_the_foreground_the_terminal_is_passed_through;
    "runc-run(8)" Compat in_the_foreground_the_callers_terminal_is_raw_and_then_as_before;
    "runc-run(8)" Compat in_the_foreground_the_size_follows_the_callers;
    "runc-run(8)" Compat in_the_foreground_a_file_gets_lines_without_carriage_returns;
    "config.md#process" Must the_terminal_belongs_to_the_payloads_user;
}

fn with_terminal(case: &Case, asks: &[Ask]) -> Verdict<Bundle> {
    let mut bundle = case.bundle()?;
    bundle.process()["terminal"] = json!(true);
    bundle.answers(asks)?;
    Ok(bundle)
}

/// The answers that the payload gives on the terminal of the console socket.
fn ask_on_console(case: &Case, bundle: &Bundle, count: usize) -> Verdict<Vec<Answer>> {
    let socket = FdSocket::listen(case)?;
    bundle.write()?;
    let call = case
        .runtime(["create", "--console-socket"])
        .arg(socket.path())
        .arg("--bundle")
        .arg(&bundle.dir)
        .arg(&case.id);
    call.run()?.succeeded()?;
    let mut terminal = socket.receive()?;
    case.runtime(["start", &case.id]).run()?.succeeded()?;
    answers_on(&mut terminal, count)
}

fn answers_on(terminal: &mut Terminal<'_>, count: usize) -> Verdict<Vec<Answer>> {
    let seen = terminal.read_until("]\r\n")?;
    let line = seen
        .lines()
        .find(|line| line.starts_with('[') && line.ends_with(']'))
        .ok_or_else(|| Stop::Fail(format!("no answer in {seen:?}")))?;
    crate::harness::container::parse_line(line, count)
}

fn a_terminal_is_sent_to_the_console_socket(case: &Case) -> Verdict {
    let bundle = with_terminal(case, &[Ask::Process])?;
    let process = ask_on_console(case, &bundle, 1)?.remove(0).process()?;
    equal("terminals", process.terminals, [true; 3])?;
    let extra: Vec<_> = process.fds.iter().filter(|(fd, _)| **fd > 2).collect();
    equal("descriptors above 2", extra, [])
}

fn console_size_is_set(case: &Case) -> Verdict {
    let mut bundle = with_terminal(case, &[Ask::WindowSize])?;
    bundle.process()["consoleSize"] = json!({"height": 33, "width": 111});
    equal(
        "the size",
        ask_on_console(case, &bundle, 1)?[0].text()?,
        "33x111",
    )
}

fn the_console_is_at_dev_console(case: &Case) -> Verdict {
    let bundle = with_terminal(
        case,
        &[
            Ask::Stat("/dev/console".into()),
            Ask::List("/dev/pts".into()),
            Ask::ReadLink("/proc/self/fd/0".into()),
        ],
    )?;
    let answers = ask_on_console(case, &bundle, 3)?;
    let stat = answers[0].stat()?;
    const PTS_MAJOR: u32 = 136;
    equal(
        "kind and major number",
        (stat.kind.as_str(), stat.major),
        ("char", PTS_MAJOR),
    )?;
    // It is of the container's own devpts, so that ttyname works.
    equal("/dev/pts", answers[1].names()?, ["0", "ptmx"])?;
    holds(
        ["/dev/pts/0", "/dev/console"].contains(&answers[2].text()?),
        format!("descriptor 0 is {:?}", answers[2]),
    )
}

fn the_terminal_is_the_controlling_one(case: &Case) -> Verdict {
    let bundle = with_terminal(case, &[Ask::Open("/dev/tty".into()), Ask::Process])?;
    let answers = ask_on_console(case, &bundle, 2)?;
    answers[0].done()?;
    let process = answers[1].process()?;
    equal("the session", process.sid, process.pid)
}

fn the_terminal_belongs_to_the_payloads_user(case: &Case) -> Verdict {
    case.need_root()?;
    let mut bundle = with_terminal(case, &[Ask::Stat("/dev/pts/0".into())])?;
    bundle.process()["user"] = json!({"uid": 1000, "gid": 1000});
    equal(
        "owner",
        ask_on_console(case, &bundle, 1)?[0].stat()?.uid,
        1000,
    )
}

fn a_terminal_without_a_console_socket_is_an_error_when_detached(case: &Case) -> Verdict {
    case.create_refused(&with_terminal(case, &[])?).map(drop)
}

fn a_console_socket_without_a_terminal_is_an_error(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    bundle.serves().write()?;
    let socket = FdSocket::listen(case)?;
    for verb in ["create", "run"] {
        let call = case
            .runtime([verb, "--console-socket"])
            .arg(socket.path())
            .arg("--bundle")
            .arg(&bundle.dir)
            .arg(&case.id);
        call.run()?.refused()?;
    }
    Ok(())
}

fn a_missing_console_socket_is_an_error(case: &Case) -> Verdict {
    let bundle = with_terminal(case, &[])?;
    bundle.write()?;
    let missing = case.dir.join("nobody.sock");
    let call = case
        .runtime(["create", "--console-socket"])
        .arg(missing)
        .arg("--bundle")
        .arg(&bundle.dir)
        .arg(&case.id);
    call.run()?.refused()?;
    equal(
        "entries in the state directory",
        case.ids_in_state().len(),
        0,
    )
}

fn exec_sends_a_terminal_to_its_console_socket(case: &Case) -> Verdict {
    let mut bundle = case.bundle()?;
    let container = case.started(&mut bundle)?;
    let socket = FdSocket::listen(case)?;
    let asks = serde_json::to_string(&[Ask::Process])?;
    let call = case
        .runtime(["exec", "--tty", "--detach", "--console-socket"])
        .arg(socket.path());
    call.args([container.id.as_str(), "/bin/probe", "answer", &asks])
        .run()?
        .succeeded()?;
    let process = answers_on(&mut socket.receive()?, 1)?.remove(0).process()?;
    equal("terminals", process.terminals, [true; 3])
}

fn in_the_foreground_the_terminal_is_passed_through(case: &Case) -> Verdict {
    let bundle = with_terminal(case, &[Ask::Process, Ask::ReadFd(0)])?;
    let (mut mine, theirs) = Terminal::open(case)?;
    let running = case.run_call(&bundle)?.terminal(&theirs)?.start()?;
    // A key before the payload reads waits in the terminal.
    mine.write("typed\n")?;
    let answers = answers_on(&mut mine, 2)?;
    equal("terminals", answers[0].process()?.terminals, [true; 3])?;
    equal("what was typed", answers[1].text()?, "typed\n")?;
    running.wait()?.succeeded().map(drop)
}

fn in_the_foreground_the_callers_terminal_is_raw_and_then_as_before(case: &Case) -> Verdict {
    let bundle = with_terminal(case, &[Ask::ReadFd(0)])?;
    let (mut mine, theirs) = Terminal::open(case)?;
    let before = tcgetattr(&theirs)?;
    holds(
        before.local_flags.contains(LocalFlags::ICANON),
        "a new terminal is raw",
    )?;
    let running = case.run_call(&bundle)?.terminal(&theirs)?.start()?;
    case.wait_for("the raw mode of the caller's terminal", || {
        let cooked = LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG;
        Ok((!tcgetattr(&theirs)?.local_flags.intersects(cooked)).then_some(()))
    })?;
    mine.write("typed\n")?;
    answers_on(&mut mine, 1)?;
    running.wait()?.succeeded()?;
    holds(
        tcgetattr(&theirs)? == before,
        "the terminal is not as it was before",
    )
}

fn in_the_foreground_the_size_follows_the_callers(case: &Case) -> Verdict {
    let asks = vec![
        Ask::Block(vec![libc::SIGWINCH]),
        Ask::WindowSize,
        // One of the start.
        Ask::NextSignal { within_ms: 0 },
        Ask::Create("/tmp/asked".into()),
        Ask::NextSignal {
            within_ms: case.patience().as_millis() as u64,
        },
        Ask::WindowSize,
    ];
    let bundle = with_terminal(case, &asks)?;
    let (mut mine, theirs) = Terminal::open(case)?;
    mine.resize(40, 120)?;
    let running = case.run_call(&bundle)?.terminal(&theirs)?.start()?;
    case.wait_for("the payload", || {
        Ok(bundle.inside("/tmp/asked").exists().then_some(()))
    })?;
    mine.resize(50, 90)?;
    running.signal(nix::sys::signal::Signal::SIGWINCH)?;
    let answers = answers_on(&mut mine, asks.len())?;
    equal("the size at first", answers[1].text()?, "40x120")?;
    equal("the size that follows", answers[5].text()?, "50x90")?;
    running.wait()?.succeeded().map(drop)
}

fn in_the_foreground_a_file_gets_lines_without_carriage_returns(case: &Case) -> Verdict {
    let bundle = with_terminal(case, &[Ask::Process])?;
    let (_mine, theirs) = Terminal::open(case)?;
    let file = case.dir.join("output");
    let call = case.run_call(&bundle)?.terminal(&theirs)?;
    let call = call.stdout(std::fs::File::create(&file)?.into());
    call.run()?.succeeded()?;
    let text = std::fs::read_to_string(&file)?;
    let process = parse_line(text.trim_end(), 1)?.remove(0).process()?;
    equal("terminals", process.terminals, [true; 3])?;
    holds(
        text.ends_with("]\n") && !text.contains('\r'),
        format!("{text:?}"),
    )
}
