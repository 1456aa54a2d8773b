//! A Verilated block as a small program: stimuli in on stdin, outputs back on stdout, as 32-bit words.

use super::tools::{build_dir, cached, content_key, run, runtime, Error, VERILATOR_FLAGS};
use crate::lint::WAIVERS;
use crate::netlist::Port;
use crate::verilator::{compiler, decides_by_inverted_bits, WORDLESS};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

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

/// The driver program: one record in, one record out, one rising edge per step.
fn driver(top: &str, ports: &[Port], clocks: &[String]) -> String {
    let data = |p: &&Port| p.input && !clocks.contains(&p.name);
    let (ins, outs): (Vec<_>, Vec<_>) =
        (ports.iter().filter(data).collect(), ports.iter().filter(|p| !p.input).collect());
    let (n_in, n_out): (usize, usize) =
        (ins.iter().map(|p| words(p)).sum(), outs.iter().map(|p| words(p)).sum());
    let tick = |v: u8| -> String {
        clocks.iter().fold(String::new(), |s, c| s + &format!("        m->{c} = {v};\n"))
    };
    let mut c = String::from("#include <cstdio>\n");
    let _ = write!(
        c,
        "int main() {{\n    auto* ctx = new VerilatedContext;\n    auto* m = new V{top}{{ctx}};\n    \
         uint32_t in[{}], out[{}];\n    while (true) {{\n        \
         if ({n_in} && fread(in, 4, {n_in}, stdin) != {n_in}) break;\n        \
         char step; if (fread(&step, 1, 1, stdin) != 1) break;\n        \
         const uint32_t* w = in; uint32_t* o = out; (void)w; (void)o;\n",
        n_in.max(1),
        n_out.max(1)
    );
    c += &tick(0);
    ins.iter().for_each(|p| c += &set(p));
    c += "        m->eval();\n";
    outs.iter().for_each(|p| c += &get(p));
    let _ = writeln!(c, "        fwrite(out, 4, {n_out}, stdout);");
    c += &tick(1);
    c += "        m->eval();\n    }\n    m->final();\n    return 0;\n}\n";
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

    /// Runs all steps; `stimuli` holds one record per step. Returns the output words of all steps.
    pub fn simulate(&self, stimuli: &[Vec<u32>]) -> Result<Vec<u32>, Error> {
        let mut child = Command::new(&self.program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut input = child.stdin.take().expect("stdin is piped");
        let bytes: Vec<u8> = stimuli
            .iter()
            .flat_map(|s| s.iter().flat_map(|w| w.to_le_bytes()).chain([1u8]).collect::<Vec<_>>())
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
