//! Bytes in memory that somebody else touches at the same time: words of 8 bytes, each an atomic.
//!
//! A store is a release, a load an acquire: who sees a word sees what was stored before it. Words do not tear; longer records
//! may, exactly as on a real bus. Byte order is little-endian.

use std::sync::atomic::{AtomicU64, Ordering};

/// Loads word `word`.
#[inline]
pub fn load(words: &[AtomicU64], word: usize) -> u64 {
    u64::from_le(words[word].load(Ordering::Acquire))
}

/// Stores word `word`.
#[inline]
pub fn store(words: &[AtomicU64], word: usize, value: u64) {
    words[word].store(value.to_le(), Ordering::Release);
}

/// Replaces the bytes of a word where `mask` is set, in one atomic step: the other side may be writing the other bytes.
#[inline]
pub fn merge(words: &[AtomicU64], word: usize, value: u64, mask: u64) {
    if mask == u64::MAX {
        store(words, word, value);
    } else if mask != 0 {
        let (value, mask) = (value.to_le(), mask.to_le());
        let _ = words[word]
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |old| Some(old & !mask | value & mask));
    }
}

/// Copies bytes out, upwards.
///
/// # Panics
/// When the range is not inside.
pub fn read(words: &[AtomicU64], offset: usize, out: &mut [u8]) {
    let (mut word, skip) = (offset / 8, offset % 8);
    let mut rest = out;
    if skip != 0 && !rest.is_empty() {
        let n = rest.len().min(8 - skip);
        rest[..n].copy_from_slice(&load(words, word).to_le_bytes()[skip..skip + n]);
        rest = &mut rest[n..];
        word += 1;
    }
    let mut chunks = rest.chunks_exact_mut(8);
    for chunk in &mut chunks {
        chunk.copy_from_slice(&load(words, word).to_le_bytes());
        word += 1;
    }
    let tail = chunks.into_remainder();
    if !tail.is_empty() {
        tail.copy_from_slice(&load(words, word).to_le_bytes()[..tail.len()]);
    }
}

/// Copies bytes in, upwards.
///
/// # Panics
/// As [`read`].
pub fn write(words: &[AtomicU64], offset: usize, bytes: &[u8]) {
    let (mut word, skip) = (offset / 8, offset % 8);
    let mut rest = bytes;
    if skip != 0 {
        let n = rest.len().min(8 - skip);
        merge_bytes(words, word, skip, &rest[..n]);
        rest = &rest[n..];
        word += 1;
    }
    let mut chunks = rest.chunks_exact(8);
    for chunk in &mut chunks {
        store(words, word, u64::from_le_bytes(chunk.try_into().expect("chunks_exact(8) yields 8 bytes")));
        word += 1;
    }
    merge_bytes(words, word, 0, chunks.remainder());
}

fn merge_bytes(words: &[AtomicU64], word: usize, skip: usize, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    let (mut value, mut mask) = ([0u8; 8], [0u8; 8]);
    value[skip..skip + bytes.len()].copy_from_slice(bytes);
    mask[skip..skip + bytes.len()].fill(0xff);
    merge(words, word, u64::from_le_bytes(value), u64::from_le_bytes(mask));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_small_copy_agrees_with_a_plain_array() {
        for offset in 0..17 {
            for len in 0..(32 - offset) {
                let words: Vec<AtomicU64> = (0..4).map(|_| AtomicU64::new(u64::MAX)).collect();
                let bytes: Vec<u8> = (0..len as u8).collect();
                write(&words, offset, &bytes);
                let mut plain = [0xff; 32];
                plain[offset..offset + len].copy_from_slice(&bytes);
                let mut all = [0; 32];
                read(&words, 0, &mut all);
                assert_eq!(all, plain, "{len} bytes at {offset}");
                let mut part = vec![0; len];
                read(&words, offset, &mut part);
                assert_eq!(part, bytes);
            }
        }
    }

    #[test]
    fn a_word_is_little_endian() {
        let words = [AtomicU64::new(0)];
        store(&words, 0, 0x0807_0605_0403_0201);
        let mut bytes = [0; 8];
        read(&words, 0, &mut bytes);
        assert_eq!(bytes, [1, 2, 3, 4, 5, 6, 7, 8]);
        merge(&words, 0, u64::MAX, 0xff00);
        assert_eq!(load(&words, 0), 0x0807_0605_0403_ff01);
    }
}
