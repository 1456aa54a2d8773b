//! The chimney functions: checks and queueing; the work is done in poll.

use chimney_abi::cmd::Opcode;
use chimney_abi::offload::{
    BufferId, Capabilities, Disconnect, Offload, OffloadClient, OffloadError, Parameters, ReceiveRequest,
    SendRequest, Token, Tree,
};

use crate::bus::{Bus, DmaMemory};
use crate::conn::{Close, Conn, Phase};
use crate::driver::Driver;
use crate::nic;
use crate::ops::Op;
use crate::receive::Post;

impl<B: Bus> Driver<B> {
    fn check_alive(&self) -> Result<(), OffloadError> {
        self.lost.map_or(Ok(()), |_| Err(OffloadError::DeviceLost))
    }

    /// A connection that takes requests (spec 23.1).
    fn open_conn(&mut self, token: Token) -> Result<&mut Conn<B::Memory>, OffloadError> {
        self.check_alive()?;
        let conn = self.conns.get_mut(token).ok_or(OffloadError::StaleToken)?;
        if conn.phase != Phase::Offloaded {
            return Err(OffloadError::WrongPhase);
        }
        Ok(conn)
    }

    fn operate(&mut self, opcode: Opcode, tree: Tree) -> Result<(), OffloadError> {
        self.check_alive()?;
        let operation = self.plan(opcode, tree)?;
        self.enqueue(Op::Tree(operation));
        Ok(())
    }
}

impl<B: Bus> Offload for Driver<B> {
    fn capabilities(&self) -> Capabilities {
        self.identity.capabilities
    }

    fn set_parameters(&mut self, p: &Parameters) -> Result<(), OffloadError> {
        self.check_alive()?;
        self.nce_stale_ms = p.nce_stale_ms;
        nic::set_parameters(&mut self.mmio, p).map_err(|_| OffloadError::DeviceLost)
    }

    fn allocate(&mut self, len_bytes: u32) -> Result<BufferId, OffloadError> {
        self.shared.buffers.allocate(len_bytes)
    }

    fn release(&mut self, buffer: BufferId) -> Result<(), OffloadError> {
        self.shared.buffers.release(buffer)
    }

    fn write(&mut self, buffer: BufferId, offset_bytes: u32, bytes: &[u8]) -> Result<(), OffloadError> {
        let len = u32::try_from(bytes.len()).map_err(|_| OffloadError::OutOfRange)?;
        let at = self.shared.buffers.locate(buffer, offset_bytes, len)?;
        self.shared.buffers.view().write(at, bytes);
        Ok(())
    }

    fn read(&self, buffer: BufferId, offset_bytes: u32, bytes: &mut [u8]) -> Result<(), OffloadError> {
        let len = u32::try_from(bytes.len()).map_err(|_| OffloadError::OutOfRange)?;
        let at = self.shared.buffers.locate(buffer, offset_bytes, len)?;
        self.shared.buffers.view().read(at, bytes);
        Ok(())
    }

    fn initiate(&mut self, tree: Tree) -> Result<(), OffloadError> {
        self.check_alive()?;
        let operation = self.plan_initiate(tree)?;
        self.enqueue(Op::Tree(operation));
        Ok(())
    }

    fn query(&mut self, tree: Tree) -> Result<(), OffloadError> {
        self.operate(Opcode::Query, tree)
    }

    fn update(&mut self, tree: Tree) -> Result<(), OffloadError> {
        self.operate(Opcode::Update, tree)
    }

    fn invalidate(&mut self, tree: Tree) -> Result<(), OffloadError> {
        self.operate(Opcode::Invalidate, tree)
    }

    fn terminate(&mut self, tree: Tree) -> Result<(), OffloadError> {
        self.operate(Opcode::Terminate, tree)
    }

    fn send(&mut self, token: Token, request: SendRequest) -> Result<(), OffloadError> {
        let conn = self.open_conn(token)?;
        if conn.close != Close::Open || conn.own_abort {
            return Err(OffloadError::WrongPhase);
        }
        let SendRequest { buffer, offset_bytes, len_bytes } = request;
        if !conn.send.can_take(len_bytes) {
            return Err(OffloadError::OutOfRange);
        }
        let at = self.shared.buffers.lend(buffer, offset_bytes, len_bytes)?;
        if let Some(conn) = self.conns.get_mut(token) {
            conn.post_send(buffer, at, len_bytes);
            self.due.insert(token.index);
        }
        Ok(())
    }

    fn receive(&mut self, token: Token, request: ReceiveRequest) -> Result<(), OffloadError> {
        self.open_conn(token)?;
        let ReceiveRequest { buffer, len_bytes, prefilled_bytes, no_push } = request;
        let room = len_bytes.checked_sub(prefilled_bytes).ok_or(OffloadError::OutOfRange)?;
        let start = self.shared.buffers.lend(buffer, 0, len_bytes)?;
        let at = start + prefilled_bytes as usize; // inside the buffer
        let post = Post {
            buffer,
            at,
            len: room,
            filled: 0,
            no_push,
            is_signal: room == 0,
            slot: None,
            closed: false,
        };
        if let Some(conn) = self.conns.get_mut(token) {
            conn.post_receive(post);
            self.due.insert(token.index);
        }
        Ok(())
    }

    fn receive_return(&mut self, token: Token, len_bytes: u32) -> Result<(), OffloadError> {
        let conn = self.conns.get_mut(token).ok_or(OffloadError::StaleToken)?;
        conn.recv.returned(len_bytes);
        self.due.insert(token.index);
        Ok(())
    }

    fn disconnect(&mut self, token: Token, how: Disconnect) -> Result<(), OffloadError> {
        let conn = self.open_conn(token)?;
        if conn.own_abort || conn.disconnect_due && how == Disconnect::Graceful {
            return Err(OffloadError::WrongPhase);
        }
        match how {
            Disconnect::Graceful if conn.close != Close::Open => return Err(OffloadError::WrongPhase),
            Disconnect::Graceful => {
                conn.close = Close::Wanted;
                conn.disconnect_due = true;
            }
            Disconnect::Abortive => {
                // Both disconnects of the host end with the abort: one completion, because it is one close.
                conn.own_abort = true;
                conn.disconnect_due = true;
                self.enqueue(Op::Abort(token));
            }
        }
        self.due.insert(token.index);
        Ok(())
    }

    fn forward(&mut self, token: Token, segment: &[u8]) -> Result<(), OffloadError> {
        self.check_alive()?;
        self.forward_segment(token, segment)
    }

    fn transmit(&mut self, frame: &[u8]) -> Result<(), OffloadError> {
        self.check_alive()?;
        self.queues.tx.push(frame, 0, None)
    }

    fn transmit_large(&mut self, frame: &[u8], mss: u16) -> Result<(), OffloadError> {
        self.check_alive()?;
        // `as`: at most 65535 on every host we build for.
        if mss == 0 || frame.len() > self.capabilities().max_large_frame as usize {
            return Err(OffloadError::OutOfRange);
        }
        self.queues.tx.push_large(frame, mss)
    }

    fn poll(&mut self, now_us: u64, client: &mut dyn OffloadClient) -> bool {
        self.poll_device(now_us, client)
    }
}

impl<B: Bus> Driver<B>
where
    B::Memory: DmaMemory,
{
    /// True if nothing is queued, in flight or outstanding.
    pub fn is_quiet(&self) -> bool {
        self.waiting.is_empty()
            && self.in_flight.is_empty()
            && self.finished.is_empty()
            && self.forwards.is_empty()
    }
}
