//! The parts of the gate.

use anyhow::{bail, Result};

/// An FPGA and the core that is meant for it.
pub struct Part {
    /// Its name in the catalogue.
    pub name: &'static str,
    /// The core's top in `hdl/src/tops.rs`.
    pub top: &'static str,
    /// Connections of that core.
    pub connections: u32,
    /// 4-input tables.
    pub lut: u64,
    /// Flip-flops.
    pub ff: u64,
    /// Block RAMs of 18 Kbit.
    pub ebr: u64,
    /// What nextpnr wants to hear.
    pub options: &'static [&'static str],
    /// How large the core may be, if that is checked with every test.
    pub limits: Option<Limits>,
}

/// Limits of a core's size. A core beyond `today` fails; who makes the core smaller lowers `today`, until it is the goal.
pub struct Limits {
    /// LUTs that the board's own logic leaves.
    pub goal_lut: u64,
    /// Block RAMs that it leaves.
    pub goal_ebr: u64,
    /// LUTs that the core may have now, counted in pieces (`pieces`).
    pub today_lut: u64,
    /// Block RAMs that the core may have now.
    pub today_ebr: u64,
}

/// Speed grade of both.
pub const SPEED: u32 = 8;
/// The clock that is asked for, and the least that will do.
pub const TARGET_MHZ: u32 = 125;

/// The small board, and the large part of the same family.
pub const ALL: &[Part] = &[
    Part {
        name: "LFE5UM5G-45F",
        top: "nic_256",
        connections: 256,
        lut: 43_848,
        ff: 43_848,
        ebr: 108,
        options: &["--um5g-45k", "--package", "CABGA381"],
        // The goal is 75 % of the LUTs. Measured last: 71 292 and 186.
        limits: Some(Limits { goal_lut: 32_886, goal_ebr: 84, today_lut: 71_400, today_ebr: 186 }),
    },
    Part {
        name: "LFE5UM5G-85F",
        top: "nic_1024",
        connections: 1024,
        lut: 83_640,
        ff: 83_640,
        ebr: 208,
        options: &["--um5g-85k", "--package", "CABGA756"],
        limits: None,
    },
];

/// Those that the user named, else all.
///
/// # Errors
/// A name that fits none.
pub fn chosen(names: &[String]) -> Result<Vec<&'static Part>> {
    let is = |part: &Part, name: &str| !name.is_empty() && part.name.ends_with(&name.to_ascii_uppercase());
    if let Some(unknown) = names.iter().find(|name| !ALL.iter().any(|part| is(part, name))) {
        bail!("no part '{unknown}'; there are {}", ALL.iter().map(|p| p.name).collect::<Vec<_>>().join(", "));
    }
    Ok(ALL.iter().filter(|part| names.is_empty() || names.iter().any(|name| is(part, name))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_named_by_its_end_and_an_unknown_one_is_refused() {
        let names = |given: &[&str]| {
            let given: Vec<String> = given.iter().map(|&g| g.into()).collect();
            chosen(&given).map(|parts| parts.iter().map(|p| p.connections).collect::<Vec<_>>())
        };
        assert_eq!(names(&[]).expect("all"), [256, 1024]);
        assert_eq!(names(&["85f"]).expect("one"), [1024]);
        assert_eq!(names(&["LFE5UM5G-45F"]).expect("one"), [256]);
        assert!(names(&["25F"])
            .expect_err("unknown")
            .to_string()
            .starts_with("no part '25F'; there are LFE5"));
        assert!(names(&[""]).is_err());
    }
}
