//! Numbers that nobody outside should guess: initial sequence numbers (RFC 9293 3.4.1: a 4-microsecond clock plus a keyed
//! hash of the 4-tuple), starts of timestamp clocks, flow labels, local ports.

use super::tcb::FourTuple;
use chimney_abi::wire::ipv6::FLOW_LABEL_BITS;
use chimney_abi::SeqNum;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, SocketAddr};

/// Secret of one stack; chosen at random by its owner, or fixed in a test.
#[derive(Clone, Copy)]
pub struct Secret(pub u64);

impl Secret {
    /// ISN = M + F(localip, localport, remoteip, remoteport, secretkey).
    #[must_use]
    pub fn isn(&self, now_us: u64, tuple: &FourTuple) -> SeqNum {
        // `as`: M is a 32-bit clock that ticks every 4 microseconds.
        SeqNum((now_us / 4) as u32) + self.hash(0, tuple)
    }

    /// Start of a connection's timestamp clock, different for every 4-tuple (RFC 7323 7.1).
    #[must_use]
    pub fn timestamp_delta(&self, tuple: &FourTuple) -> u32 {
        self.hash(1, tuple)
    }

    /// The flow label of a connection's packets (RFC 6437 3: the same for all of them, and not to be guessed).
    #[must_use]
    pub fn flow_label(&self, tuple: &FourTuple) -> u32 {
        self.hash(2, tuple) & ((1 << FLOW_LABEL_BITS) - 1)
    }

    /// Where the local ports for a peer begin (RFC 6056 3.3.3).
    #[must_use]
    pub fn first_port(&self, local: IpAddr, remote: SocketAddr) -> u16 {
        // `as`: half of the hash.
        self.hash(3, &FourTuple { local: SocketAddr::new(local, 0), remote }) as u16
    }

    fn hash(&self, purpose: u8, tuple: &FourTuple) -> u32 {
        let mut hasher = DefaultHasher::new();
        (self.0, purpose, tuple, !self.0).hash(&mut hasher);
        // `as`: the low half of the hash.
        hasher.finish() as u32
    }
}

/// Never prints the secret.
impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_begin_elsewhere_for_each_peer_and_each_secret() {
        let local = IpAddr::from([10, 0, 0, 1]);
        let begins = |secret: u64, last: u8| {
            Secret(secret).first_port(local, SocketAddr::from(([10, 0, 0, last], 80)))
        };
        let all: std::collections::HashSet<u16> =
            (0..100).flat_map(|i| [begins(i, 2), begins(7, 100 + i as u8)]).collect();
        assert!(all.len() > 190, "{}", all.len());
        assert_eq!(begins(1, 2), begins(1, 2));
    }
}
