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

/// `chimney bench cycles` with these arguments besides, and what it wrote.
fn cycles(name: &str, args: &[&str]) -> Value {
    let out = format!("{}/{name}", env!("CARGO_TARGET_TMPDIR"));
    let output = bench(&[&["cycles", "--json", "--out", &out], args].concat());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let result = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {output:?}"));
    assert_eq!(std::fs::read_to_string(format!("{out}/cycles.json")).expect("the file is written"), text);
    result
}

/// The figure, which must be the worst of these rows.
fn worst<'a>(result: &Value, name: &str, rows: impl Iterator<Item = &'a Value>, of: &str) -> f64 {
    let worst = rows.filter_map(|r| r[of].as_f64()).fold(0.0, f64::max);
    assert_eq!(result[name].as_f64(), Some(worst), "{name} in {result}");
    worst
}

fn rows<'a>(result: &'a Value, name: &str) -> &'a [Value] {
    result[name].as_array().unwrap_or_else(|| panic!("{name} in {result}"))
}

/// Few segments: the bounds are not the budgets, but what a NIC that works as described stays below.
#[test]
fn cycles_are_counted_for_every_row_and_the_worst_row_is_the_figure() {
    let result = cycles("cycles", &["--segments", "1000", "--only", "min,mss"]);
    assert_eq!(rows(&result, "rows").len(), 2 * 3 * 2);
    for (bytes, connections, of, name, most) in [
        (60, 8, "rx", "min_segment_rx", 11.0),
        (60, 8, "tx", "min_segment_tx", 12.0),
        (1514, 1, "rx", "mss_segment_rx", 192.0),
        (1514, 1, "tx", "mss_segment_tx", 192.0),
    ] {
        let mine = rows(&result, "rows").iter();
        let mine = mine.filter(|r| r["frame_bytes"] == bytes && r["connections"] == connections);
        let figure = worst(&result, name, mine, of);
        // A port of eight bytes a cycle; the ends of what is sent lie within a turn of the host.
        assert!(figure > f64::from(bytes) / 8.0 * 0.97 && figure <= most, "{name} {figure}");
    }
    // What was not asked for is not there.
    assert!(result["min_segment_rx_one"].is_null() && result["upload_1000"].is_null(), "{result}");
}

#[test]
fn an_acknowledgment_comes_soon_after_its_segment() {
    let result = cycles("ack", &["--segments", "1000", "--only", "ack"]);
    assert_eq!(rows(&result, "ack_rows").len(), 2 * 2);
    worst(&result, "rx_to_ack", rows(&result, "ack_rows").iter(), "longest");
    for row in rows(&result, "ack_rows") {
        let (middle, longest) = (number_of(row, "middle"), number_of(row, "longest"));
        assert!(number_of(row, "segments") >= 15.0, "{row}");
        assert!(middle > 0.0 && middle <= 64.0 && longest >= middle, "{row}");
    }
}

#[test]
fn proto_takes_an_event_every_third_cycle_and_every_sixth_on_one_connection() {
    let result = cycles("events", &["--only", "events"]);
    let (different, same) = (number_of(&result, "events_different"), number_of(&result, "events_same"));
    assert!((1.0..=3.0).contains(&different) && (different..=6.0).contains(&same), "{result}");
    let bits: f64 = rows(&result, "state_bits").iter().map(|r| r[1].as_f64().expect("bits")).sum();
    assert_eq!(number_of(&result, "state_bytes_per_connection"), (bits / 8.0).ceil());
}

#[test]
fn a_nic_for_a_thousand_connections_takes_many_at_once_and_gives_them_back() {
    let result = cycles("bulk", &["--only", "bulk", "--bulk", "100"]);
    assert_eq!(rows(&result, "bulk_rows").len(), 2);
    for row in rows(&result, "bulk_rows") {
        // An image is 38 beats, and as many go back; a hundred do not hide the first one's latencies.
        for way in ["offload", "upload"] {
            let each = number_of(row, way) / number_of(row, "connections");
            assert!(each > 38.0 && each < 70.0, "{way}: {row}");
        }
    }
    assert!(result["offload_1000"].is_null(), "a hundred are no thousand");
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
