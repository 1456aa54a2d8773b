//! What yosys made, in the units of a data sheet.
//!
//! | cell | counts as |
//! |---|---|
//! | `LUT4` | 1 LUT |
//! | `CCU2C`, two bits of a carry chain | 2 LUTs |
//! | `TRELLIS_DPR16X4`, 16 words of 4 bits | 6 LUTs: 4 hold the bits, 2 become the write port |
//! | `PFUMX`, `L6MUX21`, wide multiplexers | nothing: they lie between the LUTs |
//! | `DP16KD` | 1 EBR |

use std::collections::BTreeMap;
use std::ops::AddAssign;

use anyhow::{Context, Result};
use serde_json::Value;

/// A number of cells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cells {
    /// 4-input tables, also those that are carry chain or memory.
    pub lut: u64,
    /// Of these, memory.
    pub lut_ram: u64,
    /// Flip-flops.
    pub ff: u64,
    /// Block RAMs.
    pub ebr: u64,
    /// Multipliers.
    pub dsp: u64,
}

impl AddAssign for Cells {
    fn add_assign(&mut self, other: Cells) {
        self.lut += other.lut;
        self.lut_ram += other.lut_ram;
        self.ff += other.ff;
        self.ebr += other.ebr;
        self.dsp += other.dsp;
    }
}

/// What `stat -json` says of the modules of a design.
pub struct Stat {
    /// Module, and the cells in it by type: also instances of other modules.
    modules: BTreeMap<String, BTreeMap<String, u64>>,
}

impl Stat {
    /// Reads it.
    ///
    /// # Errors
    /// Not what yosys writes.
    pub fn parse(text: &str) -> Result<Stat> {
        let value: Value = serde_json::from_str(text).context("the statistics of yosys")?;
        let modules = value["modules"].as_object().context("the statistics of yosys name no modules")?;
        let cells = |module: &Value| {
            let types = module["num_cells_by_type"].as_object().into_iter().flatten();
            types.map(|(name, n)| (name.clone(), n.as_u64().unwrap_or(0))).collect()
        };
        let named = |name: &String| name.trim_start_matches('\\').to_owned();
        Ok(Stat { modules: modules.iter().map(|(name, module)| (named(name), cells(module))).collect() })
    }

    /// The cells of a module and of everything inside it.
    pub fn total(&self, module: &str) -> Cells {
        let mut sum = Cells::default();
        for (name, n) in self.modules.get(module).into_iter().flatten() {
            let one = if self.modules.contains_key(name) { self.total(name) } else { cell(name) };
            (0..*n).for_each(|_| sum += one);
        }
        sum
    }

    /// The modules in `module`, each with all that is inside it, the largest first. Instances of one kind are one row.
    pub fn blocks(&self, module: &str) -> Vec<(String, Cells)> {
        let mut found = BTreeMap::new();
        self.collect(module, 1, &mut found);
        let mut rows: Vec<(String, Cells)> = found.into_iter().collect();
        rows.sort_by_key(|(name, cells)| (std::cmp::Reverse(cells.lut), name.clone()));
        rows
    }

    /// `times`: instances of `module`.
    fn collect(&self, module: &str, times: u64, found: &mut BTreeMap<String, Cells>) {
        for (name, n) in self.modules.get(module).into_iter().flatten() {
            if self.modules.contains_key(name) {
                let one = self.total(name);
                (0..n * times).for_each(|_| *found.entry(name.clone()).or_default() += one);
                self.collect(name, n * times, found);
            }
        }
    }
}

fn cell(name: &str) -> Cells {
    let none = Cells::default();
    match name {
        "LUT4" => Cells { lut: 1, ..none },
        "CCU2C" => Cells { lut: 2, ..none },
        "TRELLIS_DPR16X4" => Cells { lut: 6, lut_ram: 6, ..none },
        "TRELLIS_FF" => Cells { ff: 1, ..none },
        "DP16KD" | "PDPW16KD" => Cells { ebr: 1, ..none },
        "MULT18X18D" => Cells { dsp: 1, ..none },
        _ => none,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = r#"{"modules": {
        "\\top": {"num_cells_by_type": {"LUT4": 3, "leaf": 2, "PFUMX": 9}},
        "\\leaf": {"num_cells_by_type": {"CCU2C": 2, "TRELLIS_FF": 5, "DP16KD": 1, "TRELLIS_DPR16X4": 1, "ram": 1}},
        "\\ram": {"num_cells_by_type": {"LUT4": 1, "MULT18X18D": 1}}
    }}"#;

    #[test]
    fn cells_are_counted_with_everything_inside() {
        let stat = Stat::parse(STAT).expect("well formed");
        let top = Cells { lut: 3 + 2 * (4 + 6 + 1), lut_ram: 12, ff: 10, ebr: 2, dsp: 2 };
        assert_eq!(stat.total("top"), top);
        assert_eq!(stat.total("nothing"), Cells::default());
        let blocks = stat.blocks("top");
        let names: Vec<&str> = blocks.iter().map(|b| b.0.as_str()).collect();
        assert_eq!(names, ["leaf", "ram"]);
        assert_eq!((blocks[0].1.lut, blocks[1].1.lut), (22, 2));
    }

    #[test]
    fn what_yosys_did_not_write_is_an_error() {
        assert!(Stat::parse("{}").is_err() && Stat::parse("no").is_err());
    }
}
