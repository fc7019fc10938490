//! TAP 14 on stdout, then one plain line with the sums.
//!
//! Runs in: the suite's main process.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use super::expect::Expected;
use super::verdict::{Stop, Test, Verdict};

pub struct Report<'a> {
    expected: &'a Expected,
    waiting: BTreeMap<usize, String>,
    next: usize,
    passed: usize,
    failed: usize,
    skipped: usize,
    deviations: usize,
}

impl<'a> Report<'a> {
    pub fn new(count: usize, expected: &'a Expected) -> Self {
        println!("TAP version 14\n1..{count}");
        Self {
            expected,
            waiting: BTreeMap::new(),
            next: 0,
            passed: 0,
            failed: 0,
            skipped: 0,
            deviations: 0,
        }
    }

    /// Prints the outcome as soon as all earlier ones are printed.
    pub fn add(&mut self, index: usize, test: &Test, outcome: &Verdict, taken: Duration) {
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

    fn judge(&mut self, index: usize, test: &Test, outcome: &Verdict) -> String {
        let name = test.full_name();
        let number = index + 1;
        match (outcome, self.expected.of(&name)) {
            (Ok(()), known) if known.is_none_or(|known| known.sometimes) => {
                self.passed += 1;
                format!("ok {number} - {name}\n")
            }
            (Ok(()), _) => {
                self.failed += 1;
                let message = format!(
                    "it passes, so it is no deviation any more: take it out of {}",
                    self.expected.file()
                );
                format!("not ok {number} - {name}\n{}", details(test, &message))
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
            (Err(Stop::Fail(message)), None) => {
                self.failed += 1;
                format!("not ok {number} - {name}\n{}", details(test, message))
            }
        }
    }

    /// Prints the sums; true when nothing unexpected happened.
    pub fn finish(&self) -> bool {
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
