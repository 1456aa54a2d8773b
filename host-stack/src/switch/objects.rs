//! Neighbors and paths that are offloaded, and how many dependents each has.

use chimney_abi::cmd::Status;
use chimney_abi::offload::{
    HostHandle, NeighborBlock, NeighborState, PathBlock, PathState, Role, TcpBlock, Token, Tree,
};
use std::collections::BTreeMap;
use std::net::IpAddr;

#[derive(Clone, Copy, Debug)]
struct Object {
    token: Token,
    dependents: u32,
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
    neighbors: BTreeMap<IpAddr, Object>,
    paths: BTreeMap<Ends, Object>,
    handles: Handles,
}

/// Which handle stands for what.
#[derive(Debug, Default)]
struct Handles {
    names: BTreeMap<u32, Name>,
    numbers: BTreeMap<Name, u32>,
    next: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Name {
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

fn role(object: Option<&Object>) -> Role {
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
            if let (Role::Linker(token), Some(hop)) = (neighbor.role, hop) {
                self.neighbors.entry(hop).or_insert(Object { token, dependents: 0 });
            }
            for path in neighbor.paths {
                if let (Role::Linker(token), Some(ends)) = (path.role, self.handles.path(path.handle)) {
                    let is_new = !self.paths.contains_key(&ends);
                    let object = self.paths.entry(ends).or_insert(Object { token, dependents: 0 });
                    let live = |b: &&TcpBlock| matches!(b.role, Role::Linker(_));
                    // `as`: bounded by the target's table.
                    object.dependents += path.connections.iter().filter(live).count() as u32;
                    if let Some(n) = hop.and_then(|hop| self.neighbors.get_mut(&hop)) {
                        n.dependents += u32::from(is_new);
                    }
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
            let (Some(n), Some(p)) = (self.neighbors.get(&route.next_hop), self.paths.get_mut(&route.ends))
            else {
                continue; // an offloaded connection has both
            };
            p.dependents = p.dependents.saturating_sub(1);
            let hop = self.handles.of(Name::Neighbor(route.next_hop));
            let at = tree.iter().position(|b| b.handle == hop).unwrap_or_else(|| {
                tree.push(NeighborBlock {
                    role: Role::Linker(n.token),
                    handle: hop,
                    state: None,
                    status: Status::Success,
                    paths: Vec::new(),
                    selected: false,
                });
                tree.len() - 1
            });
            let paths = &mut tree[at].paths;
            let ends = self.handles.of(Name::Path(route.ends));
            let at = paths.iter().position(|b| b.handle == ends).unwrap_or_else(|| {
                paths.push(PathBlock {
                    role: Role::Linker(p.token),
                    handle: ends,
                    state: None,
                    status: Status::Success,
                    connections: Vec::new(),
                    selected: false,
                });
                paths.len() - 1
            });
            paths[at].connections.push(block);
        }
        self.select_idle(&mut tree);
        tree
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
