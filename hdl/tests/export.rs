//! Every exported top: deterministic, and clean under Verilator's lint.
#![allow(missing_docs)]

use chimney_hdl::{emit, ports, TOPS};
use chimney_hdl_kernel::lint::lint;

#[test]
fn every_top_lints_clean() {
    for top in TOPS {
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
