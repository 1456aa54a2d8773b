//! A Verilated block as a small program: stimuli in on stdin, outputs back on stdout, as 32-bit words.
//!
//! A request is the words of all inputs and one byte that says what to do with them ([`Step`]).

use super::tools::{build_dir, cached, content_key, run, runtime, Error, VERILATOR_FLAGS};
use crate::lint::WAIVERS;
use crate::netlist::Port;
use crate::verilator::{compiler, decides_by_inverted_bits, WORDLESS};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// What the program does with a stimulus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Step {
    /// Clock low, outputs back, rising edge. The answer waits in a buffer: for stimuli that are known before.
    Known = b'k',
    /// Clock low, outputs back.
    Settle = b's',
    /// Rising edge, outputs back; the inputs stay.
    Edge = b'e',
    /// Clock low, rising edge, outputs back.
    Cycle = b'c',
}

/// Words that a port takes in a stimulus or result record.
pub(crate) fn words(p: &Port) -> usize {
    p.bits.div_ceil(32)
}

/// A compiled model.
pub(crate) struct Model {
    program: PathBuf,
    pub verilog: PathBuf,
}

fn set(p: &Port) -> String {
    let n = p.name.replace('$', "__024");
    match p.bits {
        1..=32 => format!("        m->{n} = w[0]; w += 1;\n"),
        33..=64 => format!("        m->{n} = (QData)w[0] | (QData)w[1] << 32; w += 2;\n"),
        _ => format!(
            "        for (int i = 0; i < {k}; i++) m->{n}[i] = w[i];\n        w += {k};\n",
            k = words(p)
        ),
    }
}

fn get(p: &Port) -> String {
    let n = p.name.replace('$', "__024");
    match p.bits {
        1..=32 => format!("        *o++ = m->{n};\n"),
        33..=64 => format!("        *o++ = (uint32_t)m->{n}; *o++ = (uint32_t)(m->{n} >> 32);\n"),
        _ => format!("        for (int i = 0; i < {k}; i++) *o++ = m->{n}[i];\n", k = words(p)),
    }
}

/// The driver program: one request in, one record out.
fn driver(top: &str, ports: &[Port], clocks: &[String]) -> String {
    let data = |p: &&Port| p.input && !clocks.contains(&p.name);
    let (ins, outs): (Vec<_>, Vec<_>) =
        (ports.iter().filter(data).collect(), ports.iter().filter(|p| !p.input).collect());
    let (n_in, n_out): (usize, usize) =
        (ins.iter().map(|p| words(p)).sum(), outs.iter().map(|p| words(p)).sum());
    let tick = |v: u8| -> String {
        clocks.iter().fold(String::new(), |s, c| s + &format!("        m->{c} = {v};\n"))
    };
    let (known, settle, edge) = (Step::Known as u8, Step::Settle as u8, Step::Edge as u8);
    let mut c = String::from("#include <cstdio>\n");
    let _ = write!(
        c,
        "int main() {{\n    auto* ctx = new VerilatedContext;\n    auto* m = new V{top}{{ctx}};\n    \
         uint32_t in[{}], out[{}];\n    auto show = [&] {{\n        uint32_t* o = out; (void)o;\n",
        n_in.max(1),
        n_out.max(1)
    );
    outs.iter().for_each(|p| c += &get(p));
    let _ = write!(
        c,
        "        fwrite(out, 4, {n_out}, stdout);\n    }};\n    while (true) {{\n        \
         if ({n_in} && fread(in, 4, {n_in}, stdin) != {n_in}) break;\n        \
         char step; if (fread(&step, 1, 1, stdin) != 1) break;\n        \
         if (step != {edge}) {{\n        const uint32_t* w = in; (void)w;\n"
    );
    c += &tick(0);
    ins.iter().for_each(|p| c += &set(p));
    let _ = write!(
        c,
        "        m->eval();\n        }}\n        if (step == {known} || step == {settle}) show();\n        \
         if (step != {settle}) {{\n"
    );
    c += &tick(1);
    let _ = write!(
        c,
        "        m->eval();\n        }}\n        if (step != {known} && step != {settle}) show();\n        \
         if (step != {known}) fflush(stdout);\n    }}\n    m->final();\n    return 0;\n}}\n"
    );
    c
}

/// The driver with the names that Verilator gave to ports that are words of C++ (`set`, `class`).
fn as_renamed(main: &str, header: &str, ports: &[Port]) -> String {
    let renamed = ports.iter().filter(|p| header.contains(&format!("__SYM__{}", p.name)));
    renamed.fold(main.to_string(), |text, p| {
        // A member is followed by a blank, an index or the end of the statement.
        [" ", "[", ";", ")"].iter().fold(text, |text, end| {
            text.replace(&format!("m->{}{end}", p.name), &format!("m->__SYM__{}{end}", p.name))
        })
    })
}

/// Translates a module to C++ in `dir`; returns the files in a fixed order.
fn verilate(top: &str, verilog: &Path, dir: &Path, more: &[&str]) -> Result<Vec<String>, Error> {
    let mut cmd = Command::new("verilator");
    cmd.args(VERILATOR_FLAGS).args(more).args(WAIVERS.iter().map(|w| format!("-Wno-{}", w.0)));
    cmd.args(["--prefix", &format!("V{top}"), "--top-module", top, "--Mdir"]).arg(dir).arg(verilog);
    run(&mut cmd)?;
    let mut files: Vec<String> = std::fs::read_dir(dir)?
        .filter_map(|e| e.ok()?.file_name().into_string().ok())
        .filter(|n| n.ends_with(".cpp"))
        .collect();
    files.sort();
    Ok(files)
}

impl Model {
    /// Builds (or finds) the program of a module.
    pub fn build(top: &str, verilog: &str, pins: (&[Port], &[String]), quick: bool) -> Result<Model, Error> {
        let opt = if quick { "-O0" } else { "-O1" };
        let main = driver(top, pins.0, pins.1);
        let key = content_key(&[
            verilog,
            &main,
            opt,
            compiler(),
            &VERILATOR_FLAGS.join(" "),
            WORDLESS,
            &format!("{WAIVERS:?}"),
        ]);
        let home = build_dir().join(format!("{top}-{key}"));
        cached(&home, top, |dir| {
            let v = dir.join(format!("{top}.v"));
            std::fs::write(&v, verilog)?;
            let mut files = verilate(top, &v, dir, &[])?;
            let texts = files.iter().map(|f| std::fs::read_to_string(dir.join(f)));
            if texts.collect::<Result<Vec<_>, _>>()?.iter().any(|t| decides_by_inverted_bits(t)) {
                files.iter().try_for_each(|f| std::fs::remove_file(dir.join(f)))?;
                files = verilate(top, &v, dir, &[WORDLESS])?;
            }
            let all = files.iter().fold(String::new(), |s, f| s + &format!("#include \"{f}\"\n"));
            let header = std::fs::read_to_string(dir.join(format!("V{top}.h")))?;
            std::fs::write(dir.join("unity.cc"), all + &as_renamed(&main, &header, pins.0))?;
            let rt = runtime()?;
            let mut cmd = Command::new(compiler());
            cmd.args([opt, "-std=c++17", "-w", "-I"]).arg(dir).arg("-I").arg(&rt.include);
            cmd.arg(dir.join("unity.cc")).arg(&rt.object).arg("-o").arg(dir.join("model")).arg("-pthread");
            run(&mut cmd)
        })?;
        Ok(Model { program: home.join("model"), verilog: home.join(format!("{top}.v")) })
    }

    /// Starts the program.
    pub fn start(&self) -> Result<Child, Error> {
        Ok(Command::new(&self.program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?)
    }

    /// Runs all steps; `stimuli` holds one record per step. Returns the output words of all steps.
    pub fn simulate(&self, stimuli: &[Vec<u32>]) -> Result<Vec<u32>, Error> {
        let mut child = self.start()?;
        let mut input = child.stdin.take().expect("stdin is piped");
        let bytes: Vec<u8> = stimuli
            .iter()
            .flat_map(|s| {
                s.iter().flat_map(|w| w.to_le_bytes()).chain([Step::Known as u8]).collect::<Vec<_>>()
            })
            .collect();
        let feeder = std::thread::spawn(move || input.write_all(&bytes));
        let out = child.wait_with_output()?;
        feeder.join().expect("the feeder does not panic")?;
        if !out.status.success() {
            return Err(Error::Tool {
                what: self.program.display().to_string(),
                log: out.status.to_string(),
            });
        }
        Ok(out.stdout.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
    }
}
