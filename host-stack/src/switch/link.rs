//! One connection at the switch: who runs it, and what waits for it.

use super::objects::Route;
use chimney_abi::offload::{Residence, Token};
use std::collections::VecDeque;

/// A connection that has been, or may be, offloaded.
#[derive(Debug)]
pub(super) struct Link {
    pub residence: Residence,
    pub route: Option<Route>,
    pub token: Option<Token>,
    /// Received bytes that the host has and the application has not read.
    pub received: VecDeque<u8>,
    /// The first so many of them came in indications and are returned to the target when read.
    pub to_return: VecDeque<Owed>,
    /// Application bytes that wait for the end of a hand-over.
    pub unsent: VecDeque<u8>,
    /// The application closed its half during a hand-over, or has posted the FIN already.
    pub close: CloseStep,
    /// Bytes posted to the target and not completed.
    pub posted_bytes: usize,
    /// Receives posted and not completed.
    pub posted_receives: usize,
    /// The target holds bytes that were refused, or brought along: only a post gets them.
    pub needs_post: bool,
    /// The peer's FIN was indicated.
    pub peer_closed: bool,
    /// Our FIN is acknowledged.
    pub is_disconnected: bool,
    /// The host wants the connection in the target, or back.
    pub wants: Option<Wish>,
    /// the target has stopped processing; frames that it hands up are not forwarded back.
    pub is_stopped: bool,
    /// The administrator ordered that it be offloaded.
    pub is_ordered: bool,
}

/// Bytes at the front of the receive queue, and whether the target wants them returned.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owed {
    pub bytes: usize,
    pub is_returned: bool,
}

/// What the host wants next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Offload,
    Upload,
}

/// The application's close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CloseStep {
    Open,
    /// Asked for; the FIN follows when everything before it is posted.
    Wanted,
    /// Given to whoever runs the connection.
    Posted,
}

impl Default for Link {
    fn default() -> Self {
        Link {
            residence: Residence::InHost,
            route: None,
            token: None,
            received: VecDeque::new(),
            to_return: VecDeque::new(),
            unsent: VecDeque::new(),
            close: CloseStep::Open,
            posted_bytes: 0,
            posted_receives: 0,
            needs_post: false,
            peer_closed: false,
            is_disconnected: false,
            wants: None,
            is_stopped: false,
            is_ordered: false,
        }
    }
}

impl Link {
    /// Both sides have closed and nothing is left to acknowledge: the target keeps a connection until it is told not to
    /// so the host takes it back, and with it the place that another one needs.
    pub fn leave_if_over(&mut self) {
        if self.peer_closed && self.is_disconnected && self.residence == Residence::Offloaded {
            self.wants = Some(Wish::Upload);
        }
    }

    /// Bytes for the application. `is_returned`: the target wants to know when they were read.
    pub fn push_received(&mut self, bytes: &[u8], is_returned: bool) {
        if bytes.is_empty() {
            return;
        }
        self.received.extend(bytes);
        self.to_return.push_back(Owed { bytes: bytes.len(), is_returned });
    }

    /// The application reads; returns bytes read and how many of them must be returned to the target.
    pub fn read(&mut self, out: &mut [u8]) -> (usize, u32) {
        let count = out.len().min(self.received.len());
        for (slot, byte) in out.iter_mut().zip(self.received.drain(..count)) {
            *slot = byte;
        }
        let (mut left, mut returned) = (count, 0usize);
        while let Some(front) = self.to_return.front_mut().filter(|_| left > 0) {
            let n = left.min(front.bytes);
            front.bytes -= n;
            left -= n;
            returned += if front.is_returned { n } else { 0 };
            if front.bytes == 0 {
                self.to_return.pop_front();
            }
        }
        // `as`: at most a few windows.
        (count, returned as u32)
    }

    /// The target is no longer there to return bytes to.
    pub fn forget_returns(&mut self) {
        for owed in &mut self.to_return {
            owed.is_returned = false;
        }
    }
}
