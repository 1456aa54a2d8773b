//! Neighbors and paths that are offloaded, and how many dependents each has.

use chimney_abi::cmd::Status;
use chimney_abi::offload::{
    HostHandle, NeighborBlock, NeighborState, PathBlock, PathState, Role, TcpBlock, Token, Tree,
};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

#[derive(Clone, Copy, Debug)]
struct Object {
    token: Token,
    dependents: u32,
}

/// Where a connection hangs in the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Route {
    pub next_hop: Ipv4Addr,
    pub remote: Ipv4Addr,
}

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
    neighbors: BTreeMap<Ipv4Addr, Object>,
    paths: BTreeMap<Ipv4Addr, Object>,
}

fn handle(ip: Ipv4Addr) -> HostHandle {
    HostHandle(u32::from(ip))
}

fn ip(handle: HostHandle) -> Ipv4Addr {
    Ipv4Addr::from(handle.0)
}

fn role(object: Option<&Object>) -> Role {
    object.map_or(Role::New, |o| Role::Linker(o.token))
}

impl Objects {
    /// The tree that offloads these connections: objects already offloaded become linkers.
    pub fn initiate_tree(&self, leaves: Vec<Leaf>) -> Tree {
        let mut tree = Tree::new();
        for leaf in leaves {
            let hop = handle(leaf.route.next_hop);
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
            let remote = handle(leaf.route.remote);
            let at = paths.iter().position(|p| p.handle == remote).unwrap_or_else(|| {
                let object = self.paths.get(&leaf.route.remote);
                paths.push(PathBlock {
                    role: role(object),
                    handle: remote,
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
            if let Role::Linker(token) = neighbor.role {
                self.neighbors.entry(ip(neighbor.handle)).or_insert(Object { token, dependents: 0 });
            }
            for path in neighbor.paths {
                if let Role::Linker(token) = path.role {
                    let is_new = !self.paths.contains_key(&ip(path.handle));
                    let object = self.paths.entry(ip(path.handle)).or_insert(Object { token, dependents: 0 });
                    let live = |b: &&TcpBlock| matches!(b.role, Role::Linker(_));
                    // `as`: bounded by the target's table.
                    object.dependents += path.connections.iter().filter(live).count() as u32;
                    if let Some(n) = self.neighbors.get_mut(&ip(neighbor.handle)) {
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
            let (Some(n), Some(p)) = (self.neighbors.get(&route.next_hop), self.paths.get_mut(&route.remote))
            else {
                continue; // an offloaded connection has both
            };
            p.dependents = p.dependents.saturating_sub(1);
            let hop = handle(route.next_hop);
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
            let remote = handle(route.remote);
            let at = paths.iter().position(|b| b.handle == remote).unwrap_or_else(|| {
                paths.push(PathBlock {
                    role: Role::Linker(p.token),
                    handle: remote,
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
            for path in &mut neighbor.paths {
                path.selected = self.paths.get(&ip(path.handle)).is_some_and(|p| p.dependents == 0);
                if path.selected {
                    self.paths.remove(&ip(path.handle));
                    if let Some(n) = self.neighbors.get_mut(&ip(neighbor.handle)) {
                        n.dependents = n.dependents.saturating_sub(1);
                    }
                }
            }
            neighbor.selected = self.neighbors.get(&ip(neighbor.handle)).is_some_and(|n| n.dependents == 0);
            if neighbor.selected {
                self.neighbors.remove(&ip(neighbor.handle));
            }
        }
    }

    /// The target is gone, and all objects with it.
    pub fn clear(&mut self) {
        self.neighbors.clear();
        self.paths.clear();
    }
}
