//! Neighbors and paths that are offloaded, and how many dependents each has.

use crate::stack::Stack;
use chimney_abi::cmd::Status;
use chimney_abi::offload::{
    HostHandle, NeighborBlock, NeighborState, PathBlock, PathState, Role, TcpBlock, Token, Tree,
};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// `K` is what the target knows of it that may change.
#[derive(Clone, Copy, Debug)]
struct Object<K> {
    token: Token,
    dependents: u32,
    known: K,
}

/// A neighbor's MAC address, and what became of it.
#[derive(Clone, Copy, Debug)]
struct Hop {
    mac: [u8; 6],
    standing: Standing,
}

/// How a neighbor that does not answer the host stands with the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Nothing is known against it.
    Good,
    /// The target has seen no progress either.
    Silent,
    /// The target sends nothing through it any more.
    Invalid,
}

/// A path's MTU, and where its frames go.
#[derive(Clone, Copy, Debug)]
struct PathWay {
    mtu: u16,
    next_hop: IpAddr,
}

/// Where a connection hangs in the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Route {
    pub next_hop: IpAddr,
    pub ends: Ends,
}

/// What names a path: our address and the peer's.
pub(super) type Ends = (IpAddr, IpAddr);

/// A connection to be put into a tree.
pub(super) struct Leaf {
    pub route: Route,
    pub neighbor: NeighborState,
    pub path: PathState,
    pub block: TcpBlock,
}

/// The objects below the connections.
#[derive(Debug, Default)]
pub(super) struct Objects {
    neighbors: BTreeMap<IpAddr, Object<Hop>>,
    paths: BTreeMap<Ends, Object<PathWay>>,
    handles: Handles,
}

/// Which handle stands for what.
#[derive(Debug, Default)]
struct Handles {
    names: BTreeMap<u32, Name>,
    numbers: BTreeMap<Name, u32>,
    next: u32,
}

/// An object by what the host calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Name {
    Neighbor(IpAddr),
    Path(Ends),
}

impl Handles {
    fn of(&mut self, name: Name) -> HostHandle {
        let number = *self.numbers.entry(name).or_insert_with(|| {
            while self.names.contains_key(&self.next) {
                self.next = self.next.wrapping_add(1);
            }
            self.names.insert(self.next, name);
            self.next
        });
        HostHandle(number)
    }

    fn neighbor(&self, handle: HostHandle) -> Option<IpAddr> {
        match self.names.get(&handle.0) {
            Some(Name::Neighbor(ip)) => Some(*ip),
            _ => None,
        }
    }

    fn path(&self, handle: HostHandle) -> Option<Ends> {
        match self.names.get(&handle.0) {
            Some(Name::Path(ends)) => Some(*ends),
            _ => None,
        }
    }

    /// Forgets what `is_live` denies, once that is half of all.
    fn tidy(&mut self, live: usize, is_live: impl Fn(&Name) -> bool) {
        if self.names.len() < 2 * live + MIN_TIDY {
            return;
        }
        self.numbers.retain(|name, _| is_live(name));
        self.names.retain(|_, name| is_live(name));
    }
}

/// Fewer handles are not worth the walk.
const MIN_TIDY: usize = 64;

fn role<K>(object: Option<&Object<K>>) -> Role {
    object.map_or(Role::New, |o| Role::Linker(o.token))
}

impl Objects {
    /// The tree that offloads these connections: objects already offloaded become linkers. No other tree is under way.
    pub fn initiate_tree(&mut self, leaves: Vec<Leaf>) -> Tree {
        let (neighbors, paths) = (&self.neighbors, &self.paths);
        self.handles.tidy(neighbors.len() + paths.len(), |name| match name {
            Name::Neighbor(ip) => neighbors.contains_key(ip),
            Name::Path(ends) => paths.contains_key(ends),
        });
        let mut tree = Tree::new();
        for leaf in leaves {
            let hop = self.handles.of(Name::Neighbor(leaf.route.next_hop));
            let at = tree.iter().position(|n| n.handle == hop).unwrap_or_else(|| {
                let object = self.neighbors.get(&leaf.route.next_hop);
                tree.push(NeighborBlock {
                    role: role(object),
                    handle: hop,
                    state: object.is_none().then_some(leaf.neighbor),
                    status: Status::Success,
                    paths: Vec::new(),
                    selected: object.is_none(),
                });
                tree.len() - 1
            });
            let paths = &mut tree[at].paths;
            let ends = self.handles.of(Name::Path(leaf.route.ends));
            let at = paths.iter().position(|p| p.handle == ends).unwrap_or_else(|| {
                let object = self.paths.get(&leaf.route.ends);
                paths.push(PathBlock {
                    role: role(object),
                    handle: ends,
                    state: object.is_none().then_some(leaf.path),
                    status: Status::Success,
                    connections: Vec::new(),
                    selected: object.is_none(),
                });
                paths.len() - 1
            });
            paths[at].connections.push(leaf.block);
        }
        tree
    }

    /// Takes the tokens of a completed initiate; returns the connections in it.
    pub fn initiated(&mut self, tree: Tree) -> Vec<TcpBlock> {
        let mut connections = Vec::new();
        for neighbor in tree {
            let hop = self.handles.neighbor(neighbor.handle);
            if let (Role::Linker(token), Some(hop), Some(state)) = (neighbor.role, hop, neighbor.state) {
                let known = Hop { mac: state.dst_mac, standing: Standing::Good };
                self.neighbors.entry(hop).or_insert(Object { token, dependents: 0, known });
            }
            for path in neighbor.paths {
                let ends = self.handles.path(path.handle);
                let new = (path.role, ends, hop, path.state);
                if let (Role::Linker(token), Some(ends), Some(next_hop), Some(state)) = new {
                    let known = PathWay { mtu: state.mtu, next_hop };
                    self.paths.insert(ends, Object { token, dependents: 0, known });
                    if let Some(n) = self.neighbors.get_mut(&next_hop) {
                        n.dependents += 1;
                    }
                }
                if let Some(object) = ends.and_then(|ends| self.paths.get_mut(&ends)) {
                    let live = |b: &&TcpBlock| matches!(b.role, Role::Linker(_));
                    // `as`: bounded by the target's table.
                    object.dependents += path.connections.iter().filter(live).count() as u32;
                }
                connections.extend(path.connections);
            }
        }
        connections
    }

    /// The tree that takes these connections back, with every object that loses its last dependent.
    pub fn terminate_tree(&mut self, leaves: Vec<(Route, TcpBlock)>) -> Tree {
        let mut tree = Tree::new();
        for (route, block) in leaves {
            // An offloaded connection has a path.
            if self.place_leaf(&mut tree, route, block) {
                if let Some(p) = self.paths.get_mut(&route.ends) {
                    p.dependents = p.dependents.saturating_sub(1);
                }
            }
        }
        self.select_idle(&mut tree);
        tree
    }

    /// Puts a connection into a tree of offloaded objects. False if it hangs on nothing that is offloaded.
    pub fn place_leaf(&mut self, tree: &mut Tree, route: Route, block: TcpBlock) -> bool {
        let Some((n, p)) = self.place_path(tree, route.next_hop, route.ends) else { return false };
        tree[n].paths[p].connections.push(block);
        true
    }

    fn place_path(&mut self, tree: &mut Tree, next_hop: IpAddr, ends: Ends) -> Option<(usize, usize)> {
        let token = self.paths.get(&ends)?.token;
        let n = self.place_neighbor(tree, next_hop)?;
        let handle = self.handles.of(Name::Path(ends));
        let paths = &mut tree[n].paths;
        let p = paths.iter().position(|b| b.handle == handle).unwrap_or_else(|| {
            paths.push(PathBlock {
                role: Role::Linker(token),
                handle,
                state: None,
                status: Status::Success,
                connections: Vec::new(),
                selected: false,
            });
            paths.len() - 1
        });
        Some((n, p))
    }

    fn place_neighbor(&mut self, tree: &mut Tree, next_hop: IpAddr) -> Option<usize> {
        let token = self.neighbors.get(&next_hop)?.token;
        let handle = self.handles.of(Name::Neighbor(next_hop));
        let n = tree.iter().position(|b| b.handle == handle).unwrap_or_else(|| {
            tree.push(NeighborBlock {
                role: Role::Linker(token),
                handle,
                state: None,
                status: Status::Success,
                paths: Vec::new(),
                selected: false,
            });
            tree.len() - 1
        });
        Some(n)
    }

    /// The tree that tells the target of every object what it does not know yet.
    pub fn update_tree(&mut self, now_us: u64, stack: &mut Stack) -> Tree {
        let mut tree = Tree::new();
        let moved = |(hop, object): (&IpAddr, &Object<Hop>)| {
            let state = stack.neighbor_at(now_us, *hop)?;
            (state.dst_mac != object.known.mac).then_some((*hop, state))
        };
        let moved: Vec<_> = self.neighbors.iter().filter_map(moved).collect();
        for (hop, state) in moved {
            if let Some(n) = self.place_neighbor(&mut tree, hop) {
                (tree[n].state, tree[n].selected) = (Some(state), true);
            }
        }
        let shrunk = |(ends, object): (&Ends, &Object<PathWay>)| {
            let state = stack.path_at(ends.0, ends.1);
            (state.mtu != object.known.mtu).then_some((object.known.next_hop, *ends, state))
        };
        let shrunk: Vec<_> = self.paths.iter().filter_map(shrunk).collect();
        for (next_hop, ends, state) in shrunk {
            if let Some((n, p)) = self.place_path(&mut tree, next_hop, ends) {
                let path = &mut tree[n].paths[p];
                (path.state, path.selected) = (Some(state), true);
            }
        }
        tree
    }

    /// Takes the answer of an update; what the target did not change.
    pub fn updated(&mut self, tree: &Tree) -> Vec<Name> {
        let mut failed = Vec::new();
        for neighbor in tree {
            let hop = self.handles.neighbor(neighbor.handle);
            if let (Some(hop), Some(state)) = (hop, neighbor.state.filter(|_| neighbor.selected)) {
                match self.neighbors.get_mut(&hop) {
                    Some(object) if neighbor.status == Status::Success => object.known.mac = state.dst_mac,
                    _ => failed.push(Name::Neighbor(hop)),
                }
            }
            for path in &neighbor.paths {
                let ends = self.handles.path(path.handle);
                let (Some(ends), Some(state)) = (ends, path.state.filter(|_| path.selected)) else {
                    continue;
                };
                match self.paths.get_mut(&ends) {
                    Some(object) if path.status == Status::Success => object.known.mtu = state.mtu,
                    _ => failed.push(Name::Path(ends)),
                }
            }
        }
        failed
    }

    /// The neighbors that the target has, with the handles that it knows them by.
    pub fn hops(&self) -> impl Iterator<Item = (HostHandle, IpAddr)> + '_ {
        let number = |hop: &IpAddr| self.handles.numbers.get(&Name::Neighbor(*hop));
        self.neighbors.keys().filter_map(move |hop| Some((HostHandle(*number(hop)?), *hop)))
    }

    /// The neighbor that the target has under a handle.
    pub fn hop(&self, handle: HostHandle) -> Option<IpAddr> {
        self.handles.neighbor(handle).filter(|hop| self.neighbors.contains_key(hop))
    }

    /// Puts a neighbor itself into a tree. False if it is not offloaded.
    pub fn select_hop(&mut self, tree: &mut Tree, hop: IpAddr) -> bool {
        let place = self.place_neighbor(tree, hop);
        place.map(|n| tree[n].selected = true).is_some()
    }

    /// The tree that invalidates the neighbors that are silent, to the host (`is_silent`) and to the target.
    pub fn invalidate_tree(&mut self, is_silent: impl Fn(IpAddr) -> bool) -> Tree {
        let mut tree = Tree::new();
        for hop in self.of_standing(Standing::Silent) {
            if is_silent(hop) {
                self.select_hop(&mut tree, hop);
            } else {
                self.set_standing(hop, Standing::Good);
            }
        }
        tree
    }

    /// Takes the answer of an invalidate: nothing more goes there, whatever the target says.
    pub fn invalidated(&mut self, tree: &Tree) {
        for neighbor in tree {
            if let Some(hop) = self.handles.neighbor(neighbor.handle) {
                self.set_standing(hop, Standing::Invalid);
            }
        }
    }

    /// The neighbors against which nothing is known.
    pub fn good_hops(&self) -> Vec<IpAddr> {
        self.of_standing(Standing::Good)
    }

    /// The target has seen no progress either.
    pub fn set_silent(&mut self, hop: IpAddr) {
        self.set_standing(hop, Standing::Silent);
    }

    /// The MAC address by which the target sends to a neighbor.
    pub fn mac(&self, hop: IpAddr) -> Option<[u8; 6]> {
        self.neighbors.get(&hop).map(|object| object.known.mac)
    }

    fn of_standing(&self, standing: Standing) -> Vec<IpAddr> {
        let is_so = |(_, object): &(&IpAddr, &Object<Hop>)| object.known.standing == standing;
        self.neighbors.iter().filter(is_so).map(|(hop, _)| *hop).collect()
    }

    fn set_standing(&mut self, hop: IpAddr, standing: Standing) {
        if let Some(object) = self.neighbors.get_mut(&hop) {
            object.known.standing = standing;
        }
    }

    /// The neighbors in the answer of a terminate, with the ages of the target's confirmations, milliseconds.
    pub fn returned(&self, tree: &Tree) -> Vec<(IpAddr, u32)> {
        let is_back = |n: &&NeighborBlock| n.selected && n.status == Status::Success;
        let age = |n: &NeighborBlock| Some((self.handles.neighbor(n.handle)?, n.state?.nic_reachability_ms));
        tree.iter().filter(is_back).filter_map(age).collect()
    }

    /// The neighbors that were invalidated and are still there.
    pub fn invalid_hops(&self) -> Vec<IpAddr> {
        self.of_standing(Standing::Invalid)
    }

    /// Marks the objects without dependents and forgets them.
    fn select_idle(&mut self, tree: &mut Tree) {
        for neighbor in tree {
            let Some(hop) = self.handles.neighbor(neighbor.handle) else { continue };
            for path in &mut neighbor.paths {
                let Some(ends) = self.handles.path(path.handle) else { continue };
                path.selected = self.paths.get(&ends).is_some_and(|p| p.dependents == 0);
                if path.selected {
                    self.paths.remove(&ends);
                    if let Some(n) = self.neighbors.get_mut(&hop) {
                        n.dependents = n.dependents.saturating_sub(1);
                    }
                }
            }
            neighbor.selected = self.neighbors.get(&hop).is_some_and(|n| n.dependents == 0);
            if neighbor.selected {
                self.neighbors.remove(&hop);
            }
        }
    }

    /// The target is gone, and all objects with it; the paths among them.
    pub fn clear(&mut self) -> Vec<Ends> {
        self.neighbors.clear();
        std::mem::take(&mut self.paths).into_keys().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Address, MacAddr, StackConfig, TcpConfig};
    use std::net::Ipv4Addr;

    const OURS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
    const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
    const ROUTE: Route = Route { next_hop: PEER, ends: (OURS, PEER) };

    fn stack() -> Stack {
        let mac = MacAddr([2, 0, 0, 0, 0, 1]);
        let addresses = vec![Address::new(Ipv4Addr::new(10, 0, 0, 1), 24)];
        let mut stack =
            Stack::new(StackConfig { mac, addresses, mtu: 1500, secret: 1, tcp: TcpConfig::default() });
        stack.add_neighbor(0, PEER, MacAddr([2, 0, 0, 0, 0, 2]));
        stack
    }

    /// Objects with one connection that the target has.
    fn objects(stack: &mut Stack) -> Objects {
        let mut objects = Objects::default();
        let (role, status) = (Role::New, Status::Success);
        let leaf = Leaf {
            route: ROUTE,
            neighbor: stack.neighbor_at(0, PEER).expect("known"),
            path: stack.path_at(OURS, PEER),
            block: TcpBlock { role, handle: HostHandle(7), state: None, status },
        };
        let mut tree = objects.initiate_tree(vec![leaf]);
        let linker = Role::Linker(Token { index: 0, generation: 1 });
        tree[0].role = linker;
        tree[0].paths[0].role = linker;
        tree[0].paths[0].connections[0].role = linker;
        assert_eq!(objects.initiated(tree).len(), 1);
        objects
    }

    /// Verifies
    #[test]
    fn a_change_is_told_until_the_target_has_it() {
        let mut stack = stack();
        let mut objects = objects(&mut stack);
        assert!(objects.update_tree(1, &mut stack).is_empty(), "it knows all");
        stack.add_neighbor(2, PEER, MacAddr([2, 0, 0, 0, 0, 3]));
        let mut tree = objects.update_tree(3, &mut stack);
        assert_eq!((tree.len(), tree[0].selected, tree[0].paths.len()), (1, true, 0), "the neighbor alone");
        tree[0].status = Status::Failure;
        assert_eq!(objects.updated(&tree), [Name::Neighbor(PEER)]);
        let tree = objects.update_tree(4, &mut stack);
        assert_eq!(tree[0].state.map(|s| s.dst_mac), Some([2, 0, 0, 0, 0, 3]));
        assert_eq!(objects.updated(&tree), []);
        stack.paths.reduce_mtu(OURS, PEER, 1000);
        let mut tree = objects.update_tree(5, &mut stack);
        assert!(!tree[0].selected && tree[0].paths[0].selected);
        tree[0].paths[0].status = Status::Failure;
        assert_eq!(objects.updated(&tree), [Name::Path((OURS, PEER))]);
        let tree = objects.update_tree(6, &mut stack);
        assert_eq!(objects.updated(&tree), []);
        assert!(objects.update_tree(7, &mut stack).is_empty());
    }

    /// Verifies: R-272
    #[test]
    fn a_neighbor_that_does_not_answer_is_invalidated_once() {
        let mut stack = stack();
        let mut objects = objects(&mut stack);
        assert_eq!((objects.good_hops(), objects.mac(PEER)), (vec![PEER], Some([2, 0, 0, 0, 0, 2])));
        assert!(objects.invalidate_tree(|_| true).is_empty(), "the target has not been asked");
        objects.set_silent(PEER);
        assert!(objects.invalidate_tree(|_| false).is_empty(), "it answers again");
        assert!(objects.invalidate_tree(|_| true).is_empty(), "and all begins anew");
        objects.set_silent(PEER);
        let tree = objects.invalidate_tree(|hop| hop == PEER);
        assert_eq!((tree.len(), tree[0].selected, tree[0].paths.len()), (1, true, 0), "the neighbor alone");
        assert_eq!((tree[0].state, objects.hop(tree[0].handle)), (None, Some(PEER)));
        objects.invalidated(&tree);
        assert_eq!(objects.invalid_hops(), [PEER]);
        assert!(objects.invalidate_tree(|_| true).is_empty());
    }
}
