//! Call-backs of the target, written down during its poll and acted on afterwards.
//!
//! Two answers cannot wait. To a receive indication: as many bytes are accepted as the connection's application queue has
//! room for (spec 9.2). To the question about a neighbor: the age of the host's own confirmation. Both are known
//! before the poll.

use chimney_abi::cmd::Status;
use chimney_abi::offload::{
    BufferId, ConnectionEvent, Consumed, FrameInfo, HostHandle, NeighborBlock, OffloadClient, Rebuilt,
    TargetStatus, Tree,
};
use std::collections::BTreeMap;

/// One call-back.
#[derive(Debug)]
pub(super) enum Note {
    Initiated(Tree),
    Terminated(Tree),
    Updated(Tree),
    Queried(Tree),
    Invalidated(Tree),
    /// The target asked about a neighbor that it has not confirmed for so long; it was told that the host has not either.
    InDoubt {
        handle: HostHandle,
        target_ms: u32,
    },
    SendDone {
        handle: HostHandle,
        buffer: BufferId,
    },
    ReceiveDone {
        handle: HostHandle,
        buffer: BufferId,
        bytes: u32,
    },
    /// Bytes accepted; `to_return` of them must be returned when the application has read them.
    Indicated {
        handle: HostHandle,
        bytes: Vec<u8>,
        to_return: u32,
        refused: bool,
    },
    DisconnectDone(HostHandle),
    ForwardBack {
        handle: HostHandle,
        segment: Vec<u8>,
    },
    Event(HostHandle, ConnectionEvent),
    Target(TargetStatus),
    Frame(Vec<u8>),
    Lost(Vec<Rebuilt>),
}

/// The call-backs of one poll.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    pub notes: Vec<Note>,
    /// Bytes each connection accepts now.
    pub room: BTreeMap<HostHandle, usize>,
    /// What the target hears of its neighbors, milliseconds; 0 = stale.
    pub ages_ms: BTreeMap<HostHandle, u32>,
}

impl OffloadClient for Inbox {
    fn initiate_complete(&mut self, tree: Tree) {
        self.notes.push(Note::Initiated(tree));
    }

    fn query_complete(&mut self, tree: Tree) {
        self.notes.push(Note::Queried(tree));
    }

    fn update_complete(&mut self, tree: Tree) {
        self.notes.push(Note::Updated(tree));
    }

    fn invalidate_complete(&mut self, tree: Tree) {
        self.notes.push(Note::Invalidated(tree));
    }

    fn terminate_complete(&mut self, tree: Tree) {
        self.notes.push(Note::Terminated(tree));
    }

    fn send_complete(&mut self, handle: HostHandle, buffer: BufferId, _status: Status, _bytes: u32) {
        self.notes.push(Note::SendDone { handle, buffer });
    }

    fn receive_complete(&mut self, handle: HostHandle, buffer: BufferId, _status: Status, bytes: u32) {
        self.notes.push(Note::ReceiveDone { handle, buffer, bytes });
    }

    fn disconnect_complete(&mut self, handle: HostHandle, _status: Status) {
        self.notes.push(Note::DisconnectDone(handle));
    }

    fn forward_complete(&mut self, handle: HostHandle, status: Status, segment: Vec<u8>) {
        if status == Status::UploadInProgress {
            self.notes.push(Note::ForwardBack { handle, segment });
        }
    }

    fn receive_indicate(&mut self, handle: HostHandle, data: &[u8]) -> Consumed {
        let room = self.room.entry(handle).or_default();
        let taken = data.len().min(*room);
        *room -= taken;
        let refused = taken < data.len();
        // `as`: an indication lies in the receive window.
        let (count, answer) = match taken {
            0 => (0, Consumed::None),
            n if refused => (0, Consumed::Part(n as u32)),
            n => (n as u32, Consumed::All),
        };
        let bytes = data[..taken].to_vec();
        self.notes.push(Note::Indicated { handle, bytes, to_return: count, refused });
        answer
    }

    fn neighbor_reachability(&mut self, neighbor: &mut NeighborBlock) {
        let Some(state) = &mut neighbor.state else { return };
        let (handle, target_ms) = (neighbor.handle, state.nic_reachability_ms);
        // One that the host does not know is as good as stale.
        state.host_reachability_ms = self.ages_ms.get(&handle).copied().unwrap_or(0);
        if state.host_reachability_ms == 0 {
            self.notes.push(Note::InDoubt { handle, target_ms });
        }
    }

    fn event(&mut self, handle: HostHandle, event: ConnectionEvent) {
        self.notes.push(Note::Event(handle, event));
    }

    fn status(&mut self, status: TargetStatus) {
        self.notes.push(Note::Target(status));
    }

    fn frame(&mut self, frame: &[u8], _info: FrameInfo) {
        self.notes.push(Note::Frame(frame.to_vec()));
    }

    fn device_lost(&mut self, connections: Vec<Rebuilt>) {
        self.notes.push(Note::Lost(connections));
    }
}
