//! What changes below connections that the target has: the MAC address of a next hop, the MTU of a path (R-050, R-130).
//!
//! ```text
//!   ARP, Neighbor Discovery --> neighbor cache --.
//!                                                 > differs from what the target knows --> update
//!   "too long" --> in flight there? (query) --> path table --'
//! ```
//! A report quotes a segment, and is believed only if that is in flight (RFC 5927 4.1). The host's own SND.UNA and SND.NXT of a
//! connection stand still from its hand-over on, so the target is asked for its: one command for each report (G-26). To believe
//! whoever knows the 4-tuple would be cheaper, and would let strangers shrink paths.

use super::handover::{handle, id};
use super::link::Wish;
use super::objects::Name;
use super::Switch;
use chimney_abi::cmd::Status;
use chimney_abi::offload::{Offload, Residence, Role, TcpBlock, Tree};
use chimney_abi::SeqNum;

impl Switch {
    /// Tells the target what has changed. True if it is under way.
    pub(super) fn start_update(&mut self, now_us: u64, target: &mut dyn Offload) -> bool {
        let tree = self.objects.update_tree(now_us, &mut self.stack);
        // Refused only when the device is lost.
        self.is_busy = !tree.is_empty() && target.update(tree).is_ok();
        self.is_busy
    }

    pub(super) fn updated(&mut self, tree: Tree) {
        self.is_busy = false;
        let failed = self.objects.updated(&tree);
        for link in self.links.values_mut().filter(|l| l.residence == Residence::Offloaded) {
            let Some(route) = link.route else { continue };
            let names = [Name::Neighbor(route.next_hop), Name::Path(route.ends)];
            if names.iter().any(|name| failed.contains(name)) {
                link.wants = Some(Wish::Upload); // R-131: it goes on with the old values until then
            }
        }
    }

    /// Asks for the numbers of connections of which somebody says that their segments are too long.
    pub(super) fn start_query(&mut self, target: &mut dyn Offload) {
        let mut tree = Tree::new();
        for report in std::mem::take(&mut self.stack.reports) {
            let link = self.links.get(&report.id);
            let place = link.map_or(Residence::InHost, |l| l.residence);
            match (place, link.and_then(|l| Some((l.route?, l.token?)))) {
                (Residence::Offloaded, Some((route, token))) => {
                    let block = TcpBlock {
                        role: Role::Linker(token),
                        handle: handle(report.id),
                        state: None,
                        status: Status::Success,
                    };
                    // A command names a connection once.
                    let is_asked = self.asked.iter().any(|r| r.id == report.id);
                    if is_asked || self.objects.place_leaf(&mut tree, route, block) {
                        self.asked.push(report);
                    }
                }
                (Residence::Offloading | Residence::Uploading, _) => self.stack.reports.push_back(report),
                _ => {
                    // It came back meanwhile.
                    if let Some((snd_una, flight)) = self.stack.numbers_of(report.id) {
                        self.stack.judge_report(&report, snd_una, flight);
                    }
                }
            }
        }
        if tree.is_empty() {
            return;
        }
        self.is_busy = target.query(tree).is_ok();
        if !self.is_busy {
            self.asked.clear(); // lost
        }
    }

    pub(super) fn queried(&mut self, now_us: u64, tree: Tree) {
        self.is_busy = false;
        self.hear_ages(now_us, &tree);
        let asked = std::mem::take(&mut self.asked);
        for block in tree.into_iter().flat_map(|n| n.paths).flat_map(|p| p.connections) {
            let Some(state) = block.state.filter(|_| block.status == Status::Success) else { continue };
            let (una, max) = (SeqNum(state.record.snd_una), SeqNum(state.record.snd_max));
            for report in asked.iter().filter(|r| r.id == id(block.handle)) {
                self.stack.judge_report(report, una, max - una);
            }
        }
    }
}
