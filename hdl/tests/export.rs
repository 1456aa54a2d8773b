//! Every exported top: deterministic, and clean under Verilator's lint; the list of the NIC's ports is fresh.
#![allow(missing_docs)]

#[path = "../examples/top_ports/list.rs"]
mod list;

use chimney_hdl::{emit, ports, FAULTY_TOPS, TOPS};
use chimney_hdl_kernel::lint::lint;

#[test]
fn every_top_lints_clean() {
    for top in TOPS.iter().chain(FAULTY_TOPS) {
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
