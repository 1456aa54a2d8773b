//! TCP options: parse and build (RFC 9293 3.2, RFC 7323, RFC 2018).
//!
//! Parsing skips what it does not know. At the first malformed option it stops, keeps what it has and
//! says so: RFC 9293 MUST-7 wants no crash, and the caller decides what an odd header is worth.

use crate::ranges::SeqRange;
use crate::timestamps::Timestamps;
use chimney_abi::wire::tcp as w;
use chimney_abi::SeqNum;

/// The SACK blocks of one segment, in wire order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct SackBlocks {
    blocks: [SeqRange; w::MAX_SACK_BLOCKS],
    len: u8,
}

impl SackBlocks {
    /// The blocks.
    #[must_use]
    pub fn as_slice(&self) -> &[SeqRange] {
        &self.blocks[..usize::from(self.len)]
    }

    /// True without blocks.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a block; false if there is no room.
    pub fn push(&mut self, block: SeqRange) -> bool {
        let at = usize::from(self.len);
        let Some(slot) = self.blocks.get_mut(at) else { return false };
        *slot = block;
        self.len += 1;
        true
    }
}

/// The options of one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct TcpOptions {
    /// Maximum segment size (SYN only).
    pub mss: Option<u16>,
    /// Window scale (SYN only), as sent: may exceed the maximum of 14.
    pub wind_shift: Option<u8>,
    /// SACK permitted (SYN only).
    pub sack_permitted: bool,
    /// Timestamps.
    pub timestamps: Option<Timestamps>,
    /// SACK blocks.
    pub sack: SackBlocks,
    /// A malformed option ended the list early.
    pub is_malformed: bool,
}

/// Reads the option bytes of a header.
#[must_use]
pub fn parse(bytes: &[u8]) -> TcpOptions {
    let mut options = TcpOptions::default();
    let mut rest = bytes;
    while let Some((&kind, tail)) = rest.split_first() {
        match kind {
            w::OPT_END => break,
            w::OPT_NOP => rest = tail,
            _ => {
                let len = tail.first().map_or(0, |len| usize::from(*len));
                let Some(body) = rest.get(2..len) else {
                    options.is_malformed = true;
                    break;
                };
                options.is_malformed |= !options.take(kind, body);
                rest = &rest[len..];
            }
        }
    }
    options
}

impl TcpOptions {
    /// Takes one option; false if its length is wrong.
    fn take(&mut self, kind: u8, body: &[u8]) -> bool {
        match (kind, body.len() + 2) {
            (w::OPT_MSS, w::OPT_MSS_LEN) => self.mss = Some(u16::from_be_bytes([body[0], body[1]])),
            (w::OPT_WINDOW_SCALE, w::OPT_WINDOW_SCALE_LEN) => self.wind_shift = Some(body[0]),
            (w::OPT_SACK_PERMITTED, w::OPT_SACK_PERMITTED_LEN) => self.sack_permitted = true,
            (w::OPT_TIMESTAMPS, w::OPT_TIMESTAMPS_LEN) => {
                self.timestamps = Some(Timestamps { val: be32(body, 0), ecr: be32(body, 4) });
            }
            (w::OPT_SACK, _) if !body.is_empty() && body.len().is_multiple_of(w::SACK_BLOCK_LEN) => {
                for block in body.chunks_exact(w::SACK_BLOCK_LEN) {
                    let range = SeqRange { start: SeqNum(be32(block, 0)), end: SeqNum(be32(block, 4)) };
                    self.sack.push(range);
                }
            }
            (
                w::OPT_MSS | w::OPT_WINDOW_SCALE | w::OPT_SACK_PERMITTED | w::OPT_TIMESTAMPS | w::OPT_SACK,
                _,
            ) => return false,
            _ => {}
        }
        true
    }

    /// Writes the options, padded to a multiple of four; returns how many bytes were used.
    ///
    /// Order: MSS, SACK permitted, timestamps, window scale, SACK. As many SACK blocks are written as
    /// fit (three beside timestamps).
    pub fn build(&self, out: &mut [u8; w::MAX_OPTIONS_LEN]) -> usize {
        let mut to = Writer { out, at: 0 };
        if let Some(mss) = self.mss {
            to.option(w::OPT_MSS, &mss.to_be_bytes());
        }
        if self.sack_permitted {
            // Two bytes: NOPs in front keep what follows aligned.
            to.pad_front(2);
            to.option(w::OPT_SACK_PERMITTED, &[]);
        }
        if let Some(ts) = self.timestamps {
            to.pad_front(2);
            let mut body = [0; 8];
            body[..4].copy_from_slice(&ts.val.to_be_bytes());
            body[4..].copy_from_slice(&ts.ecr.to_be_bytes());
            to.option(w::OPT_TIMESTAMPS, &body);
        }
        if let Some(shift) = self.wind_shift {
            to.pad_front(1);
            to.option(w::OPT_WINDOW_SCALE, &[shift]);
        }
        to.sack(self.sack.as_slice());
        to.at
    }

    /// Bytes that [`TcpOptions::build`] will write.
    #[must_use]
    pub fn built_len(&self) -> usize {
        self.build(&mut [0; w::MAX_OPTIONS_LEN])
    }
}

struct Writer<'a> {
    out: &'a mut [u8; w::MAX_OPTIONS_LEN],
    at: usize,
}

impl Writer<'_> {
    /// `count` NOPs; every option is written so that it ends on a multiple of four.
    fn pad_front(&mut self, count: usize) {
        self.out[self.at..self.at + count].fill(w::OPT_NOP);
        self.at += count;
    }

    fn option(&mut self, kind: u8, body: &[u8]) {
        let len = body.len() + 2;
        self.out[self.at] = kind;
        // `as`: at most 40.
        self.out[self.at + 1] = len as u8;
        self.out[self.at + 2..self.at + len].copy_from_slice(body);
        self.at += len;
    }

    fn sack(&mut self, blocks: &[SeqRange]) {
        let room = (self.out.len() - self.at).saturating_sub(2 + w::OPT_SACK_BASE_LEN) / w::SACK_BLOCK_LEN;
        let blocks = &blocks[..blocks.len().min(room)];
        if blocks.is_empty() {
            return;
        }
        self.pad_front(2);
        self.out[self.at] = w::OPT_SACK;
        // `as`: at most 34.
        self.out[self.at + 1] = (w::OPT_SACK_BASE_LEN + blocks.len() * w::SACK_BLOCK_LEN) as u8;
        self.at += w::OPT_SACK_BASE_LEN;
        for block in blocks {
            self.out[self.at..self.at + 4].copy_from_slice(&block.start.0.to_be_bytes());
            self.out[self.at + 4..self.at + 8].copy_from_slice(&block.end.0.to_be_bytes());
            self.at += w::SACK_BLOCK_LEN;
        }
    }
}

/// Big-endian word at `at`; the caller has checked the length.
fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn built(options: &TcpOptions) -> std::vec::Vec<u8> {
        let mut out = [0; w::MAX_OPTIONS_LEN];
        let len = options.build(&mut out);
        out[..len].to_vec()
    }

    #[test]
    fn a_full_syn_takes_twenty_four_bytes() {
        let options = TcpOptions {
            mss: Some(1460),
            wind_shift: Some(7),
            sack_permitted: true,
            timestamps: Some(Timestamps { val: 1, ecr: 0 }),
            ..TcpOptions::default()
        };
        assert_eq!(built(&options).len(), 24);
        assert_eq!(parse(&built(&options)), options);
    }

    #[test]
    fn three_sack_blocks_fit_beside_timestamps_and_four_without() {
        let mut options = TcpOptions::default();
        for i in 0..4 {
            assert!(options.sack.push(SeqRange::new(SeqNum(i * 100), 10)));
        }
        assert!(!options.sack.push(SeqRange::default()));
        assert_eq!(parse(&built(&options)).sack, options.sack);
        options.timestamps = Some(Timestamps::default());
        assert_eq!(parse(&built(&options)).sack.as_slice(), &options.sack.as_slice()[..3]);
        assert_eq!(built(&options).len(), 40);
    }

    #[test]
    fn malformed_options_end_the_list_and_keep_what_came_before() {
        let table: [(&str, &[u8]); 5] = [
            ("length zero", &[2, 4, 5, 180, 8, 0]),
            ("length one", &[2, 4, 5, 180, 8, 1]),
            ("beyond the header", &[2, 4, 5, 180, 8, 10, 0]),
            ("no length", &[2, 4, 5, 180, 8]),
            ("wrong length", &[2, 4, 5, 180, 3, 4, 1, 1]),
        ];
        for (name, bytes) in table {
            let options = parse(bytes);
            assert!(options.is_malformed, "{name}");
            assert_eq!(options.mss, Some(1460), "{name}");
        }
        assert_eq!(
            parse(&[254, 4, 1, 2, 1, 2, 4, 5, 180, 0, 99]).mss,
            Some(1460),
            "unknown kinds are skipped"
        );
    }

    proptest! {
        #![proptest_config(crate::test_seed::config())]

        #[test]
        fn parsing_never_fails_and_building_round_trips(bytes in proptest::collection::vec(any::<u8>(), 0..41)) {
            let mut options = parse(&bytes);
            options.is_malformed = false;
            let small = options.mss.is_none() && options.wind_shift.is_none() && !options.sack_permitted;
            let again = parse(&built(&options));
            prop_assert_eq!(built(&options).len() % 4, 0);
            if small && options.timestamps.is_none() {
                prop_assert_eq!(again, options);
            }
        }
    }
}
