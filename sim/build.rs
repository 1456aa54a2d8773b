//! RTL -> Verilog -> Verilator -> C++ compiler -> one static library per top, and Rust bindings for its ports.
//!
//! A library is rebuilt only when its Verilog, the shim, the flags or a tool changed, and it is shared by all profiles (dev,
//! test, release, clippy): it lies in `<target>/verilated-cache/<key>/`, not in the build script's own folder. A missing
//! tool ends the build with one line.

#[path = "build/bindings.rs"]
mod bindings;
#[path = "build/cache.rs"]
mod cache;
#[path = "build/verilate.rs"]
mod verilate;
#[path = "build/version.rs"]
mod version;

use std::path::PathBuf;
use std::{env, fs};

use chimney_hdl::Port;

/// The NIC that takes a thousand connections at once.
const LARGE: &str = "nic_1024";

/// A top module to be Verilated.
struct Top {
    name: String,
    verilog: String,
    ports: Vec<Port>,
    /// How hard the C++ compiler tries.
    optimisation: &'static str,
    /// It can write a wave, in a build with the feature `trace`.
    has_wave: bool,
}

impl Top {
    /// What the simulation sees of its inside: whether something is in work, as `STATUS.idle` has it.
    fn idle(&self) -> Option<&'static str> {
        const IDLE: &str = "csr$idle";
        self.verilog.contains(&format!("wire {IDLE};")).then_some(IDLE)
    }
}

type Result<T> = std::result::Result<T, String>;

fn main() {
    // The RTL crate is a build dependency: cargo runs this program again when it changes.
    for path in ["build.rs", "build", "cpp", "rtl"] {
        println!("cargo::rerun-if-changed={path}");
    }
    if let Err(message) = build() {
        println!("cargo::error={}", message.replace('\n', " | "));
        std::process::exit(1);
    }
}

fn build() -> Result<()> {
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("no OUT_DIR: not started by cargo")?);
    let has_trace = env::var_os("CARGO_FEATURE_TRACE").is_some();
    let tools = verilate::Tools::find(&out, has_trace)?;
    let mut libraries = Vec::new();
    let mut code = String::new();
    for top in tops(has_trace)? {
        let shim = bindings::shim(&top);
        libraries.push(tools.library(&top, &shim)?);
        code += &bindings::rust(&top);
    }
    libraries.push(tools.runtime()?);
    code += &bindings::state(chimney_hdl::STATE);
    fs::write(out.join("models.rs"), code).map_err(|e| format!("models.rs: {e}"))?;
    for library in libraries {
        println!("cargo::rerun-if-changed={}", library.file().display());
        println!("cargo::rustc-link-search=native={}", library.dir.display());
        println!("cargo::rustc-link-lib=static={}", library.name);
    }
    for name in tools.linked() {
        println!("cargo::rustc-link-lib={name}");
    }
    Ok(())
}

/// The yardstick, those tops of the RTL crate that are whole NICs, those for benchmarks, and those that are wrong on purpose if tests want them.
fn tops(has_trace: bool) -> Result<Vec<Top>> {
    let verilog = fs::read_to_string("rtl/reference.v").map_err(|e| format!("rtl/reference.v: {e}"))?;
    let ports = verilate::ports_of(&verilog);
    let mut tops =
        vec![Top { name: "reference".to_owned(), verilog, ports, optimisation: "-O2", has_wave: has_trace }];
    let has = |feature| env::var_os(feature).is_some();
    let has_sizes = has("CARGO_FEATURE_SIZES");
    let faulty = if has("CARGO_FEATURE_FAULTY") { chimney_hdl::FAULTY_TOPS } else { &[] };
    let sizes = chimney_hdl::FPGA_TOPS.iter().filter(|&&name| has_sizes || name == LARGE);
    let larger = if has_sizes { chimney_hdl::LARGE_TOPS } else { &[] };
    // These run for a few tests only: cheap to build matters more.
    let few = [faulty, chimney_hdl::BENCH_TOPS, larger]
        .into_iter()
        .flatten()
        .chain(sizes)
        .map(|&name| (name, "-O1"));
    let tested = chimney_hdl::TOPS.iter().map(|&name| (name, "-O3"));
    for (name, optimisation) in tested.chain(few) {
        let ports = chimney_hdl::ports(name).map_err(|e| e.to_string())?;
        let has = |port: &str| ports.iter().any(|p| p.name == port);
        if has("s_axil_awaddr") && has("m_axi_araddr") || chimney_hdl::BENCH_TOPS.contains(&name) {
            let verilog = chimney_hdl::emit(name).map_err(|e| e.to_string())?;
            // A wave costs the C++ compiler twice the time: for those that are looked at.
            let has_wave = has_trace && chimney_hdl::TOPS.contains(&name);
            tops.push(Top { name: name.to_owned(), verilog, ports, optimisation, has_wave });
        }
    }
    Ok(tops)
}
