//! State trees to image arrays: roles, order, and the statuses that the driver itself decides (spec 5).
//!
//! Images stand depth-first, own state before dependents before siblings; a terminate runs the other way
//! round, so that no object loses its parent before it is gone itself. Each tree of a forest stands by itself: a neighbor
//! that cannot be offloaded takes only its own dependents with it.

use chimney_abi::cmd::{ImageKind, Opcode, Status};
use chimney_abi::offload::{OffloadError, Role, TcpBlock, Token, Tree};

use crate::arena::Span;
use crate::image::Image;

/// Where a block is in a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A neighbor.
    Neighbor(usize),
    /// A path of a neighbor.
    Path(usize, usize),
    /// A connection of a path.
    Tcp(usize, usize, usize),
}

/// A block that the device hears of.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Its place.
    pub place: Place,
    /// Its object.
    pub token: Token,
    /// Its image.
    pub image: Image,
}

impl Place {
    /// The kind of object.
    pub fn kind(self) -> ImageKind {
        match self {
            Place::Neighbor(_) => ImageKind::Neighbor,
            Place::Path(..) => ImageKind::Path,
            Place::Tcp(..) => ImageKind::Tcp,
        }
    }

    /// The place of what this one hangs on.
    pub fn parent(self) -> Option<Place> {
        match self {
            Place::Neighbor(_) => None,
            Place::Path(n, _) => Some(Place::Neighbor(n)),
            Place::Tcp(n, p, _) => Some(Place::Path(n, p)),
        }
    }
}

/// A state operation on its way.
#[derive(Debug)]
pub struct Operation {
    /// Which.
    pub opcode: Opcode,
    /// The host's tree, given back with the completion.
    pub tree: Tree,
    /// The blocks that the device hears of, in its order.
    pub entries: Vec<Entry>,
    /// The image array, while there is one.
    pub span: Option<Span>,
    /// The device has answered: the images are its words.
    pub is_answered: bool,
    /// It waits until the device has taken so many ordinary frames: what the host sent for a connection leaves before
    /// what the device sends for it (law L3).
    pub after_frames: u64,
}

/// Visits the blocks depth-first, breadth-next.
pub fn places(tree: &Tree) -> Vec<Place> {
    let mut all = Vec::new();
    for (n, neighbor) in tree.iter().enumerate() {
        all.push(Place::Neighbor(n));
        for (p, path) in neighbor.paths.iter().enumerate() {
            all.push(Place::Path(n, p));
            all.extend((0..path.connections.len()).map(|c| Place::Tcp(n, p, c)));
        }
    }
    all
}

/// The connection block at a place.
pub fn tcp_of(tree: &mut Tree, n: usize, p: usize, c: usize) -> &mut TcpBlock {
    &mut tree[n].paths[p].connections[c]
}

/// Role of the block at a place.
pub fn role(tree: &Tree, place: Place) -> Role {
    match place {
        Place::Neighbor(n) => tree[n].role,
        Place::Path(n, p) => tree[n].paths[p].role,
        Place::Tcp(n, p, c) => tree[n].paths[p].connections[c].role,
    }
}

/// Sets the role of the block at a place.
pub fn set_role(tree: &mut Tree, place: Place, role: Role) {
    match place {
        Place::Neighbor(n) => tree[n].role = role,
        Place::Path(n, p) => tree[n].paths[p].role = role,
        Place::Tcp(n, p, c) => tree[n].paths[p].connections[c].role = role,
    }
}

/// Sets the status of the block at a place.
pub fn set_status(tree: &mut Tree, place: Place, status: Status) {
    match place {
        Place::Neighbor(n) => tree[n].status = status,
        Place::Path(n, p) => tree[n].paths[p].status = status,
        Place::Tcp(n, p, c) => tree[n].paths[p].connections[c].status = status,
    }
}

/// Writes a status into every block: placeholders succeed, the others fail until they did not.
pub fn preset(tree: &mut Tree, others: Status) {
    for place in places(tree) {
        let status = if role(tree, place) == Role::Placeholder { Status::Success } else { others };
        set_status(tree, place, status);
    }
}

/// Checks the structure of an initiate tree: a new object needs a parent with a state, and a
/// state of its own; connections are never linkers.
///
/// # Errors
/// `BadTree`.
pub fn check_initiate(tree: &Tree) -> Result<(), OffloadError> {
    let fits = tree.iter().all(|n| {
        let paths_fit = n.paths.iter().all(|p| {
            let conns_fit = p.connections.iter().all(|c| match c.role {
                Role::New => c.state.is_some() && p.role != Role::Placeholder,
                Role::Placeholder => true,
                Role::Linker(_) => false,
            });
            conns_fit && (p.role != Role::New || p.state.is_some() && n.role != Role::Placeholder)
        });
        paths_fit && (n.role != Role::New || n.state.is_some())
    });
    fits.then_some(()).ok_or(OffloadError::BadTree)
}

/// what a parent says about its immediate dependents. `is_new` tells which blocks are new objects.
pub fn summarise(tree: &mut Tree, is_new: impl Fn(Place) -> bool) {
    let offloaded = |s: Status| matches!(s, Status::Success | Status::PartialSuccess);
    for (n, neighbor) in tree.iter_mut().enumerate() {
        for (p, path) in neighbor.paths.iter_mut().enumerate() {
            let good = path.connections.iter().filter(|c| offloaded(c.status)).count();
            let all = path.connections.len();
            path.status = parent_status(path.role, path.status, is_new(Place::Path(n, p)), good, all);
        }
        let good = neighbor.paths.iter().filter(|p| offloaded(p.status)).count();
        let all = neighbor.paths.len();
        neighbor.status =
            parent_status(neighbor.role, neighbor.status, is_new(Place::Neighbor(n)), good, all);
    }
}

/// `own` is the outcome of the block itself; one that failed keeps its reason.
fn parent_status(role: Role, own: Status, is_new: bool, good: usize, all: usize) -> Status {
    match own {
        _ if role == Role::Placeholder => Status::Success,
        Status::Success if good == all => Status::Success,
        Status::Success if good > 0 || is_new => Status::PartialSuccess,
        Status::Success => Status::Failure,
        own => own,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chimney_abi::offload::{HostHandle, NeighborBlock, NeighborState, PathBlock};

    const TOKEN: Token = Token { index: 1, generation: 1 };

    fn tcp(status: Status) -> TcpBlock {
        TcpBlock { role: Role::Linker(TOKEN), handle: HostHandle(0), state: None, status }
    }

    fn path(role: Role, status: Status, connections: Vec<TcpBlock>) -> PathBlock {
        PathBlock { role, handle: HostHandle(0), state: None, status, connections, selected: false }
    }

    fn neighbor(role: Role, status: Status, paths: Vec<PathBlock>) -> NeighborBlock {
        NeighborBlock { role, handle: HostHandle(0), state: None, status, paths, selected: false }
    }

    /// Verifies: R-084.
    #[test]
    fn visits_own_state_then_dependents_then_siblings() {
        let one = |conns: usize| {
            path(Role::New, Status::Failure, (0..conns).map(|_| tcp(Status::Failure)).collect())
        };
        let tree = vec![
            neighbor(Role::New, Status::Failure, vec![one(2), one(1)]),
            neighbor(Role::New, Status::Failure, vec![one(2)]),
        ];
        use Place::{Neighbor, Path, Tcp};
        let want = [
            Neighbor(0),
            Path(0, 0),
            Tcp(0, 0, 0),
            Tcp(0, 0, 1),
            Path(0, 1),
            Tcp(0, 1, 0),
            Neighbor(1),
            Path(1, 0),
            Tcp(1, 0, 0),
            Tcp(1, 0, 1),
        ];
        assert_eq!(places(&tree), want);
    }

    /// The example of spec 5.6. Verifies.
    #[test]
    fn parents_report_partial_success() {
        let linked = Role::Linker(TOKEN);
        let mixed = || {
            let good = path(linked, Status::Success, vec![tcp(Status::Success), tcp(Status::TcpEntries)]);
            let bad = path(Role::New, Status::PathEntries, vec![tcp(Status::Failure)]);
            vec![neighbor(linked, Status::Success, vec![good, bad])]
        };
        let mut tree = mixed();
        summarise(&mut tree, |_| true);
        assert_eq!(tree[0].status, Status::PartialSuccess);
        assert_eq!(tree[0].paths[0].status, Status::PartialSuccess);
        assert_eq!(tree[0].paths[1].status, Status::PathEntries);
        let none = || {
            vec![neighbor(
                linked,
                Status::Success,
                vec![path(linked, Status::Success, vec![tcp(Status::Failure)])],
            )]
        };
        let mut tree = none();
        summarise(&mut tree, |place| place == Place::Neighbor(0));
        // A linker without any offloaded dependent fails; a new object was offloaded itself.
        assert_eq!((tree[0].status, tree[0].paths[0].status), (Status::PartialSuccess, Status::Failure));
        let mut tree = none();
        summarise(&mut tree, |place| place == Place::Path(0, 0));
        assert_eq!((tree[0].status, tree[0].paths[0].status), (Status::Success, Status::PartialSuccess));
    }

    /// Verifies.
    #[test]
    fn a_new_object_needs_a_state_and_a_real_parent() {
        let bare = |role, paths| vec![neighbor(role, Status::Failure, paths)];
        assert_eq!(check_initiate(&bare(Role::New, vec![])), Err(OffloadError::BadTree));
        assert_eq!(check_initiate(&bare(Role::Placeholder, vec![])), Ok(()));
        let orphan = vec![path(Role::New, Status::Failure, vec![])];
        assert_eq!(check_initiate(&bare(Role::Placeholder, orphan)), Err(OffloadError::BadTree));
        let mut good = bare(Role::New, vec![]);
        good[0].state = Some(NeighborState::default());
        assert_eq!(check_initiate(&good), Ok(()));
        let linker = vec![path(Role::Linker(TOKEN), Status::Failure, vec![tcp(Status::Failure)])];
        assert_eq!(check_initiate(&bare(Role::Placeholder, linker)), Err(OffloadError::BadTree));
    }
}
