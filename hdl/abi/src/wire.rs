//! What stands where in a frame: byte offsets, lengths and protocol numbers.
//!
//! Offsets are bytes from the start of the header that the module is named after. Every field is
//! big-endian on the wire. Nobody types these numbers anywhere else: the RTL parser, the driver,
//! the host stack and the tests all import them.

/// Ethernet II, IEEE 802.1Q and LLC/SNAP.
pub mod ethernet {
    /// Bytes of a MAC address.
    pub const ADDR_LEN: usize = 6;
    /// Destination address.
    pub const DST: usize = 0;
    /// Source address.
    pub const SRC: usize = 6;
    /// EtherType (>= [`MIN_ETHERTYPE`]) or 802.3 length.
    pub const ETHERTYPE: usize = 12;
    /// Length of an untagged header.
    pub const HEADER_LEN: usize = 14;
    /// Length of one 802.1Q tag (TPID and TCI).
    pub const VLAN_TAG_LEN: usize = 4;
    /// Largest VLAN id; 0 = priority only, the next one is reserved.
    pub const MAX_VLAN_ID: u16 = 0x0FFE;
    /// Mask of the VLAN id in the TCI, the second half of a tag.
    pub const VLAN_ID_MASK: u16 = 0x0FFF;
    /// Place of the priority in the TCI.
    pub const PRIORITY_SHIFT: u32 = 13;
    /// Largest priority.
    pub const MAX_PRIORITY: u8 = 7;
    /// Length of LLC plus SNAP after the 802.3 length field.
    pub const SNAP_LEN: usize = 8;
    /// LLC and the start of SNAP in front of an EtherType (RFC 1042): SAPs, UI, OUI 0.
    pub const SNAP_HEADER: [u8; 6] = [0xAA, 0xAA, 0x03, 0, 0, 0];
    /// Smallest frame without its FCS; shorter ones are padded with zeros.
    pub const MIN_FRAME_LEN: usize = 60;
    /// Largest frame without its FCS at the ordinary MTU of 1500 bytes.
    pub const MAX_FRAME_LEN: usize = 1514;
    /// The ordinary MTU.
    pub const MAX_MTU: u16 = (MAX_FRAME_LEN - HEADER_LEN) as u16;
    /// What is left of it behind LLC/SNAP (RFC 1042): the 802.3 length is at most 1500.
    pub const MAX_SNAP_MTU: u16 = MAX_MTU - SNAP_LEN as u16;
    /// Largest jumbo frame without its FCS.
    pub const MAX_JUMBO_LEN: usize = 9018;
    /// The MTU of such frames, with room for a tag. LLC/SNAP has none: there is no 802.3 length above 1500.
    pub const MAX_JUMBO_MTU: u16 = (MAX_JUMBO_LEN - HEADER_LEN - VLAN_TAG_LEN) as u16;
    /// Values below this in [`ETHERTYPE`] are an 802.3 length.
    pub const MIN_ETHERTYPE: u16 = 0x0600;
    /// EtherType of IPv4.
    pub const TYPE_IPV4: u16 = 0x0800;
    /// EtherType of ARP.
    pub const TYPE_ARP: u16 = 0x0806;
    /// EtherType of IPv6.
    pub const TYPE_IPV6: u16 = 0x86DD;
    /// Tag protocol identifier of an 802.1Q tag.
    pub const TYPE_VLAN: u16 = 0x8100;
    /// The broadcast address.
    pub const BROADCAST: [u8; ADDR_LEN] = [0xFF; ADDR_LEN];
    /// Bit 0 of the first address byte: group (multicast or broadcast) address.
    pub const GROUP_BIT: u8 = 0x01;
}

/// ARP for IPv4 over Ethernet (RFC 826).
pub mod arp {
    /// Hardware type.
    pub const HARDWARE_TYPE: usize = 0;
    /// Protocol type.
    pub const PROTOCOL_TYPE: usize = 2;
    /// Hardware address length.
    pub const HARDWARE_LEN: usize = 4;
    /// Protocol address length.
    pub const PROTOCOL_LEN: usize = 5;
    /// Operation.
    pub const OPERATION: usize = 6;
    /// Sender hardware address.
    pub const SENDER_MAC: usize = 8;
    /// Sender protocol address.
    pub const SENDER_IP: usize = 14;
    /// Target hardware address.
    pub const TARGET_MAC: usize = 18;
    /// Target protocol address.
    pub const TARGET_IP: usize = 24;
    /// Length of the packet.
    pub const PACKET_LEN: usize = 28;
    /// Hardware type of Ethernet.
    pub const HARDWARE_ETHERNET: u16 = 1;
    /// Operation: request.
    pub const OP_REQUEST: u16 = 1;
    /// Operation: reply.
    pub const OP_REPLY: u16 = 2;
}

/// IPv4 (RFC 791).
pub mod ipv4 {
    /// Bytes of an address.
    pub const ADDR_LEN: usize = 4;
    /// Version (high nibble) and header length in words (low nibble).
    pub const VERSION_IHL: usize = 0;
    /// DSCP (6 bits) and ECN (2 bits).
    pub const TOS: usize = 1;
    /// Length of header and payload.
    pub const TOTAL_LEN: usize = 2;
    /// Identification.
    pub const ID: usize = 4;
    /// Flags (3 bits) and fragment offset (13 bits).
    pub const FLAGS_FRAGMENT: usize = 6;
    /// Time to live.
    pub const TTL: usize = 8;
    /// Protocol of the payload.
    pub const PROTOCOL: usize = 9;
    /// Header checksum.
    pub const CHECKSUM: usize = 10;
    /// Source address.
    pub const SRC: usize = 12;
    /// Destination address.
    pub const DST: usize = 16;
    /// Header length without options.
    pub const HEADER_LEN: usize = 20;
    /// Smallest MTU of a path (RFC 791 3.2).
    pub const MIN_MTU: u16 = 68;
    /// Version 4 with a header of five words.
    pub const VERSION_IHL_PLAIN: u8 = 0x45;
    /// Don't fragment, in [`FLAGS_FRAGMENT`].
    pub const FLAG_DF: u16 = 0x4000;
    /// More fragments, in [`FLAGS_FRAGMENT`].
    pub const FLAG_MF: u16 = 0x2000;
    /// Mask of the fragment offset in [`FLAGS_FRAGMENT`].
    pub const FRAGMENT_MASK: u16 = 0x1FFF;
    /// First identification of the target's half; the host uses the values below it.
    pub const ID_TARGET_START: u16 = 0x8000;
    /// Identifications in each half.
    pub const ID_HALF_LEN: u32 = 0x8000;
    /// Mask of the two ECN bits in [`TOS`] (RFC 3168).
    pub const ECN_MASK: u8 = 0x03;
    /// Time to live that we send.
    pub const DEFAULT_TTL: u8 = 64;
}

/// IPv6 (RFC 8200).
pub mod ipv6 {
    /// Bytes of an address.
    pub const ADDR_LEN: usize = 16;
    /// Version (4 bits), traffic class (8 bits), flow label (20 bits).
    pub const VERSION_CLASS_FLOW: usize = 0;
    /// Length of what follows the fixed header.
    pub const PAYLOAD_LEN: usize = 4;
    /// Next header.
    pub const NEXT_HEADER: usize = 6;
    /// Hop limit.
    pub const HOP_LIMIT: usize = 7;
    /// Source address.
    pub const SRC: usize = 8;
    /// Destination address.
    pub const DST: usize = 24;
    /// Length of the fixed header.
    pub const HEADER_LEN: usize = 40;
    /// Version 6, in the first byte.
    pub const VERSION: u8 = 6 << 4;
    /// Bits of a flow label.
    pub const FLOW_LABEL_BITS: u32 = 20;
    /// Smallest MTU of a path (RFC 8200 5).
    pub const MIN_MTU: u16 = 1280;
    /// First two bytes of the MAC address of a group, in front of the last four of its address (RFC 2464 7).
    pub const GROUP_MAC: [u8; 2] = [0x33, 0x33];
    /// The group of an address that neighbors ask in: this, and its last three bytes (RFC 4291 2.7.1).
    pub const SOLICITED_NODE: [u8; 13] = [0xFF, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xFF];
}

/// Numbers in IPv4 `PROTOCOL` and IPv6 `NEXT_HEADER`.
pub mod ip_protocol {
    /// ICMP for IPv4.
    pub const ICMP: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// ICMP for IPv6.
    pub const ICMPV6: u8 = 58;
}

/// ICMP for IPv4 (RFC 792).
pub mod icmp {
    /// Message type.
    pub const TYPE: usize = 0;
    /// Code.
    pub const CODE: usize = 1;
    /// Checksum over the message.
    pub const CHECKSUM: usize = 2;
    /// Rest of the header; identifier of an echo.
    pub const IDENTIFIER: usize = 4;
    /// Sequence number of an echo; next-hop MTU of "fragmentation needed".
    pub const SEQUENCE: usize = 6;
    /// Header length.
    pub const HEADER_LEN: usize = 8;
    /// Type: echo reply.
    pub const TYPE_ECHO_REPLY: u8 = 0;
    /// Type: destination unreachable.
    pub const TYPE_UNREACHABLE: u8 = 3;
    /// Type: echo request.
    pub const TYPE_ECHO_REQUEST: u8 = 8;
    /// Code of [`TYPE_UNREACHABLE`]: fragmentation needed and DF set (RFC 1191).
    pub const CODE_FRAGMENTATION_NEEDED: u8 = 4;
}

/// ICMP for IPv6 (RFC 4443), and Neighbor Discovery in it (RFC 4861).
pub mod icmpv6 {
    /// Message type.
    pub const TYPE: usize = 0;
    /// Code.
    pub const CODE: usize = 1;
    /// Checksum over pseudo header and message.
    pub const CHECKSUM: usize = 2;
    /// Rest of the header: MTU of "packet too big", flags of an advertisement, identifier of an echo.
    pub const REST: usize = 4;
    /// Header length; of a neighbor message, where its target is.
    pub const HEADER_LEN: usize = 8;
    /// Where the options of a neighbor message are.
    pub const NEIGHBOR_OPTIONS: usize = 24;
    /// Type: packet too big.
    pub const TYPE_TOO_BIG: u8 = 2;
    /// Type: echo request.
    pub const TYPE_ECHO_REQUEST: u8 = 128;
    /// Type: echo reply.
    pub const TYPE_ECHO_REPLY: u8 = 129;
    /// Type: neighbor solicitation.
    pub const TYPE_SOLICITATION: u8 = 135;
    /// Type: neighbor advertisement.
    pub const TYPE_ADVERTISEMENT: u8 = 136;
    /// Flag of an advertisement, in the first byte of [`REST`]: it answers a solicitation.
    pub const FLAG_SOLICITED: u8 = 0x40;
    /// Flag of an advertisement: its address replaces what is known.
    pub const FLAG_OVERRIDE: u8 = 0x20;
    /// Option: the sender's MAC address.
    pub const OPTION_SOURCE_MAC: u8 = 1;
    /// Option: the target's MAC address.
    pub const OPTION_TARGET_MAC: u8 = 2;
    /// The lengths of options count these.
    pub const OPTION_UNIT: usize = 8;
    /// Hop limit of neighbor messages: one with less has passed a router (RFC 4861 7.1).
    pub const NEIGHBOR_HOP_LIMIT: u8 = 255;
}

/// UDP (RFC 768).
pub mod udp {
    /// Source port.
    pub const SRC_PORT: usize = 0;
    /// Destination port.
    pub const DST_PORT: usize = 2;
    /// Length of header and data.
    pub const LEN: usize = 4;
    /// Checksum; 0 = none (IPv4 only).
    pub const CHECKSUM: usize = 6;
    /// Length of the header.
    pub const HEADER_LEN: usize = 8;
}

/// TCP (RFC 9293 3.1).
pub mod tcp {
    /// Source port.
    pub const SRC_PORT: usize = 0;
    /// Destination port.
    pub const DST_PORT: usize = 2;
    /// Sequence number.
    pub const SEQ: usize = 4;
    /// Acknowledgment number.
    pub const ACK: usize = 8;
    /// Data offset in words (high nibble).
    pub const DATA_OFFSET: usize = 12;
    /// The eight control bits.
    pub const FLAGS: usize = 13;
    /// Window.
    pub const WINDOW: usize = 14;
    /// Checksum over pseudo header, header and data.
    pub const CHECKSUM: usize = 16;
    /// Urgent pointer.
    pub const URGENT: usize = 18;
    /// Header length without options.
    pub const HEADER_LEN: usize = 20;
    /// Largest length of all options.
    pub const MAX_OPTIONS_LEN: usize = 40;

    /// Control bit: no more data from the sender.
    pub const FLAG_FIN: u8 = 0x01;
    /// Control bit: synchronise sequence numbers.
    pub const FLAG_SYN: u8 = 0x02;
    /// Control bit: reset the connection.
    pub const FLAG_RST: u8 = 0x04;
    /// Control bit: push.
    pub const FLAG_PSH: u8 = 0x08;
    /// Control bit: the acknowledgment field is valid.
    pub const FLAG_ACK: u8 = 0x10;
    /// Control bit: the urgent pointer is valid.
    pub const FLAG_URG: u8 = 0x20;
    /// Control bit: ECN echo (RFC 3168).
    pub const FLAG_ECE: u8 = 0x40;
    /// Control bit: congestion window reduced (RFC 3168).
    pub const FLAG_CWR: u8 = 0x80;

    /// Option: end of list.
    pub const OPT_END: u8 = 0;
    /// Option: no operation.
    pub const OPT_NOP: u8 = 1;
    /// Option: maximum segment size.
    pub const OPT_MSS: u8 = 2;
    /// Option: window scale (RFC 7323).
    pub const OPT_WINDOW_SCALE: u8 = 3;
    /// Option: SACK permitted (RFC 2018).
    pub const OPT_SACK_PERMITTED: u8 = 4;
    /// Option: SACK (RFC 2018).
    pub const OPT_SACK: u8 = 5;
    /// Option: timestamps (RFC 7323).
    pub const OPT_TIMESTAMPS: u8 = 8;
    /// Length of the MSS option.
    pub const OPT_MSS_LEN: usize = 4;
    /// Length of the window scale option.
    pub const OPT_WINDOW_SCALE_LEN: usize = 3;
    /// Length of the SACK permitted option.
    pub const OPT_SACK_PERMITTED_LEN: usize = 2;
    /// Length of the timestamps option.
    pub const OPT_TIMESTAMPS_LEN: usize = 10;
    /// Bytes that timestamps take in every segment: two NOPs and the option (RFC 7323 appendix A).
    pub const TIMESTAMPS_PADDED_LEN: usize = 12;
    /// Kind and length bytes in front of the SACK blocks.
    pub const OPT_SACK_BASE_LEN: usize = 2;
    /// Length of one SACK block.
    pub const SACK_BLOCK_LEN: usize = 8;
    /// Most SACK blocks that fit into one header.
    pub const MAX_SACK_BLOCKS: usize = 4;
    /// Largest shift of a scaled window (RFC 7323 2.3).
    pub const MAX_WINDOW_SHIFT: u8 = 14;
    /// RFC 7323 5.5: a timestamp of the peer that is older than 24 days says nothing, milliseconds.
    pub const MAX_TS_RECENT_AGE_MS: u32 = 24 * 24 * 3600 * 1000;
    /// MSS of an IPv4 peer that sends none (RFC 9293 3.7.1).
    pub const DEFAULT_MSS_IPV4: u16 = 536;
    /// MSS of an IPv6 peer that sends none (RFC 9293 3.7.1).
    pub const DEFAULT_MSS_IPV6: u16 = 1220;
    /// Smallest peer MSS we honour; below it options would leave no room for data.
    pub const MIN_MSS: u16 = 88;
}
