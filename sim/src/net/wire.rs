//! The whole wire of a NIC: an impaired link each way, a capture at the NIC's end, and somebody at the far end.
//!
//! ```text
//!   NIC -- send ----> capture -> Link -> far end (TAP, or a queue for a peer in this process)
//!       <- receive -- capture <- Link <-
//! ```
//!
//! The capture shows what the NIC's MAC port carries: a frame that the link loses on its way out is in it, one that is lost
//! on its way in is not. So counts at the MAC port agree with the capture whatever the link does.

use std::collections::VecDeque;
use std::io::{self, Write};

use thiserror::Error;

use super::impairment::Impairment;
use super::link::Link;
use super::pcap::{Direction, PcapWriter, Side};
use super::tap::{Tap, TapError};

/// Frames taken from the far end in one poll: a flood must not keep the caller.
const MOST_PER_POLL: usize = 64;
/// Longest frame that the far end may send: jumbo with room for tags.
const BUFFER_BYTES: usize = 16 * 1024;

/// Whoever is at the other end.
pub trait FarEnd {
    /// The next frame from there, if there is one: its length in `buffer`.
    ///
    /// # Errors
    /// When the far end is gone.
    fn take(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, TapError>;

    /// Give it a frame. False when it was not accepted, which is a loss.
    ///
    /// # Errors
    /// When the far end is gone.
    fn give(&mut self, frame: &[u8]) -> Result<bool, TapError>;
}

impl FarEnd for Tap {
    fn take(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, TapError> {
        self.read(buffer)
    }

    fn give(&mut self, frame: &[u8]) -> Result<bool, TapError> {
        self.write(frame)
    }
}

/// A far end in this process: two queues that their owner empties and fills.
#[derive(Debug, Default)]
pub struct QueueEnd {
    /// Frames that arrived there.
    pub arrived: VecDeque<Vec<u8>>,
    /// Frames to be sent from there.
    pub to_send: VecDeque<Vec<u8>>,
}

impl FarEnd for QueueEnd {
    fn take(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, TapError> {
        let Some(frame) = self.to_send.pop_front() else { return Ok(None) };
        let n = frame.len().min(buffer.len());
        buffer[..n].copy_from_slice(&frame[..n]);
        Ok(Some(n))
    }

    fn give(&mut self, frame: &[u8]) -> Result<bool, TapError> {
        self.arrived.push_back(frame.to_vec());
        Ok(true)
    }
}

/// What can go wrong on the wire.
#[derive(Debug, Error)]
pub enum WireError {
    /// The far end is gone.
    #[error(transparent)]
    FarEnd(#[from] TapError),
    /// The capture cannot be written.
    #[error("cannot write the capture: {0}")]
    Capture(#[from] io::Error),
}

/// Frames and bytes at the NIC's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WireStats {
    /// Frames from the NIC.
    pub tx_frames: u64,
    /// Their bytes.
    pub tx_bytes: u64,
    /// Frames to the NIC.
    pub rx_frames: u64,
    /// Their bytes.
    pub rx_bytes: u64,
    /// Frames that the far end did not accept.
    pub refused: u64,
}

/// Where a capture goes.
pub type CaptureFile = PcapWriter<Box<dyn Write + Send>>;

/// The wire.
pub struct Wire<F> {
    far: F,
    to_peer: Link,
    to_host: Link,
    capture: Option<CaptureFile>,
    buffer: Vec<u8>,
    stats: WireStats,
}

impl<F: FarEnd> Wire<F> {
    /// A wire to `far` with the same impairments, but other random decisions, each way.
    pub fn new(far: F, impairment: Impairment) -> Self {
        Self::asymmetric(far, impairment.clone(), impairment)
    }

    /// A wire with different impairments each way.
    pub fn asymmetric(far: F, to_peer: Impairment, to_host: Impairment) -> Self {
        Self {
            far,
            to_peer: Link::new(to_peer, 0),
            to_host: Link::new(to_host, 1),
            capture: None,
            buffer: vec![0; BUFFER_BYTES],
            stats: WireStats::default(),
        }
    }

    /// Record frames from now on.
    pub fn set_capture(&mut self, capture: CaptureFile) {
        self.capture = Some(capture);
    }

    /// The capture, for comments and for frames of the host side.
    pub fn capture(&mut self) -> Option<&mut CaptureFile> {
        self.capture.as_mut()
    }

    /// The NIC sent a frame.
    ///
    /// # Errors
    /// [`WireError::Capture`].
    pub fn send(&mut self, now_ns: u64, frame: Vec<u8>) -> Result<(), WireError> {
        self.stats.tx_frames += 1;
        self.stats.tx_bytes += frame.len() as u64;
        if let Some(capture) = &mut self.capture {
            capture.frame(now_ns, Side::Wire, Direction::Tx, &frame)?;
        }
        self.to_peer.push(now_ns, frame);
        Ok(())
    }

    /// Move frames between the links and the far end: what arrived there by now, and what it has sent.
    ///
    /// # Errors
    /// [`WireError::FarEnd`].
    pub fn poll(&mut self, now_ns: u64) -> Result<(), WireError> {
        while let Some(frame) = self.to_peer.pop(now_ns) {
            self.stats.refused += u64::from(!self.far.give(&frame)?);
        }
        for _ in 0..MOST_PER_POLL {
            let Some(n) = self.far.take(&mut self.buffer)? else { break };
            self.to_host.push(now_ns, self.buffer[..n].to_vec());
        }
        Ok(())
    }

    /// The next frame for the NIC that has arrived by now.
    ///
    /// # Errors
    /// [`WireError::Capture`].
    pub fn receive(&mut self, now_ns: u64) -> Result<Option<Vec<u8>>, WireError> {
        let Some(frame) = self.to_host.pop(now_ns) else { return Ok(None) };
        self.stats.rx_frames += 1;
        self.stats.rx_bytes += frame.len() as u64;
        if let Some(capture) = &mut self.capture {
            capture.frame(now_ns, Side::Wire, Direction::Rx, &frame)?;
        }
        Ok(Some(frame))
    }

    /// When the next frame arrives anywhere, as far as the links know.
    pub fn next_arrival_ns(&self) -> Option<u64> {
        [self.to_peer.next_arrival_ns(), self.to_host.next_arrival_ns()].into_iter().flatten().min()
    }

    /// The links: towards the peer, towards the host.
    pub fn links(&self) -> (&Link, &Link) {
        (&self.to_peer, &self.to_host)
    }

    /// The far end.
    pub fn far(&mut self) -> &mut F {
        &mut self.far
    }

    /// Counters at the NIC's end.
    pub fn stats(&self) -> WireStats {
        self.stats
    }

    /// Write out the capture.
    ///
    /// # Errors
    /// [`WireError::Capture`].
    pub fn flush(&mut self) -> Result<(), WireError> {
        self.capture.as_mut().map_or(Ok(()), PcapWriter::flush).map_err(WireError::from)
    }
}

impl<F: std::fmt::Debug> std::fmt::Debug for Wire<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wire").field("far", &self.far).field("stats", &self.stats).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(text: &str) -> Wire<QueueEnd> {
        Wire::new(QueueEnd::default(), text.parse().unwrap())
    }

    #[test]
    fn frames_travel_both_ways_with_the_delay_of_the_link() {
        let mut wire = wire("delay 1ms");
        wire.send(0, vec![1; 60]).unwrap();
        wire.far().to_send.push_back(vec![2; 61]);
        wire.poll(0).unwrap();
        assert_eq!(wire.next_arrival_ns(), Some(1_000_000));
        assert!(wire.far().arrived.is_empty() && wire.receive(999_999).unwrap().is_none());
        wire.poll(1_000_000).unwrap();
        assert_eq!(wire.far().arrived.pop_front(), Some(vec![1; 60]));
        assert_eq!(wire.receive(1_000_000).unwrap(), Some(vec![2; 61]));
        let expected = WireStats { tx_frames: 1, tx_bytes: 60, rx_frames: 1, rx_bytes: 61, refused: 0 };
        assert_eq!(wire.stats(), expected);
    }

    #[test]
    fn capture_shows_what_the_nic_sent_and_what_reached_it() {
        let mut wire = Wire::asymmetric(
            QueueEnd::default(),
            "loss list 1".parse().unwrap(),
            "loss list 2".parse().unwrap(),
        );
        wire.set_capture(PcapWriter::new(Box::new(Vec::new()) as Box<dyn Write + Send>).unwrap());
        for _ in 0..3 {
            wire.send(5, vec![1; 60]).unwrap();
            wire.far().to_send.push_back(vec![2; 60]);
        }
        wire.poll(5).unwrap();
        while wire.receive(5).unwrap().is_some() {}
        let stats = wire.stats();
        assert_eq!((stats.tx_frames, stats.rx_frames, wire.far().arrived.len()), (3, 2, 2));
        assert_eq!(wire.capture().unwrap().frames(), stats.tx_frames + stats.rx_frames);
        wire.flush().unwrap();
    }

    #[test]
    fn the_two_directions_lose_different_frames() {
        let mut wire = wire("loss 20% seed 1");
        for _ in 0..200 {
            wire.send(0, vec![0; 60]).unwrap();
            wire.far().to_send.push_back(vec![0; 60]);
            wire.poll(0).unwrap();
        }
        let (out, back) = wire.links();
        let lost = |link: &Link| {
            link.log().map(|r| matches!(r.fate, super::super::link::Fate::Lost)).collect::<Vec<_>>()
        };
        assert_ne!(lost(out), lost(back));
        assert!(lost(out).contains(&true) && lost(back).contains(&true));
    }
}
