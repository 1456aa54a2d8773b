//! Object tables: index and generation, so that a stale token is refused and never reused (law L1).

use std::collections::VecDeque;

use chimney_abi::offload::Token;

#[derive(Debug)]
struct Slot<T> {
    generation: u8,
    value: Option<T>,
}

/// Objects by index. Indices are reused oldest first, with the next generation.
#[derive(Debug)]
pub struct Table<T> {
    slots: Vec<Slot<T>>,
    vacant: VecDeque<u16>,
}

impl<T> Table<T> {
    /// A table of `len` free entries (at most 2^16).
    pub fn new(len: u32) -> Self {
        let len = len.min(1 << 16);
        Self {
            slots: (0..len).map(|_| Slot { generation: 1, value: None }).collect(),
            vacant: (0..len).map(|i| i as u16).collect(), // below 2^16
        }
    }

    /// Takes a free entry; [`Table::put`] fills it or [`Table::vacate`] gives it back.
    pub fn reserve(&mut self) -> Option<Token> {
        let index = self.vacant.pop_front()?;
        Some(Token { index, generation: self.slots[usize::from(index)].generation })
    }

    /// Fills a reserved entry, or puts back what was taken out.
    pub fn put(&mut self, token: Token, value: T) {
        if let Some(slot) = self.slot(token) {
            slot.value = Some(value);
        }
    }

    /// Frees an entry; its token is dead. Generation 0 is never used.
    pub fn vacate(&mut self, token: Token) -> Option<T> {
        let slot = self.slot(token)?;
        let value = slot.value.take();
        slot.generation = slot.generation.checked_add(1).unwrap_or(1);
        self.vacant.push_back(token.index);
        value
    }

    /// The object of a live token.
    pub fn get(&self, token: Token) -> Option<&T> {
        let slot = self.slots.get(usize::from(token.index))?;
        slot.value.as_ref().filter(|_| slot.generation == token.generation)
    }

    /// The object of a live token.
    pub fn get_mut(&mut self, token: Token) -> Option<&mut T> {
        self.slot(token)?.value.as_mut()
    }

    /// Takes the object out for a while; [`Table::put`] brings it back.
    pub fn take(&mut self, token: Token) -> Option<T> {
        self.slot(token)?.value.take()
    }

    /// The live token at an index.
    pub fn token(&self, index: u16) -> Option<Token> {
        let slot = self.slots.get(usize::from(index)).filter(|s| s.value.is_some())?;
        Some(Token { index, generation: slot.generation })
    }

    /// All live tokens.
    pub fn tokens(&self) -> Vec<Token> {
        (0..self.slots.len()).filter_map(|i| self.token(i as u16)).collect() // below 2^16
    }

    fn slot(&mut self, token: Token) -> Option<&mut Slot<T>> {
        self.slots.get_mut(usize::from(token.index)).filter(|s| s.generation == token.generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_dies_with_its_object_and_generation_zero_is_never_used() {
        let mut table = Table::new(1);
        let mut last = None;
        for round in 0..600 {
            let token = table.reserve().unwrap();
            assert!(table.reserve().is_none());
            assert_ne!(token.generation, 0);
            assert_ne!(Some(token), last);
            assert_eq!(table.get(token), None);
            table.put(token, round);
            assert_eq!((table.get(token), table.token(0)), (Some(&round), Some(token)));
            assert_eq!(table.vacate(token), Some(round));
            assert_eq!(table.get(token), None);
            assert_eq!(table.vacate(token), None);
            last = Some(token);
        }
    }
}
