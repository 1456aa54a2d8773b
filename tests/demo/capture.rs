//! What Wireshark's dissector says about a capture, and which of it is explained.

use crate::run::directory;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// The host's address in the demo.
const HOST: &str = "10.85.0.2";
/// What the NIC and the host sent, in both families.
const OURS: &str = "(ip.src == 10.85.0.2 || ipv6.src == fd85::2)";
/// What every line of [`COLUMNS`] begins with.
const COLUMNS: &[&str] =
    &["frame.number", "ip.src", "tcp.stream", "tcp.seq", "tcp.len", "tcp.options.timestamp.tsval"];
/// Linux's tail loss probe and its retransmission timer never run for less, milliseconds (TSval counts them).
const LEAST_TIMER_MS: u32 = 2;

/// What the dissector may say about a link that loses nothing.
///
/// * window full, zero window, window update: flow control; the peer is faster than the NIC, and the application
///   stops reading before a hand-over.
/// * keep-alive (and its ACK): the peer's probe of a zero window looks like one.
const EXPLAINED: &[&str] = &[
    "tcp.analysis.window_full",
    "tcp.analysis.zero_window",
    "tcp.analysis.zero_window_probe",
    "tcp.analysis.zero_window_probe_ack",
    "tcp.analysis.window_update",
    "tcp.analysis.keep_alive",
    "tcp.analysis.keep_alive_ack",
];
/// Explained by a timer of the peer, see [`anomalies`].
const RETRANSMISSION: &[&str] = &["tcp.analysis.retransmission", "tcp.analysis.spurious_retransmission"];
const DUPLICATE_ACK: &str = "tcp.analysis.duplicate_ack";
/// Never explained.
const UNEXPLAINED: &[&str] = &[
    "tcp.analysis.fast_retransmission",
    "tcp.analysis.out_of_order",
    "tcp.analysis.lost_segment",
    "tcp.analysis.ack_lost_segment",
    "tcp.analysis.reused_ports",
];

/// A frame that is lost before the NIC is missing in the capture too; then the dissector takes the middle of the file
/// for a header of something. On such a link it shall look at TCP only, and put no stream together.
pub const WITHOUT_HTTP: &[&str] = &["--disable-protocol", "http", "-o", "tcp.desegment_tcp_streams:FALSE"];

/// Runs tshark on the capture of a run; per frame that passes the filter its fields.
fn tshark(name: &str, options: &[&str], filter: &str, fields: &[&str]) -> Vec<Vec<String>> {
    let path = directory(name).join("wire.pcapng");
    let mut command = Command::new("tshark");
    command.args(["-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE", "-T", "fields"]);
    command.args(options).arg("-r").arg(path).args(["-Y", filter]);
    for field in fields {
        command.args(["-e", field]);
    }
    let output = command.output().expect("tshark is there");
    assert!(output.status.success(), "tshark: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}

/// Frame numbers of malformed packets and of bad checksums.
///
/// Linux writes a TCP checksum of 0 as 0xFFFF (it mangles zero for UDP's sake), in one frame of 65 536. Both verify;
/// the dissector calls it bad and says why. From the peer that is explained, from the NIC it would be a defect.
pub fn broken(name: &str, options: &[&str]) -> Vec<String> {
    tshark(name, options, &broken_filter(), &["frame.number"]).concat()
}

/// The same on a link that damages frames: of what we sent alone.
pub fn broken_by_us(name: &str, options: &[&str]) -> Vec<String> {
    tshark(name, options, &format!("({}) && {OURS}", broken_filter()), &["frame.number"]).concat()
}

fn broken_filter() -> String {
    let mangled = format!("tcp.checksum.ffff && !{OURS}");
    let bad = format!("tcp.checksum.status == \"Bad\" && !({mangled})");
    format!("_ws.malformed || ip.checksum.status == \"Bad\" || ({bad})")
}

/// Frame bytes in the capture.
pub fn bytes(name: &str) -> u64 {
    tshark(name, &[], "frame", &["frame.len"]).iter().map(|f| f[0].parse::<u64>().expect("a length")).sum()
}

/// What the dissector remarks about TCP and nobody can explain, on a link that loses nothing.
///
/// A retransmission of the peer is explained if its own clock (TSval) says that a timer of it ran out: this process
/// does not always run in time to acknowledge. Each lets us repeat one ACK.
pub fn anomalies(name: &str) -> Vec<String> {
    let remarks: Vec<&str> = [EXPLAINED, RETRANSMISSION, &[DUPLICATE_ACK], UNEXPLAINED].concat();
    let fields = [COLUMNS, &remarks].concat();
    let first_sent = first_tsval(name);
    let (mut strange, mut timers, mut repeated) = (Vec::new(), 0, Vec::new());
    for row in tshark(name, &[], "tcp.analysis.flags", &fields) {
        let (columns, values) = row.split_at(COLUMNS.len());
        let said: BTreeSet<&str> =
            remarks.iter().zip(values).filter(|(_, v)| !v.is_empty()).map(|(remark, _)| *remark).collect();
        let is_repeat = RETRANSMISSION.iter().any(|r| said.contains(r));
        if said.iter().any(|r| UNEXPLAINED.contains(r)) || said.is_empty() {
            strange.push(format!("frame {} of {}: {said:?}", columns[0], columns[1]));
        } else if is_repeat && columns[1] != HOST && is_timer(&first_sent, columns) {
            timers += 1;
        } else if is_repeat {
            strange.push(format!("frame {} of {}: retransmission", columns[0], columns[1]));
        } else if said.contains(DUPLICATE_ACK) {
            repeated.push(format!("frame {} of {}: duplicate ACK", columns[0], columns[1]));
        }
    }
    if repeated.len() > timers {
        strange.append(&mut repeated);
    }
    strange
}

/// TSval of the first copy of every segment with data: source, stream, sequence number.
fn first_tsval(name: &str) -> BTreeMap<[String; 3], u32> {
    let mut first = BTreeMap::new();
    for row in tshark(name, &[], "tcp.len > 0", COLUMNS) {
        if let Ok(ms) = row[5].parse() {
            first.entry([row[1].clone(), row[2].clone(), row[3].clone()]).or_insert(ms);
        }
    }
    first
}

fn is_timer(first: &BTreeMap<[String; 3], u32>, columns: &[String]) -> bool {
    let key = [columns[1].clone(), columns[2].clone(), columns[3].clone()];
    let (Some(&sent_ms), Ok(again_ms)) = (first.get(&key), columns[5].parse::<u32>()) else { return false };
    again_ms.wrapping_sub(sent_ms) >= LEAST_TIMER_MS
}
