//! AXI-Stream, 64 bits wide: the MAC side of the NIC and the frame path inside.

use crate::prelude::*;

/// The side that sends. A beat moves in a clock with `tvalid` and `tready`; until then it stays as it is.
#[derive(LogicInterface, Default)]
#[join = "AxisSlave"]
pub struct AxisMaster {
    /// Eight bytes, the first one in bits 7:0.
    pub tdata: Signal<Out, Bits<64>>,
    /// Bytes that count: all ones but in the last beat, where they are contiguous from bit 0.
    pub tkeep: Signal<Out, Bits<8>>,
    /// Last beat of the frame.
    pub tlast: Signal<Out, Bit>,
    /// With `tlast`: the frame is bad.
    pub tuser: Signal<Out, Bit>,
    /// The beat is offered.
    pub tvalid: Signal<Out, Bit>,
    /// The beat is taken.
    pub tready: Signal<In, Bit>,
}

/// The side that receives; see [`AxisMaster`].
#[derive(LogicInterface, Default)]
#[join = "AxisMaster"]
pub struct AxisSlave {
    /// Eight bytes.
    pub tdata: Signal<In, Bits<64>>,
    /// Bytes that count.
    pub tkeep: Signal<In, Bits<8>>,
    /// Last beat.
    pub tlast: Signal<In, Bit>,
    /// Bad frame.
    pub tuser: Signal<In, Bit>,
    /// Offered.
    pub tvalid: Signal<In, Bit>,
    /// Taken.
    pub tready: Signal<Out, Bit>,
}

/// One beat, for storage.
#[derive(LogicStruct, Default, Copy, Clone, PartialEq, Debug)]
pub struct Beat {
    /// Eight bytes, the first one in bits 7:0.
    pub data: Bits<64>,
    /// Bytes that count.
    pub keep: Bits<8>,
    /// Last beat.
    pub last: Bit,
    /// Bad frame.
    pub user: Bit,
}
