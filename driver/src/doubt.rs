//! Objects of which the device did not say whether it has them (law L1: no connection has two owners).
//!
//! An image whose header the device could not read, or into which it could not write its status, shows the failure that the
//! driver put there (guide section 4). The object may be in the device all the same:
//!
//! ```text
//!   initiate   HardwareFailure --> a shadow record shows that it was started --> Success: it is the device's
//!                 | no
//!                 v
//!   terminate  HardwareFailure --> terminate (again) --> Success, Stale: the device does not have it; the operation ends
//!                                                    --> anything else: the device is given up, and reset (law L2)
//! ```
//! A connection that was started is not taken back behind the host's back: its peer may have acknowledgments of bytes that only
//! the newer state counts.

use std::collections::BTreeSet;

use chimney_abi::cmd::{ImageKind, Opcode, Status};
use chimney_abi::offload::{OffloadClient, Tree};

use crate::bus::Bus;
use crate::driver::Driver;
use crate::error::DriverError;
use crate::image::Image;
use crate::ops::{status_of, Op};
use crate::tree::{self, Entry, Operation, Place};

/// An operation that waits until the device has let go of what it may have.
#[derive(Debug)]
pub(crate) struct Doubt {
    /// The operation, answered.
    pub operation: Operation,
    /// Terminates what is in doubt; the host did not ask for it.
    pub terminate: Operation,
}

impl<B: Bus> Driver<B> {
    /// Goes on with an operation that the device has answered, once every answer is one.
    pub(crate) fn conclude(&mut self, mut operation: Operation, client: &mut dyn OffloadClient) {
        if operation.opcode == Opcode::Initiate {
            self.believe_shadows(&mut operation);
        }
        let entries = self.in_doubt(&operation);
        if entries.is_empty() {
            self.end(operation, client);
            return;
        }
        let terminate = Operation {
            opcode: Opcode::Terminate,
            tree: Tree::new(),
            entries,
            span: None,
            is_answered: false,
            after_frames: 0,
        };
        self.waiting.push_back(Op::Doubt(Doubt { operation, terminate }));
    }

    fn end(&mut self, operation: Operation, client: &mut dyn OffloadClient) {
        match operation.opcode {
            Opcode::Terminate => self.finished.push_back(operation),
            _ => self.finish(operation, client),
        }
    }

    /// Objects of an initiate that were started, or carry what was, are the device's whatever became of the answer.
    pub(crate) fn believe_shadows(&mut self, operation: &mut Operation) {
        let mut parents = BTreeSet::new();
        for entry in operation.entries.iter().rev() {
            let status = status_of(&operation.tree, entry.place);
            let is_live = match entry.place {
                Place::Tcp(..) => self.conns.get_mut(entry.token).is_some_and(|conn| conn.was_started()),
                place => parents.contains(&place),
            };
            if status == Status::HardwareFailure && is_live {
                tree::set_status(&mut operation.tree, entry.place, Status::Success);
            } else if status != Status::Success {
                continue;
            }
            parents.extend(entry.place.parent());
        }
    }

    /// What must be terminated, dependents first.
    fn in_doubt(&self, operation: &Operation) -> Vec<Entry> {
        let unanswered = |e: &&Entry| status_of(&operation.tree, e.place) == Status::HardwareFailure;
        let again = |e: &Entry| self.image_of(e).map(|image| Entry { image, ..*e });
        let mut entries: Vec<Entry> = match operation.opcode {
            Opcode::Initiate | Opcode::Terminate => {
                operation.entries.iter().filter(unanswered).filter_map(again).collect()
            }
            _ => Vec::new(),
        };
        if operation.opcode == Opcode::Initiate {
            entries.reverse();
        }
        entries
    }

    /// An image that names the object, with no answer yet.
    fn image_of(&self, entry: &Entry) -> Option<Image> {
        let token = entry.token;
        let (parent, handle) = match entry.place.kind() {
            ImageKind::Neighbor => (None, self.neighbors.get(token)?.handle),
            ImageKind::Path => self.paths.get(token).map(|own| (Some(own.neighbor), own.handle))?,
            ImageKind::Tcp => self.conns.get(token).map(|own| (Some(own.path), own.handle))?,
        };
        Some(Image::new(entry.place.kind(), token, parent, handle))
    }

    /// The device has answered for what was in doubt.
    ///
    /// # Errors
    /// [`DriverError::Undecided`]; then the operation ends with the loss of the device.
    pub(crate) fn doubt_answered(
        &mut self,
        doubt: Doubt,
        client: &mut dyn OffloadClient,
    ) -> Result<(), DriverError> {
        let Doubt { mut operation, mut terminate } = doubt;
        self.read_images(&mut terminate);
        let mut objects = 0;
        for answer in &terminate.entries {
            match answer.image.status() {
                Status::Stale => {}
                // Given up by a terminate: the newest state is here.
                Status::Success if operation.opcode == Opcode::Terminate => {
                    tree::set_status(&mut operation.tree, answer.place, Status::Success);
                    let entry = operation.entries.iter_mut().find(|e| e.place == answer.place);
                    entry.into_iter().for_each(|entry| entry.image = answer.image);
                }
                Status::Success => {}
                _ => objects += 1,
            }
        }
        if objects > 0 {
            self.finished.push_back(operation);
            return Err(DriverError::Undecided { objects });
        }
        self.end(operation, client);
        Ok(())
    }
}
