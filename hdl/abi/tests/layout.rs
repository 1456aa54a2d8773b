//! The contract's own consistency: registers do not overlap, records round-trip, codes are dense.

use chimney_abi::{cmd, desc, regs, state};

#[test]
fn registers_are_sorted_disjoint_and_inside_their_page() {
    for pair in regs::ALL.windows(2) {
        assert!(pair[0].offset < pair[1].offset, "{} and {}", pair[0].name, pair[1].name);
    }
    for r in regs::ALL {
        assert_eq!(r.offset % 4, 0, "{}", r.name);
        assert!(r.offset < 0x1000, "{}", r.name);
        let mut used = 0u64;
        for f in r.fields {
            let m = chimney_abi::layout::mask(f.width_bits) << f.offset_bits;
            assert_eq!(used & m, 0, "{}.{}", r.name, f.name);
            assert!(m <= u64::from(u32::MAX));
            used |= m;
        }
    }
}

#[test]
fn records_round_trip_and_fields_lie_where_the_table_says() {
    let mut bytes = [0u8; desc::Shadow::BYTES];
    for (i, b) in bytes.iter_mut().enumerate() {
        *b = (i as u8).wrapping_mul(37).wrapping_add(11);
    }
    let s = desc::Shadow::from_bytes(&bytes);
    assert_eq!(s.to_bytes(), bytes);
    let tag_end = desc::Shadow::FIELDS.iter().find(|f| f.name == "tag_end").map(|f| f.offset_bits);
    assert_eq!(tag_end, Some(240));
    assert_eq!(s.tag_end, u16::from_le_bytes([bytes[30], bytes[31]]));
    let d = desc::SendDesc { addr: 0x1234, len: 0xABCDEF, flags: 1, seq: 7 };
    assert_eq!(desc::SendDesc::from_bytes(&d.to_bytes()), d);
}

#[test]
fn a_tcp_image_fits_its_stride_and_the_record_its_budget() {
    let image = state::HEADER_BYTES as usize + state::TcpRecord::BYTES;
    assert!(image <= state::IMAGE_STRIDE as usize);
    const { assert!(state::TcpRecord::BYTES <= 288, "budget of 288 bytes of state per connection") };
}

#[test]
fn codes_convert_both_ways_and_unknown_ones_are_errors() {
    for s in cmd::Status::ALL {
        assert_eq!(cmd::Status::try_from(s.code()), Ok(*s));
    }
    assert!(cmd::Status::try_from(200).is_err());
    assert!(cmd::TcpState::ALL.iter().filter(|s| s.may_offload()).count() == 6);
}
