//! Why a function cannot be opened, and what its administrator can do.

use std::io;

use thiserror::Error;
use vfio_ioctls::VfioError;

use super::place::Place;
use crate::error::BusError;

/// Why there is no device.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Not a name.
    #[error("'{name}' is no PCI function's name; they look like 0000:01:00.0 (lspci -D)")]
    BadName {
        /// What was given.
        name: String,
    },
    /// Nothing there.
    #[error("there is no PCI function {bdf}")]
    NoDevice {
        /// Its name.
        bdf: String,
    },
    /// Another driver has it, or none.
    #[error("{bdf} is bound to {}, not to vfio-pci; as root: echo vfio-pci > /sys/bus/pci/devices/{bdf}/driver_override, echo {bdf} > /sys/bus/pci/devices/{bdf}/driver/unbind if it has a driver, echo {bdf} > /sys/bus/pci/drivers_probe", .driver.as_deref().unwrap_or("no driver"))]
    NotBound {
        /// Its name.
        bdf: String,
        /// Who has it.
        driver: Option<String>,
    },
    /// Nothing that would keep the device from the rest of memory.
    #[error("{bdf} has no IOMMU group: enable the IOMMU in the firmware (VT-d, AMD-Vi) and in the kernel (intel_iommu=on); without one the device could write anywhere, so there is no way around it")]
    NoIommu {
        /// Its name.
        bdf: String,
    },
    /// The modules are not there.
    #[error("the kernel has no VFIO ({source}); as root: modprobe vfio-pci")]
    NoVfio {
        /// Its answer.
        #[source]
        source: io::Error,
    },
    /// Not for this user.
    #[error("{path} may not be opened ({source}); as root: chown USER {path}")]
    Permission {
        /// Which file.
        path: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// Somebody has it.
    #[error("{bdf} is in use: another process has its group open (fuser -v /dev/vfio/{group})")]
    Busy {
        /// Its name.
        bdf: String,
        /// Its group.
        group: u32,
    },
    /// The group has functions that are in use by the kernel.
    #[error("{bdf} shares IOMMU group {group} with {}, which must be unbound or bound to vfio-pci, too", if .others.is_empty() { "a function that is in use".into() } else { .others.join(", ") })]
    Shared {
        /// Its name.
        bdf: String,
        /// Its group.
        group: u32,
        /// The others, with their drivers.
        others: Vec<String>,
    },
    /// The IOMMU does not keep interrupts apart.
    #[error("the IOMMU of {bdf} does not remap interrupts, so a device could forge them; where that is acceptable, as root: modprobe vfio_iommu_type1 allow_unsafe_interrupts=1")]
    UnsafeInterrupts {
        /// Its name.
        bdf: String,
    },
    /// Not a device of ours, or not all of one.
    #[error("{bdf} has no {what}")]
    Strange {
        /// Its name.
        bdf: String,
        /// What is missing.
        what: &'static str,
    },
    /// Any other refusal.
    #[error("{bdf} cannot be opened: {source}")]
    Kernel {
        /// Its name.
        bdf: String,
        /// The kernel's answer.
        #[source]
        source: VfioError,
    },
    /// A call that the kernel did not answer as it should.
    #[error("{bdf}: {what}: {source}")]
    System {
        /// Its name.
        bdf: String,
        /// What was attempted.
        what: &'static str,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// It does not come up.
    #[error("{bdf} does not come up: {error}")]
    Bus {
        /// Its name.
        bdf: String,
        /// What went wrong.
        error: BusError,
    },
}

/// What a refusal of the kernel means for a function that [`Place::find`] found in order.
pub fn explain(place: &Place, error: VfioError) -> OpenError {
    let (bdf, group) = (place.bdf.clone(), place.group);
    let denied = |path: String, source| OpenError::Permission { path, source };
    match error {
        VfioError::OpenContainer(source) if is_denied(&source) => denied("/dev/vfio/vfio".into(), source),
        VfioError::OpenContainer(source) => OpenError::NoVfio { source },
        VfioError::OpenGroup(source, _) if is_denied(&source) => denied(format!("/dev/vfio/{group}"), source),
        VfioError::OpenGroup(source, _) if source.kind() == io::ErrorKind::ResourceBusy => {
            OpenError::Busy { bdf, group }
        }
        // A group without this file has one of another name, which says that nothing is translated.
        VfioError::OpenGroup(source, _) if source.kind() == io::ErrorKind::NotFound => {
            OpenError::NoIommu { bdf }
        }
        // A group that is in somebody's container is not viable either.
        VfioError::GroupViable if place.neighbours().is_empty() => OpenError::Busy { bdf, group },
        VfioError::GroupViable => OpenError::Shared { bdf, group, others: place.neighbours() },
        VfioError::ContainerSetIOMMU(error) if error.errno() == errno(rustix::io::Errno::PERM) => {
            OpenError::UnsafeInterrupts { bdf }
        }
        VfioError::ContainerSetIOMMU(error) if error.errno() == errno(rustix::io::Errno::NODEV) => {
            OpenError::NoIommu { bdf }
        }
        VfioError::GroupGetDeviceFD(error) if error.errno() == errno(rustix::io::Errno::BUSY) => {
            OpenError::Busy { bdf, group }
        }
        source => OpenError::Kernel { bdf, source },
    }
}

fn errno(errno: rustix::io::Errno) -> i32 {
    errno.raw_os_error()
}

/// The kernel says it in two ways.
fn is_denied(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;
    use vmm_sys_util::errno::Error as SysError;

    use super::*;

    fn text(error: VfioError) -> String {
        let place = Place { bdf: "0000:01:00.0".into(), path: "nowhere".into(), group: 9 };
        explain(&place, error).to_string()
    }

    #[test]
    fn what_helps_is_said() {
        let group = |e: Errno| text(VfioError::OpenGroup(e.into(), "9".into()));
        let container = |e: Errno| text(VfioError::OpenContainer(e.into()));
        let iommu = |e: Errno| text(VfioError::ContainerSetIOMMU(SysError::new(errno(e))));
        let device = |e: Errno| text(VfioError::GroupGetDeviceFD(SysError::new(errno(e))));
        for (text, word) in [
            (group(Errno::ACCESS), "chown USER /dev/vfio/9"),
            (group(Errno::PERM), "chown USER /dev/vfio/9"),
            (group(Errno::BUSY), "fuser -v /dev/vfio/9"),
            (group(Errno::NOENT), "intel_iommu=on"),
            (container(Errno::ACCESS), "chown USER /dev/vfio/vfio"),
            (container(Errno::NOENT), "modprobe vfio-pci"),
            (container(Errno::NODEV), "modprobe vfio-pci"),
            (iommu(Errno::PERM), "allow_unsafe_interrupts"),
            (iommu(Errno::NODEV), "intel_iommu=on"),
            (device(Errno::BUSY), "in use"),
            (device(Errno::INVAL), "cannot be opened"),
            (text(VfioError::GroupViable), "in use"),
            (text(VfioError::VfioApiVersion), "cannot be opened"),
        ] {
            assert!(text.contains(word), "{text}");
        }
    }

    #[test]
    fn what_is_in_the_way_is_named() {
        let shared = |others| OpenError::Shared { bdf: "0000:01:00.0".into(), group: 9, others }.to_string();
        assert!(shared(vec!["0000:01:00.1 (nouveau)".into()]).contains("with 0000:01:00.1 (nouveau), which"));
        assert!(shared(Vec::new()).contains("with a function that is in use"));
    }
}
