//! One offloaded connection in the driver: its rings, what is outstanding, what the device said last.
//!
//! ```text
//!   Offloading --initiate done--> Offloaded --terminate--> Uploading --terminate done--> gone
//! ```

use chimney_abi::cmd::{Status, UploadReason};
use chimney_abi::desc::{Shadow, SHADOW_ABORTED, SHADOW_RETRIEVE};
use chimney_abi::offload::{BufferId, ConnectionEvent, HostHandle, OffloadClient, Token};
use chimney_abi::regs::DOORBELL_FIN;
use chimney_abi::state::TcpRecord;

use crate::arena::Buffers;
use crate::bus::DmaMemory;
use crate::counts::Tally;
use crate::dma::DmaView;
use crate::error::ConnFault;
use crate::pool::Pool;
use crate::queue::send::SendQueue;
use crate::receive::{Post, Receive};
use crate::shadow::{self, Progress};

/// Where a connection stands between host and device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Initiate issued.
    Offloading,
    /// The device runs it.
    Offloaded,
    /// Terminate issued.
    Uploading,
}

/// Our half of the close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// Not closed.
    Open,
    /// A FIN goes out after what is queued.
    Wanted,
    /// The device knows of the FIN.
    Told,
}

/// What the connections share.
#[derive(Debug)]
pub struct Shared<M> {
    /// The host's buffers.
    pub buffers: Buffers<M>,
    /// The page pool.
    pub pool: Pool<M>,
}

/// A doorbell to be rung: low word and stream limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bell {
    /// Producer index, generation, flags.
    pub low: u32,
    /// Stream limit.
    pub limit: u32,
}

/// One connection.
#[derive(Debug)]
pub struct Conn<M> {
    pub(crate) token: Token,
    pub(crate) handle: HostHandle,
    pub(crate) path: Token,
    pub(crate) phase: Phase,
    /// As handed over; CACHED fields are kept current.
    pub(crate) record: TcpRecord,
    /// When it was handed over.
    pub(crate) since_us: u64,
    pub(crate) send: SendQueue<M>,
    pub(crate) recv: Receive<M>,
    pub(crate) shadow_view: DmaView<M>,
    pub(crate) shadow: Option<Shadow>,
    pub(crate) close: Close,
    /// A disconnect of the host waits for its completion.
    pub(crate) disconnect_due: bool,
    /// Our FIN is acknowledged and counted in `snd_una`.
    pub(crate) fin_acked: bool,
    /// Reset by the peer, or aborted by the host.
    pub(crate) aborted: bool,
    /// The host asked for the abort itself.
    pub(crate) own_abort: bool,
    pub(crate) fault: Option<ConnFault>,
    pub(crate) reason: Option<UploadReason>,
    /// Forwarded segments that the device has not taken yet.
    pub(crate) forwards: u32,
    /// Pages promised.
    pub(crate) quota: u32,
    /// What the device counted.
    pub(crate) tally: Tally,
}

impl<M: DmaMemory> Conn<M> {
    /// Posts a send; the buffer is already lent.
    pub fn post_send(&mut self, buffer: BufferId, at: usize, len: u32) {
        self.send.push(buffer, at, len);
    }

    /// Posts a receive; the buffer is already lent.
    pub fn post_receive(&mut self, post: Post) {
        self.recv.post(post);
    }

    /// Looks at the shadow record and makes the call-backs that are due. Returns true if there was anything.
    pub fn progress(&mut self, shared: &mut Shared<M>, client: &mut dyn OffloadClient) -> bool {
        if self.phase == Phase::Offloading {
            return false; // R-107: nothing is indicated before the completion
        }
        let mut any = false;
        if let Some(record) = self.news() {
            any = true;
            if let Err(fault) = self.believe(&Progress::from(&record), shared, client) {
                self.fault.get_or_insert(fault);
            }
            self.note_flags(&record, client);
        }
        if self.fault.is_some() && self.reason.is_none() {
            // The device contradicts what was posted: R-157.
            self.reason = Some(UploadReason::HardwareFailure);
            client.event(self.handle, ConnectionEvent::Retrieve(UploadReason::HardwareFailure));
        }
        if self.aborted {
            self.recv.end(&shared.buffers);
            return any | self.fail_all(Status::RequestAborted, shared, client);
        }
        if self.fault.is_none() {
            any |= self.recv.deliver(self.handle, &mut shared.buffers, client);
        }
        any | self.finish_close(client)
    }

    /// Moves what is queued into the rings; gives the doorbells to ring, send and receive.
    pub fn flush(&mut self, shared: &mut Shared<M>) -> (Option<Bell>, Option<Bell>) {
        if self.phase != Phase::Offloaded || self.aborted || self.fault.is_some() {
            return (None, None);
        }
        let mut send_due = self.send.fill(&mut shared.buffers);
        if self.close == Close::Wanted && self.send.is_posted() {
            self.close = Close::Told; // R-213: the FIN waits for no acknowledgment
            send_due = true;
        }
        let flags = if self.close == Close::Told { DOORBELL_FIN } else { 0 };
        let send = send_due.then(|| self.bell(self.send.ring().publish(), flags, self.send.limit()));
        let receive = self.recv.give_posts(&shared.buffers, u32::from(self.record.eff_mss)).then(|| {
            let (producer, limit) = self.recv.doorbell();
            self.bell(producer, 0, limit)
        });
        (send, receive)
    }

    /// Takes over what the device says it did, with the completions of sends.
    ///
    /// # Errors
    /// A [`ConnFault`].
    pub(crate) fn believe(
        &mut self,
        p: &Progress,
        shared: &mut Shared<M>,
        client: &mut dyn OffloadClient,
    ) -> Result<(), ConnFault> {
        let una = p.snd_una.wrapping_sub(p.fin_acked.into());
        for request in self.send.acknowledge(una, &mut shared.buffers)? {
            shared.buffers.give_back(request.buffer);
            client.send_complete(self.handle, request.buffer, Status::Success, request.len);
        }
        self.fin_acked |= p.fin_acked;
        self.recv.advance(p, &shared.buffers, &mut shared.pool)
    }

    /// Completes everything outstanding with `status` and forgets the data.
    pub(crate) fn fail_all(
        &mut self,
        status: Status,
        shared: &mut Shared<M>,
        client: &mut dyn OffloadClient,
    ) -> bool {
        let mut any = !self.recv.posts.is_empty();
        for (request, acked) in self.send.abandon(&mut shared.buffers) {
            any = true;
            shared.buffers.give_back(request.buffer);
            client.send_complete(self.handle, request.buffer, status, acked);
        }
        self.recv.fail_posts(self.handle, status, &mut shared.buffers, client);
        // An abort of the host completes with the command instead.
        if self.disconnect_due && !self.own_abort {
            self.disconnect_due = false;
            any = true;
            client.disconnect_complete(self.handle, status);
        }
        any
    }

    /// The shadow record, if it is newer than the last one.
    pub(crate) fn news(&mut self) -> Option<Shadow> {
        let record = shadow::read(&self.shadow_view, self.token.generation)?;
        let is_new = self.shadow.is_none_or(|old| shadow::is_later(record.tag, old.tag));
        is_new.then(|| {
            self.shadow = Some(record);
            record
        })
    }

    fn note_flags(&mut self, record: &Shadow, client: &mut dyn OffloadClient) {
        if record.flags & SHADOW_ABORTED != 0 && !self.aborted {
            self.aborted = true; // R-221
            if !self.own_abort {
                client.event(self.handle, ConnectionEvent::Abort);
            }
        }
        if record.flags & SHADOW_RETRIEVE != 0 && self.phase == Phase::Offloaded {
            // R-162: an unknown reason is still a request.
            let reason = UploadReason::try_from(record.state >> 4).unwrap_or(UploadReason::UploadRequested);
            if self.reason.replace(reason) != Some(reason) {
                client.event(self.handle, ConnectionEvent::Retrieve(reason));
            }
        } else {
            // What need not be granted may be taken back, and asked for again.
            self.reason = self.reason.filter(|reason| reason.is_mandatory());
        }
    }

    /// R-215: all sends first, then the disconnect, when the FIN is acknowledged.
    fn finish_close(&mut self, client: &mut dyn OffloadClient) -> bool {
        let done = self.disconnect_due && self.fin_acked && self.send.is_empty();
        if done {
            self.disconnect_due = false;
            client.disconnect_complete(self.handle, Status::Success);
        }
        done
    }

    fn bell(&self, producer: u16, flags: u8, limit: u32) -> Bell {
        let low = u32::from(producer) | u32::from(self.token.generation) << 16 | u32::from(flags) << 24;
        Bell { low, limit }
    }
}
