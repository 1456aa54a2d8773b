//! The SNMP counters of a Linux kernel (`/proc/net/snmp`, `/proc/net/netstat`).

use std::collections::BTreeMap;

/// Counters by the names that `nstat` shows: protocol and counter joined, as `TcpInCsumErrors`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counters {
    values: BTreeMap<String, i64>,
}

impl Counters {
    /// Parse the text of the two files: pairs of lines, names then values, both starting with the protocol.
    pub fn parse(text: &str) -> Self {
        let mut values = BTreeMap::new();
        let mut lines = text.lines();
        while let (Some(names), Some(numbers)) = (lines.next(), lines.next()) {
            let Some((protocol, names)) = names.split_once(':') else { continue };
            let numbers = numbers.split_once(':').map_or("", |n| n.1);
            for (name, number) in names.split_whitespace().zip(numbers.split_whitespace()) {
                values.insert(format!("{protocol}{name}"), number.parse().unwrap_or(0));
            }
        }
        Self { values }
    }

    /// One counter; 0 when this kernel does not have it.
    pub fn get(&self, name: &str) -> i64 {
        self.values.get(name).copied().unwrap_or(0)
    }

    /// What was added since `before`, without the zeros.
    pub fn since(&self, before: &Self) -> Self {
        let added = |(name, value): (&String, &i64)| {
            let delta = value - before.get(name);
            (delta != 0).then(|| (name.clone(), delta))
        };
        Self { values: self.values.iter().filter_map(added).collect() }
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, i64)> {
        self.values.iter().map(|(name, value)| (name.as_str(), *value))
    }

    /// Frames that the kernel refused because of a checksum (IPv4 header, TCP).
    pub fn checksum_errors(&self) -> i64 {
        ["TcpInCsumErrors", "IpExtInCsumErrors", "IcmpInCsumErrors"].iter().map(|name| self.get(name)).sum()
    }

    /// Connections that ended by a reset, seen from the kernel: received for an established connection, or sent.
    pub fn resets(&self) -> i64 {
        self.get("TcpEstabResets") + self.get("TcpOutRsts")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_line_tables_are_understood() {
        let before = "Tcp: InSegs InCsumErrors MaxConn\nTcp: 10 1 -1\nIpExt: InCsumErrors\nIpExt: 2\n";
        let after = "Tcp: InSegs InCsumErrors MaxConn\nTcp: 15 4 -1\nIpExt: InCsumErrors\nIpExt: 2\nbroken";
        let (before, after) = (Counters::parse(before), Counters::parse(after));
        assert_eq!((before.get("TcpInSegs"), before.get("TcpMaxConn"), before.get("Nothing")), (10, -1, 0));
        let added = after.since(&before);
        assert_eq!(added.iter().collect::<Vec<_>>(), [("TcpInCsumErrors", 3), ("TcpInSegs", 5)]);
        assert_eq!((added.checksum_errors(), added.resets()), (3, 0));
    }
}
