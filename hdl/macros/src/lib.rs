//! The `#[kernel]` attribute and the derive macros of the RTL: one text, native simulation and Verilog.
//!
//! `#[kernel]` keeps the function as it is for native simulation and adds a *twin*: the same tokens over symbolic values
//! (`chimney_hdl_kernel::krt`). The macro never looks at types and never prints Verilog; the compiler infers the same
//! types in the twin as in the original, and the library records what the twin does. Syntax without a hardware meaning
//! is refused at its token. Import everything through `chimney_hdl_kernel`, which documents the dialect.

mod derive;
mod derive_data;
mod kernel;
mod native;
mod stmts;
mod twin;

use proc_macro::TokenStream;
use syn::{parse_macro_input, DeriveInput};

type T2 = proc_macro2::TokenStream;

/// Makes hardware of `impl Logic for X { fn update(&mut self) {..} }`, or of a pure function.
#[proc_macro_attribute]
pub fn kernel(_attr: TokenStream, item: TokenStream) -> TokenStream {
    kernel::expand(item.into()).unwrap_or_else(|e| e.to_compile_error()).into()
}

fn derived(input: TokenStream, f: fn(&DeriveInput) -> syn::Result<T2>) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    f(&input).unwrap_or_else(|e| e.to_compile_error()).into()
}

/// A block: every field is a signal, register, bundle or child (fields that start with `_` are not hardware).
#[proc_macro_derive(LogicBlock)]
pub fn logic_block(input: TokenStream) -> TokenStream {
    derived(input, derive::block)
}

/// A bundle of signals, with `link` to the same bundle of a child, and `join` to the opposite one that
/// `#[join = "Name"]` names.
#[proc_macro_derive(LogicInterface, attributes(join))]
pub fn logic_interface(input: TokenStream) -> TokenStream {
    derived(input, derive::interface)
}

/// A record of hardware values; the first field is the least significant.
#[proc_macro_derive(LogicStruct)]
pub fn logic_struct(input: TokenStream) -> TokenStream {
    derived(input, derive_data::record)
}

/// An enum as a binary code, numbered from 0 in the order of its variants; the first one is the default.
#[proc_macro_derive(LogicState)]
pub fn logic_state(input: TokenStream) -> TokenStream {
    derived(input, derive_data::state)
}
