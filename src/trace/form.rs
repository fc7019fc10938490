//! The forms of a trace: a table, and the Trace Event Format.
//!
//! Runs in: parent.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use super::Step;
use crate::log;

/// A line per step, in the order in which they began, and parts below what they are parts of.
pub fn table(title: &str, steps: &[Step]) -> String {
    let first = steps
        .iter()
        .map(|step| step.began)
        .min()
        .unwrap_or_default();
    let last = steps.iter().map(Step::ended).max().unwrap_or_default();
    let at = jiff::Timestamp::try_from(SystemTime::UNIX_EPOCH + first);
    let at = at.map_or_else(|_| String::new(), |at| format!(", {at:.3}"));
    let title = log::one_line(title);
    let mut text = format!("{title}: {} ms{at}\n", milliseconds(last - first));
    text.push_str("     at ms   takes ms  who     what\n");
    for (i, step) in steps.iter().enumerate() {
        let depth = steps[..i].iter().filter(|above| above.holds(step)).count();
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "{:>10} {:>10}  {:<6}  {:indent$}{}",
            milliseconds(step.began - first),
            milliseconds(step.took),
            step.who,
            "",
            // Names from outside are in it.
            log::one_line(&step.what),
            indent = 2 * depth,
        );
    }
    text
}

fn milliseconds(time: Duration) -> String {
    format!("{:.3}", time.as_secs_f64() * 1e3)
}

/// A complete event (`X`) per step, a line each, and one (`M`) that names each process. The array
/// that they are in may be left open, so that the next call can go on with it.
pub fn events(title: &str, steps: &[Step]) -> String {
    let pid = std::process::id();
    let mut threads: Vec<&str> = Vec::new();
    let mut lines = vec![serde_json::json!({
        "name": "process_name", "ph": "M", "pid": pid, "args": {"name": title},
    })];
    for step in steps {
        let thread = threads.iter().position(|who| *who == step.who);
        let thread = thread.unwrap_or_else(|| {
            threads.push(&step.who);
            lines.push(serde_json::json!({
                "name": "thread_name", "ph": "M", "pid": pid, "tid": threads.len(),
                "args": {"name": step.who},
            }));
            threads.len() - 1
        });
        lines.push(serde_json::json!({
            "name": step.what, "cat": step.who, "ph": "X", "pid": pid, "tid": thread + 1,
            "ts": microseconds(step.began), "dur": microseconds(step.took),
        }));
    }
    lines
        .iter()
        .fold(String::new(), |text, line| format!("{text}{line},\n"))
}

fn microseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step_at(who: &'static str, what: &'static str, began_us: u64, took_us: u64) -> Step {
        Step {
            who: who.into(),
            what: what.into(),
            began: Duration::from_micros(began_us),
            took: Duration::from_micros(took_us),
        }
    }

    fn steps() -> Vec<Step> {
        vec![
            step_at("parent", "run", 1_000, 3_000),
            step_at("parent", "plan", 1_500, 500),
            step_at("init", "mounts[0] (/a\n)", 1_600, 100),
        ]
    }

    #[test]
    fn a_table_shows_what_is_part_of_what() {
        assert_eq!(
            table("rt run \"x\"", &steps()),
            "\
rt run \"x\": 3.000 ms, 1970-01-01T00:00:00.001Z
     at ms   takes ms  who     what
     0.000      3.000  parent  run
     0.500      0.500  parent    plan
     0.600      0.100  init    mounts[0] (/a\\n)
"
        );
    }

    #[test]
    fn events_are_lines_of_an_array_that_is_left_open() {
        let text = events("rt run \"x\"", &steps());
        let whole = format!("[{}]", text.trim_end().trim_end_matches(','));
        let events: Vec<serde_json::Value> = serde_json::from_str(&whole).unwrap();
        assert_eq!(text.lines().count(), events.len());
        let word = |event: &serde_json::Value, key: &str| event[key].as_str().unwrap().to_owned();
        let names: Vec<_> = events
            .iter()
            .map(|e| (word(e, "ph"), word(e, "name")))
            .collect();
        let expected = [
            ("M", "process_name"),
            ("M", "thread_name"),
            ("X", "run"),
            ("X", "plan"),
            ("M", "thread_name"),
            ("X", "mounts[0] (/a\n)"),
        ];
        assert_eq!(
            names,
            expected.map(|(ph, name)| (ph.to_owned(), name.to_owned()))
        );
        assert_eq!(events[3]["ts"], 1500.0);
        assert_eq!(events[3]["dur"], 500.0);
        assert_eq!(events[5]["tid"], 2);
    }
}
