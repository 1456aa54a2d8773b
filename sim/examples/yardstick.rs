//! Prints the speed of the reference block in the full rig, what the rig alone costs, and how well simulated time follows wall
//! time on this machine.

use chimney_sim::clock::SimClock;
use chimney_sim::ffi::Reference;
use chimney_sim::pins::ClockPins;
use chimney_sim::yardstick::Yardstick;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let cycles = 500_000;
    let rig = Yardstick::new()?.best_of(5, cycles);
    let mut model = Reference::new();
    let bare = (0..5)
        .map(|_| {
            let start = std::time::Instant::now();
            for _ in 0..cycles {
                model.settle();
                model.posedge();
            }
            cycles as f64 / start.elapsed().as_secs_f64()
        })
        .fold(0.0, f64::max);
    let cost_ns = 1e9 / rig - 1e9 / bare;
    println!("reference block in the rig {:.2} M clocks/s, alone {:.2} M", rig / 1e6, bare / 1e6);
    println!(
        "the rig costs {cost_ns:.0} ns per clock, {:.1} % of a core at 300 000 clocks/s",
        cost_ns * 300_000.0 / 1e7
    );
    let mut clock = SimClock::wall_time(1e6);
    let mut yardstick = Yardstick::new()?;
    for _ in 0..10 * cycles {
        yardstick.clock();
        clock.tick();
    }
    let lag = clock.lag();
    println!(
        "clock after {:.2} s: lag max {:.2} ms, mean {:.3} ms, lead max {:.2} ms, {:.2} M clocks/s",
        clock.now_us() as f64 / 1e6,
        lag.max_us / 1e3,
        lag.mean_us / 1e3,
        lag.max_lead_us / 1e3,
        clock.measured_hz().unwrap_or(0.0) / 1e6
    );
    Ok(())
}
