//! The life of a hand-over: freeze, initiate, release or resume; terminate, thaw; the loss of the target.

use super::inbox::Note;
use super::link::Wish;
use super::objects::{Leaf, Route};
use super::Switch;
use crate::socket::{ConnId, StackError};
use chimney_abi::cmd::{Status, UploadReason};
use chimney_abi::offload::{
    Capabilities, ConnectionEvent, HostHandle, Offload, Rebuilt, Residence, Role, TargetStatus, TcpBlock,
    TcpBlockState, Tree,
};
use chimney_abi::SeqNum;

/// Which way a connection went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Host to target.
    Offload,
    /// Target to host.
    Upload,
    /// The target was lost and the host rebuilt the connection from its own memory (law L2).
    Rebuild,
}

/// One hand-over and the bytes that moved with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handover {
    /// When it was complete.
    pub at_us: u64,
    /// The connection.
    pub id: ConnId,
    /// Which way.
    pub direction: Direction,
    /// `Success`, or why the connection stayed where it was.
    pub status: Status,
    /// Posted and never sent, bytes.
    pub unsent_bytes: u32,
    /// Sent and not acknowledged, bytes.
    pub unacknowledged_bytes: u32,
    /// Received in order and not delivered, bytes.
    pub undelivered_bytes: u32,
    /// Received ahead of a hole, bytes.
    pub out_of_order_bytes: u32,
}

/// An upload that the target asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UploadRequest {
    /// When.
    pub at_us: u64,
    /// The connection.
    pub id: ConnId,
    /// Why.
    pub reason: UploadReason,
    /// The administrator ordered that it be offloaded.
    pub is_ordered: bool,
    /// It goes to the host.
    pub is_granted: bool,
}

/// The handle under which the target knows a connection.
pub(super) fn handle(id: ConnId) -> HostHandle {
    HostHandle(id.0)
}

/// The connection that the target knows under a handle.
pub(super) fn id(handle: HostHandle) -> ConnId {
    ConnId(handle.0)
}

impl Handover {
    fn new(
        at_us: u64,
        id: ConnId,
        direction: Direction,
        status: Status,
        state: Option<&TcpBlockState>,
    ) -> Self {
        // `as`: bounded by buffers far below 4 GiB.
        let sum = |s: &TcpBlockState| s.out_of_order.iter().map(|r| r.bytes.len() as u32).sum();
        let len = |s: &TcpBlockState| s.send_data.len() as u32;
        let flying = |s: &TcpBlockState| (SeqNum(s.record.snd_max) - SeqNum(s.record.snd_una)).min(len(s));
        Handover {
            at_us,
            id,
            direction,
            status,
            unsent_bytes: state.map_or(0, |s| len(s) - flying(s)),
            unacknowledged_bytes: state.map_or(0, flying),
            undelivered_bytes: state.map_or(0, |s| s.buffered.len() as u32),
            out_of_order_bytes: state.map_or(0, sum),
        }
    }
}

impl Switch {
    /// Starts one operation for all that waits for it: uploads before changes, and those before offloads, which build on them.
    pub(super) fn start_operation(&mut self, now_us: u64, target: &mut dyn Offload) {
        if self.is_busy {
            return;
        }
        let wanting =
            |links: &std::collections::BTreeMap<ConnId, super::link::Link>, wish, place| -> Vec<ConnId> {
                links
                    .iter()
                    .filter(|(_, l)| l.wants == Some(wish) && l.residence == place)
                    .map(|(id, _)| *id)
                    .collect()
            };
        self.leave_invalid();
        let uploads = wanting(&self.links, Wish::Upload, Residence::Offloaded);
        if !uploads.is_empty() {
            self.start_upload(target, uploads);
            return;
        }
        let is_started = self.start_update(now_us, target)
            || self.start_invalidate(target)
            || self.start_age_query(now_us, target);
        if is_started {
            return;
        }
        // What the host has sent leaves first: a frame that still waits here would be overtaken by the target (law L3).
        if !self.is_paused && self.frames.is_empty() {
            let offloads = wanting(&self.links, Wish::Offload, Residence::InHost);
            self.start_offload(now_us, target, offloads);
        }
        if !self.is_busy {
            self.start_query(target);
        }
    }

    fn start_offload(&mut self, now_us: u64, target: &mut dyn Offload, ids: Vec<ConnId>) {
        let can = target.capabilities();
        let mut leaves = Vec::new();
        for id in ids {
            // Bytes that still wait at the switch follow those of the stack, wherever the connection is.
            match self.leaf(now_us, id, &can) {
                Ok(Some(leaf)) => leaves.push(leaf),
                Ok(None) => {} // no MAC address yet, or one in doubt: later
                Err(_) => self.refuse(now_us, id, Status::Rejected),
            }
        }
        if leaves.is_empty() {
            return;
        }
        let ids: Vec<ConnId> = leaves.iter().map(|l| id(l.block.handle)).collect();
        let tree = self.objects.initiate_tree(leaves);
        if target.initiate(tree).is_ok() {
            self.is_busy = true;
            return;
        }
        for id in ids {
            let _ = self.stack.resume(now_us, id); // it was frozen a moment ago
            self.refuse(now_us, id, Status::Failure);
        }
    }

    /// Freezes a connection and makes its block.
    fn leaf(&mut self, now_us: u64, id: ConnId, can: &Capabilities) -> Result<Option<Leaf>, StackError> {
        let tuple = self.stack.tcb(id)?.tuple;
        let ends = (tuple.local.ip(), tuple.remote.ip());
        let route = Route { next_hop: self.stack.next_hop(ends.1), ends };
        if !self.may_use(route.next_hop) {
            return Ok(None);
        }
        let Some(neighbor) = self.stack.neighbor_state(now_us, id)? else { return Ok(None) };
        let path = self.stack.path_state(id)?;
        let tcb = self.stack.tcb(id)?;
        if tcb.rcv_right - tcb.rcv_nxt > can.max_rcv_window {
            return Err(StackError::WrongState); // a window that was promised cannot be taken back
        }
        if tcb.ecn.is_on && !can.ecn {
            return Err(StackError::WrongState); // the peer relies on the echo
        }
        let state = self.stack.freeze(now_us, id)?;
        let link = self.links.entry(id).or_default();
        link.residence = Residence::Offloading;
        link.route = Some(route);
        link.needs_post = !state.buffered.is_empty();
        let block =
            TcpBlock { role: Role::New, handle: handle(id), state: Some(state), status: Status::Success };
        Ok(Some(Leaf { route, neighbor, path, block }))
    }

    fn refuse(&mut self, now_us: u64, id: ConnId, status: Status) {
        if let Some(link) = self.links.get_mut(&id) {
            link.wants = None;
            link.residence = Residence::InHost;
        }
        self.handovers.push(Handover::new(now_us, id, Direction::Offload, status, None));
    }

    fn start_upload(&mut self, target: &mut dyn Offload, ids: Vec<ConnId>) {
        let mut leaves = Vec::new();
        for id in ids {
            let Some(link) = self.links.get_mut(&id) else { continue };
            let (Some(token), Some(route)) = (link.token, link.route) else { continue };
            link.residence = Residence::Uploading;
            let block = TcpBlock {
                role: Role::Linker(token),
                handle: handle(id),
                state: None,
                status: Status::Success,
            };
            leaves.push((route, block));
        }
        let tree = self.objects.terminate_tree(leaves);
        // Refused only when the device is lost; then `device_lost` brings the connections.
        self.is_busy = target.terminate(tree).is_ok();
    }

    pub(super) fn act(&mut self, now_us: u64, target: &mut dyn Offload, note: Note) {
        match note {
            Note::Initiated(tree) => self.initiated(now_us, target, tree),
            Note::Terminated(tree) => self.terminated(now_us, tree),
            Note::Updated(tree) => self.updated(tree),
            Note::Queried(tree) => self.queried(now_us, tree),
            Note::Invalidated(tree) => self.invalidated(&tree),
            Note::InDoubt { handle, target_ms } => self.in_doubt(now_us, handle, target_ms),
            Note::SendDone { handle, buffer } => {
                let len = self.sends.remove(&buffer).unwrap_or(0) as usize;
                if let Some(link) = self.links.get_mut(&id(handle)) {
                    link.posted_bytes = link.posted_bytes.saturating_sub(len);
                }
                let _ = target.release(buffer); // a completed buffer is ours
            }
            Note::ReceiveDone { handle, buffer, bytes } => {
                let mut data = vec![0; bytes as usize];
                let is_read = target.read(buffer, 0, &mut data).is_ok();
                if let Some(link) = self.links.get_mut(&id(handle)) {
                    link.posted_receives = link.posted_receives.saturating_sub(1);
                    if is_read {
                        link.push_received(&data, false);
                    }
                }
                let _ = target.release(buffer); // a completed buffer is ours
            }
            Note::Indicated { handle, bytes, to_return, refused } => {
                if let Some(link) = self.links.get_mut(&id(handle)) {
                    link.push_received(&bytes, to_return > 0);
                    link.needs_post |= refused;
                }
            }
            Note::DisconnectDone(handle) => {
                if let Some(link) = self.links.get_mut(&id(handle)) {
                    link.is_disconnected = true;
                    link.leave_if_over();
                }
            }
            Note::ForwardBack { handle, segment } => {
                let _ = self.stack.give_back_held(now_us, id(handle), segment); // a connection that is gone needs none
            }
            Note::Event(handle, event) => self.event(now_us, id(handle), event),
            Note::Target(status) => self.target_status(status),
            Note::Frame(frame) => self.stack.handle_frame(now_us, &frame),
            Note::Lost(connections) => self.lost(now_us, connections),
        }
    }

    fn event(&mut self, now_us: u64, id: ConnId, event: ConnectionEvent) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let is_offloaded = link.residence == Residence::Offloaded;
        match event {
            ConnectionEvent::Disconnect => {
                link.peer_closed = true;
                link.leave_if_over();
            }
            ConnectionEvent::SendBacklogChange(_) => {}
            ConnectionEvent::Retrieve(reason) => {
                link.is_stopped |= reason.is_mandatory();
                //
                let grants = reason.is_mandatory() || link.is_ordered || self.config.grants_optional_uploads;
                let is_granted = is_offloaded && grants;
                if is_granted {
                    link.wants = Some(Wish::Upload);
                }
                let is_ordered = link.is_ordered;
                self.requests.push(UploadRequest { at_us: now_us, id, reason, is_ordered, is_granted });
            }
            ConnectionEvent::Abort => {
                link.is_stopped = true;
                if is_offloaded {
                    link.wants = Some(Wish::Upload);
                }
            }
        }
    }

    ///
    fn target_status(&mut self, status: TargetStatus) {
        match status {
            TargetStatus::Pause => self.is_paused = true,
            TargetStatus::Resume => self.is_paused = false,
            TargetStatus::UploadAll => {
                self.is_paused = true;
                for link in self.links.values_mut().filter(|l| l.residence == Residence::Offloaded) {
                    link.wants = Some(Wish::Upload);
                }
            }
        }
    }

    fn initiated(&mut self, now_us: u64, target: &mut dyn Offload, tree: Tree) {
        self.is_busy = false;
        let is_linker = |role| matches!(role, Role::Linker(_));
        for path in tree.iter().flat_map(|n| &n.paths) {
            // A target that was lost meanwhile had started connections on it.
            if !is_linker(path.role) && path.connections.iter().any(|c| is_linker(c.role)) {
                path.state.into_iter().for_each(|state| self.stack.lose_path(state.src, state.dst));
            }
        }
        for block in self.objects.initiated(tree) {
            let id = id(block.handle);
            let Role::Linker(token) = block.role else {
                let _ = self.stack.resume(now_us, id); // frozen since the initiate
                self.refuse(now_us, id, block.status);
                continue;
            };
            let entry = Handover::new(now_us, id, Direction::Offload, block.status, block.state.as_ref());
            self.handovers.push(entry);
            let _ = self.stack.release(id); // frozen since the initiate
            for segment in self.stack.take_held(id).unwrap_or_default() {
                let _ = target.forward(token, &segment); // R-115; refused = TCP sends it again
            }
            if let Some(link) = self.links.get_mut(&id) {
                link.token = Some(token);
                link.residence = Residence::Offloaded;
                link.wants = None;
                link.is_stopped = false;
            }
        }
    }

    fn terminated(&mut self, now_us: u64, tree: Tree) {
        self.is_busy = false;
        let returned = self.objects.returned(&tree);
        for (hop, target_ms) in returned {
            self.stack.neighbors.give_back(now_us, hop, target_ms, &mut self.stack.tx);
        }
        for path in tree.into_iter().flat_map(|n| n.paths) {
            match path.state.filter(|_| path.selected) {
                Some(state) if path.status == Status::Success => self.stack.return_path(&state),
                // What it was when the target got it.
                Some(state) => self.stack.lose_path(state.src, state.dst),
                None => {}
            }
            for block in path.connections {
                self.take_back(now_us, id(block.handle), Direction::Upload, block.status, block.state);
            }
        }
    }

    fn take_back(
        &mut self,
        now_us: u64,
        id: ConnId,
        direction: Direction,
        status: Status,
        state: Option<TcpBlockState>,
    ) {
        let entry = Handover::new(now_us, id, direction, status, state.as_ref());
        let state = state.filter(|_| status == Status::Success);
        let is_back = state.is_some_and(|state| self.stack.thaw(now_us, id, state).is_ok());
        let status = if is_back { status } else { Status::Failure };
        self.handovers.push(Handover { status, ..entry });
        if !is_back {
            let _ = self.stack.discard(id); // the state is lost
        }
        if let Some(link) = self.links.get_mut(&id) {
            link.residence = Residence::InHost;
            link.token = None;
            link.wants = None;
            link.is_stopped = false;
            link.needs_post = false;
            link.posted_receives = 0;
            link.posted_bytes = 0;
            link.forget_returns();
        }
    }

    fn lost(&mut self, now_us: u64, connections: Vec<Rebuilt>) {
        self.is_lost = true;
        self.is_busy = false;
        self.asked.clear();
        for (src, dst) in self.objects.clear() {
            self.stack.lose_path(src, dst);
        }
        self.stack.neighbors.decide_all(now_us, &mut self.stack.tx);
        for c in connections {
            self.take_back(now_us, id(c.handle), Direction::Rebuild, Status::Success, Some(c.state));
        }
        // What was on its way down and never arrived is still whole in the stack.
        let offloading = |l: &super::link::Link| l.residence == Residence::Offloading;
        let stayed: Vec<ConnId> =
            self.links.iter().filter(|(_, l)| offloading(l)).map(|(id, _)| *id).collect();
        for id in stayed {
            let _ = self.stack.resume(now_us, id);
            self.refuse(now_us, id, Status::HardwareFailure);
        }
    }
}
