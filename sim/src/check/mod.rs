//! Protocol watchers. They see the same sampled port values as the bus partners, every clock of every test.
//!
//! A watcher never stops a simulation: it records typed violations with the cycle, and the test (or the demo) asks at the
//! end. The first ones are kept in full, the rest are counted.

pub mod axi;
pub mod axis;

/// Violations kept in full per watcher.
const KEPT: usize = 64;

/// The findings of one watcher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Findings<V> {
    kept: Vec<Finding<V>>,
    count: u64,
}

/// One violation and when it was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finding<V> {
    /// Clock cycle, counted by the watcher.
    pub cycle: u64,
    /// What was wrong.
    pub violation: V,
}

impl<V> Default for Findings<V> {
    fn default() -> Self {
        Self { kept: Vec::new(), count: 0 }
    }
}

impl<V> Findings<V> {
    #[cold]
    fn add(&mut self, cycle: u64, violation: V) {
        self.count += 1;
        if self.kept.len() < KEPT {
            self.kept.push(Finding { cycle, violation });
        }
    }

    /// How many violations there were.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The first of them.
    pub fn kept(&self) -> &[Finding<V>] {
        &self.kept
    }
}

impl<V: std::fmt::Display> std::fmt::Display for Findings<V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for finding in &self.kept {
            writeln!(f, "cycle {}: {}", finding.cycle, finding.violation)?;
        }
        write!(f, "{} violations", self.count)
    }
}
