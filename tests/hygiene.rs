//! Rules about the source itself, which no compiler checks: size, `unsafe`, direction of imports,
//! folders, and what must not be written down.
//!
//! Each rule returns the places that break it, so that one run names them all.

use std::fs;
use std::path::{Path, PathBuf};

/// A longer file has more than one subject.
const MAX_FILE_LINES: usize = 600;
/// A longer function does more than one thing; code lines, without comments and blank ones.
const MAX_FN_LINES: usize = 60;
/// The `update` kernel of a hardware block: one always-block, harder to split.
const MAX_KERNEL_LINES: usize = 100;

/// Kernels that are longer, with the most lines they may have and why. Nothing is added without a reason, and a
/// kernel that got shorter leaves the list.
const LONG_KERNELS: &[(&str, usize, &str)] = &[
    ("hdl/src/top.rs", 295, "wiring only: one line per port, no decisions"),
    ("hdl/src/tcp/proto/engine.rs", 139, "wiring only: one line per port, no decisions"),
    ("hdl/src/tcp/tx/transmit.rs", 106, "wiring only: one line per port, no decisions"),
    ("hdl/src/host/mailbox/block.rs", 130, "wiring only: one line per port, no decisions"),
];

/// The only files with `unsafe`: registers and DMA memory, and the C side of simulator and TAP.
const UNSAFE_FILES: &[&str] = &[
    "driver/src/dma.rs",
    "driver/src/mmio.rs",
    "driver/src/vfio/raw.rs",
    "driver/vfio-user/src/memory.rs",
    "sim/src/ffi.rs",
    "sim/src/net/tap.rs",
];

/// Who may import whom: `abi <- hdl <- sim`, `abi <- driver`, `abi <- host-stack`; only the root
/// package sees them all.
const IMPORTS: &[(&str, &[&str])] = &[
    ("hdl/abi", &[]),
    ("hdl/formal", &["chimney-hdl", "chimney-hdl-kernel"]),
    ("hdl/kernel", &["chimney-hdl-macros"]),
    ("hdl/macros", &["chimney-hdl-kernel"]),
    ("hdl/proof", &["chimney-hdl-kernel"]),
    ("hdl", &["chimney-abi", "chimney-hdl-kernel", "chimney-hdl-macros"]),
    ("driver", &["chimney-abi", "chimney-vfio-user"]),
    (
        "driver/check",
        &["chimney-abi", "chimney-driver", "chimney-host-stack", "chimney-rng", "chimney-vfio-user"],
    ),
    ("driver/vfio-user", &[]),
    ("host-stack/core", &["chimney-abi"]),
    ("host-stack", &["chimney-abi", "chimney-host-stack-core"]),
    ("sim", &["chimney-abi", "chimney-hdl", "chimney-host-stack-core", "chimney-rng", "chimney-vfio-user"]),
    ("sim/rng", &[]),
    ("xtask", &[]),
];

/// What lies at the top: the parts, the two folders where they meet, and nothing else.
const TOP: &[&str] = &[
    "Cargo.lock",
    "Cargo.toml",
    "README.md",
    "clippy.toml",
    "constraints",
    "driver",
    "hdl",
    "host-stack",
    "rustfmt.toml",
    "sim",
    "src",
    "target",
    "tests",
    "xtask",
];

/// The requirements of the contract are numbered from 1 to this.
const LAST_REQUIREMENT: u32 = 320;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file of the project whose name ends in one of `endings`, as (path from the root, text).
fn files(endings: &[&str]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    walk(root(), endings, &mut found);
    found.sort();
    assert!(!found.is_empty(), "no file found below {}", root().display());
    found
}

fn walk(dir: &Path, endings: &[&str], found: &mut Vec<(String, String)>) {
    for path in entries(dir) {
        let name = file_name(&path);
        if path.is_dir() {
            if name != "target" && name != ".git" {
                walk(&path, endings, found);
            }
        } else if endings.iter().any(|ending| name.ends_with(ending)) {
            let from_root = path.strip_prefix(root()).expect("below the root").display().to_string();
            found.push((from_root, fs::read_to_string(&path).expect("a readable text")));
        }
    }
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let read = fs::read_dir(dir).expect("a readable folder");
    read.map(|entry| entry.expect("a readable entry").path()).collect()
}

fn file_name(path: &Path) -> String {
    path.file_name().expect("an entry has a name").to_string_lossy().into_owned()
}

fn assert_none(rule: &str, broken: Vec<String>) {
    assert!(broken.is_empty(), "{rule}:\n  {}", broken.join("\n  "));
}

/// The code alone: comments, strings and character literals become blanks, lines stay lines.
fn code(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = skip(bytes, at);
        if end > at {
            out.extend(bytes[at..end].iter().map(|b| if *b == b'\n' { b'\n' } else { b' ' }));
            at = end;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8(out).expect("whole characters are kept or blanked")
}

/// If a comment or a literal starts at `at`: where it ends; else `at`.
fn skip(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    let word_before = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
    match rest {
        [b'/', b'/', ..] => at + rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len()),
        [b'/', b'*', ..] => at + block_comment(rest),
        [b'"', ..] => at + quoted(rest, b'"'),
        [b'r', b'"' | b'#', ..] if !word_before => at + raw_string(rest).unwrap_or(0),
        [b'\'', b'\\', ..] | [b'\'', _, b'\'', ..] => at + quoted(rest, b'\''),
        [b'\'', first, ..] if *first >= 0x80 => at + quoted(rest, b'\''),
        _ => at,
    }
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut i) = (0, 0);
    while i + 1 < rest.len() {
        match &rest[i..i + 2] {
            b"/*" => (depth, i) = (depth + 1, i + 2),
            b"*/" => (depth, i) = (depth - 1, i + 2),
            _ => i += 1,
        }
        if depth == 0 {
            return i;
        }
    }
    rest.len()
}

fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut i = 1;
    while i < rest.len() && rest[i] != quote {
        i += if rest[i] == b'\\' { 2 } else { 1 };
    }
    (i + 1).min(rest.len())
}

fn raw_string(rest: &[u8]) -> Option<usize> {
    let hashes = rest[1..].iter().take_while(|b| **b == b'#').count();
    if rest.get(1 + hashes) != Some(&b'"') {
        return None;
    }
    let close = [b"\"".as_slice(), &b"#".repeat(hashes)].concat();
    let body = 2 + hashes;
    let end = rest[body..].windows(close.len()).position(|w| w == close)?;
    Some(body + end + close.len())
}

/// Whether `word` stands in `line` as a word of its own.
fn has_word(line: &str, word: &str) -> bool {
    line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|w| w == word)
}

/// The functions of a file: (name, first line, lines of code in the body).
fn functions(code: &str) -> Vec<(String, usize, usize)> {
    let lines: Vec<&str> = code.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let Some((before, after)) = line.split_once("fn ") else { continue };
        let name: String = after.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if before.ends_with(|c: char| c.is_alphanumeric() || c == '_') || name.is_empty() {
            continue;
        }
        if let Some(count) = body_lines(after, &lines[start + 1..]) {
            found.push((name, start + 1, count));
        }
    }
    found
}

/// Lines of code from the opening brace to the one that closes it; `None` for a mere declaration.
fn body_lines(first: &str, lines: &[&str]) -> Option<usize> {
    let (mut depth, mut count, mut round) = (0i32, 0, 0i32);
    for line in std::iter::once(&first).chain(lines) {
        for c in line.chars() {
            match c {
                '(' | '[' => round += 1,
                ')' | ']' => round -= 1,
                ';' if depth == 0 && round == 0 => return None,
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => continue,
            }
            if c == '}' && depth == 0 {
                return Some(count);
            }
        }
        if depth > 0 && !line.trim().is_empty() {
            count += 1;
        }
    }
    None
}

#[test]
fn files_and_functions_stay_small() {
    let mut broken = Vec::new();
    for (path, text) in files(&[".rs"]) {
        let lines = text.lines().count();
        if lines > MAX_FILE_LINES {
            broken.push(format!("{path}: {lines} lines"));
        }
        for (name, line, count) in functions(&code(&text)) {
            let kernel = matches!(name.as_str(), "update" | "next_state") && path.starts_with("hdl/");
            let long = LONG_KERNELS.iter().find(|(p, ..)| kernel && *p == path).map(|(_, n, _)| *n);
            if count > long.unwrap_or(if kernel { MAX_KERNEL_LINES } else { MAX_FN_LINES }) {
                broken.push(format!("{path}:{line}: fn {name} has {count} lines"));
            }
        }
    }
    assert_none("split it, one subject each", broken);
}

#[test]
fn unsafe_code_is_only_where_it_must_be_and_says_why() {
    let mut broken = Vec::new();
    for (path, text) in files(&[".rs"]) {
        let code = code(&text);
        let source: Vec<&str> = text.lines().collect();
        for (i, line) in code.lines().enumerate() {
            if has_word(line, "unsafe_code")
                && line.contains("allow(")
                && !UNSAFE_FILES.contains(&path.as_str())
            {
                broken.push(format!("{path}:{}: only {} may allow it", i + 1, UNSAFE_FILES.join(", ")));
            }
            let contract = line.contains("unsafe fn") || line.contains("unsafe extern");
            let reason = source[i.saturating_sub(8)..=i].iter().any(|l| l.contains("SAFETY:"));
            if has_word(line, "unsafe") && !contract && !reason {
                broken.push(format!("{path}:{}: no SAFETY: comment", i + 1));
            }
        }
    }
    assert_none("unsafe code", broken);
}

#[test]
fn nothing_dead_or_missing_is_waved_through() {
    let mut broken = Vec::new();
    for (path, text) in files(&[".rs"]) {
        for (i, line) in code(&text).lines().enumerate() {
            let waved = line.contains("#![allow(dead_code") || line.contains("#![allow(unused");
            // Several test programs share a harness, and each uses a part of it.
            let harness = path.contains("tests/") && path.ends_with("/mod.rs");
            if (waved && !harness) || line.contains("todo!(") || line.contains("unimplemented!(") {
                broken.push(format!("{path}:{}: {}", i + 1, line.trim()));
            }
        }
    }
    assert_none("dead or missing code", broken);
}

#[test]
fn crates_import_in_one_direction() {
    let mut broken = Vec::new();
    for (path, text) in files(&["Cargo.toml"]) {
        let folder = path.strip_suffix("/Cargo.toml").unwrap_or("");
        if !folder.is_empty() && !text.contains("[lints]\nworkspace = true") {
            broken.push(format!("{path}: does not take the lints of the workspace"));
        }
        if folder.is_empty() {
            continue;
        }
        let Some((_, allowed)) = IMPORTS.iter().find(|(crate_folder, _)| *crate_folder == folder) else {
            broken.push(format!("{path}: a crate that is not in the table"));
            continue;
        };
        let named = text.lines().filter(|l| l.starts_with("chimney-"));
        for import in named.filter_map(|l| l.split(['.', ' ', '=']).next()) {
            if !allowed.contains(&import) {
                broken.push(format!("{path}: must not import {import}"));
            }
        }
    }
    assert_none("direction of imports", broken);
}

#[test]
fn the_top_folder_holds_the_parts_and_nothing_else() {
    let strange = entries(root()).into_iter().map(|path| file_name(&path));
    let strange = strange.filter(|name| !name.starts_with('.') && !TOP.contains(&name.as_str()));
    assert_none("not a part", strange.collect());
}

#[test]
fn no_path_of_somebodys_machine_is_written_down() {
    // Put together here, so that this file does not break its own rule.
    let paths: Vec<String> =
        ["home", "root", "work", "tmp", "Users", "mnt"].iter().map(|name| format!("/{name}/")).collect();
    let mut broken = Vec::new();
    for (path, text) in files(&[".rs", ".toml", ".md", ".sh", ".py", ".cpp", ".h", ".json", "linker", "run"])
    {
        for (i, line) in text.lines().enumerate() {
            // A path starts at a blank, a quote or the like; `src/work/x` is none of these.
            let starts = |p: &str| {
                line.match_indices(p)
                    .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '.'))
            };
            if paths.iter().any(|p| starts(p)) {
                broken.push(format!("{path}:{}: {}", i + 1, line.trim()));
            }
        }
    }
    assert_none("a path of one machine", broken);
}

#[test]
fn every_requirement_that_is_cited_exists() {
    let mut broken = Vec::new();
    let mut cited = 0;
    for (path, text) in files(&[".rs", ".md"]) {
        for (i, line) in text.lines().enumerate() {
            for (at, _) in line.match_indices("R-") {
                let digits: String = line[at + 2..].chars().take_while(char::is_ascii_digit).collect();
                let inside = line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '-');
                if inside || digits.is_empty() {
                    continue;
                }
                cited += 1;
                let known = digits.len() == 3
                    && digits.parse::<u32>().is_ok_and(|n| (1..=LAST_REQUIREMENT).contains(&n));
                if !known {
                    broken.push(format!("{path}:{}: R-{digits}", i + 1));
                }
            }
        }
    }
    assert!(cited > 0, "no requirement is cited anywhere");
    assert_none("there is no such requirement", broken);
}

#[test]
fn comments_and_literals_are_not_taken_for_code() {
    let text = "let a = \"unsafe {\"; // unsafe\nlet b = r#\"un\"safe\"#; /* un /* safe */ */ let c = '\"';\nlet d: &'a str = unsafe { x };";
    let code = code(text);
    let lines: Vec<&str> = code.lines().collect();
    assert_eq!(lines.len(), 3);
    assert!(!has_word(lines[0], "unsafe") && !lines[1].contains("safe"), "{code}");
    assert!(lines[1].contains("let c =") && has_word(lines[2], "unsafe"), "{code}");
}

#[test]
fn functions_are_found_with_their_length() {
    let text =
        "trait T { fn a(&self) -> [u8; 4]; }\nfn b() {\n    if x {\n\n        y();\n    }\n}\nfn c() {}\n";
    let found = functions(&code(text));
    assert_eq!(found, [("b".to_owned(), 2, 4), ("c".to_owned(), 8, 0)]);
}
