//! What the host does when the device asks for an upload that it need not grant.

use chimney::world::{Pace, Setup, World};
use chimney_abi::cmd::{TcpState, UploadReason};
use chimney_abi::offload::{Offload, Parameters, Residence};
use chimney_abi::watch::WatchLimits;
use chimney_driver::Config;
use chimney_host_stack::switch::SwitchConfig;
use chimney_host_stack::{Address, ConnId, MacAddr, Stack, StackConfig, TcpConfig};
use chimney_sim::golden::{self, Golden};
use chimney_sim::host_mem::{DmaPort, HostMemory};
use chimney_sim::net::impairment::Impairment;
use chimney_sim::net::wire::{QueueEnd, Wire};
use std::net::{Ipv4Addr, SocketAddr};

const HOST: Ipv4Addr = Ipv4Addr::new(10, 7, 0, 2);
const PEER: Ipv4Addr = Ipv4Addr::new(10, 7, 0, 1);
const PORT: u16 = 7;
const PERIOD_US: u32 = 50_000;

type Machine = World<Golden<DmaPort>, QueueEnd>;

fn stack(ip: Ipv4Addr, mac: u8) -> StackConfig {
    StackConfig {
        mac: MacAddr([2, 0, 0, 0, 0, mac]),
        addresses: vec![Address::new(ip, 24)],
        mtu: 1500,
        secret: 1,
        tcp: TcpConfig::default(),
    }
}

fn machine() -> Machine {
    let memory = HostMemory::new();
    let device = Golden::new(golden::Config::default(), memory.port());
    let driver = Config { mac: [2, 0, 0, 0, 0, 1], ..Config::default() };
    let switch = SwitchConfig { grants_optional_uploads: false, ..SwitchConfig::default() };
    let setup = Setup { driver, stack: stack(HOST, 1), switch, pace: Pace::Virtual(100) };
    let wire = Wire::new(QueueEnd::default(), Impairment::default());
    World::new(device, memory, wire, setup).expect("the device comes up")
}

fn run_until(world: &mut Machine, peer: &mut Stack, mut is_done: impl FnMut(&Machine) -> bool) {
    let end_us = world.now_us() + 10_000_000;
    while !is_done(world) {
        assert!(world.now_us() < end_us, "it does not happen");
        world.step().expect("the wire holds");
        let now_us = world.now_us();
        while let Some(frame) = world.wire.far().arrived.pop_front() {
            peer.handle_frame(now_us, &frame);
        }
        world.wire.far().to_send.extend(peer.poll(now_us));
    }
}

/// Both are idle, and asked for; the host keeps to its configuration, and to the administrator's order.
///
/// Verifies
#[test]
fn a_request_for_a_connection_offloaded_by_order_is_granted_and_logged() {
    let (mut world, mut peer) = (machine(), Stack::new(stack(PEER, 9)));
    let watch = WatchLimits { period_us: PERIOD_US, least_progress: 1, ..WatchLimits::default() };
    world.driver.set_parameters(&Parameters { watch, ..Parameters::default() }).expect("a device");
    peer.listen(PORT, 4).expect("a free port");
    let mut connect = || -> ConnId {
        let now_us = world.now_us();
        world.switch.stack().connect(now_us, SocketAddr::new(PEER.into(), PORT)).expect("a free local port")
    };
    let (plain, ordered) = (connect(), connect());
    let is_open = |w: &Machine, id| w.switch.state(id) == Some(TcpState::Established);
    run_until(&mut world, &mut peer, |w| is_open(w, plain) && is_open(w, ordered));
    world.switch.offload(plain).expect("in the host");
    world.switch.offload_by_order(ordered).expect("in the host");
    run_until(&mut world, &mut peer, |w| w.switch.upload_requests().len() == 2);
    run_until(&mut world, &mut peer, |w| w.switch.residence(ordered) == Residence::InHost);
    let end_us = world.now_us() + 4 * u64::from(PERIOD_US);
    run_until(&mut world, &mut peer, |w| w.now_us() > end_us);
    let mut log: Vec<_> =
        world.switch.upload_requests().iter().map(|r| (r.id, r.reason, r.is_ordered, r.is_granted)).collect();
    log.sort_by_key(|r| r.2);
    let low = UploadReason::LowActivity;
    assert_eq!(log, [(plain, low, false, false), (ordered, low, true, true)]);
    assert_eq!(world.switch.residence(plain), Residence::Offloaded, "R-164: the host need not");
}
