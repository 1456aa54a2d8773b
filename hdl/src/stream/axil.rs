//! AXI4-Lite, 32 bits wide, `AW` bits of byte address: the register bus.

use crate::prelude::*;

macro_rules! lite {
    ($(#[$m:meta])* $name:ident $other:literal $o:ident $i:ident) => {
        $(#[$m])*
        #[derive(LogicInterface)]
        #[join = $other]
        pub struct $name<const AW: usize> {
            /// Write address.
            pub awaddr: Signal<$o, Bits<AW>>,
            /// Write address is offered.
            pub awvalid: Signal<$o, Bit>,
            /// Write address is taken.
            pub awready: Signal<$i, Bit>,
            /// Write data.
            pub wdata: Signal<$o, Bits<32>>,
            /// Bytes that are written.
            pub wstrb: Signal<$o, Bits<4>>,
            /// Write data is offered.
            pub wvalid: Signal<$o, Bit>,
            /// Write data is taken.
            pub wready: Signal<$i, Bit>,
            /// Write response: 0 = OKAY, 2 = error.
            pub bresp: Signal<$i, Bits<2>>,
            /// Write response is offered.
            pub bvalid: Signal<$i, Bit>,
            /// Write response is taken.
            pub bready: Signal<$o, Bit>,
            /// Read address.
            pub araddr: Signal<$o, Bits<AW>>,
            /// Read address is offered.
            pub arvalid: Signal<$o, Bit>,
            /// Read address is taken.
            pub arready: Signal<$i, Bit>,
            /// Read data.
            pub rdata: Signal<$i, Bits<32>>,
            /// Read response: 0 = OKAY, 2 = error.
            pub rresp: Signal<$i, Bits<2>>,
            /// Read data is offered.
            pub rvalid: Signal<$i, Bit>,
            /// Read data is taken.
            pub rready: Signal<$o, Bit>,
        }
        impl<const AW: usize> Default for $name<AW> {
            fn default() -> Self {
                Self {
                    awaddr: Signal::default(),
                    awvalid: Signal::default(),
                    awready: Signal::default(),
                    wdata: Signal::default(),
                    wstrb: Signal::default(),
                    wvalid: Signal::default(),
                    wready: Signal::default(),
                    bresp: Signal::default(),
                    bvalid: Signal::default(),
                    bready: Signal::default(),
                    araddr: Signal::default(),
                    arvalid: Signal::default(),
                    arready: Signal::default(),
                    rdata: Signal::default(),
                    rresp: Signal::default(),
                    rvalid: Signal::default(),
                    rready: Signal::default(),
                }
            }
        }
    };
}

lite!(
    /// The side that asks.
    AxilMaster "AxilSlave" Out In
);
lite!(
    /// The side that answers.
    AxilSlave "AxilMaster" In Out
);
