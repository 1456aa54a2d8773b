//! Shows a step while it runs: on a terminal a line that moves, in a log a line now and then.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// In a log: how long nothing may be said.
const HEARTBEAT: Duration = Duration::from_secs(60);

/// Where lines go that stay.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Out {
    /// They are the result.
    Stdout,
    /// The result is something else, perhaps read by a program.
    Stderr,
}

/// The display of one step.
pub struct Display {
    /// `[2/5] clippy`
    title: String,
    out: Out,
    bar: Option<ProgressBar>,
    started: Instant,
    /// When the log last got a line.
    spoke: Instant,
    newest: String,
}

impl Display {
    /// Announces a step; `title` stands at the head of each of its lines.
    pub fn start(title: &str, about: &str, out: Out) -> Display {
        let title = title.to_owned();
        let now = Instant::now();
        let bar = out.is_terminal().then(|| {
            let style = "{prefix} {spinner} {elapsed} {wide_msg}";
            let style = ProgressStyle::with_template(style).expect("the template is well formed");
            let bar = ProgressBar::new_spinner().with_style(style).with_prefix(title.clone());
            bar.set_message(about.to_owned());
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        if bar.is_none() {
            out.print(&format!("{title} {about}"));
        }
        Display { title, out, bar, started: now, spoke: now, newest: about.to_owned() }
    }

    /// A line of output: shown for good if it is to `stay`, else only as the newest.
    pub fn line(&mut self, line: &str, stay: bool) {
        if stay {
            self.say(line);
        } else if !line.trim().is_empty() {
            self.newest = line.trim().to_owned();
            if let Some(bar) = &self.bar {
                bar.set_message(self.newest.clone());
            }
        }
    }

    /// Time passes: a log gets a sign of life.
    pub fn tick(&mut self) {
        if self.bar.is_none() && self.spoke.elapsed() >= HEARTBEAT {
            self.say(&format!("{} {}: {}", self.title, time(self.started.elapsed()), self.newest));
        }
    }

    /// Replaces the display with the result.
    pub fn finish(self, passed: bool, took: Duration, what: &str) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let word = if passed { "ok" } else { "FAILED" };
        self.out.print(format!("{} {word} in {} {what}", self.title, time(took)).trim_end());
    }

    fn say(&mut self, line: &str) {
        self.spoke = Instant::now();
        match &self.bar {
            Some(bar) => bar.suspend(|| self.out.print(line)),
            None => self.out.print(line),
        }
    }
}

impl Out {
    fn is_terminal(self) -> bool {
        match self {
            Out::Stdout => std::io::stdout().is_terminal(),
            Out::Stderr => std::io::stderr().is_terminal(),
        }
    }

    fn print(self, line: &str) {
        match self {
            Out::Stdout => println!("{line}"),
            Out::Stderr => eprintln!("{line}"),
        }
    }
}

/// A duration as a person says it: `0.8 s`, `47 s`, `3 min 07 s`.
pub fn time(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..=9 => format!("{:.1} s", duration.as_secs_f64()),
        10..=119 => format!("{seconds} s"),
        _ => format!("{} min {:02} s", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        for (ms, text) in [(840, "0.8 s"), (47_300, "47 s"), (187_000, "3 min 07 s")] {
            assert_eq!(time(Duration::from_millis(ms)), text);
        }
    }
}
