//! The sites of the driver's list of checks (`chimney_check`) that have a device of their own.

mod site;

pub use site::{check_in_process, echo_wire, InProcess, VfioUserSite};

use crate::device::Model;

/// Options of `chimney check`: which device.
#[derive(clap::Args, Clone, Debug)]
pub struct CheckArgs {
    #[command(flatten)]
    list: chimney_check::Args,
    /// A device in this process, in simulated time
    #[arg(long, conflicts_with_all = ["socket", "vfio", "counters", "spare", "endless"])]
    in_process: bool,
    /// Which NIC in this process
    #[arg(long, value_enum, default_value_t = Model::Rtl, requires = "in_process")]
    model: Model,
}

/// Runs the driver's list of checks; true if all of it passed.
///
/// # Errors
/// When there is no such device, or nothing can be said.
pub fn check(args: &CheckArgs) -> anyhow::Result<bool> {
    if args.in_process {
        check_in_process(args.model, &args.list)
    } else {
        chimney_check::check(&args.list)
    }
}
