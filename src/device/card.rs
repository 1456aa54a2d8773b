//! A NIC and its wire, without a host.

use crate::pace::{Pace, Pacer};
use chimney_sim::device::Device;
use chimney_sim::net::wire::{FarEnd, Wire, WireError};
use std::cell::RefCell;
use std::rc::Rc;

/// A NIC and its wire. Whoever plays the host (a vfio-user server, or the in-process transport) shares the device.
#[derive(Debug)]
pub struct Card<D: Device, F: FarEnd> {
    /// The NIC.
    pub device: Rc<RefCell<D>>,
    /// The wire.
    pub wire: Wire<F>,
    pacer: Pacer,
}

impl<D: Device, F: FarEnd> Card<D, F> {
    /// A NIC on a wire.
    pub fn new(device: D, wire: Wire<F>, pace: Pace) -> Self {
        let pacer = Pacer::new(pace, device.now_us());
        Self { device: Rc::new(RefCell::new(device)), wire, pacer }
    }

    /// The time, microseconds.
    pub fn now_us(&self) -> u64 {
        self.pacer.now_us()
    }

    /// Whether the device makes the time, so that nothing may sleep while it works.
    pub fn is_clocked(&self) -> bool {
        matches!(self.pacer.pace(), Pace::Cycles(_))
    }

    /// One step of both. `is_plugged`: the wire is connected; frames for a NIC that is not enabled are lost. True if a frame
    /// moved.
    ///
    /// # Errors
    /// When the wire breaks.
    pub fn step(&mut self, is_plugged: bool) -> Result<bool, WireError> {
        let mut device = self.device.borrow_mut();
        self.pacer.advance(Some(&mut *device));
        let now_ns = self.pacer.now_us() * 1000;
        let mut any = false;
        while let Some(frame) = device.pop_tx_frame() {
            any = true;
            self.wire.send(now_ns, frame)?;
        }
        self.wire.poll(now_ns)?;
        while self.pacer.is_wire_free() {
            let Some(frame) = self.wire.receive(now_ns)? else { break };
            any = true;
            self.pacer.carry(frame.len());
            if is_plugged {
                device.rx_frame(&frame, false);
            }
        }
        Ok(any)
    }
}
