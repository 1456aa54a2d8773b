//! One machine with a chimney: a device, its driver, the switch with the host stack, and the wire.
//!
//! ```text
//!   step:  device runs -> its frames to the wire -> wire moves -> frames to the device -> switch polls
//! ```
//! All of them read one clock. A clocked device makes the time; an untimed one is given wall time or virtual time.
//! When the device is stopped ([`World::stop_device`]) frames go between switch and wire without it: the plain MAC path.

use crate::cosim::CosimBus;
use crate::pace::Pacer;
pub use crate::pace::{Pace, WallLag};
use chimney_driver::{Config, Driver};
use chimney_host_stack::switch::{Switch, SwitchConfig};
use chimney_host_stack::{Stack, StackConfig};
use chimney_sim::device::{Device, Limit};
use chimney_sim::host_mem::HostMemory;
use chimney_sim::net::wire::{FarEnd, Wire, WireError};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// Rounds between an untimed device and its host in one step.
const MOST_ROUNDS: usize = 16;
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
    pacer: Pacer,
    removal: Rc<Cell<bool>>,
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
        let pacer = Pacer::new(pace, device.borrow().now_us());
        let switch = Switch::new(Stack::new(stack), switch);
        Ok(Self { device, memory, driver, switch, wire, pacer, removal })
    }

    /// The common time, microseconds.
    pub fn now_us(&self) -> u64 {
        self.pacer.now_us()
    }

    /// The common time, nanoseconds.
    pub fn now_ns(&self) -> u64 {
        self.now_us() * 1000
    }

    /// How far the time was behind the wall clock; nothing unless the pace is [`Pace::Wall`].
    pub fn wall_lag(&self) -> WallLag {
        self.pacer.wall_lag()
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
        let is_stopped = self.removal.get();
        self.pacer.advance((!is_stopped).then(|| self.device.borrow_mut()).as_deref_mut());
        let mut any = self.send_frames()?;
        let (now_us, now_ns) = (self.now_us(), self.now_ns());
        self.wire.poll(now_ns)?;
        while is_stopped || self.pacer.is_wire_free() {
            let Some(frame) = self.wire.receive(now_ns)? else { break };
            any = true;
            self.pacer.carry(frame.len());
            if self.switch.is_lost() {
                self.switch.handle_frame(now_us, &frame);
            } else if !self.removal.get() {
                self.device.borrow_mut().rx_frame(&frame, false);
            }
        }
        if matches!(self.pacer.pace(), Pace::Wall) {
            return Ok(any | self.settle()?);
        }
        Ok(any | self.switch.poll(now_us, &mut self.driver))
    }

    /// An untimed device needs no time, so what it has to say to the host and back is said before the next frames arrive:
    /// segments that the host kept during an offload are forwarded before the NIC sees a younger one.
    fn settle(&mut self) -> Result<bool, WireError> {
        let (mut any, now_us) = (false, self.now_us());
        for _ in 0..MOST_ROUNDS {
            if !self.removal.get() {
                self.device.borrow_mut().advance(Limit::until(now_us));
            }
            let has_sent = self.send_frames()?;
            if !self.switch.poll(now_us, &mut self.driver) && !has_sent {
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
}
