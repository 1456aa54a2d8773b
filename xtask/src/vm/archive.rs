//! The guest's first file system: a cpio archive as the kernel takes it (format `newc`, initramfs buffer format).

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// File type bits of a mode: a folder, and a file.
const FOLDER: u32 = 0o040_000;
const FILE: u32 = 0o100_000;

/// An archive that grows.
#[derive(Default)]
pub struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    /// An empty folder.
    pub fn folder(&mut self, name: &str) {
        self.entry(name, FOLDER | 0o755, &[]);
    }

    /// A file that may be run.
    pub fn program(&mut self, name: &str, content: &[u8]) {
        self.entry(name, FILE | 0o755, content);
    }

    /// A file of this machine that may be run there.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn copy(&mut self, name: &str, from: &Path) -> Result<()> {
        let content = fs::read(from).with_context(|| from.display().to_string())?;
        self.program(name, &content);
        Ok(())
    }

    /// The whole archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        self.bytes
    }

    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        // Inode, mode, user, group, links, time, length, device of the file system (two) and of the node (two), length of the
        // name with its zero, checksum (none).
        // `as`: both lengths are far below 4 GiB.
        let fields =
            [self.entries, mode, 0, 0, 1, 0, content.len() as u32, 0, 0, 0, 0, name.len() as u32 + 1, 0];
        self.bytes.extend(b"070701");
        for field in fields {
            self.bytes.extend(format!("{field:08x}").bytes());
        }
        self.bytes.extend(name.bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_headers_names_and_contents_at_words() {
        let mut archive = Archive::default();
        archive.folder("bin");
        archive.program("bin/x", b"hello");
        let bytes = archive.finish();
        // 110 bytes of header; name, zero and padding to 4.
        assert_eq!(&bytes[..14], b"07070100000001");
        assert_eq!(&bytes[14..22], b"000041ed", "a folder with 0755");
        assert_eq!((&bytes[110..114], bytes.len() % 4), (&b"bin\0"[..], 0));
        let second = 116;
        assert_eq!(&bytes[second..second + 6], b"070701");
        assert_eq!(&bytes[second + 54..second + 62], b"00000005", "five bytes");
        let content = second + 116;
        assert_eq!(&bytes[content..content + 8], b"hello\0\0\0");
        assert_eq!(&bytes[content + 8 + 110..content + 8 + 120], b"TRAILER!!!");
    }
}
