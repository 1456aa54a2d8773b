//! Read arbiter: several clients on one AXI4 read channel.
//!
//! A client asks for one burst at a time ([`ReadReq`]) and gets its beats in order, marked by its
//! own `beat_valid`; it must take every beat at once. The AXI ID is the client's number, so
//! bursts of different clients may return interleaved and in any order, those of one client stay in order.
//!
//! Latency: 2 clocks from `req_valid` to `arvalid`; 1 clock from `rvalid` to `beat_valid`.
//! Throughput: one request every 3 clocks, one beat per clock. Back-pressure: `req_ready` while AR is
//! busy; none on data. At most [`MAX_OUTSTANDING`] bursts are in flight. Reset: nothing in flight is
//! remembered, so the top holds reset until `outstanding` was zero.
use crate::prelude::*;
use crate::stream::AxiReadMaster;
use crate::types::{ReadBeat, ReadReq};

/// Bursts in flight before new requests wait.
pub const MAX_OUTSTANDING: u64 = 48;

/// The arbiter; `N` clients, at most 16. See the module page.
#[derive(LogicBlock)]
pub struct ReadArbiter<const N: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Synchronous, active high.
    pub reset: Signal<In, Bit>,
    /// Client i has a request.
    pub req_valid: [Signal<In, Bit>; N],
    /// Client i's request is taken.
    pub req_ready: [Signal<Out, Bit>; N],
    /// The requests.
    pub req: [Signal<In, ReadReq>; N],
    /// `beat` is for client i.
    pub beat_valid: [Signal<Out, Bit>; N],
    /// Data, for all clients.
    pub beat: Signal<Out, ReadBeat>,
    /// Bursts in flight.
    pub outstanding: Signal<Out, Bits<8>>,
    /// The bus; the transaction id is the client number.
    pub m_axi: AxiReadMaster<4>,
    granted: Dff<Bit>,
    client: Dff<Bits<4>>,
    ar_valid: Dff<Bit>,
    ar_addr: Dff<Bits<64>>,
    ar_id: Dff<Bits<4>>,
    ar_len: Dff<Bits<8>>,
    in_flight: Dff<Bits<8>>,
    r_valid: Dff<Bit>,
    r_id: Dff<Bits<4>>,
    r_beat: Dff<ReadBeat>,
}

impl<const N: usize> Default for ReadArbiter<N> {
    fn default() -> Self {
        assert!(N > 0 && N <= 16, "1 to 16 clients");
        Self {
            clock: Signal::default(),
            reset: Signal::default(),
            req_valid: std::array::from_fn(|_| Signal::default()),
            req_ready: std::array::from_fn(|_| Signal::default()),
            req: std::array::from_fn(|_| Signal::default()),
            beat_valid: std::array::from_fn(|_| Signal::default()),
            beat: Signal::default(),
            outstanding: Signal::default(),
            m_axi: AxiReadMaster::default(),
            granted: Dff::default(),
            client: Dff::default(),
            ar_valid: Dff::default(),
            ar_addr: Dff::default(),
            ar_id: Dff::default(),
            ar_len: Dff::default(),
            in_flight: Dff::default(),
            r_valid: Dff::default(),
            r_id: Dff::default(),
            r_beat: Dff::default(),
        }
    }
}

#[kernel]
impl<const N: usize> Logic for ReadArbiter<N> {
    fn update(&mut self) {
        dff_setup!(
            self, clock, granted, client, ar_valid, ar_addr, ar_id, ar_len, in_flight, r_valid, r_id, r_beat
        );
        self.m_axi.arvalid.next = self.ar_valid.q.val();
        self.m_axi.araddr.next = self.ar_addr.q.val();
        self.m_axi.arid.next = self.ar_id.q.val();
        self.m_axi.arlen.next = self.ar_len.q.val();
        self.m_axi.rready.next = true;
        self.outstanding.next = self.in_flight.q.val();

        // A grant lasts one clock: `req_ready` comes from registers alone, so it closes no loop with `req_valid`.
        for i in 0..N {
            self.req_ready[i].next = self.granted.q.val() && self.client.q.val() == bits::<4>(i as u64);
        }
        self.granted.d.next = false;
        if self.ar_valid.q.val() && self.m_axi.arready.val() {
            self.ar_valid.d.next = false;
        }
        if self.granted.q.val() {
            for i in 0..N {
                if self.client.q.val() == bits::<4>(i as u64) {
                    self.ar_addr.d.next = self.req[i].val().iova;
                    self.ar_len.d.next = bit_cast::<8, _>(self.req[i].val().beats) - 1;
                }
            }
            self.ar_id.d.next = self.client.q.val();
            self.ar_valid.d.next = true;
        }
        // Round robin: first the clients after the last one served, then the others.
        let room = self.in_flight.q.val() < MAX_OUTSTANDING;
        if !self.granted.q.val() && !self.ar_valid.q.val() && room {
            let mut found = false;
            for round in 0..2usize {
                for i in 0..N {
                    let later = i > 0 && bits::<4>(i as u64) > self.client.q.val();
                    if !found && self.req_valid[i].val() && (later || round == 1) {
                        found = true;
                        self.client.d.next = bits::<4>(i as u64);
                    }
                }
            }
            self.granted.d.next = found;
        }

        let started = self.granted.q.val();
        let ended = self.m_axi.rvalid.val() && self.m_axi.rlast.val();
        if started && !ended {
            self.in_flight.d.next = self.in_flight.q.val() + 1;
        }
        if ended && !started {
            self.in_flight.d.next = self.in_flight.q.val() - 1;
        }

        self.r_valid.d.next = self.m_axi.rvalid.val();
        self.r_id.d.next = self.m_axi.rid.val();
        self.r_beat.d.next = ReadBeat {
            data: self.m_axi.rdata.val(),
            last: self.m_axi.rlast.val(),
            error: self.m_axi.rresp.val().any(),
        };
        self.beat.next = self.r_beat.q.val();
        for i in 0..N {
            self.beat_valid[i].next = self.r_valid.q.val() && self.r_id.q.val() == bits::<4>(i as u64);
        }
        dff_reset!(self, reset, granted, client, ar_valid, in_flight, r_valid);
    }
}
