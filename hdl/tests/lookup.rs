//! The lookup table against a map, native against Verilated.

use chimney_hdl::tcp::lookup::{FlowKey, Lookup, LookupOp};
use chimney_hdl_kernel::diff::{diff, long, Rnd};
use std::collections::HashMap;

/// A request in work.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Work {
    Find(usize),
    Insert(usize, u64),
    Delete(usize, u64),
}

#[derive(Default)]
struct Test {
    keys: Vec<FlowKey>,
    map: HashMap<usize, u64>,
    work: Option<Work>,
    find: Option<usize>,
    op: Option<Work>,
    resets: usize,
    hits: usize,
    misses: usize,
    inserted: usize,
    refused: usize,
    deleted: usize,
}

impl Test {
    fn answers(&mut self, u: &Lookup<5>) {
        if u.find_done.val() {
            let Some(Work::Find(k)) = self.work.take() else { panic!("an answer nobody asked for") };
            assert_eq!(u.find_hit.val(), self.map.contains_key(&k));
            if let Some(c) = self.map.get(&k) {
                assert_eq!(u.find_conn.val().to_u64(), *c);
            }
            *(if u.find_hit.val() { &mut self.hits } else { &mut self.misses }) += 1;
        }
        if u.op_done.val() {
            let ok = u.op_ok.val();
            match self.work.take() {
                Some(Work::Insert(k, c)) if ok => {
                    self.inserted += 1;
                    assert_eq!(self.map.insert(k, c), None, "a key is there once");
                }
                Some(Work::Insert(k, _)) => {
                    self.refused += 1;
                    assert!(self.map.contains_key(&k) || self.map.len() >= 8, "refused without need");
                }
                Some(Work::Delete(k, c)) => {
                    assert_eq!(ok, self.map.get(&k) == Some(&c));
                    if ok {
                        self.deleted += 1;
                        self.map.remove(&k);
                    }
                }
                w => panic!("an answer to {w:?}"),
            }
        }
    }

    fn step(&mut self, u: &mut Lookup<5>, r: &mut Rnd) {
        while self.keys.len() < 40 {
            let k = r.any();
            if !self.keys.contains(&k) {
                self.keys.push(k);
            }
        }
        self.answers(u);
        u.hash_key.next = 0x5bd1_e995u64.into();
        u.reset.next = r.chance(1, 4000);
        if self.find.is_none() && r.chance(1, 3) {
            self.find = Some(r.below(40) as usize);
        }
        if self.op.is_none() && r.chance(1, 12) {
            let (k, c) = (r.below(40) as usize, r.below(64));
            let known = self.map.get(&k).copied().filter(|_| r.chance(7, 8)).unwrap_or(c);
            self.op = Some(if r.chance(3, 5) { Work::Insert(k, c) } else { Work::Delete(k, known) });
        }
        u.find_valid.next = self.find.is_some();
        u.find_key.next = self.keys[self.find.unwrap_or(0)];
        u.op_valid.next = self.op.is_some();
        let (insert, k, c) = match self.op {
            Some(Work::Insert(k, c)) => (true, k, c),
            Some(Work::Delete(k, c)) => (false, k, c),
            _ => (false, 0, 0),
        };
        u.op.next = LookupOp { insert, key: self.keys[k], conn: c.into() };
        if u.find_ready.val() && self.find.is_some() {
            self.work = self.find.take().map(Work::Find);
        } else if u.op_ready.val() && self.op.is_some() {
            self.work = self.op.take();
        }
        if u.reset.next {
            // The table is empty again, what was in work is forgotten.
            self.resets += 1;
            (self.work, self.map) = (None, HashMap::new());
        }
    }
}

/// Whatever was inserted and not deleted is found, and nothing else; a refusal has its reason; a reset empties the table.
#[test]
fn finds_what_was_inserted_and_nothing_else() {
    let steps = if long() { 300_000 } else { 60_000 };
    let mut t = Test::default();
    diff("lookup", Lookup::<5>::default(), steps, |u, r| t.step(u, r), |u, c| u.clock.next = c.into());
    eprintln!(
        "{} hits, {} misses, {} inserted, {} refused, {} deleted, {} resets",
        t.hits, t.misses, t.inserted, t.refused, t.deleted, t.resets
    );
    assert!(t.hits > 100 && t.misses > 100 && t.inserted > 100 && t.deleted > 50 && t.refused > 20);
}

/// 256 connections elaborate too.
#[test]
fn larger_tables_become_verilog() {
    let text = chimney_hdl_kernel::netlist::verilog(&Lookup::<10>::default(), "lookup_256").expect("Verilog");
    assert!(text.contains("module lookup_256"));
}
