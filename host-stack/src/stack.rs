//! The stack: frames in, frames out, time from the caller (sans-IO).
//!
//! ```text
//!   loop:  handle_frame(now, frame)*  ->  socket calls*  ->  poll(now) -> frames to send
//!          sleep until next_deadline() or the next frame
//! ```
//! Nothing is sent but by [`Stack::poll`]: call it after frames, after socket calls and at every deadline.
//! `now_us` is a microsecond clock that never goes backwards; its origin does not matter.
//!
//! What a frame means is in `ingress.rs`, socket calls are in `calls.rs`, giving a connection away and taking it back in
//! `handover.rs`.

use crate::iface::address::{Address, Addresses};
use crate::iface::frame::Frame;
use crate::iface::neighbor::NeighborCache;
use crate::iface::path::PathTable;
use crate::ingress::Report;
use crate::socket::{ConnId, ListenerId, Place, StackEvent};
use crate::tcp::input::Outcome;
use crate::tcp::isn::Secret;
use crate::tcp::merge::Merger;
use crate::tcp::tcb::{FourTuple, Opening, Tcb, TcpConfig};
use crate::wire::ethernet::MacAddr;
use crate::wire::ip::IpHeader;
use crate::wire::ipv4::Ipv4Header;
use crate::wire::ipv6::Ipv6Header;
use crate::wire::tcp::{OutSegment, TcpSegment};
use chimney_abi::cmd::TcpState;
use chimney_abi::wire::{ip_protocol, ipv4 as wip};
use chimney_abi::SeqNum;
use chimney_host_stack_core::segment::Flags;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Segments held for one connection while it is not in the host (R-115); more are dropped, and TCP
/// sends them again.
pub(crate) const MAX_HELD: usize = 256;

/// Addresses and settings of a stack with one interface.
#[derive(Clone, Debug)]
pub struct StackConfig {
    /// Our MAC address.
    pub mac: MacAddr,
    /// Our addresses, of either family; with one of IPv6 the link-local one comes by itself.
    pub addresses: Vec<Address>,
    /// MTU of the link, bytes.
    pub mtu: u16,
    /// Secret for initial sequence numbers; from a random source outside of tests.
    pub secret: u64,
    /// Settings of new connections.
    pub tcp: TcpConfig,
}

/// Frames that were not processed, by reason, and a few totals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct StackCounters {
    /// Frames received.
    pub frames_in: u64,
    /// Frames handed to the caller.
    pub frames_out: u64,
    /// Large ones among them (R-006), and the segments that they become.
    pub large_out: u64,
    /// See `large_out`.
    pub large_segments_out: u64,
    /// Not addressed to us.
    pub not_ours: u64,
    /// Too short for its headers.
    pub truncated: u64,
    /// Contradictory headers.
    pub malformed: u64,
    /// IPv4, ICMP or TCP checksum wrong.
    pub bad_checksum: u64,
    /// Fragments, IP options, extension headers, other protocols.
    pub unsupported: u64,
    /// Not sent, because longer than the link or the target can ever send: answers to echo requests.
    pub too_long: u64,
    /// Reports of too long segments that could not be kept until whoever has the connection is asked.
    pub reports_overflow: u64,
    /// TCP segments for no connection, answered with an RST.
    pub no_connection: u64,
    /// SYNs dropped because a listener's backlog was full.
    pub backlog_full: u64,
    /// Segments held for a connection that was not in the host.
    pub held: u64,
    /// Segments that could not be held.
    pub held_overflow: u64,
}

#[derive(Debug)]
pub(crate) struct Connection {
    pub tcb: Box<Tcb>,
    pub place: Place,
    /// TCP segments without IP header that arrived while not in the host (R-240).
    pub held: VecDeque<Vec<u8>>,
    /// Not accepted yet.
    pub listener: Option<ListenerId>,
    /// `Closed` was reported.
    pub is_closed: bool,
}

#[derive(Debug)]
pub(crate) struct Listener {
    pub port: u16,
    pub backlog: usize,
    pub ready: VecDeque<ConnId>,
}

/// A TCP/IP stack on one Ethernet interface.
#[derive(Debug)]
pub struct Stack {
    pub(crate) config: StackConfig,
    pub(crate) secret: Secret,
    pub(crate) addresses: Addresses,
    pub(crate) neighbors: NeighborCache,
    pub(crate) paths: PathTable,
    pub(crate) connections: BTreeMap<ConnId, Connection>,
    pub(crate) lookup: BTreeMap<FourTuple, ConnId>,
    pub(crate) listeners: BTreeMap<ListenerId, Listener>,
    pub(crate) tx: VecDeque<Frame>,
    /// Reports of segments that were too long, of connections that are not in the host.
    pub(crate) reports: VecDeque<Report>,
    /// Bytes of the largest frame that somebody divides; 0 = nobody does.
    max_large_frame: usize,
    pub(crate) events: VecDeque<StackEvent>,
    /// The same events, to find one quickly.
    pending_events: BTreeSet<StackEvent>,
    pub(crate) next_id: u32,
    pub(crate) next_port: u16,
    pub(crate) counters: StackCounters,
}

impl Stack {
    /// A stack without connections.
    #[must_use]
    pub fn new(config: StackConfig) -> Stack {
        let addresses = Addresses::new(config.mac, &config.addresses);
        Stack {
            secret: Secret(config.secret),
            neighbors: NeighborCache::new(config.mac, addresses.clone()),
            paths: PathTable::new(config.mtu),
            addresses,
            connections: BTreeMap::new(),
            lookup: BTreeMap::new(),
            listeners: BTreeMap::new(),
            tx: VecDeque::new(),
            reports: VecDeque::new(),
            max_large_frame: 0,
            events: VecDeque::new(),
            pending_events: BTreeSet::new(),
            next_id: 1,
            next_port: 0,
            counters: StackCounters::default(),
            config,
        }
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &StackConfig {
        &self.config
    }

    /// The counters.
    #[must_use]
    pub fn counters(&self) -> StackCounters {
        self.counters
    }

    /// The next event, oldest first.
    pub fn next_event(&mut self) -> Option<StackEvent> {
        let event = self.events.pop_front()?;
        self.pending_events.remove(&event);
        Some(event)
    }

    /// Says to everybody on the network where our addresses are; after the NIC below was exchanged.
    pub fn announce(&mut self) {
        self.tx.extend(self.neighbors.announcements().into_iter().map(Frame::from));
    }

    /// Reports an event, unless it waits already: the queue is bounded by the number of objects.
    pub(crate) fn report(&mut self, event: StackEvent) {
        if self.pending_events.insert(event) {
            self.events.push_back(event);
        }
    }

    /// Enters a neighbor by hand.
    pub fn add_neighbor(&mut self, now_us: u64, ip: IpAddr, mac: MacAddr) {
        self.neighbors.learn(now_us, ip, mac, &mut self.tx);
    }

    /// A TCP segment with a right checksum; `bytes` is the whole segment.
    pub(crate) fn handle_segment(
        &mut self,
        now_us: u64,
        ip: &IpHeader,
        segment: &TcpSegment<'_>,
        bytes: &[u8],
    ) {
        let tuple = FourTuple {
            local: SocketAddr::new(ip.dst(), segment.dst_port),
            remote: SocketAddr::new(ip.src(), segment.src_port),
        };
        self.drop_time_wait_for(&tuple, segment);
        let Some(id) = self.lookup.get(&tuple).copied() else {
            return self.handle_unknown(now_us, tuple, segment);
        };
        let connection = self.connections.get_mut(&id).expect("lookup and connections agree");
        if connection.place != Place::Host {
            // R-115: the state is somebody else's; keep the segment for whoever has it in the end.
            if connection.hold(segment, bytes) {
                self.counters.held += 1;
            } else {
                self.counters.held_overflow += 1;
            }
            return;
        }
        self.process(now_us, id, segment);
    }

    /// Runs one segment through a connection that is in the host.
    pub(crate) fn process(&mut self, now_us: u64, id: ConnId, segment: &TcpSegment<'_>) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let tcb = &mut connection.tcb;
        let before = (tcb.state, tcb.receive.unread_len(), tcb.rcv_nxt, tcb.snd.snd_una);
        let tuple = tcb.tuple;
        if tcb.on_segment(now_us, segment) == Outcome::SendReset {
            self.send_reset(now_us, &tuple, segment);
        }
        let Some(connection) = self.connections.get(&id) else { return };
        let tcb = &connection.tcb;
        let after = (tcb.state, tcb.receive.unread_len(), tcb.rcv_nxt, tcb.snd.snd_una);
        if before.3 != after.3 {
            self.report(StackEvent::Writable(id));
            let next_hop = self.next_hop(tuple.remote.ip());
            self.neighbors.confirm(now_us, next_hop, &mut self.tx);
        }
        let was_opening = matches!(before.0, TcpState::SynSent | TcpState::SynRcvd);
        if was_opening
            && after.0 != TcpState::Closed
            && !matches!(after.0, TcpState::SynSent | TcpState::SynRcvd)
        {
            self.report_open(id);
        } else if before.1 != after.1 || before.2 != after.2 {
            self.report(StackEvent::Readable(id));
        }
        self.settle(id);
    }

    fn report_open(&mut self, id: ConnId) {
        let listener = self.connections.get(&id).and_then(|c| c.listener);
        let Some(listener) = listener.filter(|l| self.listeners.contains_key(l)) else {
            return self.report(StackEvent::Connected(id));
        };
        if let Some(entry) = self.listeners.get_mut(&listener) {
            entry.ready.push_back(id);
        }
        self.report(StackEvent::Incoming(listener));
    }

    /// Cleans up behind a connection that has reached CLOSED.
    pub(crate) fn settle(&mut self, id: ConnId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if connection.tcb.state != TcpState::Closed {
            return;
        }
        let is_news = !std::mem::replace(&mut connection.is_closed, true);
        let tuple = connection.tcb.tuple;
        let (is_detached, listener) = (connection.tcb.is_detached, connection.listener);
        if is_news {
            self.lookup.remove(&tuple);
            self.report(StackEvent::Closed(id));
        }
        // An embryo that failed was never seen by anybody (RFC 9293 3.10.7.4: back to LISTEN).
        let is_ready = self.listeners.values().any(|l| l.ready.contains(&id));
        if is_detached || (listener.is_some() && !is_ready) {
            self.connections.remove(&id);
        }
    }

    /// RFC 9293 3.6.1 (MAY-2), RFC 6191: a new SYN may end TIME-WAIT early.
    fn drop_time_wait_for(&mut self, tuple: &FourTuple, segment: &TcpSegment<'_>) {
        let is_plain_syn = segment.flags.has(Flags::SYN) && !segment.flags.has(Flags::ACK);
        let Some(id) = self.lookup.get(tuple).copied().filter(|_| is_plain_syn) else { return };
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if connection.tcb.state == TcpState::TimeWait && segment.seq.after(connection.tcb.rcv_nxt) {
            connection.tcb.timers.close = Some(0);
            connection.tcb.on_time(0);
            self.settle(id);
        }
    }

    /// RFC 9293 3.10.7.1 and 3.10.7.2: no connection; perhaps a listener.
    fn handle_unknown(&mut self, now_us: u64, tuple: FourTuple, segment: &TcpSegment<'_>) {
        if segment.flags.has(Flags::RST) {
            return;
        }
        let is_syn = segment.flags.has(Flags::SYN) && !segment.flags.has(Flags::ACK);
        let port = tuple.local.port();
        let listener = self.listeners.iter().find(|(_, l)| l.port == port).map(|(id, l)| (*id, l.backlog));
        let Some((listener, backlog)) = listener.filter(|_| is_syn) else {
            self.counters.no_connection += 1;
            return self.send_reset(now_us, &tuple, segment);
        };
        let waiting = self.connections.values().filter(|c| c.listener == Some(listener)).count();
        if waiting >= backlog {
            self.counters.backlog_full += 1;
            return;
        }
        let opening = self.opening(now_us, tuple);
        let tcb = Tcb::accept(&opening, now_us, segment);
        self.insert(tcb, Some(listener));
    }

    pub(crate) fn opening(&mut self, now_us: u64, tuple: FourTuple) -> Opening {
        let (src, dst) = (tuple.local.ip(), tuple.remote.ip());
        let path_mss = self.paths.get(src, dst).eff_mss(u16::MAX, false);
        Opening {
            tuple,
            config: self.config.tcp,
            iss: self.secret.isn(now_us, &tuple),
            ts_delta: self.secret.timestamp_delta(&tuple),
            flow_label: self.secret.flow_label(&tuple),
            // `as`: an MTU less two headers.
            local_mss: self.paths.local_mss(dst).min(path_mss as u16),
        }
    }

    pub(crate) fn insert(&mut self, tcb: Tcb, listener: Option<ListenerId>) -> ConnId {
        let id = ConnId(self.next_id);
        self.next_id = self.next_id.wrapping_add(1).max(1);
        self.lookup.insert(tcb.tuple, id);
        let connection = Connection {
            tcb: Box::new(tcb),
            place: Place::Host,
            held: VecDeque::new(),
            listener,
            is_closed: false,
        };
        self.connections.insert(id, connection);
        id
    }

    /// The RST that answers a segment (RFC 9293 3.10.7.1).
    fn send_reset(&mut self, now_us: u64, tuple: &FourTuple, segment: &TcpSegment<'_>) {
        if segment.flags.has(Flags::RST) {
            return;
        }
        let has_ack = segment.flags.has(Flags::ACK);
        let reset = OutSegment {
            src_port: segment.dst_port,
            dst_port: segment.src_port,
            seq: if has_ack { segment.ack } else { SeqNum(0) },
            ack: if has_ack { SeqNum(0) } else { segment.numbers(0).end() },
            flags: Flags::RST.with_if(!has_ack, Flags::ACK),
            ..OutSegment::default()
        };
        self.send_segment(now_us, tuple, &reset);
    }

    /// What connections send at one time goes out in frames of up to `bytes`, for a device that divides them; 0 = never (R-006).
    pub fn set_max_large_frame(&mut self, bytes: usize) {
        self.max_large_frame = bytes.min(usize::from(u16::MAX));
    }

    /// As [`Stack::poll_frames`], large frames divided.
    pub fn poll(&mut self, now_us: u64) -> Vec<Vec<u8>> {
        self.poll_frames(now_us).into_iter().flat_map(Frame::into_segments).collect()
    }

    /// Runs timers, builds what connections have to send, and returns all frames to send now.
    pub fn poll_frames(&mut self, now_us: u64) -> Vec<Frame> {
        self.neighbors.poll(now_us, &mut self.tx);
        let ids: Vec<ConnId> = self.connections.keys().copied().collect();
        for id in ids {
            self.poll_connection(now_us, id);
        }
        self.take_queued().into()
    }

    /// The frames that wait for the next poll.
    pub(crate) fn take_queued(&mut self) -> VecDeque<Frame> {
        self.counters.frames_out += self.tx.len() as u64;
        std::mem::take(&mut self.tx)
    }

    fn poll_connection(&mut self, now_us: u64, id: ConnId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if connection.place != Place::Host || connection.is_closed {
            return;
        }
        connection.tcb.on_time(now_us);
        let tuple = connection.tcb.tuple;
        let mut merger = Merger::new(self.max_large_frame);
        while let Some(segment) = self.connections.get_mut(&id).and_then(|c| c.tcb.next_segment(now_us)) {
            if let Some(complete) = merger.push(segment) {
                self.send_segment(now_us, &tuple, &complete);
            }
        }
        if let Some(last) = merger.finish() {
            self.send_segment(now_us, &tuple, &last);
        }
        self.settle(id);
    }

    /// When [`Stack::poll`] has something to do although nothing arrives; 0 = now.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        let live = self.connections.values().filter(|c| c.place == Place::Host && !c.is_closed);
        let of_connection = |c: &Connection| if c.tcb.owed.any() { Some(0) } else { c.tcb.timers.next() };
        let queued = (!self.tx.is_empty()).then_some(0);
        live.filter_map(of_connection).chain(self.neighbors.next_deadline()).chain(queued).min()
    }

    /// Sends a segment of the connection, or of none, that `tuple` names.
    pub(crate) fn send_segment(&mut self, now_us: u64, tuple: &FourTuple, segment: &OutSegment) {
        let (src, dst) = (tuple.local.ip(), tuple.remote.ip());
        let header = match (src, dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => IpHeader::V4(self.ipv4_header(src, dst, ip_protocol::TCP)),
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                let flow_label = self.secret.flow_label(tuple);
                IpHeader::V6(Ipv6Header { flow_label, ..ipv6_header(src, dst, ip_protocol::TCP) })
            }
            // No connection has ends of two families.
            _ => return,
        };
        if segment.mss != 0 {
            let segments = segment.count();
            if src.is_ipv4() {
                self.paths.get(src, dst).skip_ids(segments - 1);
            }
            self.counters.large_out += 1;
            self.counters.large_segments_out += u64::from(segments);
        }
        self.send_frame(now_us, dst, Frame { bytes: segment.to_frame(&header), mss: segment.mss });
    }

    pub(crate) fn ipv4_header(&mut self, src: Ipv4Addr, dst: Ipv4Addr, protocol: u8) -> Ipv4Header {
        let id = self.paths.get(src.into(), dst.into()).next_id();
        Ipv4Header { src, dst, protocol, ttl: wip::DEFAULT_TTL, tos: 0, id }
    }

    /// Sends a frame without its Ethernet header to the next hop on the way to `dst`.
    pub(crate) fn send_frame(&mut self, now_us: u64, dst: IpAddr, frame: impl Into<Frame>) {
        let next_hop = self.next_hop(dst);
        self.neighbors.send(now_us, next_hop, frame, &mut self.tx);
    }

    /// The neighbor through which an address is reached.
    #[must_use]
    pub fn next_hop(&self, dst: IpAddr) -> IpAddr {
        self.addresses.next_hop(dst)
    }
}

pub(crate) fn ipv6_header(src: Ipv6Addr, dst: Ipv6Addr, next_header: u8) -> Ipv6Header {
    Ipv6Header { src, dst, next_header, hop_limit: wip::DEFAULT_TTL, traffic_class: 0, flow_label: 0 }
}
