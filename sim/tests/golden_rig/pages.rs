//! Pages of the pool that connections have: read, written before an offload, given back.

use super::*;

impl<D: Device> Rig<D> {
    /// Bytes of a connection's stream that lie in pages, by the page map in memory.
    pub fn pooled(&self, conn: u16, seq: u32, len: usize) -> Vec<u8> {
        (0..len as u32)
            .map(|i| {
                let s = seq.wrapping_add(i);
                let slot = u64::from((s >> PAGE_LOG2) % PAGE_SLOTS);
                let at = PAGE_MAP + u64::from(conn) * u64::from(PAGE_MAP_STRIDE) + slot * 8;
                let entry = PageMapEntry::from_bytes(&self.get(at));
                assert_eq!((entry.valid, entry.seq), (1, s & !(PAGE_BYTES - 1)), "page of {s}");
                self.get::<1>(PAGES + u64::from(entry.page) * 4096 + u64::from(s % 4096))[0]
            })
            .collect()
    }

    /// Writes a page map entry (before an offload) and the page's bytes.
    pub fn preload_page(&mut self, conn: u16, generation: u8, page: u16, seq: u32, data: &[u8]) {
        let start = seq & !(PAGE_BYTES - 1);
        let entry = PageMapEntry { page, generation, valid: 1, seq: start };
        let slot = u64::from((seq >> PAGE_LOG2) % PAGE_SLOTS);
        self.put(PAGE_MAP + u64::from(conn) * u64::from(PAGE_MAP_STRIDE) + slot * 8, &entry.to_bytes());
        self.put(PAGES + u64::from(page) * 4096 + u64::from(seq - start), data);
    }

    /// Pages of a connection whose bytes below `nxt` were read go back to the pool, or all of them.
    pub fn give_back_pages(&mut self, conn: u16, all: bool, nxt: u32) {
        for slot in 0..u64::from(PAGE_SLOTS) {
            let at = PAGE_MAP + u64::from(conn) * u64::from(PAGE_MAP_STRIDE) + slot * 8;
            let entry = PageMapEntry::from_bytes(&self.get(at));
            let is_read = (nxt.wrapping_sub(entry.seq) as i32) >= PAGE_BYTES as i32;
            // An entry stays in the map until its slot is used again; the pool ring must not get it twice.
            if entry.valid == 1 && (all || is_read) {
                self.put(at, &[0; 8]);
                self.give_page(entry.page);
            }
        }
    }

    /// The pages of a connection that was taken back are those of its next generation.
    pub fn carry_pages(&self, conn: u16, generation: u8) {
        for slot in 0..u64::from(PAGE_SLOTS) {
            let at = PAGE_MAP + u64::from(conn) * u64::from(PAGE_MAP_STRIDE) + slot * 8;
            let entry = PageMapEntry::from_bytes(&self.get(at));
            if entry.valid == 1 {
                self.put(at, &PageMapEntry { generation, ..entry }.to_bytes());
            }
        }
    }
}
