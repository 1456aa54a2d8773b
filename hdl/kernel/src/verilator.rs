//! Which compiler the C++ of a model gets, and two defects of Verilator 5.006.
//!
//! Its optimizer of data flow graphs takes a circuit apart wrongly: PROTO in `hdl/tests/event_rate.rs` refused every doorbell, translated
//! with it, and none without it, without optimization, or in native simulation. So it is off ([`GRAPHLESS`]), everywhere.
//!
//! The other one is found where it would do harm: `wide_a == wide_b ? never_one : c`, where `never_one` turns out constant only after wide operands were split into
//! words (`&(x & 95'h1)`), becomes `~(0 == ..) && c` in C++: the inversion of a C++ `bool` is never zero, so the text
//! means `c`. Verilog that is not split ([`WORDLESS`]) is translated right, but runs slower, so a model whose C++ shows
//! the pattern, and only such a model, is translated again that way.

use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// The compiler for the C++ of models: `$CXX`, or clang if it works, or the machine's `c++`.
///
/// On the model of the whole NIC clang 14 needs a sixth of the time of GCC 12, and what it makes runs faster by half.
pub fn compiler() -> &'static str {
    static FOUND: OnceLock<String> = OnceLock::new();
    FOUND.get_or_init(|| match std::env::var("CXX") {
        Ok(named) if !named.trim().is_empty() => named.trim().to_owned(),
        _ if preprocesses("clang++") => "clang++".to_owned(),
        _ => "c++".to_owned(),
    })
}

/// Whether this compiler starts and finds its standard library.
fn preprocesses(compiler: &str) -> bool {
    let mut command = Command::new(compiler);
    command.args(["-E", "-x", "c++", "-include", "cstdint", "/dev/null"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Keeps Verilator from optimizing data flow graphs.
pub const GRAPHLESS: &str = "-fno-dfg";

/// Keeps Verilator from splitting wide operands into words before it folds constants.
pub const WORDLESS: &str = "-fno-expand";

/// True if the C++ text decides by a value that was inverted bit by bit, and not by whether it is zero.
///
/// ```
/// use chimney_hdl_kernel::verilator::decides_by_inverted_bits;
/// assert!(decides_by_inverted_bits("x = ((~ (0U == (a | b)))\n   && c);"));
/// assert!(decides_by_inverted_bits("x = (c || (~ a));"));
/// assert!(!decides_by_inverted_bits("x = ((0U != (~ a)) && (1U & (~ b)));"));
/// ```
pub fn decides_by_inverted_bits(cpp: &str) -> bool {
    cpp.match_indices("(~").any(|(at, _)| {
        let before = cpp[..at].trim_end();
        let after = closing(&cpp[at..]).map_or("", |end| cpp[at + end + 1..].trim_start());
        ["&&", "||", "!"].iter().any(|op| before.ends_with(op))
            || ["&&", "||", "?"].iter().any(|op| after.starts_with(op))
    })
}

/// Where the parenthesis that opens the text is closed.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    text.bytes().position(|c| {
        match c {
            b'(' => depth += 1,
            b')' => depth -= 1,
            _ => {}
        }
        depth == 0
    })
}
