//! The RTL against a Linux kernel over bad links of every kind, as sender and as receiver, with and without each TCP option,
//! in small packets and large ones, over IPv4 and IPv6. Each row is a whole demo: a file down and a file up, four hand-overs,
//! both hashes; its capture goes through Wireshark's dissector.

use crate::capture;
use crate::run::{has_linux_peer, has_tool, is_long, Demo};
use crate::transfers::check_outcome;

/// What the demo is told. Of two rows that ask the same of the NIC one is enough for the short run; every value of
/// each column is in it.
const ROWS: &[(&str, &str)] = &[
    ("v6", "--ipv6"),
    ("v6-lossy", "--ipv6 --loss 1%"),
    ("bare", "--without timestamps,sack,window-scaling --loss 1%"),
    ("bursts", "--link|loss gemodel 1% 60%|--without timestamps"),
    ("shuffled", "--link|delay 2ms 1ms reorder 3% duplicate 1%|--ipv6"),
    ("broken", "--link|corrupt 1%|--without sack"),
    ("small", "--mtu 576 --loss 0.1%"),
    ("small-v6", "--mtu 1280 --ipv6 --loss 3% --without window-scaling"),
    ("jumbo-v6", "--mtu 9000 --ipv6 --loss 1%"),
    ("worst", "--loss 5%"),
    ("marked", "--ecn --link|loss 2% ecn|"),
];
/// For the long run.
const MORE: &[(&str, &str)] = &[
    ("clean-bare", "--without timestamps,sack,window-scaling"),
    ("clean-small", "--mtu 576"),
    ("jumbo", "--mtu 9000"),
    ("small-bare", "--mtu 576 --without timestamps,sack --loss 3%"),
    ("worst-v6", "--ipv6 --loss 5%"),
    ("worst-reno", "--without sack --loss 5%"),
    ("shuffled-reno", "--link|delay 2ms 1ms reorder 3% duplicate 1%|--without sack"),
    ("bursts-v6", "--link|loss gemodel 1% 60%|--ipv6"),
    ("broken-v6", "--link|corrupt 1%|--ipv6 --without timestamps"),
    ("marked-v6", "--ipv6 --ecn --link|loss 5% ecn|"),
    ("marked-reno", "--ecn --link|loss 2% ecn|--without sack"),
    ("all", "--link|delay 1ms 500us loss 1% reorder 1% duplicate 1% corrupt 1%|--mtu 1006"),
];

fn run(rows: &[(&str, &str)]) {
    if !has_linux_peer() || !has_tool("socat") {
        return;
    }
    for (name, options) in rows {
        let name = format!("matrix-{name}");
        let args = split(options);
        eprintln!("{name}: chimney demo --peer linux {}", args.join(" "));
        let all = [&["--peer", "linux"][..], &args].concat();
        let r = check_outcome(Demo::start_rtl(&name, &all), &name, "linux");
        if options.contains("--ecn") {
            let counted = |name: &str| r["nic_counters"][name].as_u64().expect("a counter");
            let (marks, reductions) = (counted("CNT_CE_MARKS_IN"), counted("CNT_ECE_REDUCTIONS"));
            eprintln!("{name}: {marks} marks came in, {reductions} windows were reduced for an echo");
            assert!(marks > 0 && reductions > 0);
        }
        let is_damaging = options.contains("corrupt");
        assert!(is_damaging || r["peer_checksum_errors"] == 0, "{r}");
        if has_tool("tshark") {
            let look = if is_damaging { capture::broken_by_us } else { capture::broken };
            let broken = look(&name, capture::WITHOUT_HTTP);
            assert!(broken.is_empty(), "{name}: malformed or with a bad checksum: frames {broken:?}");
        }
    }
}

/// Words; what stands between bars is one.
fn split(options: &str) -> Vec<&str> {
    let parts = options.split('|').enumerate();
    parts.flat_map(|(i, p)| if i % 2 == 1 { vec![p] } else { p.split_whitespace().collect() }).collect()
}

#[test]
fn no_kind_of_bad_link_and_no_missing_option_breaks_a_stream() {
    run(ROWS);
    if is_long() {
        run(MORE);
    }
}
