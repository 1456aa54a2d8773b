//! `result.json`: every field that is promised, of the right kind, and counts that agree with the capture.

use crate::run::{directory, Demo};
use pcap_file::pcapng::{Block, PcapNgReader};
use serde_json::Value;
use std::fs::File;
use std::time::Duration;

/// What a value must be.
type Kind = fn(&Value) -> bool;

const FLAG: Kind = Value::is_boolean;
const COUNT: Kind = Value::is_u64;
const WORD: Kind = |v| v.as_str().is_some_and(|s| !s.is_empty());
/// A duration.
const TIME: Kind = |v| v.as_f64().is_some_and(|t| t >= 0.0);

/// All fields. Whoever adds one says here what it is.
const FIELDS: &[(&str, Kind)] = &[
    ("ok", FLAG),
    ("peer", |v| v == "linux" || v == "builtin"),
    ("device", |v| v == "rtl" || v == "golden"),
    ("seed", COUNT),
    ("loss", |v| v.as_f64().is_some_and(|p| (0.0..=1.0).contains(&p))),
    ("received_ok", FLAG),
    ("sent_ok", FLAG),
    ("bytes_by_nic", COUNT),
    ("bytes_by_host", COUNT),
    ("segments_by_nic", COUNT),
    ("segments_by_host", COUNT),
    ("large_frames_by_host", COUNT),
    ("segments_of_large_frames", COUNT),
    ("bytes_in_capture", COUNT),
    ("retransmits_by_nic", COUNT),
    ("retransmits_by_host", COUNT),
    ("handovers", COUNT),
    ("handover", Value::is_array),
    ("peer_checksum_errors", COUNT),
    ("peer_resets", COUNT),
    ("nic_cycles", COUNT),
    ("bytes_per_cycle", TIME),
    ("cycles_per_second", TIME),
    ("clock_lag", Value::is_object),
    ("seconds", TIME),
    ("nic_counters", |v| v.as_object().is_some_and(|c| !c.is_empty() && c.values().all(Value::is_u64))),
    ("device_side", |v| v.is_null() || v["mmio_reads"].is_u64()),
    ("problems", |v| v.as_array().is_some_and(|p| p.iter().all(Value::is_string))),
    ("capture", WORD),
    ("wave", |v| v.is_null() || WORD(v)),
];

/// All fields of a row of `handover`.
const ROW: &[(&str, Kind)] = &[
    ("transfer", |v| v == "download" || v == "upload"),
    ("direction", |v| v == "offload" || v == "upload" || v == "rebuild"),
    ("status", WORD),
    ("at_ms", TIME),
    ("unsent", COUNT),
    ("unacknowledged", COUNT),
    ("undelivered", COUNT),
    ("out_of_order", COUNT),
];

/// The lag may be negative: simulated time can run ahead by a little.
const LAG: &[(&str, Kind)] = &[("max_us", Value::is_f64), ("mean_us", Value::is_f64)];

/// Frames whose owner the time of a hand-over does not tell: the hand-over itself takes a moment.
const UNCLEAR_SHARE: f64 = 0.05;

fn check_fields(value: &Value, fields: &[(&str, Kind)]) {
    let object = value.as_object().expect("an object");
    for (name, is_right) in fields {
        let field = object.get(*name).unwrap_or_else(|| panic!("no field {name} in {value}"));
        assert!(is_right(field), "{name}: {field}");
    }
    let unknown: Vec<_> = object.keys().filter(|k| !fields.iter().any(|(name, _)| name == k)).collect();
    assert!(unknown.is_empty(), "fields that nobody promised: {unknown:?}");
}

/// A frame in the capture.
struct Frame {
    at: Duration,
    bytes: u64,
}

/// The frames at the NIC's MAC port.
fn frames(name: &str) -> Vec<Frame> {
    let file = File::open(directory(name).join("wire.pcapng")).expect("the capture");
    let mut reader = PcapNgReader::new(file).expect("a pcapng file");
    let mut frames = Vec::new();
    while let Some(block) = reader.next_block() {
        if let Block::EnhancedPacket(packet) = block.expect("a whole block") {
            assert_eq!(packet.interface_id, 0, "the wire, not the host's side");
            frames.push(Frame { at: packet.timestamp, bytes: u64::from(packet.original_len) });
        }
    }
    frames
}

/// Bytes in the capture while the NIC owned the one connection that there was.
fn bytes_while_in_nic(r: &Value, frames: &[Frame]) -> u64 {
    let mut bytes = 0;
    let mut since = None;
    for row in r["handover"].as_array().expect("rows") {
        let at = Duration::from_secs_f64(row["at_ms"].as_f64().expect("a time") / 1000.0);
        if row["direction"] == "offload" {
            since = Some(at);
        } else if let Some(since) = since.take() {
            bytes += frames.iter().filter(|f| (since..at).contains(&f.at)).map(|f| f.bytes).sum::<u64>();
        }
    }
    bytes
}

/// Everything that is promised about the results of a good run of this name.
pub fn check(name: &str, r: &Value) {
    check_fields(r, FIELDS);
    check_fields(&r["clock_lag"], LAG);
    for row in r["handover"].as_array().expect("rows") {
        check_fields(row, ROW);
    }
    let count = |name: &str| r[name].as_u64().expect("a count");
    let frames = frames(name);
    let total: u64 = frames.iter().map(|f| f.bytes).sum();
    assert_eq!(count("bytes_in_capture"), total, "bytes");
    assert_eq!(count("bytes_by_nic") + count("bytes_by_host"), total, "bytes");
    // `as`: a capture has far less than 2^64 frames.
    assert_eq!(count("segments_by_nic") + count("segments_by_host"), frames.len() as u64, "frames");
    let by_time = bytes_while_in_nic(r, &frames);
    // `as`: far below 2^53.
    let unclear = count("bytes_by_nic").abs_diff(by_time) as f64;
    assert!(unclear <= UNCLEAR_SHARE * total as f64, "by the NIC, by the capture's clock {by_time}: {r}");
}

#[test]
fn a_field_that_is_missing_wrong_or_new_is_noticed() {
    let fields: &[(&str, Kind)] = &[("a", COUNT)];
    let is_noticed = |text: &str| {
        let value: Value = serde_json::from_str(text).expect("JSON");
        std::panic::catch_unwind(|| check_fields(&value, fields)).is_err()
    };
    assert!(!is_noticed(r#"{"a": 1}"#));
    for bad in ["{}", r#"{"a": -1}"#, r#"{"a": "1"}"#, r#"{"a": 1, "b": 1}"#] {
        assert!(is_noticed(bad), "{bad}");
    }
}

#[test]
fn a_run_that_fails_leaves_no_result_of_an_earlier_one() {
    let path = directory("stale").join("result.json");
    std::fs::create_dir_all(path.parent().expect("it has one")).expect("a directory");
    std::fs::write(&path, "{\"ok\": true}").expect("writable");
    // The first connection is still being opened.
    let demo = Demo::start("stale", &["--peer", "builtin", "--bytes", "256M", "--link", "delay 2s"]);
    while path.exists() {
        std::thread::yield_now();
    }
    demo.signal("INT");
    demo.finish().assert_clean_failure("interrupted");
    assert!(!path.exists());
}
