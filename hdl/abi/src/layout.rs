//! How one field list becomes a host record, a documentation table and (in
//! `chimney-hdl`) a hardware struct.
//!
//! A list is a "callback macro": it hands `name: width_bits, host_type;` rows to the
//! macro that the user names. Fields are packed without gaps, bit 0 of the first field
//! is bit 0 of byte 0, so a record in memory is the little-endian image of the
//! hardware vector. Reserved bits are fields with a name.

/// One field of a register or a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Field name, lower case.
    pub name: &'static str,
    /// Position of its least significant bit.
    pub offset_bits: usize,
    /// Width in bits, 1 to 64.
    pub width_bits: usize,
    /// One sentence: meaning and unit.
    pub doc: &'static str,
}

impl Field {
    /// The field's value in `word` (bit 0 = bit 0 of the register).
    pub const fn get(&self, word: u64) -> u64 {
        (word >> self.offset_bits) & mask(self.width_bits)
    }

    /// `word` with this field replaced by `value`; surplus high bits of `value` are cut off.
    pub const fn set(&self, word: u64, value: u64) -> u64 {
        let m = mask(self.width_bits) << self.offset_bits;
        (word & !m) | ((value << self.offset_bits) & m)
    }
}

/// `width_bits` ones.
pub const fn mask(width_bits: usize) -> u64 {
    if width_bits >= 64 {
        u64::MAX
    } else {
        (1 << width_bits) - 1
    }
}

/// Who may access a register, and what a write does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read only; writes are ignored.
    Ro,
    /// Read and write.
    Rw,
    /// Write one to clear.
    W1c,
    /// Write only (a command or a producer index); reads give the last value written.
    Wo,
}

/// A 32-bit register of BAR0.
#[derive(Clone, Copy, Debug)]
pub struct Reg {
    /// Upper-case name.
    pub name: &'static str,
    /// Byte offset in BAR0, a multiple of 4.
    pub offset: u32,
    /// Access rights.
    pub access: Access,
    /// Value after reset.
    pub reset: u32,
    /// Fields; empty if the register is one number.
    pub fields: &'static [Field],
    /// One sentence: meaning and unit.
    pub doc: &'static str,
}

impl Reg {
    /// First bit of the field with this name: [`field_at`].
    ///
    /// # Panics
    /// If there is no such field.
    #[must_use]
    pub const fn field_at(&self, name: &str) -> usize {
        field_at(self.fields, name)
    }
}

/// First bit of the field with this name; a constant of a name that is none does not compile.
///
/// # Panics
/// If there is no such field.
#[must_use]
pub const fn field_at(fields: &[Field], name: &str) -> usize {
    let (mut i, name) = (0, name.as_bytes());
    while i < fields.len() {
        let own = fields[i].name.as_bytes();
        let mut same = 0;
        while own.len() == name.len() && same < own.len() && own[same] == name[same] {
            same += 1;
        }
        if own.len() == name.len() && same == own.len() {
            return fields[i].offset_bits;
        }
        i += 1;
    }
    panic!("no such field")
}

/// Writes `width` bits of `value` at bit `at` of `bytes`.
pub fn put_bits(bytes: &mut [u8], at: usize, width: usize, value: u64) {
    for i in 0..width {
        let (byte, bit) = ((at + i) / 8, (at + i) % 8);
        let v = ((value >> i) & 1) as u8;
        bytes[byte] = (bytes[byte] & !(1 << bit)) | (v << bit);
    }
}

/// Reads `width` bits at bit `at` of `bytes`.
pub fn take_bits(bytes: &[u8], at: usize, width: usize) -> u64 {
    if at.is_multiple_of(8) && width.is_multiple_of(8) {
        return (0..width / 8).rev().fold(0, |v, i| (v << 8) | u64::from(bytes[at / 8 + i]));
    }
    (0..width).rev().fold(0, |v, i| (v << 1) | u64::from((bytes[(at + i) / 8] >> ((at + i) % 8)) & 1))
}

/// Expands a field list to a host struct with `to_bytes`, `from_bytes`, `BYTES`, `FIELDS`.
#[macro_export]
macro_rules! host_record {
    ($(#[$m:meta])* $name:ident, $bits:literal bits; $($(#[doc = $doc:literal])* $f:ident : $w:literal, $t:ty;)*) => {
        $(#[$m])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name { $($(#[doc = $doc])* pub $f: $t,)* }

        impl $name {
            /// Size in memory, bytes.
            pub const BYTES: usize = $bits / 8;
            /// The fields, least significant first.
            pub const FIELDS: &'static [$crate::layout::Field] = &$crate::layout::place([
                $($crate::layout::Field { name: stringify!($f), offset_bits: 0, width_bits: $w, doc: concat!($($doc,)* "") },)*
            ]);
            const CHECK: () = {
                assert!($bits % 64 == 0, "a record is a whole number of beats");
                let f = Self::FIELDS;
                let last = f[f.len() - 1];
                assert!(last.offset_bits + last.width_bits == $bits, "the fields must fill the record");
                $(assert!($w <= 8 * core::mem::size_of::<$t>(), "host type too narrow");)*
            };

            /// The record as it lies in memory. Values wider than their field are cut off.
            pub fn to_bytes(&self) -> [u8; $bits / 8] {
                let () = Self::CHECK;
                let mut b = [0u8; $bits / 8];
                let mut at = 0;
                $($crate::layout::put_bits(&mut b, at, $w, u64::from(self.$f)); at += $w;)*
                let _ = at;
                b
            }

            /// Reads the record from memory. Every bit pattern is a value; meaning is checked by the user.
            #[allow(clippy::unnecessary_cast)]
            pub fn from_bytes(b: &[u8; $bits / 8]) -> Self {
                let mut at = 0;
                $(let $f = $crate::layout::take_bits(b, at, $w) as $t; at += $w;)*
                let _ = at;
                Self { $($f,)* }
            }
        }
    };
}

/// Fills in the offsets of a packed field list.
pub const fn place<const N: usize>(mut fields: [Field; N]) -> [Field; N] {
    let (mut i, mut at) = (0, 0);
    while i < N {
        fields[i].offset_bits = at;
        at += fields[i].width_bits;
        i += 1;
    }
    fields
}
