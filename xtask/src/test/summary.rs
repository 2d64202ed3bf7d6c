//! The table at the end: each part, its result, its minutes.

use std::fmt;
use std::time::Duration;

/// How a part ended.
#[derive(Debug)]
pub enum Outcome {
    /// Nothing to report.
    Passed,
    /// Why it failed.
    Failed(String),
    /// An earlier failure ended the run.
    Skipped,
}

/// One part's line.
#[derive(Debug)]
pub struct Row {
    /// The part's name.
    pub part: &'static str,
    /// How it ended.
    pub outcome: Outcome,
    /// How long it took.
    pub elapsed: Duration,
}

impl Row {
    /// A part that did not run.
    pub fn skipped(part: &'static str) -> Self {
        Row { part, outcome: Outcome::Skipped, elapsed: Duration::ZERO }
    }
}

/// All parts. Displays as a table whose last line counts them.
#[derive(Debug, Default)]
pub struct Summary {
    rows: Vec<Row>,
}

impl Summary {
    /// Adds a line.
    pub fn push(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Parts that failed.
    pub fn num_failed(&self) -> usize {
        self.count(|outcome| matches!(outcome, Outcome::Failed(_)))
    }

    fn count(&self, which: impl Fn(&Outcome) -> bool) -> usize {
        self.rows.iter().filter(|row| which(&row.outcome)).count()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in &self.rows {
            if let Outcome::Failed(why) = &row.outcome {
                writeln!(f, "{} failed: {}\n", row.part, first_line(why))?;
            }
        }
        writeln!(f, "{:<8} {:<7} {:>7}", "part", "result", "minutes")?;
        for row in &self.rows {
            let result = match row.outcome {
                Outcome::Passed => "passed",
                Outcome::Failed(_) => "FAILED",
                Outcome::Skipped => "not run",
            };
            let minutes = row.elapsed.as_secs_f64() / 60.0;
            writeln!(f, "{:<8} {result:<7} {minutes:>7.1}", row.part)?;
        }
        let total: Duration = self.rows.iter().map(|row| row.elapsed).sum();
        let minutes = total.as_secs_f64() / 60.0;
        writeln!(f, "{:<8} {:<7} {minutes:>7.1}\n", "total", "")?;
        let num_passed = self.count(|outcome| matches!(outcome, Outcome::Passed));
        let num_skipped = self.count(|outcome| matches!(outcome, Outcome::Skipped));
        write!(f, "{num_passed} passed, {} failed", self.num_failed())?;
        if num_skipped > 0 {
            write!(f, ", {num_skipped} skipped")?;
        }
        writeln!(f)
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_tells_result_and_minutes_and_ends_with_the_count() {
        let mut summary = Summary::default();
        summary.push(Row {
            part: "fmt",
            outcome: Outcome::Passed,
            elapsed: Duration::from_secs(90),
        });
        summary.push(Row {
            part: "clippy",
            outcome: Outcome::Failed("cargo failed\nand much more".into()),
            elapsed: Duration::from_secs(30),
        });
        let expected = "\
clippy failed: cargo failed

part     result  minutes
fmt      passed      1.5
clippy   FAILED      0.5
total                2.0

1 passed, 1 failed
";
        assert_eq!(summary.to_string(), expected);
    }
}
