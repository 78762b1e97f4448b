//! What this program and the bench that runs it say to each other: a line in asks for one round of all subjects, and
//! the samples go out, one JSON object a line. So the bench can take turns with subjects of its own.

use serde_json::json;
use std::io::{Lines, StdinLock, Write, stdin, stdout};

/// Rounds asked for, until the other side closes.
pub struct Rounds {
    lines: Lines<StdinLock<'static>>,
    round: u64,
}

impl Rounds {
    /// Says that everything is built and checked.
    pub fn ready(pairs: usize, groups: usize) -> Self {
        write(&json!({ "ready": true, "pairs": pairs, "groups": groups }));
        Self { lines: stdin().lines(), round: 0 }
    }

    /// Runs each round that is asked for, and ends the process after the last: to take gigabytes of hash tables apart
    /// would take seconds that nobody needs.
    pub fn each(mut self, mut run: impl FnMut(u64)) -> ! {
        while let Some(Ok(_)) = self.lines.next() {
            run(self.round);
            self.round += 1;
            write(&json!({ "done": self.round }));
        }
        std::process::exit(0)
    }
}

/// One sample of the round under way.
pub fn sample(subject: &str, metric: &str, unit: &str, value: f64) {
    write(&json!({ "subject": subject, "metric": metric, "unit": unit, "value": value }));
}

fn write(value: &serde_json::Value) {
    let mut out = stdout().lock();
    // A reader that is gone needs no result.
    if writeln!(out, "{value}").and_then(|()| out.flush()).is_err() {
        std::process::exit(1);
    }
}
