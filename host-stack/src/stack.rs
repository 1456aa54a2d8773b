//! The stack: frames in, frames out, time from the caller (sans-IO).
//!
//! ```text
//!   loop:  handle_frame(now, frame)*  ->  socket calls*  ->  poll(now) -> frames to send
//!          sleep until next_deadline() or the next frame
//! ```
//! Nothing is sent but by [`Stack::poll`]: call it after frames, after socket calls and at every deadline.
//! `now_us` is a microsecond clock that never goes backwards; its origin does not matter.
//!
//! Socket calls are in `calls.rs`, giving a connection away and taking it back in `handover.rs`.

use crate::iface::neighbor::NeighborCache;
use crate::iface::path::PathTable;
use crate::socket::{ConnId, ListenerId, Place, StackEvent};
use crate::tcp::input::Outcome;
use crate::tcp::isn::Secret;
use crate::tcp::tcb::{FourTuple, Opening, Tcb, TcpConfig};
use crate::wire::ethernet::MacAddr;
use crate::wire::icmp::IcmpMessage;
use crate::wire::ipv4::Ipv4Header;
use crate::wire::tcp::{OutSegment, TcpSegment};
use crate::wire::{arp, ethernet, icmp, ipv4, tcp, WireError};
use chimney_abi::cmd::TcpState;
use chimney_abi::wire::{ethernet as we, ip_protocol, ipv4 as wip};
use chimney_abi::SeqNum;
use chimney_host_stack_core::segment::Flags;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{Ipv4Addr, SocketAddrV4};

/// Segments held for one connection while it is not in the host (R-115); more are dropped, and TCP
/// sends them again.
pub(crate) const MAX_HELD: usize = 256;

/// Addresses and settings of a stack with one interface.
#[derive(Clone, Debug)]
pub struct StackConfig {
    /// Our MAC address.
    pub mac: MacAddr,
    /// Our address.
    pub ip: Ipv4Addr,
    /// Length of the network prefix.
    pub prefix_len: u8,
    /// Where to send what is not on the link.
    pub gateway: Option<Ipv4Addr>,
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
    /// Not addressed to us.
    pub not_ours: u64,
    /// Too short for its headers.
    pub truncated: u64,
    /// Contradictory headers.
    pub malformed: u64,
    /// IPv4, ICMP or TCP checksum wrong.
    pub bad_checksum: u64,
    /// Fragments, IP options, other protocols.
    pub unsupported: u64,
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
    pub(crate) neighbors: NeighborCache,
    pub(crate) paths: PathTable,
    pub(crate) connections: BTreeMap<ConnId, Connection>,
    pub(crate) lookup: BTreeMap<FourTuple, ConnId>,
    pub(crate) listeners: BTreeMap<ListenerId, Listener>,
    pub(crate) tx: VecDeque<Vec<u8>>,
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
        Stack {
            secret: Secret(config.secret),
            neighbors: NeighborCache::new(config.mac, config.ip),
            paths: PathTable::new(config.ip, config.mtu),
            connections: BTreeMap::new(),
            lookup: BTreeMap::new(),
            listeners: BTreeMap::new(),
            tx: VecDeque::new(),
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

    /// Reports an event, unless it waits already: the queue is bounded by the number of objects.
    pub(crate) fn report(&mut self, event: StackEvent) {
        if self.pending_events.insert(event) {
            self.events.push_back(event);
        }
    }

    /// Enters a neighbor by hand.
    pub fn add_neighbor(&mut self, now_us: u64, ip: Ipv4Addr, mac: MacAddr) {
        self.neighbors.learn(now_us, ip, mac, &mut self.tx);
    }

    /// Processes one received frame (without FCS).
    pub fn handle_frame(&mut self, now_us: u64, frame: &[u8]) {
        self.counters.frames_in += 1;
        match self.dispatch(now_us, frame) {
            Ok(()) => {}
            Err(WireError::Truncated) => self.counters.truncated += 1,
            Err(WireError::Malformed) => self.counters.malformed += 1,
            Err(WireError::BadChecksum) => self.counters.bad_checksum += 1,
            Err(WireError::Unsupported) => self.counters.unsupported += 1,
        }
    }

    fn dispatch(&mut self, now_us: u64, frame: &[u8]) -> Result<(), WireError> {
        let (header, payload) = ethernet::parse(frame)?;
        if header.dst != self.config.mac && header.dst != MacAddr::BROADCAST {
            self.counters.not_ours += 1;
            return Ok(());
        }
        match header.ethertype {
            we::TYPE_ARP => {
                self.neighbors.handle(now_us, &arp::parse(payload)?, &mut self.tx);
                Ok(())
            }
            we::TYPE_IPV4 => self.handle_ipv4(now_us, header.dst, payload),
            _ => Err(WireError::Unsupported),
        }
    }

    fn handle_ipv4(&mut self, now_us: u64, dst_mac: MacAddr, packet: &[u8]) -> Result<(), WireError> {
        let (header, payload) = ipv4::parse(packet)?;
        // RFC 1122 3.2.1.3: a broadcast frame never carries TCP for us, and nobody's source is a group.
        if header.dst != self.config.ip || dst_mac.is_group() || header.src.is_multicast() {
            self.counters.not_ours += 1;
            return Ok(());
        }
        match header.protocol {
            ip_protocol::ICMP => self.handle_icmp(now_us, &header, payload),
            ip_protocol::TCP => {
                let ecn = header.tos & wip::ECN_MASK;
                let segment = TcpSegment { ecn, ..tcp::parse(payload, header.src, header.dst)? };
                self.handle_segment(now_us, header.src, &segment, payload);
                Ok(())
            }
            _ => Err(WireError::Unsupported),
        }
    }

    fn handle_icmp(&mut self, now_us: u64, header: &Ipv4Header, bytes: &[u8]) -> Result<(), WireError> {
        match icmp::parse(bytes)? {
            IcmpMessage::EchoRequest { rest } => {
                let reply = self.ip_header(header.src, ip_protocol::ICMP);
                let packet = icmp::echo_reply(&reply, rest);
                let mut frame = vec![0; we::HEADER_LEN];
                frame.extend(packet);
                self.send_frame(now_us, header.src, frame);
            }
            IcmpMessage::FragmentationNeeded { mtu, dst, ports, seq } => {
                self.on_fragmentation_needed(mtu, dst, ports, seq);
            }
        }
        Ok(())
    }

    /// RFC 1191, and RFC 5927 4.1: believed only if the quoted segment is one that is in flight.
    fn on_fragmentation_needed(&mut self, mtu: u16, dst: Ipv4Addr, ports: (u16, u16), seq: SeqNum) {
        let tuple = FourTuple {
            local: SocketAddrV4::new(self.config.ip, ports.0),
            remote: SocketAddrV4::new(dst, ports.1),
        };
        let Some(connection) = self.lookup.get(&tuple).and_then(|id| self.connections.get(id)) else {
            return;
        };
        let snd = connection.tcb.snd;
        if !seq.in_window(snd.snd_una, snd.flight_size()) || !self.paths.reduce_mtu(dst, mtu) {
            return;
        }
        let path = *self.paths.get(dst);
        let on_path = |c: &&mut Connection| *c.tcb.tuple.remote.ip() == dst;
        for connection in self.connections.values_mut().filter(on_path) {
            let n = connection.tcb.negotiated;
            let eff_mss = path.eff_mss(n.remote_mss, n.has_timestamps).min(connection.tcb.eff_mss);
            connection.tcb.set_eff_mss(eff_mss);
            // G-20: resegment and send again at once, without a congestion response.
            connection.tcb.send_again();
        }
    }

    /// A TCP segment with a right checksum; `bytes` is the whole segment.
    fn handle_segment(&mut self, now_us: u64, src: Ipv4Addr, segment: &TcpSegment<'_>, bytes: &[u8]) {
        let tuple = FourTuple {
            local: SocketAddrV4::new(self.config.ip, segment.dst_port),
            remote: SocketAddrV4::new(src, segment.src_port),
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
        let remote = tcb.tuple.remote;
        if tcb.on_segment(now_us, segment) == Outcome::SendReset {
            self.send_reset(now_us, *remote.ip(), segment);
        }
        let Some(connection) = self.connections.get(&id) else { return };
        let tcb = &connection.tcb;
        let after = (tcb.state, tcb.receive.unread_len(), tcb.rcv_nxt, tcb.snd.snd_una);
        if before.3 != after.3 {
            self.report(StackEvent::Writable(id));
            let next_hop = self.next_hop(*remote.ip());
            self.neighbors.confirm(now_us, next_hop);
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
            return self.send_reset(now_us, *tuple.remote.ip(), segment);
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
        let path_mss = self.paths.get(*tuple.remote.ip()).eff_mss(u16::MAX, false);
        Opening {
            tuple,
            config: self.config.tcp,
            iss: self.secret.isn(now_us, &tuple),
            ts_delta: self.secret.timestamp_delta(&tuple),
            // `as`: an MTU less two headers.
            local_mss: self.paths.local_mss().min(path_mss as u16),
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
    fn send_reset(&mut self, now_us: u64, to: Ipv4Addr, segment: &TcpSegment<'_>) {
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
        self.send_segment(now_us, to, &reset);
    }

    /// Runs timers, builds what connections have to send, and returns all frames to send now.
    pub fn poll(&mut self, now_us: u64) -> Vec<Vec<u8>> {
        self.neighbors.poll(now_us, &mut self.tx);
        let ids: Vec<ConnId> = self.connections.keys().copied().collect();
        for id in ids {
            self.poll_connection(now_us, id);
        }
        self.counters.frames_out += self.tx.len() as u64;
        self.tx.drain(..).collect()
    }

    fn poll_connection(&mut self, now_us: u64, id: ConnId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if connection.place != Place::Host || connection.is_closed {
            return;
        }
        connection.tcb.on_time(now_us);
        let remote = *connection.tcb.tuple.remote.ip();
        while let Some(segment) = self.connections.get_mut(&id).and_then(|c| c.tcb.next_segment(now_us)) {
            self.send_segment(now_us, remote, &segment);
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

    pub(crate) fn send_segment(&mut self, now_us: u64, to: Ipv4Addr, segment: &OutSegment) {
        let header = Ipv4Header { tos: segment.ecn, ..self.ip_header(to, ip_protocol::TCP) };
        let frame = segment.to_frame(&header);
        self.send_frame(now_us, to, frame);
    }

    fn ip_header(&mut self, dst: Ipv4Addr, protocol: u8) -> Ipv4Header {
        let id = self.paths.get(dst).next_id();
        Ipv4Header { src: self.config.ip, dst, protocol, ttl: wip::DEFAULT_TTL, tos: 0, id }
    }

    fn send_frame(&mut self, now_us: u64, dst: Ipv4Addr, frame: Vec<u8>) {
        let next_hop = self.next_hop(dst);
        self.neighbors.send(now_us, next_hop, frame, &mut self.tx);
    }

    /// The neighbor through which an address is reached.
    #[must_use]
    pub fn next_hop(&self, dst: Ipv4Addr) -> Ipv4Addr {
        let shift = 32 - u32::from(self.config.prefix_len.min(32));
        let network = |ip: Ipv4Addr| u32::from(ip).checked_shr(shift).unwrap_or(0);
        let is_on_link = network(dst) == network(self.config.ip);
        self.config.gateway.filter(|_| !is_on_link).unwrap_or(dst)
    }
}
