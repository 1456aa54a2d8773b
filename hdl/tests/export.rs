//! Every exported top: deterministic, and clean under Verilator's lint; the list of the NIC's ports is fresh.
#![allow(missing_docs)]

#[path = "../examples/top_ports/list.rs"]
mod list;

use chimney_hdl::{emit, ports, BENCH_TOPS, FAULTY_TOPS, STATE, TOPS};
use chimney_hdl_kernel::lint::lint;
use std::collections::HashMap;

#[test]
fn every_top_lints_clean() {
    for top in TOPS.iter().chain(FAULTY_TOPS).chain(BENCH_TOPS) {
        let text = emit(top).unwrap_or_else(|e| panic!("{e}"));
        lint(top, &text).unwrap_or_else(|e| panic!("{top}: {e}"));
    }
}

#[test]
fn every_top_is_the_same_text_each_time() {
    for top in TOPS {
        let (a, b) = (emit(top).map_err(|e| e.to_string()), emit(top).map_err(|e| e.to_string()));
        assert_eq!(a, b);
        let names: Vec<_> = ports(top).unwrap().into_iter().map(|p| p.name).collect();
        assert!(names.iter().any(|n| n == "clock"), "{top} has no clock among {names:?}");
    }
}

#[test]
fn an_unknown_top_is_an_error() {
    assert!(emit("no_such_top").is_err());
    assert!(ports("no_such_top").is_err());
}

#[test]
fn the_list_of_ports_is_fresh() {
    let committed = std::fs::read_to_string(list::FILE).unwrap_or_default();
    let made = list::text().unwrap();
    assert!(
        committed == made,
        "hdl/doc/top_ports.txt is not what hdl/src/top.rs says; regenerate it: {}",
        list::COMMAND
    );
    for port in ["input    1 clock", "output  64 m_axis_tdata", "input   20 s_axil_awaddr", "output   1 irq"]
    {
        assert!(made.lines().any(|line| line == port), "{port} in\n{made}");
    }
}

/// Bits of the memories of every module of a top, those of the modules inside included. One module stands for several blocks of the
/// same text; inner ones come first.
fn memory_bits(top: &str) -> HashMap<String, u64> {
    let text = emit(top).unwrap_or_else(|e| panic!("{e}"));
    let (mut modules, mut module) = (HashMap::new(), String::new());
    for line in text.lines() {
        let first = line.split(['(', ' ']).next().unwrap_or_default();
        if let Some(rest) = line.strip_prefix("module ") {
            module = rest.split('(').next().unwrap_or_default().to_owned();
            modules.insert(module.clone(), 0);
        } else if let Some((range, last)) =
            line.rsplit_once(" [0:").and_then(|(before, last)| Some((before.rsplit_once(":0] ")?.0, last)))
        {
            // reg [high:0] name [0:last];
            let high = range.rsplit('[').next().unwrap_or_default();
            let number = |s: &str| s.parse::<u64>().unwrap_or_else(|e| panic!("{line}: {e}"));
            *modules.get_mut(&module).unwrap() +=
                (number(high) + 1) * (number(last.trim_end_matches("];")) + 1);
        } else if let Some(bits) = modules.get(first).copied() {
            *modules.get_mut(&module).unwrap() += bits;
        }
    }
    modules
}

/// The list says what the memories say: from 256 to 1024 connections they grow by that much, and by ids that are wider.
#[test]
fn the_state_of_a_connection_is_what_its_memories_grow_by() {
    // The lookup's tables are no connection's own.
    let bits = |top: &str| {
        let modules = memory_bits(top);
        modules[top] - modules[&format!("{top}__lookup")]
    };
    let (small, large) = (bits("nic_256"), bits("nic_1024"));
    // An event has an id of 8 or 10 bits besides its state, a path's id has 4.
    let (with_id, rest): (Vec<_>, Vec<_>) =
        STATE.iter().partition(|(name, _)| ["event", "path"].contains(name));
    let listed: usize = rest.iter().map(|(_, bits)| bits).sum();
    let ids: u64 = 1024 * (10 + 10 + 4) - 256 * (10 + 8 + 4);
    assert_eq!(with_id.len(), 2);
    assert_eq!(large - small, 768 * listed as u64 + ids);
}
