//! The messages of vfio-user 0.x as bytes, little-endian.
//!
//! ```text
//!   header 16 bytes: id 16 | command 16 | size 32 | flags 32 | errno 32
//!   then the payload; `size` counts both
//! ```
//! A reply repeats the id and command. One with [`FLAG_ERROR`] is a header alone.
//! Source: the vfio-user protocol specification of QEMU and libvfio-user; structures of `linux/vfio.h`.

/// The version spoken: major, minor.
pub const VERSION: (u16, u16) = (0, 1);
/// Length of a header, bytes.
pub const HEADER_BYTES: usize = 16;
/// Longest payload of a region access that either side allows, bytes; the protocol's default.
pub const MAX_TRANSFER_BYTES: usize = 1 << 20;
/// Longest message, bytes: a region access with its header and its own fields.
pub const MAX_MESSAGE_BYTES: usize = MAX_TRANSFER_BYTES + HEADER_BYTES + RegionAccess::BYTES;
/// Most file descriptors in one message.
pub const MAX_FDS: usize = 16;

/// Header flags: what kind of message, bits 3:0.
pub const FLAG_KIND: u32 = 0xf;
/// Kind: a reply; a command is 0.
pub const FLAG_REPLY: u32 = 1;
/// The sender wants no reply.
pub const FLAG_NO_REPLY: u32 = 1 << 4;
/// The reply is an error; `errno` says which.
pub const FLAG_ERROR: u32 = 1 << 5;

/// Commands.
pub mod command {
    /// Agree on a version.
    pub const VERSION: u16 = 1;
    /// Memory that the device may reach.
    pub const DMA_MAP: u16 = 2;
    /// Memory that it may no longer reach.
    pub const DMA_UNMAP: u16 = 3;
    /// What the device is.
    pub const GET_INFO: u16 = 4;
    /// Size and rights of a region.
    pub const GET_REGION_INFO: u16 = 5;
    /// File descriptors for accesses to a region; not offered.
    pub const GET_REGION_IO_FDS: u16 = 6;
    /// What an interrupt index has.
    pub const GET_IRQ_INFO: u16 = 7;
    /// Whom to notify.
    pub const SET_IRQS: u16 = 8;
    /// Read a region.
    pub const REGION_READ: u16 = 9;
    /// Write a region.
    pub const REGION_WRITE: u16 = 10;
    /// Reset the device.
    pub const RESET: u16 = 13;
}

/// Region indices (`VFIO_PCI_*_REGION_INDEX`): 0 to 5 are the BARs.
pub mod region {
    /// Config space.
    pub const CONFIG: u32 = 7;
    /// How many there are.
    pub const COUNT: u32 = 9;
    /// Flag: may be read.
    pub const READ: u32 = 1;
    /// Flag: may be written.
    pub const WRITE: u32 = 2;
}

/// Interrupt indices (`VFIO_PCI_*_IRQ_INDEX`).
pub mod irq {
    /// MSI-X.
    pub const MSIX: u32 = 2;
    /// Uncorrectable bus error.
    pub const ERROR: u32 = 3;
    /// The device is wanted back.
    pub const REQUEST: u32 = 4;
    /// How many there are.
    pub const COUNT: u32 = 5;
    /// Info flag: signalled through an eventfd.
    pub const EVENTFD: u32 = 1;
    /// Info flag: vectors cannot be added one by one.
    pub const NO_RESIZE: u32 = 1 << 3;
    /// Set flag: no data.
    pub const DATA_NONE: u32 = 1;
    /// Set flag: one byte for each vector.
    pub const DATA_BOOL: u32 = 1 << 1;
    /// Set flag: one descriptor for each vector.
    pub const DATA_EVENTFD: u32 = 1 << 2;
    /// Set flag: what happens is the interrupt itself; mask and unmask (bits 3 and 4) are not offered.
    pub const ACTION_TRIGGER: u32 = 1 << 5;
}

/// `DMA_MAP` flag: the device may read.
pub const MAP_READ: u32 = 1;
/// `DMA_MAP` flag: the device may write.
pub const MAP_WRITE: u32 = 2;
/// `DMA_UNMAP` flag: everything, whatever the range.
pub const UNMAP_ALL: u32 = 2;
/// `GET_INFO` flag: has a reset.
pub const DEVICE_RESET: u32 = 1;
/// `GET_INFO` flag: is a PCI function.
pub const DEVICE_PCI: u32 = 2;

macro_rules! layout {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* })*) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type,)*
        }

        impl $name {
            /// Length, bytes.
            pub const BYTES: usize = 0 $(+ size_of::<$type>())*;

            /// The fields at the start of `bytes`, if they are all there.
            pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
                let mut rest = bytes;
                $(
                    let (head, tail) = rest.split_first_chunk::<{ size_of::<$type>() }>()?;
                    let $field = <$type>::from_le_bytes(*head);
                    rest = tail;
                )*
                let _ = rest;
                Some(Self { $($field,)* })
            }

            /// The fields one after the other.
            pub fn to_bytes(self) -> Vec<u8> {
                let mut bytes = Vec::with_capacity(Self::BYTES);
                $(bytes.extend(self.$field.to_le_bytes());)*
                bytes
            }
        }
    )* };
}

layout! {
    /// First part of every message.
    Header {
        /// Chosen by the sender of a command.
        id: u16,
        /// What is wanted.
        command: u16,
        /// Length of the whole message, bytes.
        size: u32,
        /// `FLAG_*`.
        flags: u32,
        /// Error number of an error reply.
        errno: u32,
    }
    /// `VERSION`; a JSON text that ends with a zero byte follows.
    Version {
        /// Major.
        major: u16,
        /// Minor.
        minor: u16,
    }
    /// `DMA_MAP`; with a descriptor, unless the memory cannot be shared.
    DmaMap {
        /// Length of this structure, bytes.
        argsz: u32,
        /// `MAP_*`.
        flags: u32,
        /// Offset in the file, bytes.
        offset: u64,
        /// First address, IOVA.
        address: u64,
        /// Length, bytes.
        size: u64,
    }
    /// `DMA_UNMAP`.
    DmaUnmap {
        /// Length of this structure, bytes.
        argsz: u32,
        /// `UNMAP_ALL`.
        flags: u32,
        /// First address, IOVA.
        address: u64,
        /// Length, bytes.
        size: u64,
    }
    /// `GET_INFO`.
    DeviceInfo {
        /// Length of this structure, bytes.
        argsz: u32,
        /// `DEVICE_*`.
        flags: u32,
        /// Region indices.
        regions: u32,
        /// Interrupt indices.
        irqs: u32,
    }
    /// `GET_REGION_INFO`.
    RegionInfo {
        /// Length of this structure, bytes.
        argsz: u32,
        /// `region::READ`, `region::WRITE`.
        flags: u32,
        /// Which.
        index: u32,
        /// Offset of the first capability; 0 = none.
        cap_offset: u32,
        /// Length, bytes; 0 = there is no such region.
        size: u64,
        /// Offset in a file that can be mapped.
        offset: u64,
    }
    /// `GET_IRQ_INFO`.
    IrqInfo {
        /// Length of this structure, bytes.
        argsz: u32,
        /// `irq::EVENTFD` and the like.
        flags: u32,
        /// Which.
        index: u32,
        /// Vectors.
        count: u32,
    }
    /// `SET_IRQS`; data for each vector follow.
    SetIrqs {
        /// Length of this structure with its data, bytes.
        argsz: u32,
        /// `irq::DATA_*` and `irq::ACTION_*`.
        flags: u32,
        /// Which.
        index: u32,
        /// First vector.
        start: u32,
        /// Vectors.
        count: u32,
    }
    /// `REGION_READ`, `REGION_WRITE`; data follow in a write and in the reply to a read.
    RegionAccess {
        /// First byte.
        offset: u64,
        /// Which region.
        region: u32,
        /// Length, bytes.
        count: u32,
    }
}

impl Header {
    /// Whether it is a command.
    pub fn is_command(&self) -> bool {
        self.flags & FLAG_KIND == 0
    }

    /// Whether it is a reply.
    pub fn is_reply(&self) -> bool {
        self.flags & FLAG_KIND == FLAG_REPLY
    }

    /// Whether the sender of a command waits for a reply.
    pub fn wants_reply(&self) -> bool {
        self.flags & FLAG_NO_REPLY == 0
    }
}

/// A whole message: header, then the parts of its payload.
///
/// # Panics
/// When it is longer than the protocol can say: an error of the caller.
pub fn message(id: u16, command: u16, flags: u32, payload: &[&[u8]]) -> Vec<u8> {
    let len = HEADER_BYTES + payload.iter().map(|part| part.len()).sum::<usize>();
    let size = u32::try_from(len).expect("a message is far shorter than 4 GiB");
    let mut bytes = Header { id, command, size, flags, errno: 0 }.to_bytes();
    payload.iter().for_each(|part| bytes.extend_from_slice(part));
    bytes
}

/// The reply to a command that failed.
pub fn error_reply(to: &Header, errno: i32) -> Vec<u8> {
    let errno = errno.unsigned_abs();
    let flags = FLAG_REPLY | FLAG_ERROR;
    Header { size: HEADER_BYTES as u32, flags, errno, ..*to }.to_bytes() // 16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_have_the_lengths_of_the_specification() {
        assert_eq!(Header::BYTES, HEADER_BYTES);
        assert_eq!((Version::BYTES, DmaMap::BYTES, DmaUnmap::BYTES), (4, 32, 24));
        assert_eq!((DeviceInfo::BYTES, RegionInfo::BYTES, IrqInfo::BYTES), (16, 32, 16));
        assert_eq!((SetIrqs::BYTES, RegionAccess::BYTES), (20, 16));
    }

    #[test]
    fn fields_come_back_and_a_short_payload_is_none() {
        let map = DmaMap { argsz: 32, flags: 3, offset: 1 << 40, address: 2 << 40, size: 4096 };
        let bytes = map.to_bytes();
        assert_eq!(DmaMap::from_bytes(&bytes), Some(map));
        assert_eq!(DmaMap::from_bytes(&bytes[..31]), None);
        assert_eq!(bytes[8..16], (1u64 << 40).to_le_bytes());
    }

    #[test]
    fn a_message_counts_its_header_and_an_error_has_no_payload() {
        let bytes = message(7, command::REGION_READ, 0, &[&[1, 2], &[3]]);
        let header = Header::from_bytes(&bytes).unwrap();
        assert_eq!((bytes.len(), header.size, header.id), (19, 19, 7));
        assert!(header.is_command() && header.wants_reply());
        let error = Header::from_bytes(&error_reply(&header, 22)).unwrap();
        assert_eq!((error.size, error.errno, error.flags & FLAG_ERROR), (16, 22, FLAG_ERROR));
        assert!(error.is_reply());
    }
}
