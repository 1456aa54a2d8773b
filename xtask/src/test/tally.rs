//! Counts tests from the lines that the test programs print.

use std::fmt;

/// Tests counted so far.
#[derive(Default)]
pub struct Tally {
    /// Tests that passed.
    pub passed: u64,
    /// Tests that failed.
    pub failed: u64,
    /// Tests that did not run.
    pub ignored: u64,
    /// The names of those that failed.
    pub failures: Vec<String>,
}

/// What a line of test output means to the display.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The name of a test program, or its `test result:`, or a row of a table (`| ... |`); always shown.
    Summary,
    /// Anything else; shown only while it is the newest.
    Other,
}

impl Tally {
    /// Reads one line; adds what a `test result:` line counts.
    pub fn read(&mut self, line: &str) -> Kind {
        let text = line.trim_start();
        if ["Running ", "Doc-tests ", "| "].iter().any(|start| text.starts_with(start)) {
            return Kind::Summary;
        }
        if let Some(name) = text.strip_prefix("test ").and_then(|t| t.strip_suffix(" ... FAILED")) {
            self.failures.push(name.to_owned());
            return Kind::Summary;
        }
        let Some(counts) = text.strip_prefix("test result: ") else { return Kind::Other };
        self.passed += count(counts, " passed");
        self.failed += count(counts, " failed");
        self.ignored += count(counts, " ignored");
        Kind::Summary
    }

    /// Adds a step to the total: the tests in it, or the step itself if it holds none.
    pub fn add(&mut self, step: &Tally, passed: Option<bool>) {
        self.passed += step.passed;
        self.failed += step.failed;
        self.ignored += step.ignored;
        self.failures.extend_from_slice(&step.failures);
        match passed {
            Some(true) if step.passed == 0 => self.passed += 1,
            Some(false) if step.failed == 0 => self.failed += 1,
            _ => {}
        }
    }
}

/// The number in front of `word`, as in `ok. 12 passed; 0 failed`.
fn count(text: &str, word: &str) -> u64 {
    text.split(';')
        .find_map(|part| part.strip_suffix(word))
        .and_then(|part| part.split_whitespace().last())
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        if self.passed + self.failed + self.ignored == 0 {
            return Ok(());
        }
        write!(f, "{} tests passed, {} failed", self.passed, self.failed)?;
        if self.ignored > 0 {
            write!(f, ", {} ignored", self.ignored)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_up_the_result_lines_of_cargo_test() {
        let mut tally = Tally::default();
        let output = [
            "     Running unittests src/lib.rs (target/debug/deps/x-1)",
            "running 13 tests",
            "| check | in-process |",
            "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s",
            "test tcp::late ... FAILED",
            "test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.1s",
        ];
        let kinds: Vec<Kind> = output.iter().map(|line| tally.read(line)).collect();
        let mut expected = [Kind::Summary; 6];
        expected[1] = Kind::Other;
        assert_eq!(kinds, expected);
        assert_eq!((tally.passed, tally.failed, tally.ignored), (15, 2, 1));
        assert_eq!(tally.failures, ["tcp::late"]);
        assert_eq!(tally.to_string(), "15 tests passed, 2 failed, 1 ignored");
    }

    #[test]
    fn a_step_without_tests_counts_as_one() {
        let mut total = Tally::default();
        total.add(&Tally::default(), Some(true));
        total.add(&Tally { passed: 10, ..Tally::default() }, Some(true));
        // The tests all passed and cargo failed all the same: a test program that crashed.
        total.add(&Tally { passed: 4, ..Tally::default() }, Some(false));
        total.add(&Tally::default(), None);
        assert_eq!((total.passed, total.failed), (15, 1));
    }
}
