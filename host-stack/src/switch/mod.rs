//! The switch: per connection, I/O goes through the host layers or down the chimney (R-003).
//!
//! ```text
//!   application: send recv shutdown                       offload(id)   upload(id)
//!        |                                                     |             |
//!   +----v------------------------------- Switch --------------v-------------v----+
//!   | InHost: Stack     Offloading, Uploading: queued here     Offloaded: target  |
//!   +----|--------------------------------------------------------------|---------+
//!        v frames (target's ordinary path, or the plain MAC path)       v Offload trait
//! ```
//! One hand-over operation is in flight at a time; it takes along every connection that waits for one
//! (R-075). When the target is lost the connections that it rebuilt from host memory go on in the stack, and frames
//! leave by [`Switch::take_frames`] (law L2), or by another target ([`Switch::change_target`]).
//!
//! Three files to read: this one (I/O), `handover.rs` (the life of an operation), `objects.rs` (the tree). What changes below
//! connections that the target has is in `changes.rs`, and whether its neighbors still answer in `reach.rs`.

mod changes;
mod handover;
mod inbox;
mod link;
mod objects;
mod reach;

pub use handover::{Direction, Handover, UploadRequest};

use crate::iface::frame::Frame;
use crate::ingress::Report;
use crate::socket::{ConnId, StackError};
use crate::stack::Stack;
use chimney_abi::cmd::TcpState;
use chimney_abi::offload::{
    BufferId, Disconnect, Offload, OffloadError, ReceiveRequest, Residence, SendRequest,
};
use inbox::Inbox;
use link::{CloseStep, Link, Wish};
use objects::Objects;
use std::collections::{BTreeMap, VecDeque};

/// Sizes at the switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SwitchConfig {
    /// Received bytes kept for an application that does not read; beyond them indications are refused.
    pub receive_queue_bytes: usize,
    /// Application bytes kept that are not posted yet.
    pub send_queue_bytes: usize,
    /// Bytes posted to the target and not completed, per connection.
    pub posted_send_bytes: usize,
    /// Length of one send request and of one posted receive.
    pub chunk_bytes: u32,
    /// Receives kept posted while the application keeps up; 0 = indications only.
    pub posted_receives: usize,
    /// Grant upload requests that need not be granted, too (R-164). Those for connections offloaded by order are (R-168).
    pub grants_optional_uploads: bool,
}

impl Default for SwitchConfig {
    fn default() -> Self {
        SwitchConfig {
            receive_queue_bytes: 64 << 10,
            send_queue_bytes: 128 << 10,
            posted_send_bytes: 256 << 10,
            chunk_bytes: 32 << 10,
            posted_receives: 2,
            grants_optional_uploads: true,
        }
    }
}

/// A host stack with a chimney beside it.
#[derive(Debug)]
pub struct Switch {
    stack: Stack,
    config: SwitchConfig,
    links: BTreeMap<ConnId, Link>,
    objects: Objects,
    inbox: Inbox,
    /// Lengths of the sends that the target has.
    sends: BTreeMap<BufferId, u32>,
    /// A state operation is in flight.
    is_busy: bool,
    /// Reports for which a query is in flight.
    asked: Vec<Report>,
    is_lost: bool,
    is_paused: bool,
    /// Frames the target had no room for, or, after it was lost, for the plain MAC path.
    frames: VecDeque<Frame>,
    handovers: Vec<Handover>,
    requests: Vec<UploadRequest>,
}

impl Switch {
    /// A switch over a stack; every connection begins in the host.
    #[must_use]
    pub fn new(stack: Stack, config: SwitchConfig) -> Switch {
        Switch {
            stack,
            config,
            links: BTreeMap::new(),
            objects: Objects::default(),
            inbox: Inbox::default(),
            sends: BTreeMap::new(),
            is_busy: false,
            asked: Vec::new(),
            is_lost: false,
            is_paused: false,
            frames: VecDeque::new(),
            handovers: Vec::new(),
            requests: Vec::new(),
        }
    }

    /// The stack: connect, listen, accept, events.
    pub fn stack(&mut self) -> &mut Stack {
        &mut self.stack
    }

    /// Who runs a connection.
    #[must_use]
    pub fn residence(&self, id: ConnId) -> Residence {
        self.links.get(&id).map_or(Residence::InHost, |l| l.residence)
    }

    /// True after the target was lost.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.is_lost
    }

    /// What was handed over so far, oldest first.
    #[must_use]
    pub fn handovers(&self) -> &[Handover] {
        &self.handovers
    }

    /// The uploads that the target asked for so far, oldest first, granted or not (R-168).
    #[must_use]
    pub fn upload_requests(&self) -> &[UploadRequest] {
        &self.requests
    }

    /// Asks for the offload of a connection; it happens in a later [`Switch::poll`] (R-117: a second wish is refused).
    ///
    /// # Errors
    /// `NoSuchId`, `NotInHost`.
    pub fn offload(&mut self, id: ConnId) -> Result<(), StackError> {
        self.stack.status(id)?;
        let link = self.links.entry(id).or_default();
        if link.residence != Residence::InHost || link.wants.is_some() {
            return Err(StackError::NotInHost);
        }
        link.wants = Some(Wish::Offload);
        link.is_ordered = false;
        Ok(())
    }

    /// The same by order of the administrator: if the target then asks for the upload, whatever the reason, it is granted (R-168).
    ///
    /// # Errors
    /// As [`Switch::offload`].
    pub fn offload_by_order(&mut self, id: ConnId) -> Result<(), StackError> {
        self.offload(id)?;
        self.links.entry(id).or_default().is_ordered = true;
        Ok(())
    }

    /// Asks for the upload of a connection.
    ///
    /// # Errors
    /// `NoSuchId`, `InHost`.
    pub fn upload(&mut self, id: ConnId) -> Result<(), StackError> {
        let link = self.links.get_mut(&id).ok_or(StackError::NoSuchId)?;
        match link.residence {
            Residence::Offloaded => link.wants = Some(Wish::Upload),
            Residence::Offloading | Residence::Uploading => return Err(StackError::NotInHost),
            Residence::InHost => return Err(StackError::InHost),
        }
        Ok(())
    }

    /// Queues bytes, wherever the connection is; returns how many there was room for.
    ///
    /// # Errors
    /// Those of [`Stack::send`]; `WrongState` after [`Switch::shutdown`].
    pub fn send(&mut self, id: ConnId, bytes: &[u8]) -> Result<usize, StackError> {
        let Some(link) = self.links.get_mut(&id) else { return self.stack.send(id, bytes) };
        if link.close != CloseStep::Open {
            return Err(StackError::WrongState);
        }
        if link.residence == Residence::InHost && link.unsent.is_empty() {
            return self.stack.send(id, bytes);
        }
        let count = bytes.len().min(self.config.send_queue_bytes.saturating_sub(link.unsent.len()));
        link.unsent.extend(&bytes[..count]);
        Ok(count)
    }

    /// Reads bytes, wherever the connection is; 0 = none yet, or the end ([`Switch::is_at_end`]).
    ///
    /// # Errors
    /// Those of [`Stack::recv`].
    pub fn recv(
        &mut self,
        target: &mut dyn Offload,
        id: ConnId,
        out: &mut [u8],
    ) -> Result<usize, StackError> {
        let Some(link) = self.links.get_mut(&id) else { return self.stack.recv(id, out) };
        if link.received.is_empty() && link.residence == Residence::InHost {
            return self.stack.recv(id, out);
        }
        let (count, returned) = link.read(out);
        if let Some(token) = link.token.filter(|_| returned > 0) {
            // A token that just died needs no return: the upload moved the window.
            let _ = target.receive_return(token, returned);
        }
        Ok(count)
    }

    /// True if everything was read and the peer has closed its half.
    #[must_use]
    pub fn is_at_end(&self, id: ConnId) -> bool {
        let host_end = || self.stack.status(id).is_ok_and(|s| s.has_peer_closed && s.readable_bytes == 0);
        match self.links.get(&id) {
            None => host_end(),
            Some(link) if !link.received.is_empty() => false,
            Some(link) if link.residence == Residence::InHost => host_end(),
            Some(link) => link.peer_closed && link.residence == Residence::Offloaded,
        }
    }

    /// True if the target has reported the end of our half: everything sent and acknowledged, or the upload took it back.
    #[must_use]
    pub fn is_disconnected(&self, id: ConnId) -> bool {
        self.links.get(&id).is_some_and(|l| l.is_disconnected)
    }

    /// Bytes that the application has sent and the peer has not acknowledged, as far as the host knows.
    #[must_use]
    pub fn unfinished_bytes(&self, id: ConnId) -> usize {
        let link = self.links.get(&id).map_or(0, |l| l.unsent.len() + l.posted_bytes);
        link + self.stack.status(id).map_or(0, |s| s.unacknowledged_bytes)
    }

    /// TCP state as the host knows it; that of an offloaded connection is as it was handed over.
    #[must_use]
    pub fn state(&self, id: ConnId) -> Option<TcpState> {
        self.stack.status(id).ok().map(|s| s.state)
    }

    /// Closes the sending half after everything queued.
    ///
    /// # Errors
    /// `NoSuchId`.
    pub fn shutdown(&mut self, id: ConnId) -> Result<(), StackError> {
        self.stack.status(id)?;
        let Some(link) = self.links.get_mut(&id) else { return self.stack.shutdown(id) };
        if link.close == CloseStep::Open {
            link.close = CloseStep::Wanted;
        }
        Ok(())
    }

    /// A frame from the plain MAC path (after the target was lost).
    pub fn handle_frame(&mut self, now_us: u64, frame: &[u8]) {
        self.stack.handle_frame(now_us, frame);
    }

    /// Frames for the plain MAC path, once the target is lost.
    pub fn take_frames(&mut self) -> Vec<Vec<u8>> {
        if self.is_lost {
            self.frames.drain(..).flat_map(Frame::into_segments).collect()
        } else {
            Vec::new()
        }
    }

    /// After the target was lost: from now on [`Switch::poll`] is given another one. Connections go on in the stack over its ordinary
    /// path, with the same addresses, and everybody hears where those are now.
    pub fn change_target(&mut self) {
        self.is_lost = false;
        self.is_paused = false;
        self.sends.clear();
        self.stack.announce();
    }

    /// Does everything that is due: timers, frames, I/O at the target, hand-overs. Returns true if something happened.
    pub fn poll(&mut self, now_us: u64, target: &mut dyn Offload) -> bool {
        self.pump_host();
        if !self.is_lost {
            // What the stack has let go meanwhile is not overtaken by a hand-over (law L3).
            self.frames.extend(self.stack.take_queued());
            self.give_frames(target);
            self.start_operation(now_us, target);
            self.pump_target(target);
        }
        self.transmit(now_us, target);
        if self.is_lost {
            return false;
        }
        self.set_room();
        self.set_ages(now_us);
        let mut any = target.poll(now_us, &mut self.inbox);
        for note in std::mem::take(&mut self.inbox.notes) {
            any = true;
            self.act(now_us, target, note);
        }
        any
    }

    /// Bytes and the close that waited for a connection that is in the host now.
    fn pump_host(&mut self) {
        for (id, link) in &mut self.links {
            if link.residence != Residence::InHost {
                continue;
            }
            let (front, _) = link.unsent.as_slices();
            if !front.is_empty() {
                match self.stack.send(*id, front) {
                    Ok(count) => drop(link.unsent.drain(..count)),
                    Err(_) => link.unsent.clear(), // the connection has ended; the application sees it in its status
                }
            }
            if link.close == CloseStep::Wanted && link.unsent.is_empty() && self.stack.shutdown(*id).is_ok() {
                link.close = CloseStep::Posted;
            }
        }
    }

    fn pump_target(&mut self, target: &mut dyn Offload) {
        let ids: Vec<ConnId> = self.links.keys().copied().collect();
        for id in ids {
            let Some(link) = self.links.get_mut(&id) else { continue };
            let Some(token) = link.token.filter(|_| link.residence == Residence::Offloaded) else { continue };
            if !link.is_stopped {
                for segment in self.stack.take_held(id).unwrap_or_default() {
                    // R-239. Refused = being uploaded: TCP sends it again.
                    let _ = target.forward(token, &segment);
                }
            }
            post_sends(link, &self.config, &mut self.sends, target);
            post_receives(link, &self.config, target);
            if link.close == CloseStep::Wanted && link.unsent.is_empty() {
                match target.disconnect(token, Disconnect::Graceful) {
                    Ok(()) | Err(OffloadError::WrongPhase) => link.close = CloseStep::Posted,
                    Err(_) => {}
                }
            }
        }
    }

    fn transmit(&mut self, now_us: u64, target: &mut dyn Offload) {
        // `as`: at most 64 KiB.
        let most = if self.is_lost { 0 } else { target.capabilities().max_large_frame as usize };
        self.stack.set_max_large_frame(most);
        self.frames.extend(self.stack.poll_frames(now_us));
        self.give_frames(target);
    }

    fn give_frames(&mut self, target: &mut dyn Offload) {
        while !self.is_lost {
            let Some(frame) = self.frames.front() else { break };
            let sent = match frame.mss {
                0 => target.transmit(frame),
                mss => target.transmit_large(frame, mss),
            };
            match sent {
                Ok(()) => {}
                // Frames that can never go would block the others.
                Err(OffloadError::OutOfRange | OffloadError::BadBuffer) => self.stack.counters.too_long += 1,
                Err(_) => break,
            }
            self.frames.pop_front();
        }
    }

    fn set_room(&mut self) {
        self.inbox.room.clear();
        for (id, link) in &self.links {
            let room = self.config.receive_queue_bytes.saturating_sub(link.received.len());
            self.inbox.room.insert(handover::handle(*id), room);
        }
    }
}

/// Moves application bytes into buffers of the target.
fn post_sends(
    link: &mut Link,
    config: &SwitchConfig,
    sends: &mut BTreeMap<BufferId, u32>,
    target: &mut dyn Offload,
) {
    let Some(token) = link.token else { return };
    while !link.unsent.is_empty() && link.posted_bytes < config.posted_send_bytes {
        let bytes = &link.unsent.make_contiguous()[..];
        let bytes = &bytes[..bytes.len().min(config.chunk_bytes as usize)];
        let len = bytes.len();
        // `as`: at most `chunk_bytes`.
        let Ok(buffer) = target.allocate(len as u32) else { return };
        let request = SendRequest { buffer, offset_bytes: 0, len_bytes: len as u32 };
        let posted = target.write(buffer, 0, bytes).and_then(|()| target.send(token, request));
        if posted.is_err() {
            let _ = target.release(buffer); // it is ours: the call was refused
            return;
        }
        sends.insert(buffer, request.len_bytes);
        link.posted_bytes += len;
        link.unsent.drain(..len);
    }
}

/// Keeps receives posted while the application keeps up.
fn post_receives(link: &mut Link, config: &SwitchConfig, target: &mut dyn Offload) {
    let Some(token) = link.token else { return };
    let wanted = config.posted_receives.max(usize::from(link.needs_post));
    while link.posted_receives < wanted
        && link.received.len() < config.receive_queue_bytes
        && !link.peer_closed
    {
        let Ok(buffer) = target.allocate(config.chunk_bytes) else { return };
        let len_bytes = config.chunk_bytes;
        let request = ReceiveRequest { buffer, len_bytes, prefilled_bytes: 0, no_push: false };
        if target.receive(token, request).is_err() {
            let _ = target.release(buffer); // it is ours: the call was refused
            return;
        }
        link.posted_receives += 1;
        link.needs_post = false;
    }
}
