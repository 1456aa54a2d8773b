//! Command ring: objects come and go (programmer's guide, sections 4, 5 and 9).

use super::conn::Conn;
use super::rings::Ring;
use super::rx::Tuple;
use super::shadow::Cause;
use super::{Dma, DmaError, Golden};
use chimney_abi::cmd::{ImageKind, Opcode, Status, UploadReason};
use chimney_abi::desc::{self, Command, CommandDone};
use chimney_abi::state::{
    ImageHeader, NeighborImage, PathImage, TcpRecord, CACHED_KEEP_ALIVE, CACHED_KEEP_ALIVE_RESTART,
    CACHED_MAX_RT_RESTART, CACHED_NAGLE, CONST_IPV6, DELEG_ACK_NOW, DELEG_CHALLENGED, DELEG_INVALID,
    HEADER_BYTES, IMAGE_REVISION, IMAGE_STRIDE, NEIGHBOR_LLC_SNAP, PATH_IPV6, TIMER_KEEP_ALIVE,
};
use chimney_abi::wire::{ethernet, ipv4, ipv6};
use chimney_abi::{layout::Reg, regs};
use std::net::IpAddr;

/// An offloaded neighbor.
#[derive(Clone, Debug)]
pub(super) struct Neighbor {
    pub image: NeighborImage,
    pub generation: u8,
    pub is_invalid: bool,
}

impl Neighbor {
    /// Sends LLC/SNAP.
    pub(super) fn is_llc_snap(&self) -> bool {
        self.image.flags & NEIGHBOR_LLC_SNAP != 0
    }

    /// Largest datagram in its frames.
    fn max_mtu(&self) -> u16 {
        if self.is_llc_snap() {
            ethernet::MAX_SNAP_MTU
        } else {
            ethernet::MAX_JUMBO_MTU
        }
    }
}

/// An offloaded path.
#[derive(Clone, Debug)]
pub(super) struct Path {
    pub image: PathImage,
    pub generation: u8,
    pub is_invalid: bool,
    pub neighbor: u16,
}

/// One image of a command in host memory.
#[derive(Clone, Copy, Debug)]
struct Image {
    iova: u64,
    header: ImageHeader,
}

impl Image {
    fn body(&self) -> u64 {
        self.iova.wrapping_add(u64::from(HEADER_BYTES))
    }
}

impl From<DmaError> for Status {
    fn from(_: DmaError) -> Status {
        Status::HardwareFailure
    }
}

impl<D: Dma> Golden<D> {
    pub(super) fn path_of(&self, conn: &Conn) -> Option<&Path> {
        self.paths.get(usize::from(conn.rec.path))?.as_ref()
    }

    pub(super) fn neighbor_of(&self, path: &Path) -> Option<&Neighbor> {
        self.neighbors.get(usize::from(path.neighbor))?.as_ref()
    }

    /// one more packet of a path.
    pub(super) fn count_ip_id(&mut self, path: u16) {
        if let Some(Some(path)) = self.paths.get_mut(usize::from(path)) {
            path.image.ip_id_counter = path.image.ip_id_counter.wrapping_add(1);
        }
    }

    /// Runs the next command; false if there is none.
    pub(super) fn next_command(&mut self) -> bool {
        if self.rings.cmd.is_empty() {
            return false;
        }
        let index = self.command_taken();
        let log2 = self.regs.sizes().cmd;
        let at = |base: &Reg, bytes| self.regs.address(base).wrapping_add(Ring::offset(index, log2, bytes));
        let (entry, done_at) =
            (at(&regs::CMD_BASE_LO, Command::BYTES), at(&regs::CMD_DONE_BASE_LO, CommandDone::BYTES));
        let (cookie, status, failed) = match self.port.record(entry) {
            Ok(bytes) => {
                let command = Command::from_bytes(&bytes);
                let (status, failed) = self.run(&command);
                (command.cookie, status, failed)
            }
            Err(DmaError) => (0, Status::HardwareFailure, 1),
        };
        let done = CommandDone {
            cookie,
            status: status.code(),
            failed,
            reserved: 0,
            phase: desc::phase(index, log2).into(),
        };
        if self.port.write(done_at, &done.to_bytes()).is_ok() {
            self.irq.raise(Cause::Cmd);
        }
        true
    }

    /// Status and number of failed images of a command.
    fn run(&mut self, command: &Command) -> (Status, u8) {
        let opcode = match Opcode::try_from(command.opcode) {
            Ok(Opcode::Nop) => return (Status::Success, 0),
            Ok(Opcode::Abort) => {
                let status = self.abort_command(command.conn, command.generation);
                return (status, u8::from(status != Status::Success));
            }
            Ok(opcode) => opcode,
            Err(_) => {
                self.regs.count(&regs::CNT_BAD_REQUEST, 1);
                return (Status::BadRequest, 1);
            }
        };
        let (mut worst, mut failed) = (Status::Success, 0u8);
        for i in 0..command.count {
            let iova = command.iova.wrapping_add(u64::from(i) * u64::from(IMAGE_STRIDE));
            let status = self.run_image(opcode, iova);
            if status != Status::Success {
                (worst, failed) = (status, failed.saturating_add(1));
            }
        }
        (worst, failed)
    }

    /// Handles one image and writes its status into its header.
    fn run_image(&mut self, opcode: Opcode, iova: u64) -> Status {
        let Ok(bytes) = self.port.record(iova) else { return Status::HardwareFailure };
        let header = ImageHeader::from_bytes(&bytes);
        let image = Image { iova, header };
        let result = match image_kind(&header) {
            Ok(ImageKind::Neighbor) => self.neighbor_image(opcode, &image),
            Ok(ImageKind::Path) => self.path_image(opcode, &image),
            Ok(ImageKind::Tcp) => self.tcp_image(opcode, &image),
            Err(status) => Err(status),
        };
        let status = result.err().unwrap_or(Status::Success);
        match status {
            Status::Stale => self.regs.count(&regs::CNT_STALE, 1),
            Status::BadRequest => self.regs.count(&regs::CNT_BAD_REQUEST, 1),
            _ => {}
        }
        let answer = ImageHeader { status: status.code(), ..header };
        match self.port.write(iova, &answer.to_bytes()) {
            Ok(()) => status,
            Err(DmaError) => Status::HardwareFailure,
        }
    }

    fn neighbor_image(&mut self, opcode: Opcode, image: &Image) -> Result<(), Status> {
        let (id, generation) = (usize::from(image.header.id), image.header.generation);
        if opcode == Opcode::Initiate {
            let body = NeighborImage::from_bytes(&self.port.record(image.body())?);
            let slot = self.neighbors.get_mut(id).filter(|n| n.is_none()).ok_or(Status::NeighborEntries)?;
            // the device itself has no list of ids; what is no id is refused.
            if body.vlan > ethernet::MAX_VLAN_ID {
                return Err(Status::VlanMismatch);
            }
            *slot = Some(Neighbor { image: body, generation, is_invalid: false });
            return Ok(());
        }
        let slot = self.neighbors.get_mut(id).ok_or(Status::Stale)?;
        let neighbor = slot.as_mut().filter(|n| n.generation == generation).ok_or(Status::Stale)?;
        match opcode {
            Opcode::Update => {
                // Ages are the driver's.
                let body = NeighborImage::from_bytes(&self.port.record(image.body())?);
                (neighbor.image.dst_mac, neighbor.image.flags) = (body.dst_mac, body.flags);
            }
            Opcode::Invalidate => neighbor.is_invalid = true,
            _ => {
                self.port.write(image.body(), &neighbor.image.to_bytes())?;
                if opcode == Opcode::Terminate {
                    *slot = None;
                }
            }
        }
        Ok(())
    }

    fn path_image(&mut self, opcode: Opcode, image: &Image) -> Result<(), Status> {
        let h = &image.header;
        let (id, generation) = (usize::from(h.id), h.generation);
        let parent = self.neighbors.get(usize::from(h.parent)).and_then(Option::as_ref);
        let max_mtu = parent.filter(|n| n.generation == h.parent_generation).map(Neighbor::max_mtu);
        if opcode == Opcode::Initiate {
            let body = PathImage::from_bytes(&self.port.record(image.body())?);
            let slot = self.paths.get_mut(id).filter(|p| p.is_none()).ok_or(Status::PathEntries)?;
            check_path(max_mtu, &body, body.mtu)?;
            *slot = Some(Path { image: body, generation, is_invalid: false, neighbor: h.parent });
            return Ok(());
        }
        let slot = self.paths.get_mut(id).ok_or(Status::Stale)?;
        let path = slot.as_mut().filter(|p| p.generation == generation).ok_or(Status::Stale)?;
        match opcode {
            Opcode::Update => {
                let body = PathImage::from_bytes(&self.port.record(image.body())?);
                check_path(max_mtu, &path.image, body.mtu)?;
                // a relink moves all dependents with it.
                (path.image.mtu, path.neighbor) = (body.mtu, h.parent);
            }
            Opcode::Invalidate => path.is_invalid = true,
            _ => {
                self.port.write(image.body(), &path.image.to_bytes())?;
                if opcode == Opcode::Terminate {
                    *slot = None;
                }
            }
        }
        Ok(())
    }

    fn tcp_image(&mut self, opcode: Opcode, image: &Image) -> Result<(), Status> {
        if opcode == Opcode::Initiate {
            return self.initiate(image);
        }
        let (id, generation) = (image.header.id, image.header.generation);
        self.live(id, generation).ok_or(Status::Stale)?;
        match opcode {
            Opcode::Terminate => self.terminate(image),
            Opcode::Update => {
                let body = TcpRecord::from_bytes(&self.port.record(image.body())?);
                self.with_conn(id, |nic, conn| {
                    nic.update_cached(conn, &body);
                    Ok(())
                });
                Ok(())
            }
            Opcode::Invalidate => {
                self.with_conn(id, |_, conn| {
                    conn.set(DELEG_INVALID);
                    conn.request_upload(UploadReason::InvalidState);
                    Ok(())
                });
                Ok(())
            }
            _ => {
                let conn = self.conns[usize::from(id)].as_deref().ok_or(Status::Stale)?;
                let body = self.store_conn(conn);
                Ok(self.port.write(image.body(), &body.to_bytes())?)
            }
        }
    }

    /// Programmer's guide 5: takes a connection over.
    fn initiate(&mut self, image: &Image) -> Result<(), Status> {
        let h = &image.header;
        let body = TcpRecord::from_bytes(&self.port.record(image.body())?);
        let is_free = self.conns.get(usize::from(h.id)).is_some_and(Option::is_none);
        if !is_free {
            return Err(Status::TcpEntries);
        }
        let path = self.paths.get(usize::from(h.parent)).and_then(Option::as_ref);
        let path = path.filter(|p| p.generation == h.parent_generation).ok_or(Status::NoParent)?;
        if is_ipv6(&path.image) != (body.const_flags & CONST_IPV6 != 0) {
            return Err(Status::Rejected);
        }
        let tuple = tuple_of(&path.image, &body);
        if self.lookup.contains_key(&tuple) {
            return Err(Status::Rejected);
        }
        let mut conn = self.load_conn(h, &body)?;
        // The first shadow record is in memory before the peer can hear of us.
        self.flush_shadow(&mut conn)?;
        self.queue(&mut conn);
        self.note_deadlines(&conn);
        self.lookup.insert(tuple, h.id);
        self.conns[usize::from(h.id)] = Some(Box::new(conn));
        Ok(())
    }

    /// Programmer's guide 9: gives a connection back.
    fn terminate(&mut self, image: &Image) -> Result<(), Status> {
        let at = usize::from(image.header.id);
        let mut conn = self.conns[at].take().ok_or(Status::Stale)?;
        // the owner that leaves sends the acknowledgment it owes.
        let r = &conn.rec;
        let owes_ack = conn.has(DELEG_ACK_NOW) || r.ack_pending > 0 || r.durable_rcv_nxt != r.last_ack_sent;
        if owes_ack && !conn.is_halted() {
            self.send_ack(&mut conn);
        }
        conn.shadow_dirty = true;
        conn.event_due = false;
        let body = self.store_conn(&conn);
        let written =
            self.flush_shadow(&mut conn).and_then(|()| self.port.write(image.body(), &body.to_bytes()));
        // from now on its frames go up. The entry is free even if the image could not be written: the host
        // rebuilds from the shadow record.
        self.lookup.retain(|_, id| usize::from(*id) != at);
        Ok(written?)
    }

    /// only CACHED variables change.
    fn update_cached(&mut self, conn: &mut Conn, new: &TcpRecord) {
        let now_ms = self.now_ms();
        let r = &mut conn.rec;
        r.cached_flags = new.cached_flags & (CACHED_KEEP_ALIVE | CACHED_NAGLE);
        (r.ttl, r.tos, r.user_priority, r.flow_label) = (new.ttl, new.tos, new.user_priority, new.flow_label);
        (r.ka_probe_count, r.ka_timeout_ms, r.ka_interval_ms) =
            (new.ka_probe_count, new.ka_timeout_ms, new.ka_interval_ms);
        (r.initial_rcv_wnd, r.rcv_indication_size, r.max_rt_us) =
            (new.initial_rcv_wnd, new.rcv_indication_size, new.max_rt_us);
        if new.cached_flags & CACHED_MAX_RT_RESTART != 0 {
            r.total_rt_us = 0;
        }
        // R-132, and keepalive switched on or off.
        let is_on = new.cached_flags & CACHED_KEEP_ALIVE != 0;
        let is_restart = new.cached_flags & CACHED_KEEP_ALIVE_RESTART != 0;
        if is_restart || is_on != (conn.timer_runs(TIMER_KEEP_ALIVE) && !conn.has(DELEG_CHALLENGED)) {
            conn.restart_keep_alive(now_ms);
        }
    }

    /// reset, stop, keep the entry until it is terminated.
    fn abort_command(&mut self, id: u16, generation: u8) -> Status {
        if self.live(id, generation).is_none() {
            self.regs.count(&regs::CNT_STALE, 1);
            return Status::Stale;
        }
        self.with_conn(id, |nic, conn| {
            if !conn.is_halted() {
                nic.send_reset(conn);
            }
            nic.abort(conn);
            Ok(())
        });
        Status::Success
    }
}

fn image_kind(header: &ImageHeader) -> Result<ImageKind, Status> {
    let kind = ImageKind::try_from(header.kind).map_err(|_| Status::BadRequest)?;
    let body = match kind {
        ImageKind::Neighbor => NeighborImage::BYTES,
        ImageKind::Path => PathImage::BYTES,
        ImageKind::Tcp => TcpRecord::BYTES,
    };
    let length_ok = usize::from(header.length) == HEADER_BYTES as usize + body;
    let is_good = length_ok && header.revision == IMAGE_REVISION && header.generation != 0;
    is_good.then_some(kind).ok_or(Status::BadRequest)
}

/// `mtu` for `path`, below a neighbor whose frames hold `max_mtu`.
fn check_path(max_mtu: Option<u16>, path: &PathImage, mtu: u16) -> Result<(), Status> {
    let min_mtu = if is_ipv6(path) { ipv6::MIN_MTU } else { ipv4::MIN_MTU };
    if mtu > max_mtu.ok_or(Status::NoParent)? {
        Err(Status::PathMtu)
    } else if mtu < min_mtu {
        Err(Status::Rejected)
    } else {
        Ok(())
    }
}

/// A path's family.
pub(super) fn is_ipv6(path: &PathImage) -> bool {
    path.flags & PATH_IPV6 != 0
}

/// An address of a path.
pub(super) fn address(path: &PathImage, lo: u64, hi: u64) -> IpAddr {
    let mut bytes = [0; ipv6::ADDR_LEN];
    bytes[..8].copy_from_slice(&lo.to_le_bytes());
    bytes[8..].copy_from_slice(&hi.to_le_bytes());
    let [a, b, c, d, ..] = bytes;
    if is_ipv6(path) {
        IpAddr::from(bytes)
    } else {
        IpAddr::from([a, b, c, d])
    }
}

fn tuple_of(path: &PathImage, record: &TcpRecord) -> Tuple {
    Tuple {
        local_ip: address(path, path.src_ip_lo, path.src_ip_hi),
        remote_ip: address(path, path.dst_ip_lo, path.dst_ip_hi),
        local_port: record.local_port,
        remote_port: record.remote_port,
    }
}
