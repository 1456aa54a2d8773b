//! The generated page of the register map is the one that is committed.

#[path = "../examples/regmap/page.rs"]
mod page;

use chimney_abi::regs;

#[test]
fn the_register_map_is_fresh() {
    let committed = std::fs::read_to_string(page::FILE).unwrap_or_default();
    assert!(
        committed == page::text(),
        "hdl/doc/registers.md is not what hdl/abi says; regenerate it: {}",
        page::COMMAND
    );
}

#[test]
fn the_register_map_names_every_register_and_field_once() {
    let text = page::text();
    for r in regs::ALL {
        let row = format!("| {:#05x} | `{}` | ", r.offset, r.name);
        assert_eq!(text.matches(&row).count(), 1, "{}", r.name);
        for f in r.fields {
            let rows = text.lines().filter(|l| l.starts_with(&format!("| `{}` |", r.name)));
            assert_eq!(rows.filter(|l| l.contains(&format!("| `{}` |", f.name))).count(), 1, "{}", f.name);
        }
    }
    assert!(text.contains("| 0x0a0 | `CMD_PRODUCER` | 32 | WO | 0 |"), "{text}");
    assert!(text.contains("| 0x000 | `ID` | 32 | RO | 0x48430001 |"), "{text}");
    assert!(text.contains("| 0x240 | `CNT_RETRANSMITS` | 64 | RO | 0 |"), "{text}");
    assert!(text.contains("| `RING_SIZES` | 31:28 | `event` |"), "{text}");
}
