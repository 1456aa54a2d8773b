//! A host that writes every call-back down and puts the received stream together.

use chimney_abi::cmd::Status;
use chimney_abi::offload::{
    BufferId, ConnectionEvent, Consumed, FrameInfo, HostHandle, NeighborBlock, Offload, OffloadClient,
    Rebuilt, TargetStatus, Tree,
};
use chimney_driver::{Bus, Driver};

/// What the host answers to an indication.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Accept {
    /// Everything; returned later by the test.
    #[default]
    All,
    /// At most so many bytes.
    Part(u32),
    /// Nothing.
    None,
}

/// A completed request: status and bytes.
pub type Done = (Status, u32);

/// The record.
#[derive(Debug, Default)]
pub struct Host {
    pub accept: Accept,
    pub initiated: Vec<Tree>,
    pub queried: Vec<Tree>,
    pub updated: Vec<Tree>,
    pub invalidated: Vec<Tree>,
    pub terminated: Vec<Tree>,
    pub sends: Vec<Done>,
    pub receives: Vec<Done>,
    pub disconnects: Vec<Status>,
    pub forwards: Vec<(Status, Vec<u8>)>,
    pub events: Vec<ConnectionEvent>,
    /// Questions about neighbors, as they came.
    pub reach_questions: Vec<NeighborBlock>,
    /// The answer to them, milliseconds.
    pub reach_answer_ms: u32,
    pub frames: Vec<Vec<u8>>,
    pub rebuilt: Option<Vec<Rebuilt>>,
    /// Lengths of indications, accepted or not.
    pub indications: Vec<usize>,
    /// The received stream.
    pub stream: Vec<u8>,
    /// Accepted in indications with [`Consumed::All`] and not returned.
    pub unreturned: u32,
    /// Stream pieces of this poll, in order.
    pieces: Vec<Piece>,
}

#[derive(Debug)]
enum Piece {
    Bytes(Vec<u8>),
    Buffer(BufferId, u32),
    Free(BufferId),
}

impl Host {
    /// After a poll: reads completed buffers and frees them.
    pub fn collect<B: Bus>(&mut self, driver: &mut Driver<B>) {
        for piece in std::mem::take(&mut self.pieces) {
            match piece {
                Piece::Bytes(bytes) => self.stream.extend(bytes),
                Piece::Free(buffer) => driver.release(buffer).expect("a completed send's buffer is ours"),
                Piece::Buffer(buffer, len) => {
                    let mut bytes = vec![0; len as usize];
                    driver.read(buffer, 0, &mut bytes).expect("a completed receive's buffer is ours");
                    self.stream.extend(bytes);
                    driver.release(buffer).expect("a completed receive's buffer is ours");
                }
            }
        }
    }
}

impl OffloadClient for Host {
    fn initiate_complete(&mut self, tree: Tree) {
        self.initiated.push(tree);
    }

    fn query_complete(&mut self, tree: Tree) {
        self.queried.push(tree);
    }

    fn update_complete(&mut self, tree: Tree) {
        self.updated.push(tree);
    }

    fn invalidate_complete(&mut self, tree: Tree) {
        self.invalidated.push(tree);
    }

    fn terminate_complete(&mut self, tree: Tree) {
        self.terminated.push(tree);
    }

    fn send_complete(&mut self, _handle: HostHandle, buffer: BufferId, status: Status, bytes: u32) {
        self.sends.push((status, bytes));
        self.pieces.push(Piece::Free(buffer));
    }

    fn receive_complete(&mut self, _handle: HostHandle, buffer: BufferId, status: Status, bytes: u32) {
        self.receives.push((status, bytes));
        self.pieces.push(Piece::Buffer(buffer, bytes));
    }

    fn disconnect_complete(&mut self, _handle: HostHandle, status: Status) {
        self.disconnects.push(status);
    }

    fn forward_complete(&mut self, _handle: HostHandle, status: Status, segment: Vec<u8>) {
        self.forwards.push((status, segment));
    }

    fn receive_indicate(&mut self, _handle: HostHandle, data: &[u8]) -> Consumed {
        self.indications.push(data.len());
        let (taken, answer) = match self.accept {
            Accept::All => {
                self.unreturned += data.len() as u32;
                (data.len(), Consumed::All)
            }
            Accept::Part(n) => (data.len().min(n as usize), Consumed::Part(n.min(data.len() as u32))),
            Accept::None => (0, Consumed::None),
        };
        self.pieces.push(Piece::Bytes(data[..taken].to_vec()));
        answer
    }

    fn neighbor_reachability(&mut self, neighbor: &mut NeighborBlock) {
        self.reach_questions.push(neighbor.clone());
        if let Some(state) = &mut neighbor.state {
            state.host_reachability_ms = self.reach_answer_ms;
        }
    }

    fn event(&mut self, _handle: HostHandle, event: ConnectionEvent) {
        self.events.push(event);
    }

    fn status(&mut self, _status: TargetStatus) {}

    fn frame(&mut self, frame: &[u8], _info: FrameInfo) {
        self.frames.push(frame.to_vec());
    }

    fn device_lost(&mut self, connections: Vec<Rebuilt>) {
        self.rebuilt = Some(connections);
    }
}
