//! What a guest needs beyond our own programs, made by `xtask/vm/kit.sh` and kept in the target directory.
//!
//! Debian signs the packages. A list of checksums, written last, tells a kit that is whole from one that was interrupted, changed,
//! or made by another version of the script.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{bail, ensure, Context, Result};
use sha2::{Digest, Sha256};

use crate::process::{self, Event};
use crate::{apt, paths};

/// Modules in the order in which they are loaded: where they lie among the kernel's, without the ending `.ko`.
const MODULES: &[&str] = &[
    "virt/lib/irqbypass",
    "drivers/vfio/vfio",
    "drivers/vfio/vfio_iommu_type1",
    "drivers/vfio/pci/vfio-pci-core",
    "drivers/vfio/pci/vfio-pci",
];
/// The script that makes it.
const SCRIPT: &str = include_str!("../../vm/kit.sh");
/// Where QEMU lies in the kit.
const QEMU: &str = "root/usr/bin/qemu-system-x86_64";
/// The list of checksums.
const LIST: &str = "sha256.txt";

/// The names of their files in the kit and in the guest, in this order.
pub fn modules() -> impl Iterator<Item = String> {
    MODULES.iter().map(|path| format!("mod/{}.ko", path.rsplit('/').next().unwrap_or(path)))
}

/// A kit that is whole.
pub struct Kit {
    /// Its folder.
    pub dir: PathBuf,
}

impl Kit {
    /// The kit, made now if it is not there.
    ///
    /// # Errors
    /// One line: no network, no Debian.
    pub fn ensure() -> Result<Self> {
        let dir = paths::state_dir().join("vm-kit");
        if fs::read_to_string(dir.join(LIST)).is_ok_and(|list| checksums(&dir).is_ok_and(|now| now == list)) {
            return Ok(Self { dir });
        }
        ensure!(
            apt::is_available(),
            "the kit for a guest is made of Debian's packages, and there is no apt-get here"
        );
        let started = Instant::now();
        eprintln!("set-up: making the kit for a guest in {}", dir.display());
        make(&dir)?;
        eprintln!("set-up: made in {:.0} s", started.elapsed().as_secs_f64());
        let list = checksums(&dir)?;
        fs::write(dir.join(LIST), list).with_context(|| format!("cannot write {}", dir.display()))?;
        Ok(Self { dir })
    }

    /// QEMU, run from the kit as it is: with its own loader and libraries, and without chroot.
    pub fn qemu(&self) -> Vec<PathBuf> {
        let root = self.dir.join("root");
        vec![
            root.join("usr/lib64/ld-linux-x86-64.so.2"),
            "--library-path".into(),
            root.join("usr/lib/x86_64-linux-gnu"),
            self.dir.join(QEMU),
            "-L".into(),
            root.join("usr/share/qemu"),
            "-L".into(),
            root.join("usr/share/seabios"),
        ]
    }

    /// The kernel.
    pub fn kernel(&self) -> PathBuf {
        self.dir.join("vmlinuz")
    }
}

fn make(dir: &Path) -> Result<()> {
    let mut command = Command::new("sh");
    command.args(["-c", SCRIPT, "kit.sh"]).arg(dir).args(MODULES);
    let mut last = String::new();
    let status = process::run(command, |event| {
        if let Event::Line(line) = event {
            eprintln!("set-up: {line}");
            last = line.to_owned();
        }
    })?;
    if !status.success() {
        bail!("the kit for a guest cannot be made ({}): {last}", process::describe(status));
    }
    Ok(())
}

/// A line for the script and for each file that a guest is made of.
fn checksums(dir: &Path) -> Result<String> {
    let mut list = format!("{}  kit.sh\n", hex(&Sha256::digest(SCRIPT)));
    for name in ["vmlinuz", "busybox", "versions.txt", QEMU].map(String::from).into_iter().chain(modules()) {
        let path = dir.join(&name);
        let mut file = fs::File::open(&path).with_context(|| path.display().to_string())?;
        let mut hash = Sha256::new();
        let length = io::copy(&mut file, &mut hash).with_context(|| path.display().to_string())?;
        ensure!(length > 0, "{} is empty", path.display());
        let _ = writeln!(list, "{}  {name}", hex(&hash.finalize()));
    }
    Ok(list)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with a file of each name.
    fn folder(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("xtask-{}-{name}", std::process::id()));
        for file in ["vmlinuz", "busybox", "versions.txt", QEMU] {
            write(&dir, file, file);
        }
        for module in modules() {
            write(&dir, &module, &module);
        }
        dir
    }

    fn write(dir: &Path, name: &str, text: &str) {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("can be made");
        fs::write(path, text).expect("can be written");
    }

    #[test]
    fn every_change_of_a_kit_is_seen() {
        let dir = folder("kit");
        let list = checksums(&dir).expect("all files are there");
        assert_eq!(list.lines().count(), 5 + MODULES.len());
        assert!(list.lines().all(|line| line.split("  ").next().is_some_and(|sum| sum.len() == 64)));
        write(&dir, "mod/vfio.ko", "another");
        assert_ne!(checksums(&dir).expect("all files are there"), list);
        write(&dir, "mod/vfio.ko", "");
        assert!(checksums(&dir).is_err(), "an empty file is no module");
        fs::remove_dir_all(&dir).expect("can be removed");
    }

    #[test]
    fn modules_have_names_of_files() {
        assert_eq!(modules().next().as_deref(), Some("mod/irqbypass.ko"));
        assert_eq!(modules().last().as_deref(), Some("mod/vfio-pci.ko"));
    }
}
