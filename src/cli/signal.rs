//! The names of signals.
//!
//! Runs in: parent.

use nix::sys::signal::Signal;

use crate::error::{Error, Kind, Result};

/// The first realtime signal that the C library leaves to programs, and the last (signal(7)).
const REALTIME_MIN: i32 = 34;
const REALTIME_MAX: i32 = 64;

/// Second names, for the same numbers.
const ALIASES: [(&str, i32); 3] = [
    ("SIGCLD", libc::SIGCHLD),
    ("SIGIOT", libc::SIGABRT),
    ("SIGPOLL", libc::SIGIO),
];

/// Reads a signal as `kill` takes it: a number from 0 to 64, or a name in any case, with or
/// without `SIG`; realtime ones as `RTMIN+1` or `RTMAX-1`.
pub fn parse(text: &str) -> Result<i32> {
    number(text)
        .or_else(|| name(&text.to_ascii_uppercase()))
        .ok_or_else(|| {
            Error::new(
                Kind::Invalid,
                format!("unknown signal {text:?}"),
            )
            .with_hint("a signal is a number from 0 to 64 or a name such as TERM, SIGKILL or RTMIN+1; `kill -l` lists them")
        })
}

fn number(text: &str) -> Option<i32> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let number: i32 = text.parse().ok()?;
    (plain && number <= REALTIME_MAX).then_some(number)
}

fn name(upper: &str) -> Option<i32> {
    let short = upper.strip_prefix("SIG").unwrap_or(upper);
    if let Some(offset) = short.strip_prefix("RTMIN") {
        return realtime(offset, '+').map(|n| REALTIME_MIN + n);
    }
    if let Some(offset) = short.strip_prefix("RTMAX") {
        return realtime(offset, '-').map(|n| REALTIME_MAX - n);
    }
    let long = format!("SIG{short}");
    long.parse::<Signal>()
        .map(|signal| signal as i32)
        .ok()
        .or_else(|| ALIASES.iter().find(|(n, _)| *n == long).map(|(_, n)| *n))
}

/// The distance from an end of the realtime signals.
fn realtime(offset: &str, sign: char) -> Option<i32> {
    if offset.is_empty() {
        return Some(0);
    }
    let distance = number(offset.strip_prefix(sign)?)?;
    (distance <= REALTIME_MAX - REALTIME_MIN).then_some(distance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_has_a_number_and_a_name_in_any_case() {
        for (text, expected) in [
            ("0", 0),
            ("9", 9),
            ("64", 64),
            ("KILL", 9),
            ("SIGKILL", 9),
            ("sigkill", 9),
            ("Kill", 9),
            ("TERM", 15),
            ("WINCH", 28),
            ("IO", 29),
            ("POLL", 29),
            ("CLD", 17),
            ("STKFLT", 16),
            ("RTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("rtmax-1", 63),
            ("RTMIN+30", 64),
        ] {
            assert_eq!(parse(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_signal_is_named() {
        for text in [
            "",
            "65",
            "-9",
            "+9",
            "SIG",
            "SIGSIGKILL",
            "NOPE",
            "RTMIN+31",
            "RTMIN-1",
            "RTMAX+1",
            "9 ",
            "1e1",
            "99999999999",
        ] {
            let error = parse(text).unwrap_err();
            assert!(
                error
                    .to_string()
                    .contains(&format!("unknown signal {text:?}"))
            );
        }
    }
}
