//! The send ring: which descriptors hold the bytes of a segment.
//!
//! The model keeps the index of the descriptor with `snd_una` and the one used last, and walks from there. The ring
//! entries belong to the device from the doorbell until the shadow record shows `snd_una` past their last byte.

use super::conn::Conn;
use super::rings::Ring;
use super::{Dma, DmaError, Golden};
use chimney_abi::cmd::UploadReason;
use chimney_abi::desc::{SendDesc, MAX_DESC_PER_SEGMENT, SEND_PUSH};
use chimney_abi::{regs, SeqNum};

/// The text of a segment.
#[derive(Clone, Debug, Default)]
pub(super) struct SendText {
    pub bytes: Vec<u8>,
    /// A descriptor with `SEND_PUSH` ends in it.
    pub is_pushed: bool,
}

impl<D: Dma> Golden<D> {
    fn read_send_desc(&mut self, conn: &Conn, index: u16) -> Result<SendDesc, DmaError> {
        let at = Ring::offset(index, conn.rec.send_ring_log2, SendDesc::BYTES);
        Ok(SendDesc::from_bytes(&self.port.record(conn.rec.send_ring.wrapping_add(at))?))
    }

    /// Moves `una_desc` past every descriptor whose last byte is acknowledged.
    pub(super) fn advance_una_desc(&mut self, conn: &mut Conn) -> Result<(), DmaError> {
        while conn.una_desc != conn.rec.send_producer {
            let desc = self.read_send_desc(conn, conn.una_desc)?;
            if desc.len == 0 || (SeqNum(desc.seq) + desc.len).after(conn.snd_una()) {
                break;
            }
            if conn.recent_desc == conn.una_desc {
                conn.recent_desc = conn.recent_desc.wrapping_add(1);
            }
            conn.una_desc = conn.una_desc.wrapping_add(1);
        }
        Ok(())
    }

    /// Fetches up to `len` bytes from `seq` on. A ring that does not hold them is the driver's error: it is counted
    /// and the connection is given back.
    pub(super) fn fetch_text(
        &mut self,
        conn: &mut Conn,
        seq: SeqNum,
        len: u32,
    ) -> Result<SendText, DmaError> {
        let mut text = SendText::default();
        if len == 0 {
            return Ok(text);
        }
        let Some((mut index, mut desc)) = self.locate(conn, seq)? else {
            self.regs.count(&regs::CNT_BAD_REQUEST, 1);
            conn.request_upload(UploadReason::HardwareFailure);
            return Ok(text);
        };
        conn.recent_desc = index;
        for _ in 0..MAX_DESC_PER_SEGMENT {
            // `as`: at most one segment.
            let at = seq + text.bytes.len() as u32;
            let offset = at - SeqNum(desc.seq);
            let n = (desc.len - offset).min(len - text.bytes.len() as u32);
            let start = text.bytes.len();
            text.bytes.resize(start + n as usize, 0);
            self.port.read(desc.addr.wrapping_add(u64::from(offset)), &mut text.bytes[start..])?;
            text.is_pushed |= offset + n == desc.len && desc.flags & SEND_PUSH != 0;
            index = index.wrapping_add(1);
            if text.bytes.len() == len as usize || index == conn.rec.send_producer {
                break;
            }
            let next = self.read_send_desc(conn, index)?;
            if SeqNum(next.seq) != SeqNum(desc.seq) + desc.len || next.len == 0 {
                break;
            }
            conn.recent_desc = index;
            desc = next;
        }
        Ok(text)
    }

    /// The descriptor that holds `seq`.
    fn locate(&mut self, conn: &Conn, seq: SeqNum) -> Result<Option<(u16, SendDesc)>, DmaError> {
        let from_recent = self.walk(conn, conn.recent_desc, seq)?;
        if from_recent.is_some() || conn.recent_desc == conn.una_desc {
            return Ok(from_recent);
        }
        self.walk(conn, conn.una_desc, seq)
    }

    fn walk(&mut self, conn: &Conn, from: u16, seq: SeqNum) -> Result<Option<(u16, SendDesc)>, DmaError> {
        let mut index = from;
        while index != conn.rec.send_producer {
            let desc = self.read_send_desc(conn, index)?;
            if SeqNum(desc.seq).after(seq) || desc.len == 0 {
                return Ok(None);
            }
            if seq.before(SeqNum(desc.seq) + desc.len) {
                return Ok(Some((index, desc)));
            }
            index = index.wrapping_add(1);
        }
        Ok(None)
    }
}
