//! State operations on their way through the command ring, and what becomes of their results.

use chimney_abi::cmd::UploadReason;
use chimney_abi::cmd::{Opcode, Status};
use chimney_abi::desc::Command;
use chimney_abi::offload::{ConnectionEvent, OffloadClient, Role, TcpBlockState, Token};

use crate::bus::Bus;
use crate::config::quota_pages;
use crate::conn::Phase;
use crate::doubt::Doubt;
use crate::driver::Driver;
use crate::error::{ConnFault, DriverError};
use crate::image::{Image, STRIDE};
use crate::reach::{clock_ms, Marks};
use crate::record;
use crate::shadow::Progress;
use crate::tree::{self, Entry, Operation, Place};

/// Something that needs a command.
#[derive(Debug)]
pub(crate) enum Op {
    /// A state operation.
    Tree(Operation),
    /// Abortive disconnect.
    Abort(Token),
    /// A state operation whose answers do not say all.
    Doubt(Doubt),
}

impl<B: Bus> Driver<B> {
    /// Queues an operation; one without entries is complete with the next poll.
    pub(crate) fn enqueue(&mut self, op: Op) {
        match op {
            Op::Tree(operation) if operation.entries.is_empty() => self.finished.push_back(operation),
            op => self.waiting.push_back(op),
        }
    }

    /// Submits waiting operations, in order, as far as ring, image memory and the frames before them allow.
    pub(crate) fn submit_waiting(&mut self) {
        while let Some(mut op) = self.waiting.pop_front() {
            match self.submit(&mut op) {
                Some(cookie) => {
                    self.in_flight.insert(cookie, op);
                }
                None => {
                    self.waiting.push_front(op);
                    break;
                }
            }
        }
    }

    fn submit(&mut self, op: &mut Op) -> Option<u16> {
        let command = match op {
            Op::Abort(token) => Command {
                opcode: Opcode::Abort.code(),
                conn: token.index,
                generation: token.generation,
                ..Command::default()
            },
            Op::Tree(operation) | Op::Doubt(Doubt { terminate: operation, .. }) => {
                if self.queues.tx.taken() < operation.after_frames {
                    return None;
                }
                let count = operation.entries.len();
                if operation.span.is_none() {
                    let bytes = u32::try_from(count * STRIDE).ok()?;
                    let span = self.queues.images.allocate(bytes)?;
                    for (i, entry) in operation.entries.iter().enumerate() {
                        self.queues.images.view().write(span.start() + i * STRIDE, entry.image.bytes());
                    }
                    operation.span = Some(span);
                }
                let start = operation.span.as_ref().map_or(0, crate::arena::Span::start);
                Command {
                    opcode: operation.opcode.code(),
                    count: u16::try_from(count).ok()?,
                    iova: self.queues.images.view().iova(start),
                    ..Command::default()
                }
            }
        };
        self.queues.mailbox.submit(command, self.now_us + self.config.command_deadline_us)
    }

    /// Takes the completions of commands.
    ///
    /// # Errors
    /// [`DriverError::Undecided`].
    pub(crate) fn poll_commands(&mut self, client: &mut dyn OffloadClient) -> Result<bool, DriverError> {
        let mut any = false;
        while let Some(done) = self.queues.mailbox.poll() {
            any = true;
            self.completions += 1;
            match self.in_flight.remove(&done.cookie) {
                Some(Op::Tree(operation)) => self.take_results(operation, client),
                Some(Op::Abort(token)) => self.abort_done(token, client),
                Some(Op::Doubt(doubt)) => self.doubt_answered(doubt, client)?,
                None => {}
            }
        }
        Ok(any)
    }

    /// Completes operations whose connections have no forward outstanding.
    pub(crate) fn finish_ops(&mut self, client: &mut dyn OffloadClient) -> bool {
        let mut any = false;
        for operation in std::mem::take(&mut self.finished) {
            let busy = operation.opcode == Opcode::Terminate
                && operation
                    .entries
                    .iter()
                    .any(|e| self.conns.get(e.token).is_some_and(|c| c.forwards > 0 && is_tcp(e)));
            if busy {
                self.finished.push_back(operation);
                continue;
            }
            any = true;
            self.finish(operation, client);
        }
        any
    }

    fn take_results(&mut self, mut operation: Operation, client: &mut dyn OffloadClient) {
        self.read_images(&mut operation);
        for entry in &operation.entries {
            // An image that the device did not answer, alone or with its whole command, says so itself.
            tree::set_status(&mut operation.tree, entry.place, entry.image.status());
        }
        self.conclude(operation, client);
    }

    /// Copies the device's images out and frees their memory.
    pub(crate) fn read_images(&mut self, operation: &mut Operation) {
        operation.is_answered = true;
        let Some(span) = operation.span.take() else { return };
        for (i, entry) in operation.entries.iter_mut().enumerate() {
            let mut bytes = [0; STRIDE];
            self.queues.images.view().read(span.start() + i * STRIDE, &mut bytes);
            entry.image = Image::from_memory(bytes);
        }
        self.queues.images.release(span);
    }

    pub(crate) fn finish(&mut self, mut operation: Operation, client: &mut dyn OffloadClient) {
        match operation.opcode {
            Opcode::Initiate => self.settle_initiate(&mut operation),
            Opcode::Query => self.settle_query(&mut operation, client),
            Opcode::Update => self.settle_update(&mut operation),
            Opcode::Terminate => self.settle_terminate(&mut operation, client),
            _ => self.settle_invalidate(&mut operation),
        }
        let tree = operation.tree;
        match operation.opcode {
            Opcode::Initiate => client.initiate_complete(tree),
            Opcode::Query => client.query_complete(tree),
            Opcode::Update => client.update_complete(tree),
            Opcode::Terminate => client.terminate_complete(tree),
            _ => client.invalidate_complete(tree),
        }
    }

    fn settle_initiate(&mut self, operation: &mut Operation) {
        let mut new = std::collections::BTreeSet::new();
        for entry in &operation.entries {
            let status = status_of(&operation.tree, entry.place);
            if status == Status::Success {
                // the token only on success.
                tree::set_role(&mut operation.tree, entry.place, Role::Linker(entry.token));
                self.set_phase(entry, Phase::Offloaded);
                if is_tcp(entry) {
                    self.due.insert(entry.token.index); // what happened since is indicated after the completion
                }
                new.insert(entry.place);
                continue;
            }
            if matches!(status, Status::NoParent | Status::Stale) {
                tree::set_status(&mut operation.tree, entry.place, Status::Failure);
                // spec 5.6
            }
            self.drop_object(entry);
        }
        tree::summarise(&mut operation.tree, |place| new.contains(&place));
    }

    /// Frees an object that the device does not have.
    pub(crate) fn drop_object(&mut self, entry: &Entry) {
        match entry.place {
            Place::Neighbor(_) => drop(self.neighbors.vacate(entry.token)),
            Place::Path(..) => drop(self.paths.vacate(entry.token)),
            Place::Tcp(..) => {
                if let Some(mut conn) = self.conns.vacate(entry.token) {
                    conn.send.abandon(&mut self.shared.buffers); // staged copies only
                    conn.release(&mut self.shared);
                }
            }
        }
    }

    fn settle_query(&mut self, operation: &mut Operation, client: &mut dyn OffloadClient) {
        let now_ms = clock_ms(self.now_us);
        for entry in &operation.entries {
            let tree = &mut operation.tree;
            let failed = status_of(tree, entry.place) != Status::Success;
            match entry.place {
                Place::Neighbor(n) if !failed => {
                    let own = self.neighbors.get(entry.token);
                    tree[n].state = own.map(|own| own.reach.stamp(entry.image.neighbor(), now_ms));
                }
                Place::Path(n, p) if !failed => {
                    let like = self.paths.get(entry.token).map(|path| path.state);
                    tree[n].paths[p].state = like.map(|like| entry.image.path(&like));
                }
                Place::Tcp(n, p, c) if !failed => {
                    let image = entry.image.tcp();
                    let counts = self.conns.get_mut(entry.token).map(|conn| {
                        conn.tally.add(&image);
                        conn.tally.counts()
                    });
                    let state = TcpBlockState {
                        record: record::up(image),
                        counts: counts.unwrap_or_default(),
                        ..Default::default()
                    };
                    tree::tcp_of(tree, n, p, c).state = Some(state);
                }
                Place::Tcp(..) => {
                    // a query that fails means that the state is corrupt.
                    if let Some(handle) = self.handle(entry.token) {
                        client.event(handle, ConnectionEvent::Retrieve(UploadReason::HardwareFailure));
                    }
                }
                _ => {}
            }
        }
        flatten_statuses(operation);
    }

    fn settle_update(&mut self, operation: &mut Operation) {
        let now_ms = clock_ms(self.now_us);
        for entry in &operation.entries {
            if status_of(&operation.tree, entry.place) != Status::Success {
                continue; // the old values stay
            }
            match entry.place {
                Place::Neighbor(n) => {
                    if let (Some(own), Some(new)) =
                        (self.neighbors.get_mut(entry.token), operation.tree[n].state)
                    {
                        own.state.dst_mac = new.dst_mac;
                        own.reach.host_said(now_ms, new.host_reachability_ms);
                    }
                }
                Place::Path(n, p) => self.path_updated(operation, entry, n, p),
                Place::Tcp(n, p, c) => {
                    let new = tree::tcp_of(&mut operation.tree, n, p, c).state.as_ref().map(|s| s.record);
                    if let Some(new) = new {
                        self.tcp_updated(entry.token, &new);
                    }
                }
            }
        }
        flatten_statuses(operation);
    }

    fn path_updated(&mut self, operation: &Operation, entry: &Entry, n: usize, p: usize) {
        let Some(own) = self.paths.get_mut(entry.token) else { return };
        if let Some(new) = operation.tree[n].paths[p].state {
            own.state.mtu = new.mtu;
        }
        if let Role::Linker(neighbor) = operation.tree[n].role {
            own.neighbor = neighbor;
        }
    }

    fn tcp_updated(&mut self, token: Token, new: &chimney_abi::state::TcpRecord) {
        let Some(conn) = self.conns.get_mut(token) else { return };
        let wanted = new.initial_rcv_wnd;
        if wanted != conn.record.initial_rcv_wnd && wanted != 0 {
            // honoured as far as pages can be promised; a smaller window is reached by not advancing the edge.
            let more = quota_pages(wanted).saturating_sub(conn.quota);
            if self.shared.pool.promise(more) {
                conn.quota += more;
                conn.recv.set_window(wanted);
            }
        }
        record::update_cached(&mut conn.record, new);
        conn.recv.indication_size = new.rcv_indication_size;
        self.due.insert(token.index);
    }

    fn settle_invalidate(&mut self, operation: &mut Operation) {
        for entry in &operation.entries {
            let is_invalid = status_of(&operation.tree, entry.place) == Status::Success;
            if let (Place::Neighbor(_), Some(own)) = (entry.place, self.neighbors.get_mut(entry.token)) {
                own.is_invalid |= is_invalid;
            }
        }
        flatten_statuses(operation);
    }

    fn settle_terminate(&mut self, operation: &mut Operation, client: &mut dyn OffloadClient) {
        let now_ms = clock_ms(self.now_us);
        for entry in &operation.entries {
            let failed = status_of(&operation.tree, entry.place) != Status::Success;
            match entry.place {
                Place::Neighbor(n) => {
                    operation.tree[n].state = self.neighbors.vacate(entry.token).map(|own| {
                        let state = if failed { own.state } else { entry.image.neighbor() };
                        own.reach.stamp(state, now_ms)
                    });
                }
                Place::Path(n, p) => {
                    let own = self.paths.vacate(entry.token).map(|path| path.state);
                    operation.tree[n].paths[p].state =
                        own.map(|own| if failed { own } else { entry.image.path(&own) });
                }
                Place::Tcp(n, p, c) => {
                    let image = (!failed).then_some(&entry.image);
                    let state = self.take_back(entry.token, image, client);
                    let block = tree::tcp_of(&mut operation.tree, n, p, c);
                    // L2: what the device lost, host memory has; only a device that lies costs a connection.
                    block.status = if state.is_some() { Status::Success } else { Status::Failure };
                    block.state = state;
                }
            }
        }
        flatten_statuses(operation);
    }

    /// Takes one connection back, from the device's image or from host memory.
    pub(crate) fn take_back(
        &mut self,
        token: Token,
        image: Option<&Image>,
        client: &mut dyn OffloadClient,
    ) -> Option<TcpBlockState> {
        let mut conn = self.conns.take(token)?;
        let mut state = None;
        if let Some(image) = image {
            let r = image.tcp();
            let is_further = conn.marks() != Marks::from(&r);
            conn.tally.add(&r);
            if let Some(last) = conn.news() {
                conn.aborted |= last.flags & chimney_abi::desc::SHADOW_ABORTED != 0;
            }
            conn.aborted |= r.deleg_flags & chimney_abi::state::DELEG_ABORTED != 0;
            let result = conn
                .is_in_memory(&r)
                .and_then(|()| conn.hand_back(r, &Progress::from(&r), &mut self.shared, client));
            state = self.note_fault(result);
            if is_further && state.is_some() {
                self.confirm(conn.path);
            }
        }
        if state.is_none() && image.is_none_or(|image| conn.may_rebuild(&image.tcp())) {
            let result = conn.rebuild(self.now_us, &mut self.shared, client);
            state = self.note_fault(result);
        }
        if state.is_none() {
            conn.give_up(&mut self.shared, client);
        }
        conn.release(&mut self.shared);
        self.conns.put(token, conn);
        self.conns.vacate(token);
        state
    }

    fn note_fault<T>(&mut self, result: Result<T, ConnFault>) -> Option<T> {
        result.map_err(|fault| self.last_fault = Some(fault)).ok()
    }

    fn abort_done(&mut self, token: Token, client: &mut dyn OffloadClient) {
        let Some(conn) = self.conns.get_mut(token) else { return };
        conn.aborted = true;
        conn.fail_all(Status::RequestAborted, &mut self.shared, client); // before the disconnect completes
        if std::mem::take(&mut conn.disconnect_due) {
            client.disconnect_complete(conn.handle, Status::Success);
        }
    }
}

fn is_tcp(entry: &Entry) -> bool {
    matches!(entry.place, Place::Tcp(..))
}

/// these operations know success and failure only.
fn flatten_statuses(operation: &mut Operation) {
    for place in tree::places(&operation.tree) {
        if status_of(&operation.tree, place) != Status::Success {
            tree::set_status(&mut operation.tree, place, Status::Failure);
        }
    }
}

pub(crate) fn status_of(tree: &chimney_abi::offload::Tree, place: Place) -> Status {
    match place {
        Place::Neighbor(n) => tree[n].status,
        Place::Path(n, p) => tree[n].paths[p].status,
        Place::Tcp(n, p, c) => tree[n].paths[p].connections[c].status,
    }
}
