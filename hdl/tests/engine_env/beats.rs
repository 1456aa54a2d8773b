//! Records and statuses as the engine has them.
use chimney_abi::cmd::Status;
use chimney_abi::state::TcpRecord;

/// The beats of a record.
pub fn words(r: &TcpRecord) -> Vec<u64> {
    r.to_bytes().chunks(8).map(|c| u64::from_le_bytes(c.try_into().expect("8 bytes"))).collect()
}

/// The record of an image.
pub fn record(beats: &[u64]) -> TcpRecord {
    let b: Vec<u8> = beats.iter().flat_map(|w| w.to_le_bytes()).collect();
    TcpRecord::from_bytes(b.as_slice().try_into().expect("36 beats"))
}

/// A status as a number.
pub fn code(s: Status) -> u64 {
    u64::from(s.code())
}
