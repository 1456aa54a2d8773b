//! Generated glue: the port table in C++; in Rust per top a type with functions per port, and the bundles of its pins.

use std::fmt::Write;

use chimney_hdl::Port;

use crate::Top;

/// C++ behind the Verilated sources: life cycle (by macro) and a pointer to the storage of each port.
pub fn shim(top: &Top) -> String {
    let name = &top.name;
    let mut code = format!("#include \"shim.h\"\nCHIMNEY_MODEL({name})\n");
    code += &format!("extern \"C\" void* {name}_port(void* m, uint32_t index) {{\n");
    code += &format!("    auto* model = static_cast<V{name}*>(m);\n    switch (index) {{\n");
    for (i, port) in top.ports.iter().enumerate() {
        let _ = writeln!(code, "    case {i}: return (void*)&model->{};", cpp_name(&port.name));
    }
    if let Some(idle) = top.idle() {
        let (i, idle) = (top.ports.len(), cpp_name(idle));
        let _ = writeln!(code, "    case {i}: return (void*)&model->rootp->{name}__DOT__{idle};");
    }
    code + "    default: return nullptr;\n    }\n}\n"
}

/// The Rust side, included by `src/ffi.rs`. Its macro `verilated_model!` holds everything that does not depend on ports.
pub fn rust(top: &Top) -> String {
    let (name, ty) = (&top.name, type_name(&top.name));
    let mut code = format!("verilated_model! {{\n    {ty}, \"{name}\", {},\n", top.has_wave);
    for function in ["new", "delete", "eval", "port", "trace_open", "trace_dump", "trace_close"] {
        let _ = writeln!(code, "    {name}_{function},");
    }
    for (i, port) in top.ports.iter().enumerate() {
        let (field, bits) = (rust_name(port), port.bits);
        let direction = if port.input { "input" } else { "output" };
        let ty = port_type(bits);
        let _ = writeln!(code, "    {i}, {field}, set_{field}, {ty}, \"{direction}, {bits} bits\",");
    }
    if top.idle().is_some() {
        let i = top.ports.len();
        let _ = writeln!(code, "    {i}, {IDLE}, set_{IDLE}, u8, \"no port, only to be read\",");
    }
    code += "}\n";
    code + &Pins { top, ty }.implement()
}

/// What the NIC keeps per connection, as the RTL crate counts it.
pub fn state(table: &[(&str, usize)]) -> String {
    let rows: String = table.iter().map(|(name, bits)| format!("    ({name:?}, {bits}),\n")).collect();
    format!("/// Bits per connection on chip, by what they are for.\npub const STATE: &[(&str, usize)] = &[\n{rows}];\n")
}

/// What is seen of the inside ([`Top::idle`]), in Rust.
const IDLE: &str = "inside_idle";

/// A name as Verilator writes it.
fn cpp_name(name: &str) -> String {
    name.replace('$', "__024")
}

/// The Rust type of a port, as wide as Verilator's.
fn port_type(bits: usize) -> String {
    match bits {
        0..=8 => "u8".to_owned(),
        9..=16 => "u16".to_owned(),
        17..=32 => "u32".to_owned(),
        33..=64 => "u64".to_owned(),
        wide => format!("[u32; {}]", wide.div_ceil(32)),
    }
}

fn rust_name(port: &Port) -> String {
    port.name.replace('$', "_")
}

/// `nic_64` -> `Nic64`.
fn type_name(top: &str) -> String {
    let capital = |word: &str| {
        let mut letters = word.chars();
        letters.next().map(|c| c.to_ascii_uppercase().to_string() + letters.as_str()).unwrap_or_default()
    };
    top.split('_').map(capital).collect()
}

/// The bundles of `src/pins.rs` that a top has. A port that the top leaves out reads as 0 and swallows what is written.
struct Pins<'a> {
    top: &'a Top,
    ty: String,
}

impl Pins<'_> {
    fn has(&self, port: &str) -> bool {
        self.top.ports.iter().any(|p| rust_name(p) == port)
    }

    /// Expression: the port as a number of the type that is wanted there.
    fn number(&self, port: &str) -> String {
        if self.has(port) {
            format!("self.{port}() as _")
        } else {
            "0".to_owned()
        }
    }

    /// Expression: the port as a bool.
    fn bit(&self, port: &str) -> String {
        if self.has(port) {
            format!("self.{port}() != 0")
        } else {
            "false".to_owned()
        }
    }

    /// Statement: drive the port.
    fn set(&self, port: &str, value: &str) -> String {
        if self.has(port) {
            format!("        self.set_{port}({value} as _);\n")
        } else {
            String::new()
        }
    }

    fn implement(&self) -> String {
        let mut code = String::new();
        if self.has("clock") && self.has("reset") {
            code += &self.clock();
        }
        if self.has("m_axi_araddr") && self.has("m_axi_awaddr") {
            code += &self.axi();
        }
        if self.has("s_axil_awaddr") {
            code += &self.axil();
        }
        if self.has("s_axis_tdata") && self.has("m_axis_tdata") {
            code += &self.axis();
        }
        code
    }

    fn clock(&self) -> String {
        let (ty, irq) = (&self.ty, self.bit("irq"));
        let idle = self.top.idle().map_or("false".to_owned(), |_| format!("self.{IDLE}() != 0"));
        format!(
            "impl crate::pins::ClockPins for {ty} {{\n\
             \x20   #[inline]\n    fn drive_clock(&mut self, level: bool) {{\n{}    }}\n\
             \x20   fn drive_reset(&mut self, level: bool) {{\n{}    }}\n\
             \x20   #[inline]\n    fn interrupt(&self) -> bool {{ {irq} }}\n\
             \x20   #[inline]\n    fn is_idle(&self) -> bool {{ {idle} }}\n\
             \x20   #[inline]\n    fn eval(&mut self) {{ self.eval_model(); }}\n\
             \x20   fn trace_dump(&mut self, time_ns: u64) {{ self.dump_model(time_ns); }}\n}}\n",
            self.set("clock", "level"),
            self.set("reset", "level")
        )
    }

    fn axi(&self) -> String {
        let address = |x: &str| {
            let [valid, addr, len, size, burst, id] =
                ["valid", "addr", "len", "size", "burst", "id"].map(|f| format!("m_axi_{x}{f}"));
            format!(
                "AxiAddr {{ valid: {}, addr: {}, len: {}, size: {}, burst: {}, id: {} }}",
                self.bit(&valid),
                self.number(&addr),
                self.number(&len),
                self.number(&size),
                self.number(&burst),
                self.number(&id)
            )
        };
        let w = format!(
            "AxiW {{ valid: {}, data: {}, strb: {}, last: {} }}",
            self.bit("m_axi_wvalid"),
            self.number("m_axi_wdata"),
            self.number("m_axi_wstrb"),
            self.bit("m_axi_wlast")
        );
        let drive = [
            ("m_axi_arready", "s.ar_ready"),
            ("m_axi_awready", "s.aw_ready"),
            ("m_axi_wready", "s.w_ready"),
            ("m_axi_rvalid", "s.r.valid"),
            ("m_axi_rdata", "s.r.data"),
            ("m_axi_rid", "s.r.id"),
            ("m_axi_rresp", "s.r.resp as u8"),
            ("m_axi_rlast", "s.r.last"),
            ("m_axi_bvalid", "s.b.valid"),
            ("m_axi_bid", "s.b.id"),
            ("m_axi_bresp", "s.b.resp as u8"),
        ];
        format!(
            "impl crate::pins::AxiPins for {} {{\n\
             \x20   #[inline]\n    fn axi(&self) -> AxiMasterOut {{\n        AxiMasterOut {{ ar: {}, aw: {}, w: {w}, r_ready: {}, b_ready: {} }}\n    }}\n\
             \x20   #[inline]\n    fn set_axi(&mut self, s: &AxiSlaveOut) {{\n{}    }}\n}}\n",
            self.ty, address("ar"), address("aw"), self.bit("m_axi_rready"), self.bit("m_axi_bready"),
            drive.map(|(port, value)| self.set(port, value)).concat()
        )
    }

    fn axil(&self) -> String {
        let read = format!(
            "AxilSlaveOut {{ aw_ready: {}, w_ready: {}, b_valid: {}, b_resp: {}, ar_ready: {}, r_valid: {}, r_data: {}, r_resp: {} }}",
            self.bit("s_axil_awready"), self.bit("s_axil_wready"), self.bit("s_axil_bvalid"), self.number("s_axil_bresp"),
            self.bit("s_axil_arready"), self.bit("s_axil_rvalid"), self.number("s_axil_rdata"), self.number("s_axil_rresp")
        );
        let drive = [
            ("s_axil_awaddr", "m.aw_addr"),
            ("s_axil_awvalid", "m.aw_valid"),
            ("s_axil_wdata", "m.w_data"),
            ("s_axil_wstrb", "m.w_strb"),
            ("s_axil_wvalid", "m.w_valid"),
            ("s_axil_bready", "m.b_ready"),
            ("s_axil_araddr", "m.ar_addr"),
            ("s_axil_arvalid", "m.ar_valid"),
            ("s_axil_rready", "m.r_ready"),
        ];
        format!(
            "impl crate::pins::AxilPins for {} {{\n\
             \x20   #[inline]\n    fn axil(&self) -> AxilSlaveOut {{\n        {read}\n    }}\n\
             \x20   #[inline]\n    fn set_axil(&mut self, m: &AxilMasterOut) {{\n{}    }}\n}}\n",
            self.ty,
            drive.map(|(port, value)| self.set(port, value)).concat()
        )
    }

    fn axis(&self) -> String {
        let beat = format!(
            "AxisBeat {{ valid: {}, data: {}, keep: {}, last: {}, user: {} }}",
            self.bit("m_axis_tvalid"),
            self.number("m_axis_tdata"),
            self.number("m_axis_tkeep"),
            self.bit("m_axis_tlast"),
            self.bit("m_axis_tuser")
        );
        let drive = [
            ("s_axis_tvalid", "beat.valid"),
            ("s_axis_tdata", "beat.data"),
            ("s_axis_tkeep", "beat.keep"),
            ("s_axis_tlast", "beat.last"),
            ("s_axis_tuser", "beat.user"),
        ];
        format!(
            "impl crate::pins::AxisPins for {} {{\n\
             \x20   #[inline]\n    fn tx_beat(&self) -> AxisBeat {{\n        {beat}\n    }}\n\
             \x20   #[inline]\n    fn set_tx_ready(&mut self, ready: bool) {{\n{}    }}\n\
             \x20   #[inline]\n    fn rx_ready(&self) -> bool {{ {} }}\n\
             \x20   #[inline]\n    fn set_rx_beat(&mut self, beat: &AxisBeat) {{\n{}    }}\n}}\n",
            self.ty,
            self.set("m_axis_tready", "ready"),
            self.bit("s_axis_tready"),
            drive.map(|(port, value)| self.set(port, value)).concat()
        )
    }
}
