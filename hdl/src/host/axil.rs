//! AXI4-Lite slave: turns the five channels into one write and one read request at a time.
//!
//! Latency: `write_valid` 1 clock after both AW and W have come; BVALID 1 clock after `write_ready`.
//! `read_valid` 1 clock after AR; RVALID 1 clock after `read_done`.
//! Back-pressure: AWREADY, WREADY, ARREADY low while a request is in work. Responses are always OKAY.
//! Reset: nothing in work.
use crate::prelude::*;
use crate::stream::AxilSlave;

/// The port. See the module page.
#[derive(LogicBlock, Default)]
pub struct AxilPort {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Synchronous, active high.
    pub reset: Signal<In, Bit>,
    /// The bus.
    pub s_axil: AxilSlave<20>,
    /// A write is to be done.
    pub write_valid: Signal<Out, Bit>,
    /// It is done in this clock.
    pub write_ready: Signal<In, Bit>,
    /// Byte offset of the write.
    pub write_addr: Signal<Out, Bits<20>>,
    /// Its data.
    pub write_data: Signal<Out, Bits<32>>,
    /// A read is to be done.
    pub read_valid: Signal<Out, Bit>,
    /// It begins in this clock.
    pub read_ready: Signal<In, Bit>,
    /// Byte offset of the read, stable until `read_done`.
    pub read_addr: Signal<Out, Bits<20>>,
    /// Pulse, at least one clock after it began: its data is there.
    pub read_done: Signal<In, Bit>,
    /// With `read_done`: the data.
    pub read_data: Signal<In, Bits<32>>,
    got_aw: Dff<Bit>,
    got_w: Dff<Bit>,
    waddr: Dff<Bits<20>>,
    word: Dff<Bits<32>>,
    responding: Dff<Bit>,
    asking: Dff<Bit>,
    reading: Dff<Bit>,
    raddr: Dff<Bits<20>>,
    answer: Dff<Bits<32>>,
    answering: Dff<Bit>,
}

#[kernel]
impl Logic for AxilPort {
    fn update(&mut self) {
        dff_setup!(self, clock, got_aw, got_w, waddr, word, responding, raddr, answer);
        dff_setup!(self, clock, asking, reading, answering);
        self.s_axil.awready.next = !self.got_aw.q.val() && !self.responding.q.val();
        self.s_axil.wready.next = !self.got_w.q.val() && !self.responding.q.val();
        self.s_axil.bvalid.next = self.responding.q.val();
        self.s_axil.bresp.next = bits::<2>(0);
        self.s_axil.rresp.next = bits::<2>(0);
        self.write_valid.next = self.got_aw.q.val() && self.got_w.q.val();
        self.write_addr.next = self.waddr.q.val();
        self.write_data.next = self.word.q.val();
        if self.s_axil.awvalid.val() && !self.got_aw.q.val() && !self.responding.q.val() {
            self.got_aw.d.next = true;
            self.waddr.d.next = self.s_axil.awaddr.val();
        }
        if self.s_axil.wvalid.val() && !self.got_w.q.val() && !self.responding.q.val() {
            self.got_w.d.next = true;
            self.word.d.next = self.s_axil.wdata.val();
        }
        if self.got_aw.q.val() && self.got_w.q.val() && self.write_ready.val() {
            self.got_aw.d.next = false;
            self.got_w.d.next = false;
            self.responding.d.next = true;
        }
        if self.responding.q.val() && self.s_axil.bready.val() {
            self.responding.d.next = false;
        }

        let (asking, reading) = (self.asking.q.val(), self.reading.q.val());
        let is_free = !asking && !reading && !self.answering.q.val();
        self.s_axil.arready.next = is_free;
        self.s_axil.rvalid.next = self.answering.q.val();
        self.s_axil.rdata.next = self.answer.q.val();
        self.read_valid.next = asking;
        self.read_addr.next = self.raddr.q.val();
        if is_free && self.s_axil.arvalid.val() {
            self.raddr.d.next = self.s_axil.araddr.val();
            self.asking.d.next = true;
        }
        if asking && self.read_ready.val() {
            self.asking.d.next = false;
            self.reading.d.next = true;
        }
        if reading && self.read_done.val() {
            self.reading.d.next = false;
            self.answer.d.next = self.read_data.val();
            self.answering.d.next = true;
        }
        if self.answering.q.val() && self.s_axil.rready.val() {
            self.answering.d.next = false;
        }
        dff_reset!(self, reset, got_aw, got_w, responding, asking, reading, answering);
    }
}
