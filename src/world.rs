//! One machine with a chimney: a device, its driver, the switch with the host stack, and the wire.
//!
//! ```text
//!   step:  device runs -> its frames to the wire -> wire moves -> frames to the device -> switch polls
//! ```
//! All of them read one clock. A clocked device makes the time; an untimed one is given wall time or virtual time.
//! When the device is stopped ([`World::stop_device`]) frames go between switch and wire without it: the plain MAC path.

use crate::cosim::CosimBus;
use chimney_driver::{Config, Driver};
use chimney_host_stack::switch::{Switch, SwitchConfig};
use chimney_host_stack::{Stack, StackConfig};
use chimney_sim::device::{Device, Limit};
use chimney_sim::host_mem::HostMemory;
use chimney_sim::net::wire::{FarEnd, Wire, WireError};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Instant;

/// Longest step by the wall clock, microseconds. When this process did not run for a while, what arrived meanwhile is
/// taken in before a timer sees all of that time.
const MOST_STEP_US: u64 = 1000;
/// Rounds between an untimed device and its host in one step.
const MOST_ROUNDS: usize = 16;
/// What the wire carries to a clocked device, bytes a cycle: three quarters of its 64-bit datapath. Frames that waited for
/// this process would otherwise come in one burst that no real wire brings.
const WIRE_BYTES_PER_CYCLE: u64 = 6;
/// Preamble, frame check sequence and gap: what a frame occupies on the wire beyond its bytes.
const WIRE_OVERHEAD_BYTES: u64 = 24;

/// Who makes the time.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// A clocked device, so many cycles a step.
    Cycles(u64),
    /// The wall clock, from the moment the world is made.
    Wall,
    /// So many microseconds a step.
    Virtual(u64),
}

/// How the host side is set up.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The miniport.
    pub driver: Config,
    /// The host stack.
    pub stack: StackConfig,
    /// The switch.
    pub switch: SwitchConfig,
    /// Who makes the time.
    pub pace: Pace,
}

/// A machine with a chimney. See the module page.
pub struct World<D: Device, F: FarEnd> {
    /// The device, shared with the driver's bus.
    pub device: Rc<RefCell<D>>,
    /// What the device may reach.
    pub memory: HostMemory,
    /// The miniport.
    pub driver: Driver<CosimBus<D>>,
    /// Host stack and switch.
    pub switch: Switch,
    /// The wire.
    pub wire: Wire<F>,
    pace: Pace,
    now_us: u64,
    started: Instant,
    lag: WallLag,
    /// Bytes that the wire has carried too many, or cycles it was idle: positive = it is free.
    wire_credit: i64,
    removal: Rc<Cell<bool>>,
}

/// How far the common time was behind the wall clock, where that makes the time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WallLag {
    /// Largest, microseconds.
    pub max_us: u64,
    /// Sum over all steps, microseconds.
    pub sum_us: u64,
    /// Steps.
    pub steps: u64,
}

impl<D: Device, F: FarEnd> World<D, F> {
    /// Brings everything up.
    ///
    /// # Errors
    /// Those of the driver's bring-up.
    pub fn new(
        device: D,
        memory: HostMemory,
        wire: Wire<F>,
        setup: Setup,
    ) -> Result<Self, chimney_driver::DriverError> {
        let Setup { driver, stack, switch, pace } = setup;
        let device = Rc::new(RefCell::new(device));
        let bus = CosimBus::new(device.clone(), memory.clone());
        let removal = bus.removal();
        let driver = Driver::open(bus, driver)?;
        let now_us = device.borrow().now_us();
        let switch = Switch::new(Stack::new(stack), switch);
        let started = Instant::now();
        let lag = WallLag::default();
        let wire_credit = 0;
        Ok(Self { device, memory, driver, switch, wire, pace, now_us, started, lag, wire_credit, removal })
    }

    /// The common time, microseconds.
    pub fn now_us(&self) -> u64 {
        self.now_us
    }

    /// The common time, nanoseconds.
    pub fn now_ns(&self) -> u64 {
        self.now_us * 1000
    }

    /// How far the time was behind the wall clock; nothing unless the pace is [`Pace::Wall`].
    pub fn wall_lag(&self) -> WallLag {
        self.lag
    }

    /// Lets the device work for some more cycles, so that it stops in the middle of something; what it sent until
    /// then is on the wire. See [`World::stop_device`].
    ///
    /// # Errors
    /// When the wire breaks.
    pub fn stop_device_after(&mut self, cycles: u64, seed: u64) -> Result<(), WireError> {
        self.device.borrow_mut().advance(Limit::cycles(cycles));
        while let Some(frame) = self.device.borrow_mut().pop_tx_frame() {
            self.wire.send(self.now_ns(), frame)?;
        }
        self.stop_device(seed);
        Ok(())
    }

    /// The device works no more and answers no more, as if it had been pulled out. `seed`: which of its
    /// last DMA writes arrive.
    pub fn stop_device(&mut self, seed: u64) {
        self.device.borrow_mut().vanish(seed);
        self.removal.set(true);
    }

    /// One step. Returns true if anything moved.
    ///
    /// # Errors
    /// When the wire breaks.
    pub fn step(&mut self) -> Result<bool, WireError> {
        self.advance();
        let mut any = self.send_frames()?;
        let now_ns = self.now_ns();
        self.wire.poll(now_ns)?;
        while self.is_wire_free() {
            let Some(frame) = self.wire.receive(now_ns)? else { break };
            any = true;
            // `as`: a frame is short.
            self.wire_credit -= (frame.len() as u64 + WIRE_OVERHEAD_BYTES) as i64;
            if self.switch.is_lost() {
                self.switch.handle_frame(self.now_us, &frame);
            } else if !self.removal.get() {
                self.device.borrow_mut().rx_frame(&frame, false);
            }
        }
        if matches!(self.pace, Pace::Wall) {
            return Ok(any | self.settle()?);
        }
        Ok(any | self.switch.poll(self.now_us, &mut self.driver))
    }

    /// Can the next frame come in now? Always, unless the device is clocked and at work.
    fn is_wire_free(&self) -> bool {
        !matches!(self.pace, Pace::Cycles(_)) || self.removal.get() || self.wire_credit >= 0
    }

    /// An untimed device needs no time, so what it has to say to the host and back is said before the next frames arrive:
    /// segments that the host kept during an offload are forwarded before the NIC sees a younger one.
    fn settle(&mut self) -> Result<bool, WireError> {
        let mut any = false;
        for _ in 0..MOST_ROUNDS {
            if !self.removal.get() {
                self.device.borrow_mut().advance(Limit::until(self.now_us));
            }
            let has_sent = self.send_frames()?;
            if !self.switch.poll(self.now_us, &mut self.driver) && !has_sent {
                break;
            }
            any = true;
        }
        Ok(any)
    }

    /// Frames of the device, or of the host when the device is stopped, go to the wire.
    fn send_frames(&mut self) -> Result<bool, WireError> {
        let now_ns = self.now_ns();
        let mut any = false;
        if !self.removal.get() {
            while let Some(frame) = self.device.borrow_mut().pop_tx_frame() {
                any = true;
                self.wire.send(now_ns, frame)?;
            }
        }
        for frame in self.switch.take_frames() {
            any = true;
            self.wire.send(now_ns, frame)?;
        }
        Ok(any)
    }

    fn advance(&mut self) {
        let is_stopped = self.removal.get();
        let limit = match self.pace {
            Pace::Cycles(cycles) if !is_stopped => {
                // `as`: a step has few cycles. What an idle wire did not carry is lost.
                let carried = (cycles * WIRE_BYTES_PER_CYCLE) as i64;
                self.wire_credit = (self.wire_credit + carried).min(carried);
                Limit::cycles(cycles)
            }
            // The clock of a stopped device stands still: the host's own goes on.
            Pace::Cycles(_) => {
                self.now_us += 100;
                return;
            }
            Pace::Wall => {
                // `as`: half a million years.
                let wall_us = self.started.elapsed().as_micros() as u64;
                self.now_us = self.now_us.max(wall_us.min(self.now_us + MOST_STEP_US));
                let lag_us = wall_us.saturating_sub(self.now_us);
                self.lag.max_us = self.lag.max_us.max(lag_us);
                self.lag.sum_us += lag_us;
                self.lag.steps += 1;
                Limit::until(self.now_us)
            }
            Pace::Virtual(step_us) => {
                self.now_us += step_us;
                Limit::until(self.now_us)
            }
        };
        if !is_stopped {
            let mut device = self.device.borrow_mut();
            device.advance(limit);
            self.now_us = self.now_us.max(device.now_us());
        }
    }
}
