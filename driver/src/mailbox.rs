//! The command ring and its completions, each command with a deadline.
//!
//! A command whose deadline passes means that the device is stuck; the driver then rebuilds every connection from host
//! memory (law L2) instead of waiting (law L5).

use std::collections::VecDeque;

use chimney_abi::desc::{Command, CommandDone};

use crate::bus::DmaMemory;
use crate::ring::{DoneRing, Ring};

/// A command that was submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pending {
    cookie: u16,
    deadline_us: u64,
}

/// Commands in flight.
#[derive(Debug)]
pub struct Mailbox<M> {
    ring: Ring<M>,
    done: DoneRing<M, CommandDone>,
    pending: VecDeque<Pending>,
    next_cookie: u16,
    unrung: bool,
    unexpected: u64,
}

impl<M: DmaMemory> Mailbox<M> {
    /// An empty mailbox.
    pub fn new(ring: Ring<M>, done: DoneRing<M, CommandDone>) -> Self {
        Self { ring, done, pending: VecDeque::new(), next_cookie: 1, unrung: false, unexpected: 0 }
    }

    /// The command ring, for bring-up.
    pub fn ring(&self) -> &Ring<M> {
        &self.ring
    }

    /// The completion ring, for bring-up.
    pub fn done_ring(&self) -> &DoneRing<M, CommandDone> {
        &self.done
    }

    /// Completions that answer nothing.
    pub fn unexpected(&self) -> u64 {
        self.unexpected
    }

    /// Puts a command into the ring; gives its cookie, or nothing when the ring is full.
    pub fn submit(&mut self, command: Command, deadline_us: u64) -> Option<u16> {
        // A slot is free again when its completion was read: the completion ring has as many entries.
        if self.pending.len() >= 1 << self.ring.log2() {
            return None;
        }
        let cookie = self.next_cookie;
        self.ring.push(&Command { cookie, ..command }.to_bytes())?;
        self.next_cookie = self.next_cookie.wrapping_add(1);
        self.pending.push_back(Pending { cookie, deadline_us });
        self.unrung = true;
        Some(cookie)
    }

    /// The producer index, if the device must be told.
    pub fn ring_due(&mut self) -> Option<u16> {
        std::mem::take(&mut self.unrung).then(|| self.ring.publish())
    }

    /// The next completion of a command of ours.
    pub fn poll(&mut self) -> Option<CommandDone> {
        loop {
            let done = self.done.pop()?;
            let known = self.pending.iter().position(|p| p.cookie == done.cookie);
            let Some(at) = known else {
                self.unexpected += 1;
                continue;
            };
            self.pending.remove(at);
            // Commands are taken in order: a completion frees a slot even if the device mixes up cookies.
            let next = self.ring.consumer().wrapping_add(1);
            self.ring.retire_to(next).expect("a pending command has a ring entry");
            return Some(done);
        }
    }

    /// True if a command is overdue.
    pub fn is_overdue(&self, now_us: u64) -> bool {
        self.pending.iter().any(|p| p.deadline_us <= now_us)
    }

    /// Commands in flight.
    pub fn in_flight(&self) -> usize {
        self.pending.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dma::DmaView;
    use crate::fake::FakeMemory;
    use chimney_abi::desc::phase;

    #[test]
    fn completions_are_matched_by_cookie_and_strangers_are_counted() {
        let view = |len| DmaView::new(FakeMemory::new(0x1000, len));
        let done_view = view(4 * 8);
        let ring = Ring::new("command", view(4 * Command::BYTES), 2, Command::BYTES);
        let mut mailbox = Mailbox::new(ring, DoneRing::new(done_view.clone(), 2));
        let cookies: Vec<_> = (0..4).map(|_| mailbox.submit(Command::default(), 100).unwrap()).collect();
        assert_eq!(mailbox.submit(Command::default(), 100), None);
        assert_eq!((mailbox.ring_due(), mailbox.ring_due()), (Some(4), None));
        let answer = |index: u16, cookie| {
            let done = CommandDone { cookie, phase: phase(index, 2).into(), ..CommandDone::default() };
            done_view.write(usize::from(index % 4) * 8, &done.to_bytes());
        };
        answer(0, 777);
        answer(1, cookies[0]);
        assert_eq!(mailbox.poll().map(|d| d.cookie), Some(cookies[0]));
        assert_eq!((mailbox.poll(), mailbox.unexpected(), mailbox.in_flight()), (None, 1, 3));
        assert!(mailbox.submit(Command::default(), 200).is_some());
        assert!(!mailbox.is_overdue(99) && mailbox.is_overdue(100));
    }
}
