//! Verilator and the C++ compiler, with a cache keyed by content.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use sha2::{Digest, Sha256};

use chimney_hdl::{verilator, Port};

use crate::cache::{Cache, Library};
use crate::version::complaint;
use crate::{Result, Top};

/// Two-state simulation without assertions; nothing random at power-up (the differential tests of the RTL cover that).
const VERILATOR_FLAGS: &[&str] = &[
    "--cc",
    "-O3",
    verilator::GRAPHLESS,
    "--x-assign",
    "fast",
    "--x-initial",
    "fast",
    "--noassert",
    "--no-timing",
    // Lint is the RTL crate's business; here only errors count.
    "-Wno-fatal",
    "-Wno-lint",
    "-Wno-style",
    "-Wno-UNOPTFLAT",
];
/// Baseline of every x86-64 machine of the last ten years: the cache may be shared. Tried with GCC on the whole NIC, without gain:
/// v3, -Os, no vectors, Verilator's --flatten and --expand-limit; -O3 was 4 % quicker than -O2.
const X86_64_FLAGS: &[&str] = &["-march=x86-64-v2"];
/// Verilator's own assertions ask for atomics that clang has only in a library of its own.
const CXX_FLAGS: &[&str] = &["-std=c++17", "-fno-strict-aliasing", "-fno-plt", "-DNDEBUG"];

/// What is needed to build a model.
pub struct Tools {
    include: PathBuf,
    versions: String,
    cache: Cache,
    has_trace: bool,
}

impl Tools {
    /// Find the tools; an error is one line that says what to install.
    pub fn find(out: &Path, has_trace: bool) -> Result<Self> {
        println!("cargo::rerun-if-env-changed=VERILATOR_ROOT");
        let version = output("verilator", &["--version"]).map_err(|e| {
            format!("Verilator >= 5.006 is needed: {e}; try `cargo xtask test`, or apt-get install verilator")
        })?;
        if let Some(complaint) = complaint(&version) {
            return Err(complaint);
        }
        let root = output("verilator", &["--getenv", "VERILATOR_ROOT"])?;
        let include = Path::new(root.trim()).join("include");
        if !include.join("verilated.cpp").exists() {
            return Err(format!("Verilator's run-time sources are not in {}", include.display()));
        }
        println!("cargo::rerun-if-env-changed=CXX");
        let compiler = output(verilator::compiler(), &["--version"])
            .map_err(|e| format!("a C++ compiler is needed: {e}; apt-get install clang, or g++"))?;
        let versions = format!("{version}\n{}", compiler.lines().next().unwrap_or_default());
        Ok(Self { include, versions, cache: Cache::open(cache_dir(out))?, has_trace })
    }

    /// The library of one top, from the cache or new.
    pub fn library(&self, top: &Top, shim: &str) -> Result<Library> {
        let key = self.key(top.has_wave, &[&top.name, &top.verilog, shim, top.optimisation]);
        let name = format!("v_{}", top.name);
        self.cache.get(&key, &name, |dir| {
            let source = dir.join(format!("{}.v", top.name));
            write(&source, &top.verilog)?;
            self.verilate(top, &source, dir, &[])?;
            if is_mistranslated(dir)? {
                sources(dir)?.iter().try_for_each(|name| remove(&dir.join(name)))?;
                self.verilate(top, &source, dir, &[verilator::WORDLESS])?;
            }
            // Verilator marks what runs once (constructors, initial values, waves) as slow: no optimiser for that.
            let (slow, fast): (Vec<_>, Vec<_>) =
                sources(dir)?.into_iter().partition(|n| n.contains("__Slow"));
            let unity = |file: &str, names: &[String], rest: &str| {
                let includes: String = names.iter().map(|n| format!("#include \"{n}\"\n")).collect();
                let path = dir.join(file);
                write(&path, &format!("{includes}{rest}")).map(|()| path)
            };
            let files =
                [(unity("fast.cc", &fast, shim)?, top.optimisation), (unity("slow.cc", &slow, "")?, "-O0")];
            self.compile(top.has_wave, &files, dir, &name)
        })
    }

    /// Verilator's run-time library.
    pub fn runtime(&self) -> Result<Library> {
        let mut sources = vec!["verilated.cpp", "verilated_threads.cpp"];
        if self.has_trace {
            sources.push("verilated_fst_c.cpp");
        }
        self.cache.get(&self.key(self.has_trace, &["runtime"]), "verilated_rt", |dir| {
            let stub = dir.join("time_stub.cpp");
            write(&stub, "double sc_time_stamp() { return 0; }\n")?;
            let mut files: Vec<_> = sources.iter().map(|s| (self.include.join(s), "-O2")).collect();
            files.push((stub, "-O2"));
            self.compile(self.has_trace, &files, dir, "verilated_rt")
        })
    }

    /// What a program with these libraries is linked with besides: waves are packed.
    pub fn linked(&self) -> &'static [&'static str] {
        match (self.has_trace, self.include.join("fstcpp").exists()) {
            (false, _) => &["stdc++"],
            (true, false) => &["z", "stdc++"],
            // A younger Verilator brings its own writer, but not LZ4.
            (true, true) => &["z", "lz4", "stdc++"],
        }
    }

    fn verilate(&self, top: &Top, source: &Path, dir: &Path, more: &[&str]) -> Result<()> {
        let mut command = Command::new("verilator");
        command.args(VERILATOR_FLAGS).args(more);
        command.args(["--prefix", &format!("V{}", top.name), "--top-module", &top.name, "--Mdir"]).arg(dir);
        if top.has_wave {
            // The rig counts the time of a wave in nanoseconds.
            command.args(["--trace-fst", "--trace-structs", "--timescale", "1ns/1ns"]);
        }
        if let Some(idle) = top.idle() {
            let path = dir.join("inside.vlt");
            let var = format!("public_flat_rd -module \"{}\" -var \"{idle}\"", top.name);
            write(&path, &format!("`verilator_config\n{var}\n"))?;
            command.arg(path);
        }
        run(command.arg(source))
    }

    /// Compile files with their optimisation, at the same time, and put them into one archive.
    fn compile(&self, has_wave: bool, files: &[(PathBuf, &str)], dir: &Path, name: &str) -> Result<()> {
        let object = |i: usize| dir.join(format!("{i}.o"));
        let compile = |i: usize| {
            let (file, level) = &files[i];
            let trace = if has_wave { "1" } else { "0" };
            let mut command = Command::new(verilator::compiler());
            command.args(self.cxx_flags()).arg(level).arg("-c").arg(file).arg("-o").arg(object(i));
            for include in [dir, Path::new("cpp"), &self.include, &self.include.join("vltstd")] {
                command.arg("-I").arg(include);
            }
            command.args([&format!("-DVM_TRACE={trace}"), &format!("-DVM_TRACE_FST={trace}")]);
            run(command.args(["-DVM_COVERAGE=0", "-DVM_SC=0"]))
        };
        std::thread::scope(|scope| {
            let jobs: Vec<_> = (0..files.len()).map(|i| scope.spawn(move || compile(i))).collect();
            jobs.into_iter()
                .try_for_each(|job| job.join().map_err(|_| "a compiler thread panicked".to_owned())?)
        })?;
        let objects = (0..files.len()).map(object);
        run(Command::new("ar").arg("crs").arg(dir.join(format!("lib{name}.a"))).args(objects))
    }

    fn cxx_flags(&self) -> Vec<&'static str> {
        let is_x86 = env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|a| a == "x86_64");
        let machine: &[&str] = if is_x86 { X86_64_FLAGS } else { &[] };
        ["-fPIC", "-w"].iter().chain(CXX_FLAGS).chain(machine).copied().collect()
    }

    /// Everything that the bytes of a library depend on.
    fn key(&self, has_wave: bool, parts: &[&str]) -> String {
        let mut hash = Sha256::new();
        let common = format!("{}\n{VERILATOR_FLAGS:?}\n{:?}\n{has_wave}", self.versions, self.cxx_flags());
        // The recipe itself is part of the key: this file and the shim.
        let recipe = [common.as_str(), include_str!("../cpp/shim.h"), include_str!("verilate.rs")];
        for part in recipe.iter().chain(parts) {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
        hash.finalize().iter().take(12).map(|b| format!("{b:02x}")).collect()
    }
}

/// The ports of a hand-written module: ANSI style, one port per line, plain ranges.
pub fn ports_of(verilog: &str) -> Vec<Port> {
    let port = |line: &str| {
        let line = line.split("//").next()?.trim().trim_end_matches(',');
        let is_input = line.starts_with("input ");
        if !is_input && !line.starts_with("output ") {
            return None;
        }
        let high =
            line.split_once('[').and_then(|(_, r)| r.split_once(':')).map_or("0", |(high, _)| high.trim());
        let name = line.split_whitespace().last()?.to_owned();
        Some(Port { name, bits: high.parse::<usize>().ok()? + 1, input: is_input })
    };
    verilog.lines().take_while(|l| !l.starts_with(");")).filter_map(port).collect()
}

/// `<target>/verilated-cache`: above all profiles. Cargo marks the target folder that it made itself; in another one
/// the build script works in `<target>/<profile>/build/<package>/out`.
fn cache_dir(out: &Path) -> PathBuf {
    let marked = out.ancestors().find(|dir| dir.join("CACHEDIR.TAG").exists());
    marked.or(out.ancestors().nth(4)).unwrap_or(out).join("verilated-cache")
}

/// The C++ files that Verilator wrote, in a fixed order.
fn sources(dir: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|e| e.file_name().into_string().ok())
        .filter(|n| n.ends_with(".cpp"))
        .collect();
    names.sort();
    Ok(names)
}

/// Verilator made the mistake that [`verilator`] describes.
fn is_mistranslated(dir: &Path) -> Result<bool> {
    let read = |name: &String| {
        let path = dir.join(name);
        fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))
    };
    let texts = sources(dir)?.iter().map(read).collect::<Result<Vec<_>>>()?;
    Ok(texts.iter().any(|text| verilator::decides_by_inverted_bits(text)))
}

fn remove(path: &Path) -> Result<()> {
    fs::remove_file(path).map_err(|e| format!("{}: {e}", path.display()))
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))
}

fn output(program: &str, args: &[&str]) -> Result<String> {
    let out =
        Command::new(program).args(args).output().map_err(|e| format!("`{program}` cannot be run ({e})"))?;
    if !out.status.success() {
        return Err(format!("`{program}` failed: {}", String::from_utf8_lossy(&out.stderr).trim()));
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let out = command.output().map_err(|e| format!("`{program}` cannot be run ({e})"))?;
    if out.status.success() {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&out.stderr).into_owned();
    Err(format!("`{program}` failed: {}", stderr.lines().take(20).collect::<Vec<_>>().join("\n")))
}
