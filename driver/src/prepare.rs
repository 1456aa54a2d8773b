//! From the host's TCP state to a connection in the driver and an image for the device (spec 6, guide section 5).

use chimney_abi::cmd::{Status, TcpState};
use chimney_abi::desc::{RecvDesc, SendDesc, OOO_RANGES, PAGE_BYTES};
use chimney_abi::offload::{HostHandle, Range, TcpBlockState, Token};
use chimney_abi::state::{self, TcpRecord};
use chimney_abi::SeqNum;

use crate::bus::DmaMemory;
use crate::config::{quota_pages, Config};
use crate::conn::{Close, Conn, Phase, Shared};
use crate::counts::Tally;
use crate::dma::DmaView;
use crate::pool::{PageMap, Pool};
use crate::queue::send::SendQueue;
use crate::receive::Receive;
use crate::record;
use crate::ring::Ring;

/// Most undelivered bytes that an offload may bring.
const MAX_BUFFERED_BYTES: usize = 1 << 20;
/// How long segments that the host holds may take to reach the engine: far above what forwarding needs, far below the
/// smallest retransmission time-out of a peer (200 ms on Linux).
const ARRIVAL_US: u32 = 20_000;

/// Memory of one connection.
#[derive(Debug)]
pub struct ConnMemory<M> {
    /// Send ring.
    pub send_ring: DmaView<M>,
    /// Receive ring.
    pub recv_ring: DmaView<M>,
    /// Shadow records.
    pub shadow: DmaView<M>,
    /// Page map.
    pub page_map: DmaView<M>,
}

/// Who the new connection is.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    /// Its token.
    pub token: Token,
    /// The host's handle.
    pub handle: HostHandle,
    /// Its path.
    pub path: Token,
    /// Now.
    pub now_us: u64,
}

/// Makes a connection and the record for its image.
///
/// # Errors
/// The status of the refusal; then nothing was taken.
pub fn prepare<M: DmaMemory>(
    who: Identity,
    state: &TcpBlockState,
    memory: ConnMemory<M>,
    config: &Config,
    shared: &mut Shared<M>,
) -> Result<(Conn<M>, TcpRecord), Status> {
    let tcp_state = record::check(state)?;
    if state.buffered.len() > MAX_BUFFERED_BYTES {
        return Err(Status::Failure);
    }
    let host = &state.record;
    let next = record::text_next(host);
    let promised = host.rcv_right.wrapping_sub(next);
    let window = if host.initial_rcv_wnd == 0 { promised } else { host.initial_rcv_wnd };
    let quota = quota_pages(window.max(promised));
    if !shared.pool.promise(quota) {
        return Err(Status::Resources);
    }
    memory.shadow.clear();
    memory.page_map.clear();
    let send_ring = Ring::new("send", memory.send_ring, config.send_log2, SendDesc::BYTES);
    // Our FIN, if it was acknowledged, is counted in snd_una but is no byte of the stream.
    let fin_was_acked = tcp_state == TcpState::FinWait2;
    let mut send = SendQueue::new(send_ring, host.snd_una.wrapping_sub(fin_was_acked.into()), host.eff_mss);
    if !send.stage(&mut shared.buffers, &state.send_data, &state.push_marks) {
        shared.pool.forget(quota);
        return Err(Status::Resources);
    }
    let recv_ring = Ring::new("receive", memory.recv_ring, config.recv_log2, RecvDesc::BYTES);
    let map = PageMap::new(memory.page_map, who.token.generation);
    let ranges = place_ranges(&state.out_of_order, next, host.rcv_right, &map, &mut shared.pool);
    let mut recv = Receive::new(recv_ring, map, next, host.rcv_right, window);
    recv.preload(&state.buffered);
    recv.indication_size = host.rcv_indication_size;
    let image = down(host, tcp_state, &who, &send, &recv, ranges);
    let conn = Conn {
        token: who.token,
        handle: who.handle,
        path: who.path,
        phase: Phase::Offloading,
        record: *host,
        since_us: who.now_us,
        send,
        recv,
        shadow_view: memory.shadow,
        shadow: None,
        close: if image.deleg_flags & state::DELEG_FIN_POSTED != 0 { Close::Told } else { Close::Open },
        disconnect_due: false,
        fin_acked: fin_was_acked,
        aborted: false,
        own_abort: false,
        fault: None,
        reason: None,
        forwards: 0,
        quota,
        tally: Tally::default(),
    };
    Ok((conn, image))
}

/// The record as the device gets it: the host's words, the driver's rings.
fn down<M: DmaMemory>(
    host: &TcpRecord,
    tcp_state: TcpState,
    who: &Identity,
    send: &SendQueue<M>,
    recv: &Receive<M>,
    ranges: [(u32, u32); OOO_RANGES],
) -> TcpRecord {
    let mut r = record::up(*host);
    r.deleg_flags = record::down_flags(host.deleg_flags, tcp_state) | state::DELEG_ARRIVING;
    r.delack_deadline = ARRIVAL_US;
    (r.path, r.generation) = (who.path.index, who.token.generation);
    (r.send_ring, r.send_ring_log2) = (send.ring().iova(), send.ring().log2());
    (r.recv_ring, r.recv_ring_log2) = (recv.ring.iova(), recv.ring.log2());
    (r.send_producer, r.snd_limit) = (send.ring().publish(), send.limit());
    record::set_ranges(&mut r, ranges);
    r
}

/// Puts out-of-order bytes into pages (L3: SACKed bytes survive). A range that does not fit is dropped: it
/// was never acknowledged cumulatively.
fn place_ranges<M: DmaMemory>(
    ranges: &[Range],
    next: u32,
    right: u32,
    map: &PageMap<M>,
    pool: &mut Pool<M>,
) -> [(u32, u32); OOO_RANGES] {
    let mut placed = [(next, next); OOO_RANGES];
    let mut after = SeqNum(next);
    let mut count = 0;
    for range in ranges {
        let (start, len) = (SeqNum(range.seq), range.bytes.len());
        let room = SeqNum(right).distance_from(start);
        let fits = start.after(after) && i64::from(room) >= len as i64 && len > 0;
        if !fits || count == OOO_RANGES || !place_range(range, map, pool) {
            continue;
        }
        let end = start + len as u32; // inside the window
        placed[count] = (start.0, end.0);
        count += 1;
        after = end;
    }
    placed
}

fn place_range<M: DmaMemory>(range: &Range, map: &PageMap<M>, pool: &mut Pool<M>) -> bool {
    let mut seq = range.seq;
    let mut rest = &range.bytes[..];
    while !rest.is_empty() {
        let offset = (seq % PAGE_BYTES) as usize;
        let n = rest.len().min(PAGE_BYTES as usize - offset);
        let page = match map.page(seq) {
            Some(page) => page,
            None => {
                let Some(page) = pool.take() else { return false };
                map.set(seq, page);
                page
            }
        };
        pool.write(page, offset, &rest[..n]);
        rest = &rest[n..];
        seq = seq.wrapping_add(n as u32); // at most a page
    }
    true
}
