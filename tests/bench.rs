//! Benchmarks run and write what they found; their figures are judged where the machine is known.

use serde_json::Value;
use std::process::Command;

fn bench(args: &[&str]) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_chimney")).arg("bench").args(args).output().expect("the program starts")
}

#[test]
fn the_speed_of_the_simulation_is_measured_under_load_and_without_a_violation() {
    let out = concat!(env!("CARGO_TARGET_TMPDIR"), "/bench");
    let output =
        bench(&["sim", "--rounds", "1", "--cycles", "20000", "--connections", "2", "--json", "--out", out]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let result: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {output:?}"));
    let number = |name: &str| result[name].as_f64().unwrap_or_else(|| panic!("{name} in {result}"));
    let ratio = number("cycles_per_second") / number("reference_cycles_per_second");
    assert!((number("ratio") - ratio).abs() < 1e-9 && ratio > 0.0);
    // Both ways at once, each as fast as its port, which takes eight.
    for (port, least) in [("rx_bytes_per_cycle", 7.0), ("tx_bytes_per_cycle", 7.0)] {
        assert!(number(port) > least, "{port} in {result}");
    }
    let file = std::fs::read_to_string(format!("{out}/sim.json")).expect("the file is written");
    assert_eq!(file, text);
}

#[test]
fn cycles_are_counted_for_every_row_and_the_worst_row_is_the_figure() {
    let out = concat!(env!("CARGO_TARGET_TMPDIR"), "/bench");
    let output = bench(&["cycles", "--segments", "100", "--json", "--out", out]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let result: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {output:?}"));
    let rows = result["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), 3 * 3 * 2);
    for (bytes, connections, of, name) in [
        (60, 8, "rx", "min_segment_rx"),
        (60, 8, "tx", "min_segment_tx"),
        (1514, 1, "rx", "mss_segment_rx"),
        (1514, 1, "tx", "mss_segment_tx"),
    ] {
        let mine = rows.iter().filter(|r| r["frame_bytes"] == bytes && r["connections"] == connections);
        let worst = mine.filter_map(|r| r[of].as_f64()).fold(0.0, f64::max);
        assert_eq!(result[name].as_f64(), Some(worst), "{name}");
        // A port of eight bytes a cycle; the ends of the count lie within a turn of the host.
        assert!(worst > f64::from(bytes) / 8.0 * 0.9, "{name} {worst}");
    }
}

fn number_of(row: &Value, name: &str) -> f64 {
    row[name].as_f64().unwrap_or_else(|| panic!("{name} in {row}"))
}

#[test]
fn goodput_under_loss_is_measured_for_the_nic_and_for_linux_on_the_same_link() {
    if let Err(why) = chimney_sim::net::netns::probe() {
        return println!("not run: {why}");
    }
    let out = concat!(env!("CARGO_TARGET_TMPDIR"), "/bench");
    let few = ["--seeds", "1", "--kib", "256", "--loss", "1", "--device", "model", "--json", "--out", out];
    let output = bench(&[&["loss"][..], &few].concat());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let result: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {output:?}"));
    let rows = result["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), 2);
    for (row, rate) in rows.iter().zip([5.0, 100.0]) {
        assert_eq!((row["loss"].as_f64(), row["device"].as_str()), (Some(1.0), Some("model")), "{row}");
        // On a busy machine a pair may be void; one that counts is never faster than the link.
        if row["seeds"] == 1 {
            let [nic, linux] = ["nic_mbit", "linux_mbit"].map(|name| number_of(row, name));
            assert!(nic > 0.0 && linux > 0.0 && nic < rate && linux < rate, "{row}");
            // A number read back from JSON may differ in its last bit.
            assert!((number_of(row, "ratio") - nic / linux).abs() < 1e-9, "{row}");
        }
    }
}

#[test]
fn bad_options_of_a_benchmark_are_named_in_one_line() {
    let output = bench(&["sim", "--connections", "65"]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && text.lines().count() == 1 && text.contains("65"), "{text}");
}
