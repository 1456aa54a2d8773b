//! Law L2: the device is gone; everything goes on from host memory.
//!
//! ```text
//!   connection was         the host hears
//!   Offloaded              device_lost with its state
//!   Uploading              terminate_complete, Success, with its state
//!   Offloading, started    initiate_complete with its token, then device_lost with its state
//!   Offloading, unstarted  initiate_complete, Failure: its own state is still the newest
//! ```
//! Requests are completed first (UploadInProgress), so every buffer is the host's again.

use chimney_abi::cmd::{Opcode, Status};
use chimney_abi::offload::{OffloadClient, Rebuilt};

use crate::bus::Bus;
use crate::conn::Phase;
use crate::doubt::Doubt;
use crate::driver::Driver;
use crate::error::DriverError;
use crate::nic;
use crate::ops::Op;
use crate::tree::{self, Operation, Place};

impl<B: Bus> Driver<B> {
    /// Gives the device up. Returns true: there are call-backs.
    pub(crate) fn lose(&mut self, error: DriverError, client: &mut dyn OffloadClient) -> bool {
        self.lost = Some(error);
        // If it still listens it must stop: two owners of a connection would break law L1. If it does not, this
        // fails, and nothing it might still write is looked at any more.
        let _gone = nic::reset(&mut self.mmio);
        self.return_forwards(client);
        let waiting = std::mem::take(&mut self.waiting);
        let in_flight = std::mem::take(&mut self.in_flight);
        let finished = std::mem::take(&mut self.finished);
        let mut ops: Vec<Operation> = finished.into();
        for op in in_flight.into_values().chain(waiting) {
            match op {
                Op::Tree(operation) => ops.push(operation),
                Op::Doubt(Doubt { operation, terminate }) => {
                    if let Some(span) = terminate.span {
                        self.queues.images.release(span);
                    }
                    ops.push(operation);
                }
                Op::Abort(token) => {
                    // The host aborts it itself once it has it back.
                    if let Some(conn) = self.conns.get_mut(token) {
                        conn.own_abort = false;
                    }
                }
            }
        }
        for operation in ops {
            self.fail_operation(operation, client);
        }
        let mut rebuilt = Vec::new();
        for token in self.conns.tokens() {
            let Some(handle) = self.handle(token) else { continue };
            if let Some(state) = self.take_back(token, None, client) {
                rebuilt.push(Rebuilt { handle, state });
            }
        }
        client.device_lost(rebuilt);
        true
    }

    fn fail_operation(&mut self, mut operation: Operation, client: &mut dyn OffloadClient) {
        if operation.is_answered && operation.opcode == Opcode::Initiate {
            self.believe_shadows(&mut operation); // those in doubt, once more
        }
        for i in 0..operation.entries.len() {
            let entry = operation.entries[i];
            let started = match entry.place {
                Place::Tcp(..) => self.conns.get_mut(entry.token).is_some_and(|conn| conn.was_started()),
                _ => false,
            };
            let status = match operation.opcode {
                // One whose images came back stands as it is.
                _ if operation.is_answered => continue,
                Opcode::Initiate if started => Status::Success,
                _ => Status::Failure,
            };
            tree::set_status(&mut operation.tree, entry.place, status);
            self.set_phase(&entry, Phase::Offloaded);
        }
        if let Some(span) = operation.span.take() {
            self.queues.images.release(span);
        }
        self.finish(operation, client);
    }
}
