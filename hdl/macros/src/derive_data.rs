//! Derives for values: records and codes.

use crate::derive::{fields, name};
use crate::T2;
use quote::{format_ident, quote};
use syn::{Data, DataEnum, DeriveInput, Error, Fields, Result};

pub(crate) fn record(input: &DeriveInput) -> Result<T2> {
    if !input.generics.params.is_empty() {
        return Err(Error::new_spanned(&input.generics, "a record has a fixed width: no generics"));
    }
    let f = fields(input)?;
    let names: Vec<_> = f.iter().map(|f| name(f)).collect();
    let texts: Vec<_> = names.iter().map(ToString::to_string).collect();
    let types: Vec<_> = f.iter().map(|f| &f.ty).collect();
    let getters: Vec<_> = names.iter().map(|n| format_ident!("get_my_offset_{}", n)).collect();
    let before: Vec<Vec<_>> = (0..types.len()).map(|n| types[..n].to_vec()).collect();
    let ty = &input.ident;
    Ok(quote! {
        #[automatically_derived]
        impl #ty {
            #(
                #[doc(hidden)]
                #[allow(dead_code)]
                pub fn #getters(&self) -> usize {
                    0usize #(+ <#before as ::chimney_hdl_kernel::core::prelude::Synth>::BITS)*
                }
            )*
        }
        #[automatically_derived]
        impl ::chimney_hdl_kernel::core::prelude::Synth for #ty {
            const BITS: usize = 0usize #(+ <#types as ::chimney_hdl_kernel::core::prelude::Synth>::BITS)*;
            fn descriptor() -> ::chimney_hdl_kernel::core::prelude::TypeDescriptor {
                use ::chimney_hdl_kernel::core::prelude::{Synth, TypeDescriptor, TypeField, TypeKind};
                TypeDescriptor {
                    name: stringify!(#ty).to_string(),
                    kind: TypeKind::Composite(vec![#(Box::new(TypeField {
                        fieldname: #texts.to_string(),
                        kind: <#types as Synth>::descriptor(),
                    })),*]),
                }
            }
            fn vcd(self) -> ::chimney_hdl_kernel::core::prelude::VCDValue {
                use ::chimney_hdl_kernel::core::prelude::{Synth, VCDValue};
                VCDValue::Composite(vec![#(Box::new(Synth::vcd(self.#names))),*])
            }
            fn verilog(self) -> ::chimney_hdl_kernel::core::prelude::VerilogLiteral {
                use ::chimney_hdl_kernel::core::prelude::Synth;
                ::chimney_hdl_kernel::builtin::pack::<{ <#ty as Synth>::BITS }, #ty>(self).into()
            }
        }
        #[automatically_derived]
        impl ::chimney_hdl_kernel::builtin::Packed for #ty {
            const TOTAL: bool = true #(&& <#types as ::chimney_hdl_kernel::builtin::Packed>::TOTAL)*;
            fn put(&self, out: &mut Vec<bool>) {
                #(::chimney_hdl_kernel::builtin::Packed::put(&self.#names, out);)*
            }
            fn take(bits: &mut impl Iterator<Item = bool>) -> Self {
                #ty { #(#names: ::chimney_hdl_kernel::builtin::Packed::take(bits)),* }
            }
        }
    })
}

/// Variants are plain codes that count from 0.
fn check_codes(e: &DataEnum) -> Result<()> {
    for (i, v) in e.variants.iter().enumerate() {
        if !matches!(v.fields, Fields::Unit) {
            return Err(Error::new_spanned(v, "a variant is a code and has no fields"));
        }
        if let Some((_, d)) = &v.discriminant {
            if quote!(#d).to_string() != i.to_string() {
                return Err(Error::new_spanned(d, format!("codes count from 0 in order: this one is {i}")));
            }
        }
    }
    Ok(())
}

pub(crate) fn state(input: &DeriveInput) -> Result<T2> {
    let Data::Enum(e) = &input.data else {
        return Err(Error::new_spanned(&input.ident, "this derive is for enums"));
    };
    check_codes(e)?;
    let names: Vec<_> = e.variants.iter().map(|v| &v.ident).collect();
    let Some(first) = names.first() else {
        return Err(Error::new_spanned(&input.ident, "an enum without variants has no code"));
    };
    let texts: Vec<_> = names.iter().map(ToString::to_string).collect();
    let codes: Vec<u64> = (0..names.len() as u64).collect();
    let count = names.len();
    let width = if count <= 2 { 1 } else { (count - 1).ilog2() as usize + 1 };
    let total = count == 1 << width;
    let ty = &input.ident;
    Ok(quote! {
        #[automatically_derived]
        impl ::chimney_hdl_kernel::core::prelude::Synth for #ty {
            const BITS: usize = #width;
            fn descriptor() -> ::chimney_hdl_kernel::core::prelude::TypeDescriptor {
                use ::chimney_hdl_kernel::core::prelude::{TypeDescriptor, TypeKind};
                TypeDescriptor {
                    name: stringify!(#ty).to_string(),
                    kind: TypeKind::Enum(vec![#(#texts.to_string()),*]),
                }
            }
            fn vcd(self) -> ::chimney_hdl_kernel::core::prelude::VCDValue {
                ::chimney_hdl_kernel::core::prelude::VCDValue::String(match self { #(#ty::#names => #texts),* }.into())
            }
            fn verilog(self) -> ::chimney_hdl_kernel::core::prelude::VerilogLiteral {
                ::chimney_hdl_kernel::core::prelude::Bits::<#width>::from(match self { #(#ty::#names => #codes),* }).into()
            }
        }
        #[automatically_derived]
        impl ::chimney_hdl_kernel::builtin::Packed for #ty {
            const TOTAL: bool = #total;
            fn put(&self, out: &mut Vec<bool>) {
                let code: u64 = match self { #(#ty::#names => #codes),* };
                out.extend((0..#width).map(|i| code >> i & 1 == 1));
            }
            fn take(bits: &mut impl Iterator<Item = bool>) -> Self {
                let code = (0..#width).fold(0u64, |c, i| c | u64::from(bits.next().unwrap_or(false)) << i);
                // Illegal codes never reach this: `unpack` refuses types that have any.
                [#(#ty::#names),*][code as usize % #count]
            }
        }
        #[automatically_derived]
        impl Default for #ty {
            fn default() -> #ty {
                #ty::#first
            }
        }
    })
}
