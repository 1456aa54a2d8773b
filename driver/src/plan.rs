//! Planning state operations: from the host's tree to the entries that the device hears of.

use std::collections::BTreeSet;

use chimney_abi::cmd::{ImageKind, Opcode, Status};
use chimney_abi::offload::{HostHandle, NeighborState, OffloadError, Role, Token, Tree};
use chimney_abi::state::{TcpRecord, CONST_IPV6};
use chimney_abi::wire::ethernet;

use crate::bus::Bus;
use crate::conn::Phase;
use crate::driver::{Driver, Neighbor, Path};
use crate::image::{neighbor_body, path_body, Image};
use crate::prepare::{prepare, Identity};
use crate::reach::{clock_ms, Reach};
use crate::record;
use crate::tree::{self, Entry, Operation, Place};

impl<B: Bus> Driver<B> {
    /// Plans an initiate: takes table entries, rings and pages for every new object.
    ///
    /// # Errors
    /// `BadTree`, `WrongPhase`; then nothing happened.
    pub(crate) fn plan_initiate(&mut self, mut tree: Tree) -> Result<Operation, OffloadError> {
        tree::check_initiate(&tree)?;
        if tree::places(&tree).into_iter().any(|place| self.is_leaving(&tree, place)) {
            return Err(OffloadError::WrongPhase);
        }
        tree::preset(&mut tree, Status::Failure);
        let mut entries = Vec::new();
        for n in 0..tree.len() {
            let parent = self.plan_neighbor(&mut tree, n, &mut entries);
            for p in 0..tree[n].paths.len() {
                let path = self.plan_path(&mut tree, (n, p), parent, &mut entries);
                for c in 0..tree[n].paths[p].connections.len() {
                    self.plan_tcp(&mut tree, (n, p, c), path, &mut entries);
                }
            }
        }
        let after_frames = self.queues.tx.queued();
        let opcode = Opcode::Initiate;
        Ok(Operation { opcode, tree, entries, span: None, is_answered: false, after_frames })
    }

    fn plan_neighbor(&mut self, tree: &mut Tree, n: usize, entries: &mut Vec<Entry>) -> Option<Token> {
        let block = &mut tree[n];
        let state = match (block.role, block.state) {
            (Role::Linker(token), _) => {
                let live = self.neighbors.get(token).is_some();
                block.status = if live { Status::Success } else { Status::Stale };
                return live.then_some(token);
            }
            (Role::New, Some(state)) => state,
            _ => return None,
        };
        if let Err(status) = self.check_neighbor(&state) {
            block.status = status;
            return None;
        }
        let Some(token) = self.neighbors.reserve() else {
            block.status = Status::NeighborEntries;
            return None;
        };
        let own = Neighbor {
            handle: block.handle,
            state,
            reach: Reach::of(&state, clock_ms(self.now_us)),
            is_invalid: false,
            phase: Phase::Offloading,
        };
        self.neighbors.put(token, own);
        let image = Image::new(ImageKind::Neighbor, token, None, block.handle).with(&neighbor_body(&state));
        entries.push(Entry { place: Place::Neighbor(n), token, image });
        Some(token)
    }

    /// a framing that the device does not have.
    fn check_neighbor(&self, state: &NeighborState) -> Result<(), Status> {
        let caps = self.identity.capabilities;
        if state.vlan != 0 && (!caps.vlan || state.vlan > ethernet::MAX_VLAN_ID) {
            return Err(Status::VlanMismatch);
        }
        if state.llc_snap && !caps.llc_snap {
            return Err(Status::Rejected);
        }
        Ok(())
    }

    fn plan_path(
        &mut self,
        tree: &mut Tree,
        (n, p): (usize, usize),
        parent: Option<Token>,
        entries: &mut Vec<Entry>,
    ) -> Option<Token> {
        let block = &mut tree[n].paths[p];
        let state = match (block.role, block.state) {
            (Role::Linker(token), _) => {
                let live = self.paths.get(token).is_some();
                block.status = if live { Status::Success } else { Status::Stale };
                return live.then_some(token);
            }
            (Role::New, Some(state)) => state,
            _ => return None,
        };
        let parent = parent?;
        let caps = self.identity.capabilities;
        let can = if state.src.is_ipv4() { caps.ipv4 } else { caps.ipv6 };
        if !can || state.src.is_ipv4() != state.dst.is_ipv4() {
            block.status = Status::Rejected;
            return None;
        }
        let Some(token) = self.paths.reserve() else {
            block.status = Status::PathEntries;
            return None;
        };
        self.paths
            .put(token, Path { handle: block.handle, state, neighbor: parent, phase: Phase::Offloading });
        let image = Image::new(ImageKind::Path, token, Some(parent), block.handle).with(&path_body(&state));
        entries.push(Entry { place: Place::Path(n, p), token, image });
        Some(token)
    }

    fn plan_tcp(
        &mut self,
        tree: &mut Tree,
        (n, p, c): (usize, usize, usize),
        path: Option<Token>,
        entries: &mut Vec<Entry>,
    ) {
        let block = tree::tcp_of(tree, n, p, c);
        let (Role::New, Some(state), Some(path)) = (block.role, &block.state, path) else { return };
        let is_ipv6 = self.paths.get(path).is_some_and(|p| p.state.src.is_ipv6());
        if is_ipv6 != (state.record.const_flags & CONST_IPV6 != 0) {
            block.status = Status::Rejected;
            return;
        }
        let Some(token) = self.conns.reserve() else {
            block.status = Status::TcpEntries;
            return;
        };
        let who = Identity { token, handle: block.handle, path, now_us: self.now_us };
        let memory = self.queues.conn_memory(token.index, &self.config);
        match prepare(who, state, memory, &self.config, &mut self.shared) {
            Ok((conn, record)) => {
                self.conns.put(token, conn);
                let image =
                    Image::new(ImageKind::Tcp, token, Some(path), block.handle).with(&record.to_bytes());
                entries.push(Entry { place: Place::Tcp(n, p, c), token, image });
            }
            Err(status) => {
                block.status = status;
                self.conns.vacate(token);
            }
        }
    }

    /// Plans query, update, invalidate or terminate.
    ///
    /// # Errors
    /// `BadTree`, `StaleToken`, `WrongPhase`; then nothing happened.
    pub(crate) fn plan(&mut self, opcode: Opcode, mut tree: Tree) -> Result<Operation, OffloadError> {
        let mut entries = Vec::new();
        for place in tree::places(&tree) {
            match tree::role(&tree, place) {
                Role::New => return Err(OffloadError::BadTree),
                Role::Placeholder => continue,
                Role::Linker(token) => entries.extend(self.plan_entry(opcode, &tree, place, token)?),
            }
        }
        if opcode == Opcode::Terminate {
            self.check_orphans(&entries)?;
            entries.iter().for_each(|entry| self.set_phase(entry, Phase::Uploading));
            entries.reverse();
        }
        tree::preset(&mut tree, Status::Success); // what is only structure
        Ok(Operation { opcode, tree, entries, span: None, is_answered: false, after_frames: 0 })
    }

    fn plan_entry(
        &self,
        opcode: Opcode,
        tree: &Tree,
        place: Place,
        token: Token,
    ) -> Result<Option<Entry>, OffloadError> {
        let image = match place {
            Place::Neighbor(n) => {
                let own = self.neighbors.get(token).ok_or(OffloadError::StaleToken)?;
                check_phase(own.phase)?;
                let state = tree[n].state.unwrap_or(own.state);
                let image =
                    Image::new(ImageKind::Neighbor, token, None, own.handle).with(&neighbor_body(&state));
                tree[n].selected.then_some(image)
            }
            Place::Path(n, p) => {
                let own = self.paths.get(token).ok_or(OffloadError::StaleToken)?;
                check_phase(own.phase)?;
                let block = &tree[n].paths[p];
                // a path below another neighbor is to be moved there.
                let parent = match tree[n].role {
                    Role::Linker(neighbor) if opcode == Opcode::Update => neighbor,
                    _ => own.neighbor,
                };
                let state = block.state.unwrap_or(own.state);
                let image =
                    Image::new(ImageKind::Path, token, Some(parent), own.handle).with(&path_body(&state));
                (block.selected || parent != own.neighbor).then_some(image)
            }
            Place::Tcp(n, p, c) => {
                let own = self.conns.get(token).ok_or(OffloadError::StaleToken)?;
                check_phase(own.phase)?;
                let block = &tree[n].paths[p].connections[c];
                let cached = block.state.as_ref().map(|state| with_cached(own.record, &state.record));
                let image = Image::new(ImageKind::Tcp, token, Some(own.path), own.handle);
                match (opcode, cached) {
                    (Opcode::Update, None) => None, // only structure
                    (Opcode::Update, Some(record)) => Some(image.with(&record.to_bytes())),
                    _ => Some(image),
                }
            }
        };
        Ok(image.map(|image| Entry { place, token, image }))
    }

    /// nothing may lose its parent.
    fn check_orphans(&self, entries: &[Entry]) -> Result<(), OffloadError> {
        let indices = |kind| -> BTreeSet<u16> {
            entries.iter().filter(|e| e.place.kind() == kind).map(|e| e.token.index).collect()
        };
        let (neighbors, paths, conns) =
            (indices(ImageKind::Neighbor), indices(ImageKind::Path), indices(ImageKind::Tcp));
        let lost_conn = !paths.is_empty()
            && self.conns.tokens().into_iter().any(|t| {
                let path = self.conns.get(t).map(|conn| conn.path.index);
                path.is_some_and(|p| paths.contains(&p)) && !conns.contains(&t.index)
            });
        let lost_path = !neighbors.is_empty()
            && self.paths.tokens().into_iter().any(|t| {
                let neighbor = self.paths.get(t).map(|path| path.neighbor.index);
                neighbor.is_some_and(|n| neighbors.contains(&n)) && !paths.contains(&t.index)
            });
        (!lost_conn && !lost_path).then_some(()).ok_or(OffloadError::WrongPhase)
    }

    /// True if a block of an initiate tree links to an object that is being terminated.
    fn is_leaving(&self, tree: &Tree, place: Place) -> bool {
        let phase = match (place, tree::role(tree, place)) {
            (Place::Neighbor(_), Role::Linker(token)) => self.neighbors.get(token).map(|o| o.phase),
            (Place::Path(..), Role::Linker(token)) => self.paths.get(token).map(|o| o.phase),
            _ => None,
        };
        phase == Some(Phase::Uploading)
    }

    pub(crate) fn set_phase(&mut self, entry: &Entry, phase: Phase) {
        let slot = match entry.place.kind() {
            ImageKind::Neighbor => self.neighbors.get_mut(entry.token).map(|o| &mut o.phase),
            ImageKind::Path => self.paths.get_mut(entry.token).map(|o| &mut o.phase),
            ImageKind::Tcp => self.conns.get_mut(entry.token).map(|o| &mut o.phase),
        };
        if let Some(slot) = slot {
            *slot = phase;
        }
    }

    /// The host's handle of a live connection.
    pub(crate) fn handle(&self, token: Token) -> Option<HostHandle> {
        self.conns.get(token).map(|conn| conn.handle)
    }
}

fn check_phase(phase: Phase) -> Result<(), OffloadError> {
    (phase == Phase::Offloaded).then_some(()).ok_or(OffloadError::WrongPhase)
}

fn with_cached(mut own: TcpRecord, new: &TcpRecord) -> TcpRecord {
    record::update_cached(&mut own, new);
    own
}
