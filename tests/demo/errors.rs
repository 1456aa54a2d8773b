//! What goes wrong is said in one line, and nothing is left behind.

use crate::run::{directory, has_linux_peer, has_tool, namespaces, read_result, Demo};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;

/// The first transfer is well under way.
const MIDST_BYTES: u64 = 1 << 20;
/// A file that takes long enough to be interrupted.
const LONG: [&str; 2] = ["--bytes", "256M"];

/// A demo with a Linux peer in the midst of its download, and the name of its namespace.
fn in_the_midst(name: &str) -> Option<(Demo, String)> {
    if !has_linux_peer() || !has_tool("socat") {
        return None;
    }
    // The capture of an earlier run would be taken for this one's.
    let _ = fs::remove_dir_all(directory(name));
    let mut demo = Demo::start(name, &[&["--peer", "linux"][..], &LONG].concat());
    if !demo.wait_for_capture(MIDST_BYTES) {
        panic!("it ended early: {:#?}", demo.finish());
    }
    let names = namespaces(demo.pid());
    assert_eq!(names.len(), 1, "{names:?}");
    let name = names.into_iter().next()?;
    Some((demo, name))
}

fn ip(args: &[&str]) -> String {
    let output = Command::new("ip").args(args).output().expect("ip");
    assert!(output.status.success(), "ip {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn the_peer_dies() {
    let Some((demo, name)) = in_the_midst("peer-dies") else { return };
    let pids = ip(&["netns", "pids", &name]);
    let mut killed = 0;
    for pid in pids.split_whitespace() {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        if String::from_utf8_lossy(&line).contains("http.server") {
            assert!(Command::new("kill").args(["-9", pid]).status().is_ok_and(|s| s.success()));
            killed += 1;
        }
    }
    assert!(killed > 0, "no HTTP server in {name}: {pids}");
    demo.finish().assert_clean_failure("the peer");
}

#[test]
fn the_cable_is_pulled() {
    let Some((demo, name)) = in_the_midst("tap-gone") else { return };
    // The demo may notice, and end everything in the namespace, this command included, before `ip` has ended by itself.
    let pulled = Command::new("ip").args(["-n", &name, "link", "delete", "dev", "tap0"]).status();
    assert!(pulled.is_ok(), "ip cannot be run");
    demo.finish().assert_clean_failure("the wire broke");
}

#[test]
fn a_signal_ends_it() {
    for signal in ["INT", "TERM", "HUP"] {
        let Some((demo, _)) = in_the_midst("signal") else { return };
        demo.signal(signal);
        demo.finish().assert_clean_failure("interrupted");
    }
}

#[test]
fn it_is_killed() {
    let Some((demo, _)) = in_the_midst("killed") else { return };
    demo.signal("KILL");
    let outcome = demo.finish();
    assert!(!outcome.status.success());
    outcome.assert_nothing_left();
}

#[test]
fn a_bad_option_is_named() {
    let bad: [(&[&str], &str); 9] = [
        (&["--loss", "200%"], "a loss is a percentage"),
        (&["--loss=-1%"], "a loss is a percentage"),
        (&["--loss", "nan"], "a loss is a percentage"),
        (&["--bytes", "3"], "a size is from"),
        (&["--bytes", "4G"], "a size is a number"),
        (&["--link", "jitter 7"], "jitter"),
        (&["--seed", "x"], "--seed"),
        (&["--warp"], "--warp"),
        (&["--peer", "mars"], "[possible values: auto, linux, builtin]"),
    ];
    for (args, words) in bad {
        let outcome = Demo::start("bad-option", args).finish();
        outcome.assert_clean_failure(words);
        assert_eq!(outcome.status.code(), Some(2), "{args:?}: {outcome:#?}");
    }
}

#[test]
fn an_output_that_cannot_be_written_is_named() {
    let file = directory("a-file");
    fs::create_dir_all(file.parent().expect("it has one")).expect("a directory");
    fs::write(&file, "in the way").expect("writable");
    Demo::start("a-file/below", &["--peer", "builtin"]).finish().assert_clean_failure("a-file");
    // A directory where a file should be: noticed before anything is started.
    let name = "result-is-a-directory";
    fs::create_dir_all(directory(name).join("result.json")).expect("a directory");
    Demo::start(name, &["--peer", "builtin"]).finish().assert_clean_failure("result.json");
}

/// A directory with links to every program of the search path but one.
fn path_without(tool: &str) -> PathBuf {
    let links = directory(&format!("path-without-{tool}"));
    let _ = fs::remove_dir_all(&links);
    fs::create_dir_all(&links).expect("a directory");
    let path = std::env::var_os("PATH").expect("a search path");
    for entry in std::env::split_paths(&path).filter_map(|d| fs::read_dir(d).ok()).flatten().flatten() {
        if entry.file_name() != tool {
            // The first of a name wins, as in the search path.
            let _ = symlink(entry.path(), links.join(entry.file_name()));
        }
    }
    links
}

#[test]
fn a_missing_tool_is_named() {
    if !has_linux_peer() {
        return;
    }
    for tool in ["ip", "socat"] {
        let path = path_without(tool);
        let demo = Demo::start_with("no-tool", &["--golden", "--peer", "linux"], |c| {
            c.env("PATH", path);
        });
        demo.finish().assert_clean_failure(tool);
    }
}

#[test]
fn without_ip_our_own_stack_is_the_peer() {
    let path = path_without("ip");
    let outcome = Demo::start_with("no-ip", &["--golden"], |c| {
        c.env("PATH", path);
    })
    .finish();
    assert!(outcome.status.success(), "{outcome:#?}");
    assert!(outcome.stdout.contains("a second instance of our own stack"), "{}", outcome.stdout);
}

#[test]
fn two_demos_do_not_share_a_directory() {
    let name = "shared";
    let _ = fs::remove_dir_all(directory(name));
    let mut demo = Demo::start(name, &["--peer", "builtin", "--bytes", "256M", "--link", "delay 2s"]);
    assert!(demo.wait_for_capture(0), "it ended early: {:#?}", demo.finish());
    let second = Command::new(env!("CARGO_BIN_EXE_chimney"))
        .args(["demo", "--golden", "--peer", "builtin", "--out"])
        .arg(directory(name))
        .output()
        .expect("the program");
    assert_eq!(second.status.code(), Some(1));
    let text = String::from_utf8_lossy(&second.stderr);
    assert!(text.lines().count() == 1 && text.contains("another demo"), "{text}");
    demo.signal("TERM");
    demo.finish().assert_clean_failure("interrupted");
}

#[test]
fn nobody_needs_to_listen_to_the_end() {
    let name = "no-listener";
    let mut demo = Demo::start(name, &["--peer", "builtin"]);
    demo.stop_listening();
    let outcome = demo.finish();
    assert!(outcome.status.success() && outcome.stderr.is_empty(), "{outcome:#?}");
    assert_eq!(read_result(name)["ok"], true);
}
