//! The delivery algorithm (spec 9.3) on top of [`Receive`]: completion, indication, refusal, the peer's FIN.
//!
//! Completions and indications of a connection are serial by construction: they are made here, from
//! [`poll`](chimney_abi::offload::Offload::poll), and a call-back cannot call the driver.
//!
//! Push mode without the device: bytes that reach a post through pages carry no PSH mark, so a partly filled push-mode post is
//! completed as soon as nothing is left to fill it with, as if the push timer had run out at once.

use chimney_abi::cmd::Status;
use chimney_abi::offload::{ConnectionEvent, Consumed, HostHandle, OffloadClient};

use crate::arena::Buffers;
use crate::bus::DmaMemory;
use crate::receive::{Post, Receive};

impl<M: DmaMemory> Receive<M> {
    /// Delivers what can be delivered. Returns true if a call-back was made.
    pub fn deliver(
        &mut self,
        handle: HostHandle,
        buffers: &mut Buffers<M>,
        client: &mut dyn OffloadClient,
    ) -> bool {
        let mut any = false;
        loop {
            self.fill_posts(buffers);
            any |= self.complete_posts(handle, buffers, client);
            if self.buf.is_empty() || self.refused || !self.may_indicate() {
                break;
            }
            any = true;
            self.indicate(handle, client);
        }
        any | self.deliver_fin(handle, buffers, client)
    }

    /// Completes every post with `status`; bytes that were placed count.
    pub fn fail_posts(
        &mut self,
        handle: HostHandle,
        status: Status,
        buffers: &mut Buffers<M>,
        client: &mut dyn OffloadClient,
    ) {
        for post in self.posts.drain(..) {
            complete(&post, handle, status, buffers, client);
        }
    }

    /// Completes posts from the front as long as they are finished.
    pub(crate) fn complete_posts(
        &mut self,
        handle: HostHandle,
        buffers: &mut Buffers<M>,
        client: &mut dyn OffloadClient,
    ) -> bool {
        let mut any = false;
        while let Some(status) = self.front_status() {
            let Some(post) = self.posts.pop_front() else { break };
            complete(&post, handle, status, buffers, client);
            any = true;
        }
        any
    }

    /// The status with which the first post is finished, if it is.
    fn front_status(&self) -> Option<Status> {
        let post = self.posts.front()?;
        if post.slot.is_some() {
            return None;
        }
        if self.fin_indicated {
            return Some(Status::InvalidState);
        }
        // Nothing more can come for it now, and no later post is with the device: that one might have to
        // follow this one without a gap.
        let is_last_word = self.buf.is_empty() && self.posts.iter().all(|p| p.slot.is_none());
        let is_done = post.room() == 0
            || post.closed && self.buf.is_empty()
            || post.filled > 0 && !post.no_push && is_last_word
            || post.filled > 0 && self.fin && self.buf.is_empty(); // G-01: a FIN pushes
        is_done.then_some(Status::Success)
    }

    /// only when no posted receive is available. One that the device is filling with later bytes is not available.
    fn may_indicate(&self) -> bool {
        match self.posts.front().and_then(|post| post.slot) {
            Some(slot) => self.is_filling(slot),
            None => self.posts.is_empty(),
        }
    }

    fn indicate(&mut self, handle: HostHandle, client: &mut dyn OffloadClient) {
        let wanted = match self.indication_size {
            0 => self.buf.len(),
            n => self.buf.len().min(n as usize),
        };
        let chunk = &self.buf.make_contiguous()[..wanted];
        let consumed = match client.receive_indicate(handle, chunk) {
            Consumed::All => {
                self.indicated = self.indicated.saturating_add(wanted as u32); // a few windows at most
                wanted
            }
            Consumed::Part(n) => {
                self.refused = true;
                wanted.min(n as usize)
            }
            Consumed::None => {
                self.refused = true;
                0
            }
        };
        self.buf.drain(..consumed);
    }

    /// the disconnect is indicated when all earlier data was consumed; G-01: posts that wait then complete empty.
    fn deliver_fin(
        &mut self,
        handle: HostHandle,
        buffers: &mut Buffers<M>,
        client: &mut dyn OffloadClient,
    ) -> bool {
        if !self.fin || self.fin_indicated || !self.buf.is_empty() || self.indicated > 0 {
            return false;
        }
        self.fin_indicated = true;
        client.event(handle, ConnectionEvent::Disconnect);
        self.fail_posts(handle, Status::Success, buffers, client);
        true
    }
}

fn complete<M: DmaMemory>(
    post: &Post,
    handle: HostHandle,
    status: Status,
    buffers: &mut Buffers<M>,
    client: &mut dyn OffloadClient,
) {
    buffers.give_back(post.buffer);
    client.receive_complete(handle, post.buffer, status, post.filled);
}
