//! Config space: 256 bytes, and which of their bits can be written.

use super::BadAccess;
use chimney_abi::VERSION_MAJOR;
use chimney_vfio_user::pci::{self, CONFIG_BYTES};

/// Config space of the NIC.
#[derive(Clone, Debug)]
pub(super) struct ConfigSpace {
    bytes: [u8; CONFIG_BYTES],
    writable: [u8; CONFIG_BYTES],
}

impl ConfigSpace {
    /// As after power-on.
    pub(super) fn new() -> Self {
        let mut space = Self { bytes: [0; CONFIG_BYTES], writable: [0; CONFIG_BYTES] };
        space.header();
        space.express();
        space.msix();
        space
    }

    fn header(&mut self) {
        self.set(pci::VENDOR, &pci::VENDOR_ID.to_le_bytes());
        self.set(pci::VENDOR + 2, &pci::DEVICE_ID.to_le_bytes());
        self.set(pci::SUBSYSTEM, &pci::VENDOR_ID.to_le_bytes());
        self.set(pci::SUBSYSTEM + 2, &pci::DEVICE_ID.to_le_bytes());
        self.set(pci::STATUS, &pci::STATUS_CAPABILITIES.to_le_bytes());
        let [class0, class1, class2, _] = pci::CLASS.to_le_bytes();
        // `as`: the major version is small; only its low byte fits.
        self.set(pci::REVISION, &[VERSION_MAJOR as u8, class0, class1, class2]);
        self.set(pci::CAPABILITIES, &[pci::EXPRESS as u8]); // below 256
        let command = pci::COMMAND_MEMORY | pci::COMMAND_MASTER | pci::COMMAND_NO_INTX;
        self.allow(pci::COMMAND, &command.to_le_bytes());
        for bar in [pci::REGISTER_BAR, pci::MSIX_BAR] {
            // Address bits below the size read as zero: that is how a size is found out.
            self.allow(pci::BAR + 4 * bar as u16, &(!(pci::bar_bytes(bar) - 1)).to_le_bytes());
        }
        // Cache line size and interrupt line are scratch for software.
        self.allow(0x0c, &[0xff]);
        self.allow(0x3c, &[0xff]);
    }

    fn express(&mut self) {
        // Version 2, type 0: an endpoint.
        self.set(pci::EXPRESS, &[pci::EXPRESS_ID, pci::MSIX as u8, 2, 0]);
        let capabilities = pci::ROLE_BASED_ERRORS | pci::FLR_CAPABLE;
        self.set(pci::DEVICE_CAPABILITIES, &capabilities.to_le_bytes());
        self.set(pci::LINK_CAPABILITIES, &pci::LINK_X1_GEN1.to_le_bytes());
        self.set(pci::LINK_STATUS, &pci::LINK_X1_GEN1.to_le_bytes());
        self.allow(pci::DEVICE_CONTROL, &(!pci::DEVICE_CONTROL_FLR).to_le_bytes());
    }

    fn msix(&mut self) {
        let vectors = (pci::VECTORS - 1).to_le_bytes();
        self.set(pci::MSIX, &[pci::MSIX_ID, 0, vectors[0], vectors[1]]);
        self.set(pci::MSIX_TABLE, &pci::MSIX_BAR.to_le_bytes());
        self.set(pci::MSIX_PENDING, &(pci::MSIX_PENDING_OFFSET | pci::MSIX_BAR).to_le_bytes());
        self.allow(pci::MSIX_CONTROL, &pci::MSIX_CONTROL_WRITABLE.to_le_bytes());
    }

    fn set(&mut self, offset: u16, bytes: &[u8]) {
        self.bytes[usize::from(offset)..][..bytes.len()].copy_from_slice(bytes);
    }

    fn allow(&mut self, offset: u16, mask: &[u8]) {
        self.writable[usize::from(offset)..][..mask.len()].copy_from_slice(mask);
    }

    /// Whether it may make DMA and signal interrupts.
    pub(super) fn is_master(&self) -> bool {
        let at = usize::from(pci::COMMAND);
        u16::from_le_bytes([self.bytes[at], self.bytes[at + 1]]) & pci::COMMAND_MASTER != 0
    }

    /// Copies bytes out.
    pub(super) fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), BadAccess> {
        let at = place(offset, out.len())?;
        out.copy_from_slice(&self.bytes[at..at + out.len()]);
        Ok(())
    }

    /// Copies those bits in that can be written. True if the function is to be reset.
    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<bool, BadAccess> {
        let at = place(offset, bytes.len())?;
        let mut wants_reset = false;
        for (at, new) in (at..).zip(bytes) {
            let mask = self.writable[at];
            self.bytes[at] = self.bytes[at] & !mask | new & mask;
            let flr = pci::DEVICE_CONTROL_FLR.to_le_bytes()[1];
            wants_reset |= at == usize::from(pci::DEVICE_CONTROL) + 1 && new & flr != 0;
        }
        Ok(wants_reset)
    }
}

fn place(offset: u64, len: usize) -> Result<usize, BadAccess> {
    let at = usize::try_from(offset).map_err(|_| BadAccess)?;
    let is_inside = at.checked_add(len).is_some_and(|end| end <= CONFIG_BYTES);
    (is_inside && len > 0).then_some(at).ok_or(BadAccess)
}
