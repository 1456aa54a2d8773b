//! Captures in pcapng: nanosecond time stamps, one interface per side of the NIC, comments at the hand-overs.
//!
//! Only what Wireshark needs is written: one section header, the interfaces, enhanced packet blocks with an optional
//! comment. (draft-ietf-opsawg-pcapng; all blocks little-endian, padded to 4 bytes.)
//!
//! ```text
//!   block: type | total length | body (padded) | options | total length
//! ```

use std::io::{self, Write};

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const ENHANCED_PACKET: u32 = 6;
const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;
const LINKTYPE_ETHERNET: u16 = 1;
const OPT_END: u16 = 0;
const OPT_COMMENT: u16 = 1;
const OPT_IF_NAME: u16 = 2;
const OPT_USER_APPLICATION: u16 = 4;
const OPT_EPB_FLAGS: u16 = 2;
const OPT_IF_TSRESOL: u16 = 9;
/// Time stamps count 10^-9 seconds.
const NANOSECONDS: u8 = 9;

/// Where a frame was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Between NIC and peer.
    Wire,
    /// Between NIC and host stack (ordinary rings).
    Host,
}

/// Direction, seen from the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Towards the host.
    Rx,
    /// Towards the peer.
    Tx,
}

/// Writes a capture.
#[derive(Debug)]
pub struct PcapWriter<W: Write> {
    out: W,
    /// A comment for the next frame on the wire.
    pending: Option<String>,
    block: Vec<u8>,
    frames: u64,
}

impl<W: Write> PcapWriter<W> {
    /// Start a capture with the interfaces "wire" and "host".
    ///
    /// # Errors
    /// Of the writer.
    pub fn new(out: W) -> io::Result<Self> {
        let mut this = Self { out, pending: None, block: Vec::with_capacity(2048), frames: 0 };
        this.block.extend(BYTE_ORDER_MAGIC.to_le_bytes());
        this.block.extend(1u16.to_le_bytes()); // version 1.0
        this.block.extend(0u16.to_le_bytes());
        this.block.extend(u64::MAX.to_le_bytes()); // section length unknown
        this.option(OPT_USER_APPLICATION, b"chimney");
        this.end_block(SECTION_HEADER)?;
        for name in ["wire", "host"] {
            this.block.extend(LINKTYPE_ETHERNET.to_le_bytes());
            this.block.extend(0u16.to_le_bytes());
            this.block.extend(0u32.to_le_bytes()); // no snap length
            this.option(OPT_IF_NAME, name.as_bytes());
            this.option(OPT_IF_TSRESOL, &[NANOSECONDS]);
            this.end_block(INTERFACE_DESCRIPTION)?;
        }
        Ok(this)
    }

    /// Attach a comment to the next frame on the wire; several are joined.
    pub fn comment(&mut self, text: &str) {
        match &mut self.pending {
            Some(all) => {
                all.push_str("; ");
                all.push_str(text);
            }
            None => self.pending = Some(text.to_owned()),
        }
    }

    /// A frame was seen at `at_ns`.
    ///
    /// # Errors
    /// Of the writer.
    pub fn frame(&mut self, at_ns: u64, side: Side, direction: Direction, frame: &[u8]) -> io::Result<()> {
        let len = u32::try_from(frame.len()).map_err(|_| io::Error::other("frame too long for a capture"))?;
        let interface: u32 = match side {
            Side::Wire => 0,
            Side::Host => 1,
        };
        self.block.extend(interface.to_le_bytes());
        self.block.extend(((at_ns >> 32) as u32).to_le_bytes()); // high half
        self.block.extend((at_ns as u32).to_le_bytes()); // low half
        self.block.extend(len.to_le_bytes());
        self.block.extend(len.to_le_bytes());
        self.block.extend(frame);
        self.pad();
        let flags: u32 = match direction {
            Direction::Rx => 1,
            Direction::Tx => 2,
        };
        self.option(OPT_EPB_FLAGS, &flags.to_le_bytes());
        if side == Side::Wire {
            if let Some(text) = self.pending.take() {
                let cut = text.floor_char_boundary(text.len().min(usize::from(u16::MAX) - 4));
                self.option(OPT_COMMENT, &text.as_bytes()[..cut]);
            }
        }
        self.frames += 1;
        self.end_block(ENHANCED_PACKET)
    }

    /// Frames written.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Write out what is buffered below.
    ///
    /// # Errors
    /// Of the writer.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// The writer below.
    pub fn into_inner(self) -> W {
        self.out
    }

    fn pad(&mut self) {
        self.block.resize(self.block.len().next_multiple_of(4), 0);
    }

    fn option(&mut self, code: u16, value: &[u8]) {
        self.block.extend(code.to_le_bytes());
        self.block.extend((value.len() as u16).to_le_bytes()); // callers stay below 64 KiB
        self.block.extend(value);
        self.pad();
    }

    /// Every block here has options, so each ends with the end-of-options mark.
    fn end_block(&mut self, kind: u32) -> io::Result<()> {
        self.option(OPT_END, &[]);
        let total = (self.block.len() as u32 + 12).to_le_bytes(); // frames are below 4 GiB
        self.out.write_all(&kind.to_le_bytes())?;
        self.out.write_all(&total)?;
        self.out.write_all(&self.block)?;
        self.out.write_all(&total)?;
        self.block.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketOption;
    use pcap_file::pcapng::{Block, PcapNgReader};

    #[test]
    fn another_library_reads_back_what_was_written() {
        let mut writer = PcapWriter::new(Vec::new()).unwrap();
        writer.comment("offload 7");
        writer.comment("reason: bulk");
        writer.frame(1_500_000_001, Side::Host, Direction::Tx, &[1; 61]).unwrap();
        writer.frame(1_500_000_002, Side::Wire, Direction::Rx, &[2; 60]).unwrap();
        writer.frame(5_000_000_000_000, Side::Wire, Direction::Tx, &[]).unwrap();
        assert_eq!(writer.frames(), 3);
        let bytes = writer.into_inner();
        let mut reader = PcapNgReader::new(&bytes[..]).unwrap();
        let (mut names, mut seen) = (0, Vec::new());
        while let Some(block) = reader.next_block() {
            match block.unwrap() {
                Block::InterfaceDescription(_) => names += 1,
                Block::EnhancedPacket(packet) => {
                    let comments: Vec<String> = packet
                        .options
                        .iter()
                        .filter_map(|o| match o {
                            EnhancedPacketOption::Comment(c) => Some(c.to_string()),
                            _ => None,
                        })
                        .collect();
                    seen.push((
                        packet.interface_id,
                        packet.timestamp.as_nanos(),
                        packet.data.len(),
                        comments,
                    ));
                }
                other => panic!("unexpected {other:?}"),
            }
        }
        assert_eq!(names, 2);
        let comment = vec!["offload 7; reason: bulk".to_owned()];
        let expected = [
            (1, 1_500_000_001, 61, vec![]),
            (0, 1_500_000_002, 60, comment),
            (0, 5_000_000_000_000, 0, vec![]),
        ];
        assert_eq!(seen, expected);
    }
}
