//! The driver's list of checks on each transport, side by side, and what the device's side counted meanwhile.
//!
//! ```text
//!   chimney check --in-process            \
//!   chimney check --socket                 > a line of JSON for each check --> a column --> one table, on the console and as JSON
//!   chimney-check --vfio, in the guest    /
//! ```
//! All columns must have the same checks, and the same things counted: one that is missing somewhere has failed.

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{ensure, Result};
use serde_json::{json, Value};

use super::device::Device;
use crate::process::{self, Event};

/// The guest's column.
pub const IN_GUEST: &str = "kernel VFIO";
/// How a line of the guest's console begins that has an outcome in it.
pub const OUTCOME: &str = "OUTCOME ";
/// Width of the column with names, characters.
const NAME_WIDTH: usize = 56;

/// Whether it is as it should be, and what is said of it.
type Cell = (bool, String);

/// A transport and what became of the list on it.
pub struct Column {
    /// The transport.
    pub name: &'static str,
    /// Outcomes as `chimney-check --report` writes them.
    outcomes: Vec<Value>,
}

impl Column {
    /// A column from lines of JSON; what is none is left out, and so missing.
    pub fn read<'a>(name: &'static str, lines: impl Iterator<Item = &'a str>) -> Self {
        Self { name, outcomes: lines.filter_map(|line| serde_json::from_str(line).ok()).collect() }
    }

    /// The guest's, from the lines of its console.
    pub fn of_guest(console: &[String]) -> Self {
        Self::read(IN_GUEST, console.iter().filter_map(|line| line.trim_end().strip_prefix(OUTCOME)))
    }

    /// The transports that need no guest, on devices of the program `chimney`. Files are made in `dir`.
    ///
    /// # Errors
    /// When nothing can be started; how checks ended is in the columns.
    pub fn outside(chimney: &Path, dir: &Path, is_golden: bool) -> Result<Vec<Self>> {
        let model = if is_golden { "golden" } else { "rtl" };
        let in_process = list(chimney, "in-process", dir, &["--in-process", "--model", model])?;
        let device = Device::with_echo(chimney, dir.join("list.sock"), is_golden, &[])?;
        let (socket, counters) = (device.socket.to_string_lossy(), device.counters.to_string_lossy());
        let vfio_user = list(chimney, "vfio-user", dir, &["--socket", &socket, "--counters", &counters])?;
        Ok(vec![in_process, vfio_user])
    }

    /// Each check and what it came to.
    fn checks(&self) -> Vec<(&str, Cell)> {
        let cell = |outcome: &Value| (outcome["passed"] == true, seconds(outcome));
        self.outcomes.iter().filter_map(|outcome| Some((outcome["check"].as_str()?, cell(outcome)))).collect()
    }

    /// What was counted while the checks ran.
    fn counts(&self) -> Vec<(&str, Cell)> {
        let all = self.outcomes.iter().filter_map(|outcome| outcome["counts"].as_array()).flatten();
        let count = |count: &'_ Value| {
            let (seen, allowed) = (count["count"].as_u64()?, count["allowed"].as_u64()?);
            Some((seen <= allowed, format!("{seen} of {allowed}")))
        };
        all.filter_map(|value| Some((value["what"].as_str()?, count(value)?))).collect()
    }
}

fn seconds(outcome: &Value) -> String {
    outcome["seconds"].as_f64().map_or_else(String::new, |seconds| format!("{seconds:.2} s"))
}

/// Runs the list outside of a guest.
fn list(chimney: &Path, name: &'static str, dir: &Path, device: &[&str]) -> Result<Column> {
    let report = dir.join(format!("{name}.json"));
    let _ = fs::remove_file(&report); // of another time
    let mut command = Command::new(chimney);
    command.arg("check").args(device).arg("--report").arg(&report);
    let mut last = String::new();
    let status = process::run(command, |event| {
        if let Event::Line(line) = event {
            last = line.to_owned();
        }
    })?;
    let text = fs::read_to_string(&report).unwrap_or_default();
    ensure!(!text.is_empty(), "the list, {name}: {}: {last}", process::describe(status));
    Ok(Column::read(name, text.lines()))
}

/// A row: its name, and its cell in each column.
struct Row<'a>(&'a str, Vec<Option<Cell>>);

/// A row for each name that occurs in any column, in the order of the first that has it.
fn rows<'a>(columns: &[Vec<(&'a str, Cell)>]) -> Vec<Row<'a>> {
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in columns.iter().flatten() {
        if !names.contains(name) {
            names.push(name);
        }
    }
    let find = |column: &Vec<(&str, Cell)>, name| {
        column.iter().find(|(other, _)| *other == name).map(|(_, cell)| cell.clone())
    };
    names
        .into_iter()
        .map(|name| Row(name, columns.iter().map(|column| find(column, name)).collect()))
        .collect()
}

/// Columns side by side.
pub struct Table<'a>(pub Vec<&'a Column>);

impl Table<'_> {
    /// The rows of the list, and those of what was counted.
    fn parts(&self) -> [Vec<Row<'_>>; 2] {
        let part = |of: fn(&Column) -> Vec<(&str, Cell)>| {
            rows(&self.0.iter().map(|column| of(column)).collect::<Vec<_>>())
        };
        [part(Column::checks), part(Column::counts)]
    }

    /// What is not as it should be. Nothing at all is not, either.
    pub fn failures(&self) -> Vec<String> {
        let mut failures = Vec::new();
        for (part, what) in self.parts().iter().zip(["checked", "counted"]) {
            if part.is_empty() {
                failures.push(format!("nothing was {what} on any transport"));
            }
            for Row(name, cells) in part {
                for (column, cell) in self.0.iter().zip(cells) {
                    match cell {
                        Some((true, _)) => {}
                        Some((false, text)) => failures.push(format!("{}: {name} ({text})", column.name)),
                        None => failures.push(format!("{}: {name} (was not {what})", column.name)),
                    }
                }
            }
        }
        failures
    }

    /// The same for programs: `ok`, `failures`, and `columns` with the `name` and the `checks` of each.
    pub fn json(&self) -> Value {
        let column = |column: &&Column| json!({ "name": column.name, "checks": column.outcomes });
        let failures = self.failures();
        json!({
            "ok": failures.is_empty(),
            "failures": failures,
            "columns": self.0.iter().map(column).collect::<Vec<_>>(),
        })
    }
}

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        for (part, title) in self.parts().iter().zip(["check", "counted by the device's side, of allowed"]) {
            write!(f, "| {title:<NAME_WIDTH$} |")?;
            for column in &self.0 {
                write!(f, " {:>14} |", column.name)?;
            }
            writeln!(f)?;
            for Row(name, cells) in part {
                write!(f, "| {name:<NAME_WIDTH$} |")?;
                for cell in cells {
                    let (verdict, text) = match cell {
                        Some((true, text)) => ("PASS", text.as_str()),
                        Some((false, text)) => ("FAIL", text.as_str()),
                        None => ("FAIL", "missing"),
                    };
                    write!(f, " {verdict} {text:>9} |")?;
                }
                writeln!(f)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = r#"{"check":"first","passed":true,"seconds":0.126,"text":"","counts":[]}"#;
    const SECOND: &str = r#"{"check":"second","passed":true,"seconds":2.5,"text":"","counts":[{"what":"reads","count":0,"allowed":0}]}"#;

    fn failures(columns: [&[&str]; 2]) -> Vec<String> {
        let [a, b] = columns.map(|lines| Column::read("a or b", lines.iter().copied()));
        let table = Table(vec![&a, &b]);
        assert_eq!(table.json()["ok"], table.failures().is_empty());
        table.failures()
    }

    #[test]
    fn columns_with_the_same_checks_are_a_table() {
        let console = ["noise", "OUTCOME nonsense", "OUTCOME ", FIRST, SECOND];
        let said = console.iter().enumerate().map(|(at, line)| {
            if at > 2 {
                format!("{OUTCOME}{line}\r")
            } else {
                (*line).into()
            }
        });
        let guest = Column::of_guest(&said.collect::<Vec<String>>());
        let other = Column::read("in-process", [FIRST, SECOND].into_iter());
        let table = Table(vec![&other, &guest]);
        assert_eq!(table.failures(), [""; 0]);
        let row = |name: &str, cell: &str| format!("| {name:<56} | {cell} | {cell} |");
        let head = |name: &str| format!("| {name:<56} |     in-process |    kernel VFIO |");
        let lines = [
            head("check"),
            row("first", "PASS    0.13 s"),
            row("second", "PASS    2.50 s"),
            head("counted by the device's side, of allowed"),
            row("reads", "PASS    0 of 0"),
        ];
        assert_eq!(table.to_string(), lines.join("\n") + "\n");
        let json = table.json();
        assert_eq!((&json["ok"], &json["columns"][1]["name"]), (&json!(true), &json!(IN_GUEST)));
        assert_eq!(json["columns"][1]["checks"][1]["seconds"], 2.5);
    }

    #[test]
    fn what_is_missing_somewhere_has_failed() {
        assert_eq!(failures([&[FIRST, SECOND], &[SECOND]]), ["a or b: first (was not checked)"]);
        assert_eq!(failures([&[SECOND], &[FIRST, SECOND]]), ["a or b: first (was not checked)"]);
        let other = SECOND.replace("reads", "writes");
        let missing = ["a or b: reads (was not counted)", "a or b: writes (was not counted)"];
        assert_eq!(failures([&[SECOND], &[&other]]), missing);
        assert_eq!(failures([&[FIRST], &[FIRST]]), ["nothing was counted on any transport"]);
        assert_eq!(failures([&[], &[]]).len(), 2);
    }

    #[test]
    fn what_failed_or_is_too_much_is_named() {
        let bad = FIRST.replace("true", "false");
        assert_eq!(failures([&[&bad, SECOND], &[FIRST, SECOND]]), ["a or b: first (0.13 s)"]);
        let many = SECOND.replace(r#""count":0"#, r#""count":1"#);
        assert_eq!(failures([&[SECOND], &[&many]]), ["a or b: reads (1 of 0)"]);
    }
}
