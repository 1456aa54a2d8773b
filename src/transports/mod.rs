//! The sites of the driver's list of checks (`chimney_check`) that have a device of their own.

mod site;

pub use site::{InProcess, VfioUserSite};
