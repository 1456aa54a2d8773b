//! The addresses of the interface: which one speaks to whom, and through whom.

use crate::wire::ethernet::MacAddr;
use crate::wire::icmpv6::{link_local, solicited_node, ALL_NODES};
use std::net::{IpAddr, Ipv6Addr};

/// Bits of the prefix of link-local addresses (RFC 4291 2.5.6).
const LINK_LOCAL_PREFIX: u8 = 64;

/// An address of the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The address.
    pub ip: IpAddr,
    /// Length of the network prefix.
    pub prefix_len: u8,
    /// Where to send what is not on the link.
    pub gateway: Option<IpAddr>,
}

impl Address {
    /// An address without a gateway.
    #[must_use]
    pub fn new(ip: impl Into<IpAddr>, prefix_len: u8) -> Address {
        Address { ip: ip.into(), prefix_len, gateway: None }
    }

    /// Is `other` of the same network?
    fn is_on_link(&self, other: IpAddr) -> bool {
        let bits = |ip: IpAddr| match ip {
            IpAddr::V4(v4) => u128::from(u32::from(v4)) << 96,
            IpAddr::V6(v6) => u128::from(v6),
        };
        let shift = 128 - u32::from(self.prefix_len.min(if self.ip.is_ipv4() { 32 } else { 128 }));
        let network = |ip| bits(ip).checked_shr(shift).unwrap_or(0);
        self.ip.is_ipv4() == other.is_ipv4() && network(self.ip) == network(other)
    }
}

/// All addresses of an interface; with one of IPv6 its link-local address too.
#[derive(Clone, Debug)]
pub struct Addresses(Vec<Address>);

impl Addresses {
    /// The given ones, and the link-local one that follows from `mac`.
    #[must_use]
    pub fn new(mac: MacAddr, given: &[Address]) -> Addresses {
        let mut all = given.to_vec();
        if all.iter().any(|a| a.ip.is_ipv6()) {
            all.push(Address::new(link_local(mac), LINK_LOCAL_PREFIX));
        }
        Addresses(all)
    }

    /// Each of them.
    pub fn all(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.0.iter().map(|address| address.ip)
    }

    /// Is it one of ours?
    #[must_use]
    pub fn owns(&self, ip: IpAddr) -> bool {
        self.0.iter().any(|a| a.ip == ip)
    }

    /// The groups that an interface with IPv6 is in: all nodes, and where neighbors ask for each address (RFC 4291 2.8).
    pub fn groups(&self) -> impl Iterator<Item = Ipv6Addr> + '_ {
        let six = self.0.iter().filter_map(|a| match a.ip {
            IpAddr::V4(_) => None,
            IpAddr::V6(ip) => Some(ip),
        });
        six.flat_map(|ip| [ALL_NODES, solicited_node(ip)])
    }

    /// The address that speaks to `dst`: one of its network, else the first one with a gateway, else the first of its family
    /// (RFC 6724 5 rules 2 and 8, for one interface).
    #[must_use]
    pub fn source_for(&self, dst: IpAddr) -> Option<IpAddr> {
        let family = || self.0.iter().filter(|a| a.ip.is_ipv4() == dst.is_ipv4());
        let on_link = family().find(|a| a.is_on_link(dst));
        on_link.or_else(|| family().find(|a| a.gateway.is_some())).or_else(|| family().next()).map(|a| a.ip)
    }

    /// The neighbor through which `dst` is reached.
    #[must_use]
    pub fn next_hop(&self, dst: IpAddr) -> IpAddr {
        let family = || self.0.iter().filter(|a| a.ip.is_ipv4() == dst.is_ipv4());
        let is_on_link = family().any(|a| a.is_on_link(dst));
        family().find_map(|a| a.gateway).filter(|_| !is_on_link).unwrap_or(dst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn addresses() -> Addresses {
        let four = Address { gateway: Some(ip("10.0.0.254")), ..Address::new(ip("10.0.0.1"), 24) };
        let six = Address { gateway: Some(ip("fd00::fe")), ..Address::new(ip("fd00::1"), 64) };
        Addresses::new(MacAddr([2, 0, 0, 0, 0, 1]), &[four, six])
    }

    #[test]
    fn each_destination_has_a_source_of_its_family_and_scope() {
        for (dst, src) in [
            ("10.0.0.7", "10.0.0.1"),
            ("192.0.2.1", "10.0.0.1"),
            ("fd00::7", "fd00::1"),
            ("2001:db8::1", "fd00::1"),
            ("fe80::7", "fe80::ff:fe00:1"),
        ] {
            assert_eq!(addresses().source_for(ip(dst)), Some(ip(src)), "to {dst}");
        }
        let only_four = Addresses::new(MacAddr::default(), &[Address::new(ip("10.0.0.1"), 24)]);
        assert_eq!(only_four.source_for(ip("fd00::7")), None);
    }

    #[test]
    fn only_what_is_not_on_the_link_goes_through_the_gateway() {
        for (dst, hop) in [
            ("10.0.0.7", "10.0.0.7"),
            ("10.0.1.7", "10.0.0.254"),
            ("fd00::7", "fd00::7"),
            ("2001:db8::1", "fd00::fe"),
            ("fe80::7", "fe80::7"),
        ] {
            assert_eq!(addresses().next_hop(ip(dst)), ip(hop), "to {dst}");
        }
    }
}
