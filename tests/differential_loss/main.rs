//! Loss recovery of the RTL (`chimney_hdl::tcp::loss`) against the functions of the same name in `host-stack/core`, step by
//! step over random histories: reachable ones, and what a hostile peer can make of them.
//!
//! The kernels run natively here; each is one clock of the hardware, put together as the hardware does.

mod growth;
mod hystart;
mod rack;

use chimney_hdl::prelude::Bits;
use chimney_hdl_kernel::diff::{long, Rnd};

/// `v` as hardware holds it.
fn b<const N: usize>(v: u32) -> Bits<N> {
    u64::from(v).into()
}

/// The low 24 bits of a time.
fn t(v: u32) -> Bits<24> {
    b(v & 0xff_ffff)
}

fn n<const N: usize>(x: Bits<N>) -> u32 {
    u32::try_from(x.to_u64()).expect("at most 32 bits")
}

/// Steps of a random history; the seed is printed.
fn steps(name: &str, mut f: impl FnMut(&mut Rnd)) {
    let mut r = Rnd::new(Rnd::seed_for(name));
    (0..if long() { 1_000_000 } else { 50_000 }).for_each(|_| f(&mut r));
}

/// How far the clock moves: mostly a little, sometimes past every horizon.
fn pause_us(r: &mut Rnd) -> u32 {
    let most = [2, 100, 5000, 200_000, 1_000_000, 9_000_000, 40_000_000][r.below(7) as usize];
    r.below(most) as u32
}
