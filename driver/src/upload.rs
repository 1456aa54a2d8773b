//! Taking a connection back: what the device left in host memory becomes the host's state again (spec 7.4).
//!
//! ```text
//!   send ring from snd_una on ........... send_data        requests: Success up to snd_una, then UploadInProgress
//!   buf, pages up to rcv_nxt ............ buffered         posts: Success when finished, then UploadInProgress
//!   pages of the out-of-order ranges .... out_of_order
//! ```

use chimney_abi::cmd::Status;
use chimney_abi::offload::{OffloadClient, Range, TcpBlockState};
use chimney_abi::state::{TcpRecord, DELEG_FIN_POSTED};

use crate::bus::DmaMemory;
use crate::conn::{Close, Conn, Shared};
use crate::error::ConnFault;
use crate::record;
use crate::shadow::Progress;

impl<M: DmaMemory> Conn<M> {
    /// Completes everything outstanding and gives the state back. `r` is the device's last word, `p` its progress.
    ///
    /// # Errors
    /// A [`ConnFault`] when the device's word cannot be true. Then nothing was completed but acknowledged sends, and
    /// [`Conn::give_up`] is due.
    pub fn hand_back(
        &mut self,
        r: TcpRecord,
        p: &Progress,
        shared: &mut Shared<M>,
        client: &mut dyn OffloadClient,
    ) -> Result<TcpBlockState, ConnFault> {
        self.believe(p, shared, client)?;
        let mut record = record::up(r);
        let mut out_of_order = Vec::new();
        for (start, end) in record::ranges(&r) {
            let bytes = self.recv.out_of_order(&shared.pool, start, end)?;
            if !bytes.is_empty() {
                out_of_order.push(Range { seq: start, bytes });
            }
        }
        let aborted = self.aborted;
        let cut_short = if aborted { Status::RequestAborted } else { Status::UploadInProgress };
        let (send_data, push_marks) =
            if aborted { Default::default() } else { self.send.collect(&shared.buffers) };
        if self.close != Close::Open {
            record.deleg_flags |= DELEG_FIN_POSTED;
        }
        record.snd_limit = self.send.end();
        self.recv.take_current(&shared.buffers);
        self.recv.complete_posts(self.handle, &mut shared.buffers, client); // R-150: by the delivery algorithm ...
        self.fail_all(cut_short, shared, client); // R-147, R-148
        let buffered = self.recv.buf.drain(..).collect(); // ... or in the block
        Ok(TcpBlockState {
            record,
            send_data,
            push_marks,
            buffered,
            out_of_order,
            counts: self.tally.counts(),
        })
    }

    /// Completes everything outstanding for a connection whose state is lost (R-157).
    pub fn give_up(&mut self, shared: &mut Shared<M>, client: &mut dyn OffloadClient) {
        self.fail_all(Status::RequestAborted, shared, client);
    }

    /// Gives pages and promises back; the device is done with the connection.
    pub fn release(&mut self, shared: &mut Shared<M>) {
        self.recv.release_pages(&mut shared.pool);
        shared.pool.forget(self.quota);
    }
}
