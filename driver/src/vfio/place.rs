//! Where a PCI function is in the kernel's tree, and what is wrong with that place.

use std::fs;
use std::path::{Path, PathBuf};

use super::error::OpenError;

/// The driver that hands functions to processes.
const VFIO_PCI: &str = "vfio-pci";
/// Drivers that do not keep a group from being handed out: of bridges, and of functions that are set aside.
const HARMLESS: &[&str] = &[VFIO_PCI, "pci-stub", "pcieport"];

/// A function that is bound to `vfio-pci` and has an IOMMU group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Domain, bus, device and function: `0000:01:00.0`.
    pub bdf: String,
    /// Its folder.
    pub path: PathBuf,
    /// Its IOMMU group.
    pub group: u32,
}

impl Place {
    /// Looks a function up by its name, with or without domain. `sysfs`: where sysfs is mounted.
    ///
    /// # Errors
    /// [`OpenError`]: what must be done before it can be opened.
    pub fn find(sysfs: &Path, name: &str) -> Result<Self, OpenError> {
        let bdf = full_name(name).ok_or_else(|| OpenError::BadName { name: name.to_owned() })?;
        let path = sysfs.join("bus/pci/devices").join(&bdf);
        if !path.exists() {
            return Err(OpenError::NoDevice { bdf });
        }
        let driver = link_name(&path.join("driver"));
        if driver.as_deref() != Some(VFIO_PCI) {
            return Err(OpenError::NotBound { bdf, driver });
        }
        let group = link_name(&path.join("iommu_group")).and_then(|group| group.parse().ok());
        let Some(group) = group else { return Err(OpenError::NoIommu { bdf }) };
        Ok(Self { bdf, path, group })
    }

    /// Functions of the same group, with drivers that must let go of them first.
    pub fn neighbours(&self) -> Vec<String> {
        let folder = self.path.join("iommu_group/devices");
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries
            .filter_map(|entry| {
                let driver = link_name(&entry.path().join("driver"))?;
                let name = entry.file_name().to_string_lossy().into_owned();
                (!HARMLESS.contains(&driver.as_str())).then(|| format!("{name} ({driver})"))
            })
            .collect();
        names.sort();
        names
    }
}

/// With its domain, if it is the name of a function: hexadecimal digits in the lengths that the kernel prints.
fn full_name(name: &str) -> Option<String> {
    let with_domain = if name.matches(':').count() == 1 { format!("0000:{name}") } else { name.to_owned() };
    let lengths: Vec<usize> = with_domain.split([':', '.']).map(str::len).collect();
    let is_hex = with_domain.chars().all(|c| c.is_ascii_hexdigit() || ":.".contains(c));
    let separators: String = with_domain.chars().filter(|c| ":.".contains(*c)).collect();
    (lengths == [4, 2, 2, 1] && is_hex && separators == "::.").then(|| with_domain.to_ascii_lowercase())
}

/// The last part of where a link goes.
fn link_name(link: &Path) -> Option<String> {
    Some(fs::read_link(link).ok()?.file_name()?.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A tree of links as sysfs has it, removed in the end.
    struct Tree(PathBuf);

    impl Tree {
        fn new(name: &str) -> Self {
            let root = std::env::temp_dir().join(format!("chimney-{}-{name}", std::process::id()));
            fs::create_dir_all(root.join("bus/pci/devices")).unwrap();
            Self(root)
        }

        fn device(&self, bdf: &str, driver: Option<&str>, group: Option<u32>) {
            let path = self.0.join("bus/pci/devices").join(bdf);
            fs::create_dir_all(&path).unwrap();
            if let Some(driver) = driver {
                symlink(format!("../../../bus/pci/drivers/{driver}"), path.join("driver")).unwrap();
            }
            if let Some(group) = group {
                let folder = self.0.join(format!("kernel/iommu_groups/{group}"));
                fs::create_dir_all(folder.join("devices")).unwrap();
                symlink(&path, folder.join("devices").join(bdf)).unwrap();
                symlink(folder, path.join("iommu_group")).unwrap();
            }
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_function_is_found_by_either_name() {
        let tree = Tree::new("place-found");
        tree.device("0000:0a:00.0", Some("vfio-pci"), Some(7));
        for name in ["0000:0a:00.0", "0a:00.0", "0A:00.0"] {
            let place = Place::find(&tree.0, name).unwrap();
            assert_eq!((place.bdf.as_str(), place.group), ("0000:0a:00.0", 7));
            assert_eq!(place.neighbours(), [""; 0]);
        }
    }

    #[test]
    fn what_must_be_done_first_is_said() {
        let tree = Tree::new("place-first");
        tree.device("0000:01:00.0", Some("e1000e"), Some(1));
        tree.device("0000:02:00.0", None, Some(2));
        tree.device("0000:03:00.0", Some("vfio-pci"), None);
        let error = |name| Place::find(&tree.0, name).unwrap_err().to_string();
        assert!(error("01:00.0").contains("e1000e"), "{}", error("01:00.0"));
        assert!(error("02:00.0").contains("driver_override"), "{}", error("02:00.0"));
        assert!(error("03:00.0").contains("intel_iommu=on"), "{}", error("03:00.0"));
        assert!(error("04:00.0").contains("no PCI function 0000:04:00.0"), "{}", error("04:00.0"));
        for name in ["", "eth0", "../01:00.0", "0000:01:00.0/..", "0000:01:00:0", "1:0.0", "01.00:0"] {
            assert!(error(name).contains("is no PCI function's name"), "{name}: {}", error(name));
        }
    }

    #[test]
    fn neighbours_that_stand_in_the_way_are_named() {
        let tree = Tree::new("place-group");
        tree.device("0000:01:00.0", Some("vfio-pci"), Some(5));
        tree.device("0000:01:00.1", Some("snd_hda_intel"), Some(5));
        tree.device("0000:01:00.2", None, Some(5));
        tree.device("0000:00:01.0", Some("pcieport"), Some(5));
        let place = Place::find(&tree.0, "01:00.0").unwrap();
        assert_eq!(place.neighbours(), ["0000:01:00.1 (snd_hda_intel)"]);
    }
}
