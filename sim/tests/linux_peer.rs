//! The Linux peer: namespace, TAP, programs, counters, clean-up. Skipped, with the reason printed, where this
//! machine cannot (no root, no TUN/TAP, no `ip`).

use std::io::{BufRead, BufReader, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use chimney_sim::net::netns::{self, PeerConfig, PeerNet};
use chimney_sim::net::peer::{start_nginx, PeerProcess};
use chimney_sim::net::tap::Tap;
use etherparse::{ArpPacketSlice, Ethernet2Slice, PacketBuilder, SlicedPacket, TransportSlice};

const OUR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
/// An answer of the kernel takes microseconds; this is only how long a broken test hangs.
const PATIENCE: Duration = Duration::from_secs(10);

/// The peer, or `None` after printing why there is none.
fn peer(config: PeerConfig) -> Option<(PeerNet, Tap)> {
    if let Err(reason) = netns::probe() {
        println!("skipped: {reason}");
        return None;
    }
    Some(PeerNet::create(config).expect("the probe succeeded"))
}

fn with_our_mac() -> PeerConfig {
    PeerConfig { host_mac: Some(OUR_MAC), ..PeerConfig::default() }
}

/// The bytes of an IPv4 address.
fn four(ip: IpAddr) -> [u8; 4] {
    match ip {
        IpAddr::V4(ip) => ip.octets(),
        IpAddr::V6(_) => panic!("these tests speak IPv4"),
    }
}

fn exists(name: &str) -> bool {
    ["/run/netns", "/var/run/netns"].iter().any(|dir| Path::new(dir).join(name).exists())
}

/// The next frame of the kernel that `wanted` accepts.
fn receive(tap: &mut Tap, mut wanted: impl FnMut(&[u8]) -> bool) -> Vec<u8> {
    let mut buffer = [0; 2048];
    while tap.wait_readable(PATIENCE) {
        while let Some(n) = tap.read(&mut buffer).expect("the TAP is up") {
            if wanted(&buffer[..n]) {
                return buffer[..n].to_vec();
            }
        }
    }
    panic!("no answer from the kernel");
}

/// A SYN to a closed port; answered by a reset if the checksum is right.
fn syn(config: &PeerConfig, source_port: u16, spoil: bool) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(OUR_MAC, config.peer_mac)
        .ipv4(four(config.host_ip), four(config.peer_ip), 64)
        .tcp(source_port, 4, 1000, 64_000)
        .syn();
    let mut frame = Vec::new();
    builder.write(&mut frame, &[]).expect("writing into a Vec");
    if spoil {
        frame[50] ^= 1; // TCP checksum
    }
    frame
}

fn is_reset_to(frame: &[u8], port: u16) -> bool {
    let Ok(packet) = SlicedPacket::from_ethernet(frame) else { return false };
    matches!(packet.transport, Some(TransportSlice::Tcp(tcp)) if tcp.rst() && tcp.destination_port() == port)
}

#[test]
fn kernel_answers_arp_through_the_tap() {
    let Some((net, mut tap)) = peer(PeerConfig::default()) else { return };
    let config = net.config();
    let arp = etherparse::ArpPacket::new(
        etherparse::ArpHardwareId::ETHERNET,
        etherparse::EtherType::IPV4,
        etherparse::ArpOperation::REQUEST,
        &OUR_MAC,
        &four(config.host_ip),
        &[0; 6],
        &four(config.peer_ip),
    )
    .expect("lengths agree");
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(OUR_MAC, [0xff; 6]).arp(arp).write(&mut frame).expect("writing into a Vec");
    assert!(tap.write(&frame).expect("the TAP is up"));
    let is_arp = |f: &[u8]| {
        Ethernet2Slice::from_slice_without_fcs(f).is_ok_and(|e| e.ether_type() == etherparse::EtherType::ARP)
    };
    let reply = receive(&mut tap, is_arp);
    let reply = ArpPacketSlice::from_slice(&reply[14..]).expect("an ARP packet");
    assert_eq!(reply.sender_hw_addr(), config.peer_mac);
    assert_eq!(reply.sender_protocol_addr(), four(config.peer_ip));
}

#[test]
fn kernel_counts_bad_checksums_and_resets() {
    let Some((net, mut tap)) = peer(with_our_mac()) else { return };
    let before = net.counters().expect("counters");
    for port in 5000..5010 {
        tap.write(&syn(net.config(), port, true)).expect("the TAP is up");
    }
    tap.write(&syn(net.config(), 6000, false)).expect("the TAP is up");
    receive(&mut tap, |frame| {
        assert!(!(5000..5010).any(|port| is_reset_to(frame, port)), "a bad segment was answered");
        is_reset_to(frame, 6000)
    });
    let added = net.counters().expect("counters").since(&before);
    assert_eq!(
        (added.get("TcpInCsumErrors"), added.checksum_errors(), added.resets()),
        (10, 10, 1),
        "{added:?}"
    );
}

#[test]
fn route_uses_cubic_and_settings_are_in_force() {
    let Some((net, _tap)) = peer(with_our_mac()) else { return };
    let route = net.run("ip", &["route", "show"]).expect("ip route");
    assert!(route.contains("congctl cubic"), "{route}");
    let value = |path| net.run("cat", &[path]).expect("a setting").trim().to_owned();
    assert_eq!(value("/proc/sys/net/ipv4/tcp_no_metrics_save"), "1");
    assert_eq!(value("/proc/sys/net/ipv4/tcp_rmem").split_whitespace().last(), Some("6291456"));
    let links = net.run("ip", &["-d", "addr", "show", "dev", "tap0"]).expect("ip addr");
    assert!(!links.contains("inet6") && links.contains("mtu 1500"), "{links}");
    assert!(net.run("ip", &["neigh"]).expect("ip neigh").contains("PERMANENT"));
}

#[test]
fn servers_run_inside_and_vanish_with_the_namespace() {
    let Some((net, tap)) = peer(with_our_mac()) else { return };
    let dir = scratch("servers");
    std::fs::write(dir.join("file"), b"contents").expect("a file");
    let ip = net.config().peer_ip.to_string();
    let mut http = PeerProcess::http_server(&net, 8000, &dir).expect("python3 http.server");
    let mut upload = PeerProcess::upload_receiver(&net, 9000).expect("upload receiver");
    let get = |port: u16| {
        let script = "import sys,urllib.request as u;print(u.urlopen(sys.argv[1]).read().decode())";
        net.run("python3", &["-c", script, &format!("http://{ip}:{port}/file")])
    };
    assert_eq!(get(8000).expect("an answer").trim(), "contents");
    if Path::new("/usr/sbin/nginx").exists() {
        start_nginx(&net, 8080, &dir, &dir).expect("nginx");
        assert_eq!(get(8080).expect("an answer").trim(), "contents");
    }
    assert_eq!(upload.take_upload().expect("running"), None);
    let script =
        "import sys,socket;s=socket.create_connection((sys.argv[1],9000));s.sendall(b'abc'*100000);s.close()";
    net.run("python3", &["-c", script, &ip]).expect("an upload");
    let line = upload.wait_line(PATIENCE).expect("a report");
    let expected = {
        use sha2::Digest;
        sha2::Sha256::digest(b"abc".repeat(100_000)).iter().map(|b| format!("{b:02x}")).collect::<String>()
    };
    assert_eq!(line, format!("{expected} 300000"));
    assert!(http.is_running());
    let name = net.name().to_owned();
    let pids = net.run("ip", &["netns", "pids", &name]).expect("pids");
    drop(net);
    assert!(!exists(&name));
    for pid in pids.split_whitespace() {
        wait_until(|| has_ended(pid), &format!("process {pid} has ended"));
    }
    drop(tap);
    std::fs::remove_dir_all(dir).expect("our own folder");
}

#[test]
fn unplugged_tap_is_an_error_and_not_a_hang() {
    let Some((net, mut tap)) = peer(with_our_mac()) else { return };
    net.run("ip", &["link", "del", "tap0"]).expect("unplugging");
    let error = tap.write(&syn(net.config(), 1, false)).expect_err("nobody is there");
    assert!(error.to_string().contains("unplugged"), "{error}");
    assert!(tap.wait_readable(PATIENCE));
    assert!(tap.read(&mut [0; 2048]).is_err());
}

#[test]
fn unknown_congestion_control_is_one_clear_line_and_leaves_nothing() {
    if peer(PeerConfig::default()).is_none() {
        return;
    }
    let config = PeerConfig { congestion_control: "nosuchcc", ..PeerConfig::default() };
    let error = PeerNet::create(config).expect_err("no such congestion control").to_string();
    assert!(!error.contains('\n') && error.contains("ip"), "{error}");
    let ours = format!("chimney-{}-", std::process::id());
    let names = Command::new("ip").args(["netns", "list"]).output().expect("ip netns").stdout;
    println!(
        "{error}; namespaces of all tests of this process: {}",
        String::from_utf8_lossy(&names).matches(&ours).count()
    );
}

/// The child of the next test: makes a namespace with a server in it, says its name, and waits to be killed.
#[test]
fn child_that_is_killed() {
    if std::env::var_os("CHIMNEY_TEST_CHILD").is_none() {
        return;
    }
    let (net, _tap) = PeerNet::create(PeerConfig::default()).expect("the parent probed");
    let mut sleeper = net.command("sleep").arg("1000").stdin(Stdio::null()).spawn().expect("sleep");
    println!("NAME {}", net.name());
    std::io::stdout().flush().expect("stdout");
    let _ = sleeper.wait();
}

#[test]
fn nothing_is_left_after_a_signal() {
    if peer(PeerConfig::default()).is_none() {
        return;
    }
    for signal in ["INT", "TERM", "KILL"] {
        let mut child = Command::new(std::env::current_exe().expect("our own path"))
            .args(["--exact", "child_that_is_killed", "--nocapture"])
            .env("CHIMNEY_TEST_CHILD", "1")
            .stdout(Stdio::piped())
            .spawn()
            .expect("this very program");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let name = lines
            .map_while(Result::ok)
            .find_map(|line| line.split_once("NAME ").map(|(_, name)| name.to_owned()))
            .expect("the child says its namespace");
        assert!(exists(&name));
        let pid = child.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &pid]).status().expect("kill").success());
        child.wait().expect("it ends");
        wait_until(|| !exists(&name), "the namespace is gone");
    }
}

/// Killed, perhaps not yet waited for by its parent.
fn has_ended(pid: &str) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    state.is_empty() || state.contains(") Z ") || state.contains(") X ")
}

/// The reaper, and a dying process, need a moment. The wait is bounded by work, not by a clock: each round starts a process.
fn wait_until(mut done: impl FnMut() -> bool, what: &str) {
    for _ in 0..3_000 {
        if done() {
            return;
        }
        let _ = Command::new("true").status();
    }
    panic!("never: {what}");
}

fn scratch(what: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("chimney-{what}-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a scratch folder");
    dir
}
