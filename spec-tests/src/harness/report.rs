//! TAP 14 on stdout, then one plain line with the sums.
//!
//! Runs in: the suite's main process.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use super::expect::Expected;
use super::verdict::{Level, Stop, Test, Verdict};

pub struct Report<'a> {
    expected: &'a Expected,
    waiting: BTreeMap<usize, String>,
    next: usize,
    passed: usize,
    failed: usize,
    skipped: usize,
    deviations: usize,
    attempt: Attempt,
    failed_once: Vec<&'static Test>,
    passed_then: Vec<&'static Test>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Attempt {
    Only,
    First,
    Second,
}

impl<'a> Report<'a> {
    pub fn new(expected: &'a Expected, again: bool) -> Self {
        println!("TAP version 14");
        Self {
            expected,
            waiting: BTreeMap::new(),
            next: 0,
            passed: 0,
            failed: 0,
            skipped: 0,
            deviations: 0,
            attempt: if again { Attempt::First } else { Attempt::Only },
            failed_once: Vec::new(),
            passed_then: Vec::new(),
        }
    }

    /// What is to be run a second time. Nothing where the first was cut short, or so much failed that chance cannot
    /// be the cause.
    pub fn second_attempts(&mut self, whole: bool) -> Vec<&'static Test> {
        self.attempt = Attempt::Second;
        let failed = std::mem::take(&mut self.failed_once);
        if !whole || failed.len() > SECOND_ATTEMPTS {
            self.failed += failed.len();
            return Vec::new();
        }
        failed
    }

    /// Prints the outcome as soon as all earlier ones are printed.
    pub fn add(&mut self, index: usize, test: &'static Test, outcome: &Verdict, taken: Duration) {
        let mut text = self.judge(index, test, outcome);
        if taken > SLOW {
            text.push_str(&format!("# it took {:.1} s\n", taken.as_secs_f32()));
        }
        self.waiting.insert(index, text);
        while let Some(text) = self.waiting.remove(&self.next) {
            print!("{text}");
            self.next += 1;
        }
        let _ = std::io::stdout().flush();
    }

    fn judge(&mut self, index: usize, test: &'static Test, outcome: &Verdict) -> String {
        let name = test.full_name();
        let number = index + 1;
        match (outcome, self.expected.of(&name)) {
            (Ok(()), known) if known.is_none_or(|known| known.sometimes) => {
                self.passed += 1;
                if self.attempt == Attempt::Second {
                    self.passed_then.push(test);
                }
                format!("ok {number} - {name}\n")
            }
            (Ok(()), _) => {
                let message = format!(
                    "it passes, so it is no deviation any more: take it out of {}",
                    self.expected.file()
                );
                self.fail(number, test, &message)
            }
            (Err(Stop::Skip(reason)), _) => {
                self.skipped += 1;
                format!("ok {number} - {name} # SKIP {reason}\n")
            }
            (Err(Stop::Fail(message)), Some(known)) => {
                self.deviations += 1;
                format!(
                    "not ok {number} - {name} # TODO {}\n{}",
                    known.reason,
                    details(test, message)
                )
            }
            (Err(Stop::Fail(message)), None) => self.fail(number, test, message),
        }
    }

    fn fail(&mut self, number: usize, test: &'static Test, message: &str) -> String {
        // An attack that succeeds once has succeeded.
        let todo = if self.attempt == Attempt::First && test.level != Level::Attack {
            self.failed_once.push(test);
            " # TODO it has a second attempt at the end"
        } else {
            self.failed += 1;
            ""
        };
        let name = test.full_name();
        format!("not ok {number} - {name}{todo}\n{}", details(test, message))
    }

    /// Prints the sums; true when nothing unexpected happened.
    pub fn finish(&self) -> bool {
        println!("1..{}", self.next);
        for test in &self.passed_then {
            println!("# passed only at the second attempt: {}", test.full_name());
        }
        if self.deviations > 0 {
            println!(
                "# {} known deviations ({})",
                self.deviations,
                self.expected.file()
            );
        }
        println!(
            "{} passed, {} failed, {} skipped",
            self.passed, self.failed, self.skipped
        );
        self.failed == 0
    }
}

/// More failures than these are no accident.
const SECOND_ATTEMPTS: usize = 10;

/// A test that takes longer is worth a look.
const SLOW: Duration = Duration::from_secs(3);

/// A probe's whole answer in a message helps nobody.
const LINE_CHARS: usize = 600;

fn details(test: &Test, message: &str) -> String {
    let mut text = format!(
        "  ---\n  clause: {}\n  level: {}\n  message: |\n",
        test.clause,
        test.level.word()
    );
    for line in message.lines() {
        text.push_str("    ");
        text.extend(line.chars().take(LINE_CHARS));
        text.push('\n');
    }
    text.push_str("  ...\n");
    text
}
