//! Large frames of TCP and the segments that they must become, from the contract alone (programmer's guide 2).

use super::{sum, Host, BAD};
use chimney_abi::desc::{TxDesc, TX_CSUM, TX_LOOPBACK, TX_LSO};
use chimney_abi::wire::{ethernet, ip_protocol, ipv4, ipv6, tcp};
use chimney_hdl_kernel::diff::Rnd;

/// Where large frames lie: they are laid one behind the other, and round again when none of the oldest can be under way.
const AREA: u64 = 0x6000_0000;
const AREA_BYTES: u64 = 1 << 22;

/// A 16-bit field of the wire.
fn be(b: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([b[at], b[at + 1]])
}

/// Where the headers of a frame lie.
struct Shape {
    v6: bool,
    ip: usize,
    tcp: usize,
    end: usize,
}

/// The shape of a frame that can be divided.
fn shape(f: &[u8]) -> Option<Shape> {
    let mut ip = ethernet::HEADER_LEN;
    if f.len() >= ip + 4 && be(f, ip - 2) == ethernet::TYPE_VLAN {
        ip += ethernet::VLAN_TAG_LEN;
    }
    let v6 = match be(f, ip - 2) {
        ethernet::TYPE_IPV4 => false,
        ethernet::TYPE_IPV6 => true,
        _ => return None,
    };
    let tcp = ip + if v6 { ipv6::HEADER_LEN } else { ipv4::HEADER_LEN };
    if f.len() < tcp + tcp::HEADER_LEN {
        return None;
    }
    let packet = &f[ip..];
    let is_tcp = if v6 {
        packet[0] >> 4 == 6 && packet[ipv6::NEXT_HEADER] == ip_protocol::TCP
    } else {
        let whole = be(packet, ipv4::FLAGS_FRAGMENT) & 0x3fff == 0;
        packet[0] == ipv4::VERSION_IHL_PLAIN && whole && packet[ipv4::PROTOCOL] == ip_protocol::TCP
    };
    let words = usize::from(f[tcp + tcp::DATA_OFFSET] >> 4);
    let whole = tcp::FLAG_SYN | tcp::FLAG_RST | tcp::FLAG_URG;
    let fine = is_tcp && words >= 5 && f[tcp + tcp::FLAGS] & whole == 0 && f.len() > tcp + 4 * words;
    fine.then_some(Shape { v6, ip, tcp, end: tcp + 4 * words })
}

/// The segments of a large frame; `None` if it is refused.
pub fn segments(f: &[u8], mss: usize) -> Option<Vec<Vec<u8>>> {
    let s = shape(f).filter(|s| mss != 0 && s.end + mss <= ethernet::MAX_JUMBO_LEN)?;
    let pieces: Vec<&[u8]> = f[s.end..].chunks(mss).collect();
    let seq = u32::from_be_bytes(f[s.tcp + tcp::SEQ..][..4].try_into().expect("four bytes"));
    let id = be(f, s.ip + ipv4::ID);
    let made = pieces.iter().enumerate().map(|(i, piece)| {
        let (mut head, last) = (f[..s.end].to_vec(), i + 1 == pieces.len());
        let tcp_len = s.end - s.tcp + piece.len();
        head[s.tcp + tcp::SEQ..][..4].copy_from_slice(&seq.wrapping_add((i * mss) as u32).to_be_bytes());
        let not_last = if last { 0 } else { tcp::FLAG_FIN | tcp::FLAG_PSH };
        let not_first = if i == 0 { 0 } else { tcp::FLAG_CWR };
        head[s.tcp + tcp::FLAGS] &= !(not_last | not_first);
        if s.v6 {
            head[s.ip + ipv6::PAYLOAD_LEN..][..2].copy_from_slice(&(tcp_len as u16).to_be_bytes());
        } else {
            let total = (tcp_len + ipv4::HEADER_LEN) as u16;
            head[s.ip + ipv4::TOTAL_LEN..][..2].copy_from_slice(&total.to_be_bytes());
            let next = id & 0x8000 | id.wrapping_add(i as u16) & 0x7fff;
            head[s.ip + ipv4::ID..][..2].copy_from_slice(&next.to_be_bytes());
            head[s.ip + ipv4::CHECKSUM..][..2].fill(0);
            let c = !sum(&[&head[s.ip..s.tcp]]);
            head[s.ip + ipv4::CHECKSUM..][..2].copy_from_slice(&c.to_be_bytes());
        }
        head[s.tcp + tcp::CHECKSUM..][..2].fill(0);
        let from = s.ip + if s.v6 { ipv6::SRC } else { ipv4::SRC };
        let tail = [&[0, ip_protocol::TCP][..], &(tcp_len as u16).to_be_bytes()].concat();
        let c = !sum(&[&head[from..s.tcp], &tail, &head[s.tcp..], piece]);
        head[s.tcp + tcp::CHECKSUM..][..2].copy_from_slice(&c.to_be_bytes());
        [&head[..], piece].concat()
    });
    Some(made.collect())
}

/// Headers of a random segment, mostly of TCP.
fn headers(r: &mut Rnd) -> Vec<u8> {
    let any = |n: usize, r: &mut Rnd| -> Vec<u8> { (0..n).map(|_| r.next_u64() as u8).collect() };
    let (v6, tagged) = (r.chance(1, 2), r.chance(1, 2));
    let mut f = any(12, r);
    if tagged {
        f.extend(ethernet::TYPE_VLAN.to_be_bytes());
        f.extend(any(2, r));
    }
    f.extend(if v6 { ethernet::TYPE_IPV6 } else { ethernet::TYPE_IPV4 }.to_be_bytes());
    let ip = f.len();
    f.extend(any(if v6 { ipv6::HEADER_LEN } else { ipv4::HEADER_LEN }, r));
    if v6 {
        f[ip] = 0x60 | f[ip] & 15;
        f[ip + ipv6::NEXT_HEADER] = ip_protocol::TCP;
    } else {
        f[ip] = ipv4::VERSION_IHL_PLAIN;
        f[ip + ipv4::PROTOCOL] = ip_protocol::TCP;
        f[ip + ipv4::FLAGS_FRAGMENT] &= 0xc0;
        f[ip + ipv4::FLAGS_FRAGMENT + 1] = 0;
        if r.chance(1, 3) {
            // Near the end of a half of the identifications.
            f[ip + ipv4::ID] |= 0x7f;
            f[ip + ipv4::ID + 1] |= 0xfc;
        }
    }
    let t = f.len();
    let words = 5 + r.below(11) as usize;
    f.extend(any(4 * words, r));
    f[t + tcp::DATA_OFFSET] = (words as u8) << 4 | f[t + tcp::DATA_OFFSET] & 15;
    f[t + tcp::FLAGS] &= !(tcp::FLAG_SYN | tcp::FLAG_RST | tcp::FLAG_URG);
    if r.chance(1, 8) {
        // Something else than it seems.
        let at = [ethernet::ETHERTYPE, ip - 1, ip, ip + 6, ip + 9, t + tcp::DATA_OFFSET, t + tcp::FLAGS];
        f[at[r.below(7) as usize]] ^= 1 << r.below(8);
    }
    f
}

/// A descriptor of a large frame, sometimes wrong, and what must become of it; `next` = bytes of the area used so far.
pub fn random_large(host: &mut Host, next: &mut u64, r: &mut Rnd) -> (TxDesc, Option<Vec<Vec<u8>>>) {
    let mut frame = headers(r);
    let payload = match r.below(12) {
        0 => r.below(2),
        1 => 3000 + r.below(20_000),
        2 if r.chance(1, 4) => 65_535,
        _ => 1 + r.below(3000),
    } as usize;
    frame.extend((0..payload).map(|_| r.next_u64() as u8));
    frame.truncate(65_535);
    if r.chance(1, 20) {
        frame.truncate(14 + r.below(100) as usize);
    }
    let mss = match r.below(16) {
        0 => 0,
        1 => 8800 + r.below(300),
        2 => 60_000 + r.below(5000),
        3 | 4 => 1460,
        _ => (payload as u64 / 12).max(1) + r.below(700),
    } as u16;
    let at = AREA + *next + r.below(8);
    *next = (*next + 0x1_1000) % AREA_BYTES;
    host.lay(at, &frame);
    let error = if r.chance(1, 30) { BAD } else { 0 };
    let desc = TxDesc {
        addr: at | error,
        len: frame.len() as u16,
        flags: TX_LSO | [0, TX_CSUM, TX_LOOPBACK, TX_CSUM][r.below(4) as usize],
        csum_start: r.next_u64() as u8,
        csum_offset: r.next_u64() as u8,
        mss,
        reserved: 0,
    };
    // What cannot be read is lost as on a wire; a descriptor without MSS is refused before anything is read.
    let lost = error != 0 && mss != 0;
    (desc, if lost { Some(vec![]) } else { segments(&frame, usize::from(mss)) })
}
