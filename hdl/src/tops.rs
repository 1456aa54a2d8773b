//! The blocks that become Verilog files of their own.

use chimney_hdl_kernel::{ElabError, Port};

/// One exported block.
struct Top {
    name: &'static str,
    emit: fn(&str) -> Result<String, ElabError>,
    synthesis: fn(&str) -> Result<String, ElabError>,
    ports: fn() -> Vec<Port>,
}

macro_rules! tops {
    ($($(#[$d:meta])* $list:ident { $($(#[$e:meta])* $name:literal => $ty:ty,)* })*) => {
        $($(#[$d])* pub const $list: &[&str] = &[$($name),*];)*
        const ALL: &[Top] = &[$($(Top {
            name: $name,
            emit: |n| chimney_hdl_kernel::verilog(&<$ty>::default(), n),
            synthesis: |n| chimney_hdl_kernel::synthesis(&<$ty>::default(), n),
            ports: || chimney_hdl_kernel::ports(&<$ty>::default()),
        }),*),*];
    };
}

tops! {
    /// Names of the exported tops.
    TOPS {
        /// The frame FIFO, a small complete block: it keeps the export and its tests honest.
        "beat_fifo" => crate::stream::Fifo<crate::stream::axis::Beat, 5, 6>,
        /// The NIC: 64 connections, 16 paths and 16 neighbors.
        "nic" => crate::top::Nic<6, 4, 5, 11, 5, 7, 9, 0>,
    }
    /// The cores that are synthesized and placed for an FPGA, per number of connections. The simulator has `nic_1024`, and all with its feature `sizes`.
    FPGA_TOPS {
        /// For the small part: 256 connections.
        "nic_256" => crate::top::Nic<8, 4, 5, 13, 9, 9, 11, 0>,
        /// For the large part: 1024 connections.
        "nic_1024" => crate::top::Nic<10, 4, 5, 15, 9, 11, 13, 0>,
    }
    /// What is larger than those; simulated only.
    LARGE_TOPS {
        /// 4096 connections.
        "nic_4096" => crate::top::Nic<12, 4, 5, 17, 11, 13, 15, 0>,
    }
    /// Tops for benchmarks: simulated, not synthesized.
    BENCH_TOPS {
        /// PROTO with doorbells as fast as it takes them.
        "event_rate" => crate::tcp::proto::rate::EventRate,
    }
    /// Names of tops that are wrong on purpose, each for a test that must fail on it. Not exported, never for use.
    FAULTY_TOPS {
        /// A small NIC that acknowledges bytes before they are in host memory (law L2).
        "nic_early_ack" => crate::top::Nic<4, 3, 4, 9, 3, 5, 7, 1>,
    }
}

/// Why a top was not emitted.
#[derive(Debug, thiserror::Error)]
pub enum EmitError {
    /// There is no such top.
    #[error("no top is called `{0}`")]
    Unknown(String),
    /// A kernel inside cannot become Verilog.
    #[error("{top}: {source}")]
    Elab {
        /// The top.
        top: String,
        /// What is wrong.
        source: ElabError,
    },
}

fn find(top: &str) -> Result<&'static Top, EmitError> {
    ALL.iter().find(|t| t.name == top).ok_or_else(|| EmitError::Unknown(top.into()))
}

/// The Verilog of a top and of everything inside it; the same bytes every time.
///
/// # Errors
/// An unknown name, or mistakes that only show while elaborating.
pub fn emit(top: &str) -> Result<String, EmitError> {
    let t = find(top)?;
    (t.emit)(t.name).map_err(|source| EmitError::Elab { top: top.into(), source })
}

/// The Verilog of a top in the form that synthesis reads fastest; the same circuit.
///
/// # Errors
/// As [`emit`].
pub fn emit_synthesis(top: &str) -> Result<String, EmitError> {
    let t = find(top)?;
    (t.synthesis)(t.name).map_err(|source| EmitError::Elab { top: top.into(), source })
}

/// The Verilog of a module that has the top inside and only four pins; see [`pins`](crate::pins).
///
/// # Errors
/// An unknown name.
pub fn emit_pins(top: &str) -> Result<String, EmitError> {
    Ok(crate::pins::on_pins(top, &ports(top)?))
}

/// The ports of a top.
///
/// # Errors
/// An unknown name.
pub fn ports(top: &str) -> Result<Vec<Port>, EmitError> {
    Ok((find(top)?.ports)())
}
