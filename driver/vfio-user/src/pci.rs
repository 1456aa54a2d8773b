//! The NIC as a PCI Express function: what config space says, and where its parts lie.
//!
//! ```text
//!   config space, 256 bytes                    BAR0   128 KiB   registers and doorbells (chimney-abi)
//!     0x00  header                             BAR2     4 KiB   MSI-X: table at 0, pending bits at 0x800
//!     0x40  PCI Express capability (FLR)
//!     0x80  MSI-X capability                   one vector: the NIC has one interrupt line
//! ```
//! Sources: PCI 3.0 section 6 (header), PCI Express base 3.1 section 7.8 (capability) and 6.6.2 (FLR), PCI 3.0 section 6.8.2
//! (MSI-X). Whoever emulates the bus (QEMU, the kernel) keeps its own MSI-X table: the device only knows whom to notify.

/// Vendor ID. No ID was assigned to this project: this one is used by experiments and has no owner in practice.
pub const VENDOR_ID: u16 = 0x1234;
/// Device ID: the letters "CH", as in register `ID`.
pub const DEVICE_ID: u16 = 0x4843;
/// Class code: network controller, Ethernet.
pub const CLASS: u32 = 0x02_0000;

/// Size of config space, bytes.
pub const CONFIG_BYTES: usize = 256;
/// Offset of the vendor ID, 16 bits; the device ID follows.
pub const VENDOR: u16 = 0x00;
/// Offset of COMMAND, 16 bits.
pub const COMMAND: u16 = 0x04;
/// COMMAND: the function answers memory accesses.
pub const COMMAND_MEMORY: u16 = 1 << 1;
/// COMMAND: the function may make DMA and signal interrupts.
pub const COMMAND_MASTER: u16 = 1 << 2;
/// COMMAND: no INTx; the function has none anyway.
pub const COMMAND_NO_INTX: u16 = 1 << 10;
/// Offset of STATUS, 16 bits.
pub const STATUS: u16 = 0x06;
/// STATUS: there is a list of capabilities.
pub const STATUS_CAPABILITIES: u16 = 1 << 4;
/// Offset of the revision, 8 bits: the contract's major version. The class code follows, 24 bits.
pub const REVISION: u16 = 0x08;
/// Offset of the first base address register; register n lies 4 n further.
pub const BAR: u16 = 0x10;
/// Offset of the subsystem's vendor ID, 16 bits; its ID follows.
pub const SUBSYSTEM: u16 = 0x2c;
/// Offset of the offset of the first capability, 8 bits.
pub const CAPABILITIES: u16 = 0x34;

/// Offset of the PCI Express capability.
pub const EXPRESS: u16 = 0x40;
/// Its ID.
pub const EXPRESS_ID: u8 = 0x10;
/// Offset of Device Capabilities in it, 32 bits.
pub const DEVICE_CAPABILITIES: u16 = EXPRESS + 4;
/// Device Capabilities: errors are reported by role, which version 1.1 demands.
pub const ROLE_BASED_ERRORS: u32 = 1 << 15;
/// Device Capabilities: function level reset.
pub const FLR_CAPABLE: u32 = 1 << 28;
/// Offset of Device Control, 16 bits.
pub const DEVICE_CONTROL: u16 = EXPRESS + 8;
/// Device Control: writing one resets the function; reads zero.
pub const DEVICE_CONTROL_FLR: u16 = 1 << 15;
/// Offset of Link Capabilities, 32 bits, and of Link Status, 16 bits.
pub const LINK_CAPABILITIES: u16 = EXPRESS + 0x0c;
/// Offset of Link Status, 16 bits.
pub const LINK_STATUS: u16 = EXPRESS + 0x12;
/// One lane at 2.5 GT/s, the same in both.
pub const LINK_X1_GEN1: u16 = 1 << 4 | 1;

/// Offset of the MSI-X capability.
pub const MSIX: u16 = 0x80;
/// Its ID.
pub const MSIX_ID: u8 = 0x11;
/// Offset of Message Control, 16 bits: the number of vectors less one, and enables.
pub const MSIX_CONTROL: u16 = MSIX + 2;
/// Message Control: all vectors masked, and MSI-X enabled.
pub const MSIX_CONTROL_WRITABLE: u16 = 3 << 14;
/// Offset of the table's place, 32 bits: BAR number in bits 2:0.
pub const MSIX_TABLE: u16 = MSIX + 4;
/// Offset of the pending bits' place, 32 bits.
pub const MSIX_PENDING: u16 = MSIX + 8;
/// Interrupt vectors.
pub const VECTORS: u16 = 1;

/// BAR of the registers.
pub const REGISTER_BAR: u32 = 0;
/// Size of the registers' BAR, bytes: that of the contract, a power of two.
pub const REGISTER_BAR_BYTES: u32 = 0x2_0000;
/// BAR of the MSI-X table.
pub const MSIX_BAR: u32 = 2;
/// Size of the MSI-X BAR, bytes.
pub const MSIX_BAR_BYTES: u32 = 0x1000;
/// Offset of the pending bits in it.
pub const MSIX_PENDING_OFFSET: u32 = 0x800;

/// Size of a BAR, bytes; 0 = there is none.
pub const fn bar_bytes(bar: u32) -> u32 {
    match bar {
        REGISTER_BAR => REGISTER_BAR_BYTES,
        MSIX_BAR => MSIX_BAR_BYTES,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_powers_of_two_and_capabilities_do_not_overlap() {
        for bar in 0..6 {
            assert!(bar_bytes(bar) == 0 || bar_bytes(bar).is_power_of_two());
        }
        // A PCI Express capability of version 2 has 60 bytes, an MSI-X capability 12.
        assert!(EXPRESS >= 0x40 && EXPRESS + 60 <= MSIX && usize::from(MSIX) + 12 <= CONFIG_BYTES);
        assert!(u32::from(VECTORS) * 16 <= MSIX_PENDING_OFFSET);
    }
}
