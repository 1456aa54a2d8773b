//! Standard output.

use anyhow::{Context, Result};

/// That nobody listens any more (`| head`) is no error: the verdict is in the exit status.
///
/// # Errors
/// Every other one.
pub fn listened(said: std::io::Result<()>) -> Result<()> {
    match said {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("standard output"),
    }
}
