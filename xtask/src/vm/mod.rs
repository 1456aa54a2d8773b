//! A guest with a real kernel, in QEMU, with the simulated NIC as a PCI device: the driver on the kernel's own VFIO.
//!
//! ```text
//!   chimney device (NIC, echo peer) <-- vfio-user --> QEMU (emulated IOMMU) --> Debian's kernel, vfio-pci --> chimney-check
//! ```
//! | module | subject |
//! |---|---|
//! | [`mod@kit`] | QEMU, kernel, modules, busybox: made once, checked before each use |
//! | [`archive`] | the guest's file system |
//! | [`device`] | the NICs outside, and a Linux peer for two of them |
//! | [`columns`] | the list of checks on each transport, side by side |
//! | [`guest`] | one boot: what is built, started, said and judged |
//! | [`demo`] | the guest of `cargo xtask demo --vm` |

mod archive;
mod columns;
pub mod demo;
mod device;
mod guest;
mod kit;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;

/// Options of `cargo xtask vm`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// Make the kit, unless it is there: QEMU, a kernel, busybox, from Debian's packages (a download of 90 MB)
    Kit,
    /// Boot the guest and run the checks in it
    Test(guest::Args),
    /// Become the guest of `cargo xtask demo --vm`: a machine that does one job with a NIC that is there
    #[command(hide = true)]
    Boot(demo::Args),
}

/// Runs it.
///
/// # Errors
/// No kit, nothing built, no boot; how the checks ended is in the exit status.
pub fn run(args: &Args) -> Result<ExitCode> {
    match &args.what {
        What::Kit => {
            println!("{}", kit()?.display());
            Ok(ExitCode::SUCCESS)
        }
        What::Test(args) => guest::run(args),
        What::Boot(args) => demo::boot(args),
    }
}

/// Makes the kit if it is not there, and says where it is.
///
/// # Errors
/// One line: why it cannot be made here.
pub fn kit() -> Result<PathBuf> {
    guest::static_target()?;
    Ok(kit::Kit::ensure()?.dir)
}
