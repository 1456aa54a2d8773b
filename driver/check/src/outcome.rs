//! What became of a check: a line for whoever reads, and the same as JSON.

use serde::Serialize;
use std::fmt;
use std::time::Duration;

/// Something that was counted on the device's side while a check ran, and how much of it is allowed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Count {
    /// What was counted.
    pub what: &'static str,
    /// How often it happened.
    pub count: u64,
    /// How often it may.
    pub allowed: u64,
}

impl Count {
    fn is_kept(&self) -> bool {
        self.count <= self.allowed
    }
}

/// What a check saw that is worth to be said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// For whoever reads it.
    pub text: String,
    /// Each has a verdict of its own. Empty where the device's side cannot be asked.
    pub counts: Vec<Count>,
}

impl From<String> for Seen {
    fn from(text: String) -> Self {
        Self { text, counts: Vec::new() }
    }
}

impl From<&str> for Seen {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

/// What became of a check.
#[derive(Debug)]
pub struct Outcome {
    /// What was checked.
    pub name: &'static str,
    /// What was seen, or why it failed.
    pub result: Result<Seen, String>,
    /// How long it took.
    pub took: Duration,
}

/// An outcome for programs.
#[derive(Serialize)]
struct Line<'a> {
    check: &'a str,
    passed: bool,
    seconds: f64,
    text: &'a str,
    counts: &'a [Count],
}

impl Outcome {
    /// Whether it passed, with all that was counted.
    pub fn has_passed(&self) -> bool {
        self.result.is_ok() && self.counts().iter().all(Count::is_kept)
    }

    /// The outcome as one line of JSON: `check`, `passed`, `seconds`, `text`, `counts` (`what`, `count`, `allowed`).
    ///
    /// # Errors
    /// Never in practice.
    pub fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string(&Line {
            check: self.name,
            passed: self.has_passed(),
            seconds: self.took.as_secs_f64(),
            text: self.text(),
            counts: self.counts(),
        })
    }

    fn text(&self) -> &str {
        match &self.result {
            Ok(seen) => &seen.text,
            Err(why) => why,
        }
    }

    fn counts(&self) -> &[Count] {
        self.result.as_ref().map_or(&[], |seen| &seen.counts)
    }
}

fn verdict(is_good: bool) -> &'static str {
    if is_good {
        "PASS"
    } else {
        "FAIL"
    }
}

impl fmt::Display for Outcome {
    /// One line, and one for each count.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({:.2} s)", verdict(self.result.is_ok()), self.name, self.took.as_secs_f64())?;
        if !self.text().is_empty() {
            write!(f, ": {}", self.text())?;
        }
        for count in self.counts() {
            let Count { what, count: seen, allowed } = count;
            write!(f, "\n{} {what}: {seen}, allowed {allowed}", verdict(count.is_kept()))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(result: Result<Seen, String>) -> Outcome {
        Outcome { name: "a check", result, took: Duration::from_millis(1500) }
    }

    #[test]
    fn an_outcome_is_one_line_with_its_verdict_first() {
        assert_eq!(outcome(Ok(Seen::default())).to_string(), "PASS a check (1.50 s)");
        assert_eq!(outcome(Ok("seen".into())).to_string(), "PASS a check (1.50 s): seen");
        assert_eq!(outcome(Err("why".into())).to_string(), "FAIL a check (1.50 s): why");
    }

    #[test]
    fn a_count_has_its_own_line_and_one_too_many_is_a_failure() {
        let counted = |count| {
            let counts = vec![Count { what: "reads", count, allowed: 3 }];
            outcome(Ok(Seen { text: "seen".into(), counts }))
        };
        assert_eq!(counted(3).to_string(), "PASS a check (1.50 s): seen\nPASS reads: 3, allowed 3");
        assert!(counted(3).has_passed() && !counted(4).has_passed());
        assert!(counted(4).to_string().ends_with("\nFAIL reads: 4, allowed 3"));
        let json = counted(4).json().expect("JSON");
        let text = r#"{"check":"a check","passed":false,"seconds":1.5,"text":"seen","counts":[{"what":"reads","count":4,"allowed":3}]}"#;
        assert_eq!(json, text);
    }
}
