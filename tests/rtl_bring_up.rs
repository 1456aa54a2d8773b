//! The Verilated RTL behind the driver: bring-up, ordinary frames, counters, stop.

#[allow(dead_code)] // each test file uses its part
mod harness;

use chimney_abi::offload::Offload;
use chimney_abi::regs;
use chimney_sim::bfm::axi_memory::AxiTiming;
use chimney_sim::rng::test_seed;
use harness::{config, stream, RtlWorld, HOST_MAC, PEER_MAC};

/// An Ethernet frame that no engine takes.
fn frame(dst: [u8; 6], src: [u8; 6], len: usize, salt: u64) -> Vec<u8> {
    let mut f = [dst, src].concat();
    f.extend([0x88, 0xb5]);
    f.extend(stream(salt, 0, len - 14));
    f
}

#[test]
fn the_rtl_comes_up_and_ordinary_frames_go_both_ways() {
    for timing in [AxiTiming::default(), AxiTiming::random(test_seed(61))] {
        let mut world = RtlWorld::rtl_with(config(), timing);
        let mut sent = Vec::new();
        for i in 0..20usize {
            let f = frame(PEER_MAC, HOST_MAC, 60 + i * 73, i as u64);
            world.driver.transmit(&f).expect("room");
            sent.push(f);
            world.settle();
        }
        assert_eq!(world.sent_frames(), sent);
        let mut received = Vec::new();
        for i in 0..20usize {
            let f = frame(HOST_MAC, PEER_MAC, 60 + i * 73, 100 + i as u64);
            world.wire(&f);
            received.push(f);
        }
        assert_eq!(world.host.frames, received);
        let count = world.driver.counter(&regs::CNT_TX_FRAMES).expect("alive");
        assert_eq!(count, 20);
        world.assert_clean();
    }
}
