//! Driver and host stack over a site's bus.

use crate::site::Site;
use crate::{ECHO_IP, ECHO_PORT, MTU, PREFIX_LEN};
use anyhow::{bail, ensure, Context, Result};
use chimney_abi::cmd::TcpState;
use chimney_abi::offload::Residence;
use chimney_driver::{Config, Driver};
use chimney_host_stack::switch::{Switch, SwitchConfig};
use chimney_host_stack::{Address, ConnId, MacAddr, Stack, StackConfig, StackEvent, TcpConfig};
use sha2::{Digest, Sha256};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

/// A transfer that makes no progress for so long has failed.
pub const STALL_LIMIT: Duration = Duration::from_secs(30);
/// Length of one send request, bytes.
pub(crate) const CHUNK_BYTES: u32 = 64 << 10;
/// Another chunk is sent when no more than this waits for acknowledgment, bytes.
const MOST_UNFINISHED: usize = 3 * CHUNK_BYTES as usize;
/// Least time between interrupts, microseconds.
const HOLDOFF_US: u32 = 2000;
/// Time without work after which interrupts come again, microseconds: a simulated NIC takes a millisecond for a segment.
const POLL_US: u64 = 20_000;
/// A simulated device on a busy machine may be away for this long, microseconds.
pub(crate) const PATIENCE_US: u64 = 10_000_000;
/// MAC address of every host.
pub(crate) const HOST_MAC: MacAddr = MacAddr([0x02, 0xc4, 0x1e, 0, 0, 0x02]);

/// Bytes without a pattern: at least `len` of them, for each seed others.
pub(crate) fn noise(len: usize, seed: u64) -> Vec<u8> {
    let hash = |block: u64| Sha256::digest([seed.to_le_bytes(), block.to_le_bytes()].concat());
    (0..).map(hash).take(len.div_ceil(32)).flatten().collect()
}

/// A host with a chimney at a site.
pub struct Machine<'a, S: Site> {
    /// The miniport.
    pub driver: Driver<S::Bus>,
    /// Host stack and switch.
    pub switch: Switch,
    site: &'a mut S,
    events: Vec<StackEvent>,
    /// Another NIC, up and without connections.
    spare: Option<Driver<S::Bus>>,
    /// A NIC that was lost. The kernel tries for a minute to reset one that does not answer before it closes it, so that waits
    /// until nothing else is to be done.
    retired: Option<Driver<S::Bus>>,
}

pub(crate) fn open<S: Site>(site: &mut S, heartbeat_limit_us: u64) -> Result<Driver<S::Bus>> {
    let config = Config {
        mac: HOST_MAC.0,
        irq_holdoff_us: HOLDOFF_US,
        poll_us: POLL_US,
        command_deadline_us: PATIENCE_US,
        heartbeat_limit_us,
        ..Config::default()
    };
    Driver::open(site.connect()?, config).context("the device does not come up")
}

impl<'a, S: Site> Machine<'a, S> {
    /// Brings everything up. Each `number` is another host to the peer: it does not know this one's connections from
    /// before.
    ///
    /// # Errors
    /// When the device does not come up.
    pub fn open(site: &'a mut S, number: u8) -> Result<Self> {
        Self::open_with(site, number, PATIENCE_US)
    }

    /// As [`Machine::open`]; a device without heartbeat for so long is looked at, and then given up.
    ///
    /// # Errors
    /// When the device does not come up.
    pub fn open_with(site: &'a mut S, number: u8, heartbeat_limit_us: u64) -> Result<Self> {
        let driver = open(site, heartbeat_limit_us)?;
        let stack = Stack::new(StackConfig {
            mac: HOST_MAC,
            addresses: vec![Address::new(IpAddr::V4(Ipv4Addr::new(10, 85, 0, number)), PREFIX_LEN)],
            mtu: MTU,
            secret: number.into(),
            tcp: TcpConfig::default(),
        });
        let switch = SwitchConfig {
            chunk_bytes: CHUNK_BYTES,
            send_queue_bytes: 4 * CHUNK_BYTES as usize,
            posted_send_bytes: 4 * CHUNK_BYTES as usize,
            ..SwitchConfig::default()
        };
        Ok(Self {
            driver,
            switch: Switch::new(stack, switch),
            site,
            events: Vec::new(),
            spare: None,
            retired: None,
        })
    }

    /// Brings up another NIC, with the same address.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn add_spare(&mut self, site: &mut S) -> Result<()> {
        self.spare = Some(open(site, PATIENCE_US)?);
        Ok(())
    }

    /// The NIC was lost: everything goes on over the other one.
    ///
    /// # Errors
    /// When there is none.
    pub fn take_spare(&mut self) -> Result<()> {
        let spare = self.spare.take().context("there is no other NIC")?;
        self.retired = Some(std::mem::replace(&mut self.driver, spare));
        self.switch.change_target();
        Ok(())
    }

    /// The site.
    pub fn site(&mut self) -> &mut S {
        self.site
    }

    /// One step of everything.
    ///
    /// # Errors
    /// When the device broke or was given up.
    pub fn step(&mut self) -> Result<()> {
        self.site.turn()?;
        self.switch.poll(self.site.now_us(), &mut self.driver);
        self.events.extend(std::iter::from_fn(|| self.switch.stack().next_event()));
        if let Some(error) = self.driver.lost() {
            bail!("the device was given up: {error}");
        }
        Ok(())
    }

    /// Steps until something is so.
    ///
    /// # Errors
    /// When it does not become so.
    pub fn step_until(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) -> Result<()> {
        let start = Instant::now();
        while !done(self) {
            self.step()?;
            ensure!(start.elapsed() < STALL_LIMIT, "waited {} s for {what}", STALL_LIMIT.as_secs());
        }
        Ok(())
    }

    /// A new connection to the echo peer.
    ///
    /// # Errors
    /// When it is not answered.
    pub fn connect(&mut self) -> Result<ConnId> {
        let peer = SocketAddr::new(ECHO_IP, ECHO_PORT);
        let id = self.switch.stack().connect(self.site.now_us(), peer)?;
        self.step_until("the connection", |machine| machine.events.contains(&StackEvent::Connected(id)))?;
        Ok(id)
    }

    /// Hands a connection to the device, or takes it back.
    ///
    /// # Errors
    /// When the hand-over fails.
    pub fn move_to(&mut self, id: ConnId, residence: Residence) -> Result<()> {
        match residence {
            Residence::Offloaded => self.switch.offload(id)?,
            _ => self.switch.upload(id)?,
        }
        self.step_until("a hand-over", |machine| machine.switch.residence(id) == residence)?;
        let last = self.switch.handovers().last().context("a hand-over")?;
        let status = format!("{:?}", last.status);
        ensure!(status == "Success", "a hand-over ended with {status}");
        Ok(())
    }

    /// Sends `total` bytes and takes them back from the echo peer, compared by SHA-256.
    ///
    /// # Errors
    /// When they do not come back, or others do.
    pub fn echo(&mut self, id: ConnId, total: usize, seed: u64) -> Result<()> {
        let bytes = noise(total, seed);
        let bytes = &bytes[..total];
        let (mut sent, mut received, mut hash) = (0, 0, Sha256::new());
        let mut progress = Instant::now();
        let mut buffer = vec![0; CHUNK_BYTES as usize];
        while received < total {
            // Whole chunks, as a sender of files has them, and only if they can be posted at once.
            let chunk =
                if self.switch.unfinished_bytes(id) <= MOST_UNFINISHED { CHUNK_BYTES as usize } else { 0 };
            let end = total.min(sent + chunk);
            let n = self.switch.send(id, &bytes[sent..end])?;
            sent += n;
            let got = self.switch.recv(&mut self.driver, id, &mut buffer)?;
            hash.update(&buffer[..got]);
            received += got;
            if n + got > 0 {
                progress = Instant::now();
            }
            self.step()?;
            ensure!(progress.elapsed() < STALL_LIMIT, "stalled after {sent} bytes out, {received} back");
        }
        ensure!(hash.finalize() == Sha256::digest(bytes), "other bytes came back than were sent");
        Ok(())
    }

    /// Ends a connection that is in the host.
    ///
    /// # Errors
    /// When the peer does not end it, too.
    pub fn close(&mut self, id: ConnId) -> Result<()> {
        self.switch.shutdown(id)?;
        self.step_until("the end of the connection", |machine| {
            let has_ended = machine.events.contains(&StackEvent::Closed(id));
            has_ended || machine.switch.state(id) == Some(TcpState::TimeWait)
        })
    }
}
