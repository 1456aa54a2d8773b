//! The cache of Verilated libraries: `<target>/verilated-cache/<key>/lib<name>.a`.
//!
//! Builds of several profiles may work in it at the same time. A library is made in a private folder and moved to its place
//! in one step. A look-up leaves a time stamp; of each name the last used few stay. What was used a moment ago stays in any
//! case, because a linker may be about to read it. Look-up and pruning hold a lock against each other.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

/// Libraries of one name that stay: with and without waves, of this version and of the one before.
pub const KEPT: usize = 4;
/// What was used so recently is not removed: longer than any build.
pub const GRACE: Duration = Duration::from_secs(2 * 60 * 60);
/// A private folder that was not touched for so long was left by a build that was killed.
pub const LEFT: Duration = Duration::from_secs(24 * 60 * 60);
/// Beginning of the name of a private folder.
const PRIVATE: &str = "build-";
/// The file whose time says when the library was last asked for.
const STAMP: &str = "used";

/// A static library in the cache.
pub struct Library {
    /// Its folder.
    pub dir: PathBuf,
    /// Name for the linker.
    pub name: String,
}

impl Library {
    /// The file.
    pub fn file(&self) -> PathBuf {
        self.dir.join(format!("lib{}.a", self.name))
    }
}

/// A cache folder.
pub struct Cache {
    dir: PathBuf,
}

impl Cache {
    /// The cache in `dir`, which is made if need be.
    ///
    /// # Errors
    /// One line that names the folder.
    pub fn open(dir: PathBuf) -> Result<Self, String> {
        fs::create_dir_all(&dir).map_err(|e| said(&dir, e))?;
        Ok(Self { dir })
    }

    /// The library of this key; if there is none, `make` makes it in the folder that it is given.
    ///
    /// # Errors
    /// Those of `make`, and one line when the folder cannot be written.
    pub fn get(
        &self,
        key: &str,
        name: &str,
        make: impl FnOnce(&Path) -> Result<(), String>,
    ) -> Result<Library, String> {
        let library = Library { dir: self.dir.join(key), name: name.to_owned() };
        if self.find(&library)? {
            return Ok(library);
        }
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let private = self.dir.join(format!("{PRIVATE}{}-{number}", std::process::id()));
        let _ = fs::remove_dir_all(&private);
        fs::create_dir_all(&private).map_err(|e| said(&private, e))?;
        let made = make(&private).and_then(|()| self.place(&private, &library));
        let _ = fs::remove_dir_all(&private);
        made?;
        self.prune(name, SystemTime::now())?;
        Ok(library)
    }

    /// Is it there? Then it has been used now.
    fn find(&self, library: &Library) -> Result<bool, String> {
        let _lock = self.lock()?;
        let is_there = library.file().exists();
        if is_there {
            stamp(library)?;
        }
        Ok(is_there)
    }

    /// Moves what was made to its place, unless another build was faster.
    fn place(&self, private: &Path, library: &Library) -> Result<(), String> {
        let _lock = self.lock()?;
        if !library.file().exists() {
            // A folder without a library is the rest of a broken build.
            let _ = fs::remove_dir_all(&library.dir);
            fs::rename(private, &library.dir).map_err(|e| said(&library.dir, e))?;
        }
        stamp(library)
    }

    /// Removes the libraries of this name that were not used for the longest time, and what broken builds left.
    ///
    /// # Errors
    /// One line when the folder cannot be read. What cannot be removed stays.
    pub fn prune(&self, name: &str, now: SystemTime) -> Result<(), String> {
        let _lock = self.lock()?;
        let is_older =
            |used: SystemTime, limit: Duration| now.duration_since(used).is_ok_and(|age| age > limit);
        let mut libraries = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(|e| said(&self.dir, e))?.flatten() {
            let library = Library { dir: entry.path(), name: name.to_owned() };
            if entry.file_name().to_string_lossy().starts_with(PRIVATE) {
                if changed(&library.dir).is_some_and(|at| is_older(at, LEFT)) {
                    let _ = fs::remove_dir_all(&library.dir);
                }
            } else if let Some(used) = last_used(&library) {
                libraries.push((used, library.dir));
            }
        }
        libraries.sort_by_key(|(used, _)| std::cmp::Reverse(*used));
        for (_, dir) in libraries.into_iter().skip(KEPT).filter(|(used, _)| is_older(*used, GRACE)) {
            let _ = fs::remove_dir_all(dir);
        }
        Ok(())
    }

    /// Held until the file is dropped; a build that dies gives it back.
    fn lock(&self) -> Result<File, String> {
        let path = self.dir.join("lock");
        let file = File::create(&path).map_err(|e| said(&path, e))?;
        file.lock().map_err(|e| said(&path, e))?;
        Ok(file)
    }
}

fn stamp(library: &Library) -> Result<(), String> {
    let path = library.dir.join(STAMP);
    fs::write(&path, "").map_err(|e| said(&path, e))
}

/// When it was last asked for; `None`: it is not a library of this name.
fn last_used(library: &Library) -> Option<SystemTime> {
    let made = changed(&library.file())?;
    Some(changed(&library.dir.join(STAMP)).unwrap_or(made))
}

fn changed(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).ok()?.modified().ok()
}

fn said(path: &Path, error: std::io::Error) -> String {
    format!("{}: {error}", path.display())
}
