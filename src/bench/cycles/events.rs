//! Events through PROTO alone: a doorbell always waits, for eight connections in turn or for one.

use anyhow::{bail, Result};
use chimney_sim::ffi::EventRate;
use chimney_sim::pins::ClockPins;

/// Cycles after which the connections must be there.
const MOST_START: u32 = 10_000;
/// Cycles in reset.
const RESET: u32 = 4;

/// Cycles per event, all for one connection or for different ones, over so many cycles.
///
/// # Errors
/// When the connections are not taken over, or a doorbell is refused.
pub fn measure(same: bool, cycles: u32) -> Result<f64> {
    let mut model = EventRate::new();
    model.set_same(same.into());
    model.drive_reset(true);
    (0..RESET).for_each(|_| clock(&mut model));
    model.drive_reset(false);
    let mut waited = 0;
    while model.is_live() == 0 {
        clock(&mut model);
        waited += 1;
        if waited > MOST_START {
            bail!("PROTO does not take the connections");
        }
    }
    let before = model.events();
    (0..cycles).for_each(|_| clock(&mut model));
    let events = model.events().wrapping_sub(before);
    if model.refused() != 0 || events == 0 {
        bail!("of {events} events PROTO refused {}", model.refused());
    }
    Ok(f64::from(cycles) / f64::from(events))
}

fn clock(model: &mut EventRate) {
    model.settle();
    model.posedge();
}
