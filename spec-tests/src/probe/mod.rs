//! The program inside the container: it reports facts and acts on request, and judges nothing.
//!
//! It is the suite's own binary under the name `probe`:
//! * `probe answer JSON`: answers the asks in JSON, one line on stdout
//! * `probe serve [JSON]`: the same, and then for each line on stdin, until it ends
//! * `probe hook FILE [STATUS]`: appends what a hook gets to FILE and exits with STATUS
//! * `probe hang`: sleeps until a signal ends it
//! * `probe thread`: the first thread ends, another sleeps until a signal ends the process
//! * `probe exit STATUS`, `probe raise SIGNAL`: end so
//!
//! Runs in: the container, and the hooks' processes.

mod act;
pub mod ask;
mod attack;
mod burden;
mod hold;
pub mod hook;
mod look;

use std::io::{BufRead, Write};

use ask::{Answer, Ask};

use crate::sys;

/// Carries out the command line and returns the exit status.
pub fn run(args: &[String]) -> i32 {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["answer", asks, ..] => {
            answer_line(asks);
            0
        }
        ["serve", first @ ..] => {
            for asks in first {
                answer_line(asks);
            }
            for line in std::io::stdin().lock().lines() {
                match line {
                    Ok(line) => answer_line(&line),
                    Err(_) => break,
                }
            }
            0
        }
        ["hook", file, rest @ ..] => {
            hook::run(file, rest.first().and_then(|s| s.parse().ok()).unwrap_or(0))
        }
        ["hang", ..] => loop {
            std::thread::sleep(std::time::Duration::from_secs(3600));
        },
        ["thread", ..] => {
            std::thread::spawn(|| {
                std::thread::sleep(std::time::Duration::from_secs(3600));
            });
            let _ = sys::call(libc::SYS_exit, [0; 6]);
            96
        }
        ["raise", signal] => {
            let signal = signal
                .parse()
                .ok()
                .and_then(|number: i32| nix::sys::signal::Signal::try_from(number).ok());
            let _ = nix::sys::signal::raise(signal.unwrap_or(nix::sys::signal::Signal::SIGABRT));
            94
        }
        ["exit", status] => status.parse().unwrap_or(99),
        _ => {
            eprintln!("probe: what is {words:?}?");
            98
        }
    }
}

fn answer_line(line: &str) {
    let asks: Vec<Ask> = match serde_json::from_str(line) {
        Ok(asks) => asks,
        Err(error) => {
            eprintln!("probe: {error} in {line}");
            std::process::exit(97);
        }
    };
    let answers: Vec<Answer> = asks.iter().map(answer).collect();
    if let Ok(mut text) = serde_json::to_string(&answers) {
        text.push('\n');
        let mut out = std::io::stdout().lock();
        // A reader that went away has nobody left to be told.
        let _ = out.write_all(text.as_bytes());
        let _ = out.flush();
    }
}

fn answer(ask: &Ask) -> Answer {
    let outcome = match ask {
        Ask::Process => Ok(Answer::Process(Box::new(look::process()))),
        Ask::Mounts => look::mounts().map(Answer::Mounts),
        Ask::Stat(path) => look::stat(path).map(Answer::Stat),
        Ask::Read(path) => std::fs::read(path)
            .map(|bytes| Answer::Text(String::from_utf8_lossy(&bytes).into_owned())),
        Ask::List(path) => look::list(path).map(Answer::Names),
        Ask::ReadLink(path) => std::fs::read_link(path)
            .map(|target| Answer::Text(target.to_string_lossy().into_owned())),
        Ask::WindowSize => look::window_size().map(Answer::Text),
        Ask::Clock(clock) => look::clock(*clock).map(Answer::Number),
        Ask::Call { number, args } => sys::call(*number, *args).map(Answer::Number),
        Ask::Count => Ok(Answer::Number(hold::count())),
        Ask::TcpOpen => hold::tcp_open(),
        Ask::TcpUse => hold::tcp_use(),
        Ask::HoldLock(path) => hold::lock(path),
        Ask::Listen(port) => act::listen(*port),
        Ask::Loopback => act::loopback(),
        Ask::HijackPrograms { within_ms } => {
            Ok(Answer::Number(attack::hijack_programs(*within_ms)))
        }
        Ask::ReachHostFile { path, within_ms } => {
            attack::reach_host_file(path, *within_ms).map(Answer::Text)
        }
        Ask::Fork { most } => burden::fork(*most),
        Ask::OpenVerbs { path, most } => burden::open_verbs(path, *most),
        Ask::Allocate { bytes } => burden::allocate(*bytes),
        Ask::Spin => burden::spin(),
        Ask::KeepNotifying(text) => burden::keep_notifying(text),
        Ask::WriteToDisk { path, bytes } => burden::write_to_disk(path, *bytes),
        Ask::KeepWriting(path) => burden::keep_writing(path),
        Ask::MapHugePages { count } => sys::map_huge_pages(*count).map(|()| Answer::Done),
        other => act::act(other),
    };
    outcome.unwrap_or_else(|error| Answer::Error {
        errno: error.raw_os_error().unwrap_or(0),
    })
}
