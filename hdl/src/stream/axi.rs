//! AXI4, split into its read and its write half: 64-bit addresses, 64-bit data, `ID` bits of transaction id.
//!
//! `arsize`/`awsize` and the burst type are not here: every burst has 8-byte beats and increments.

use crate::prelude::*;

macro_rules! channels {
    ($(#[$m:meta])* $name:ident $other:literal $o:ident $i:ident; out { $($(#[$od:meta])* $of:ident: $ot:ty,)* } inp { $($(#[$id:meta])* $inf:ident: $it:ty,)* }) => {
        $(#[$m])*
        #[derive(LogicInterface)]
        #[join = $other]
        pub struct $name<const ID: usize> {
            $($(#[$od])* pub $of: Signal<$o, $ot>,)*
            $($(#[$id])* pub $inf: Signal<$i, $it>,)*
        }
        impl<const ID: usize> Default for $name<ID> {
            fn default() -> Self {
                Self { $($of: Signal::default(),)* $($inf: Signal::default(),)* }
            }
        }
    };
}

macro_rules! read_half {
    ($(#[$m:meta])* $name:ident $other:literal $o:ident $i:ident) => {
        channels! { $(#[$m])* $name $other $o $i; out {
            /// Transaction id.
            arid: Bits<ID>,
            /// Address of the first byte.
            araddr: Bits<64>,
            /// Beats minus one.
            arlen: Bits<8>,
            /// The address is offered.
            arvalid: Bit,
            /// Data is taken.
            rready: Bit,
        } inp {
            /// The address is taken.
            arready: Bit,
            /// Transaction id of the data.
            rid: Bits<ID>,
            /// Eight bytes.
            rdata: Bits<64>,
            /// 0 = OKAY, 2 and 3 = error.
            rresp: Bits<2>,
            /// Last beat of the burst.
            rlast: Bit,
            /// Data is offered.
            rvalid: Bit,
        } }
    };
}

macro_rules! write_half {
    ($(#[$m:meta])* $name:ident $other:literal $o:ident $i:ident) => {
        channels! { $(#[$m])* $name $other $o $i; out {
            /// Transaction id.
            awid: Bits<ID>,
            /// Address of the first byte.
            awaddr: Bits<64>,
            /// Beats minus one.
            awlen: Bits<8>,
            /// The address is offered.
            awvalid: Bit,
            /// Eight bytes.
            wdata: Bits<64>,
            /// Bytes that are written.
            wstrb: Bits<8>,
            /// Last beat of the burst.
            wlast: Bit,
            /// Data is offered.
            wvalid: Bit,
            /// The response is taken.
            bready: Bit,
        } inp {
            /// The address is taken.
            awready: Bit,
            /// Data is taken.
            wready: Bit,
            /// Transaction id of the response.
            bid: Bits<ID>,
            /// 0 = OKAY, 2 and 3 = error.
            bresp: Bits<2>,
            /// The response is offered: the data is visible in memory.
            bvalid: Bit,
        } }
    };
}

read_half!(
    /// Read address and read data, on the side that asks.
    AxiReadMaster "AxiReadSlave" Out In
);
read_half!(
    /// Read address and read data, on the side that answers.
    AxiReadSlave "AxiReadMaster" In Out
);
write_half!(
    /// Write address, write data and response, on the side that writes.
    AxiWriteMaster "AxiWriteSlave" Out In
);
write_half!(
    /// Write address, write data and response, on the side that answers.
    AxiWriteSlave "AxiWriteMaster" In Out
);
