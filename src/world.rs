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

/// Who makes the time.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// A clocked device, so many cycles a step.
    Cycles(u64),
    /// The wall clock, from this moment.
    Wall(Instant),
    /// So many microseconds a step.
    Virtual(u64),
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
        driver: Config,
        stack: StackConfig,
        switch: SwitchConfig,
        pace: Pace,
    ) -> Result<Self, chimney_driver::DriverError> {
        let device = Rc::new(RefCell::new(device));
        let bus = CosimBus::new(device.clone(), memory.clone());
        let removal = bus.removal();
        let driver = Driver::open(bus, driver)?;
        let now_us = device.borrow().now_us();
        let switch = Switch::new(Stack::new(stack), switch);
        Ok(Self { device, memory, driver, switch, wire, pace, now_us, removal })
    }

    /// The common time, microseconds.
    pub fn now_us(&self) -> u64 {
        self.now_us
    }

    /// The common time, nanoseconds.
    pub fn now_ns(&self) -> u64 {
        self.now_us * 1000
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
        let now_ns = self.now_ns();
        let mut any = false;
        let is_stopped = self.removal.get();
        if !is_stopped {
            while let Some(frame) = self.device.borrow_mut().pop_tx_frame() {
                any = true;
                self.wire.send(now_ns, frame)?;
            }
        }
        for frame in self.switch.take_frames() {
            any = true;
            self.wire.send(now_ns, frame)?;
        }
        self.wire.poll(now_ns)?;
        while let Some(frame) = self.wire.receive(now_ns)? {
            any = true;
            if self.switch.is_lost() {
                self.switch.handle_frame(self.now_us, &frame);
            } else if !is_stopped {
                self.device.borrow_mut().rx_frame(&frame, false);
            }
        }
        Ok(any | self.switch.poll(self.now_us, &mut self.driver))
    }

    fn advance(&mut self) {
        let is_stopped = self.removal.get();
        let limit = match self.pace {
            Pace::Cycles(cycles) if !is_stopped => Limit::cycles(cycles),
            // The clock of a stopped device stands still: the host's own goes on.
            Pace::Cycles(_) => {
                self.now_us += 100;
                return;
            }
            Pace::Wall(start) => {
                // `as`: half a million years.
                self.now_us = self.now_us.max(start.elapsed().as_micros() as u64);
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
