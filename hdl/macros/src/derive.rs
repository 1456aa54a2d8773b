//! Derives for things made of signals: blocks and bundles.

use crate::T2;
use quote::quote;
use syn::{Data, DeriveInput, Error, Fields, Ident, Result};

/// The hardware fields: those that do not start with an underscore.
pub(crate) fn fields(input: &DeriveInput) -> Result<Vec<&syn::Field>> {
    match &input.data {
        Data::Struct(s) => match &s.fields {
            Fields::Named(f) => {
                Ok(f.named.iter().filter(|f| !name(f).to_string().starts_with('_')).collect())
            }
            _ => Err(Error::new_spanned(&input.ident, "name the fields")),
        },
        _ => Err(Error::new_spanned(&input.ident, "this derive is for structs")),
    }
}

pub(crate) fn name(f: &syn::Field) -> &Ident {
    f.ident.as_ref().expect("fields are named")
}

fn walkers(names: &[&Ident]) -> T2 {
    quote! {
        fn update_all(&mut self) {
            ::chimney_hdl_kernel::core::prelude::Logic::update(self);
            #(::chimney_hdl_kernel::core::prelude::Block::update_all(&mut self.#names);)*
        }
        fn connect_all(&mut self) {
            #(::chimney_hdl_kernel::core::prelude::Block::connect_all(&mut self.#names);)*
        }
        fn has_changed(&self) -> bool {
            false #(|| ::chimney_hdl_kernel::core::prelude::Block::has_changed(&self.#names))*
        }
    }
}

pub(crate) fn block(input: &DeriveInput) -> Result<T2> {
    let f = fields(input)?;
    let names: Vec<_> = f.iter().map(|f| name(f)).collect();
    let texts: Vec<_> = names.iter().map(ToString::to_string).collect();
    let walkers = walkers(&names);
    let (ig, tg, wh) = input.generics.split_for_impl();
    let ty = &input.ident;
    Ok(quote! {
        #[automatically_derived]
        impl #ig ::chimney_hdl_kernel::core::prelude::Block for #ty #tg #wh {
            #walkers
            fn accept(&self, name: &str, probe: &mut dyn ::chimney_hdl_kernel::core::prelude::Probe) {
                probe.visit_start_scope(name, self);
                #(::chimney_hdl_kernel::core::prelude::Block::accept(&self.#names, #texts, probe);)*
                probe.visit_end_scope(name, self);
            }
        }
    })
}

pub(crate) fn interface(input: &DeriveInput) -> Result<T2> {
    let f = fields(input)?;
    let names: Vec<_> = f.iter().map(|f| name(f)).collect();
    let texts: Vec<_> = names.iter().map(ToString::to_string).collect();
    let walkers = walkers(&names);
    let (ig, tg, wh) = input.generics.split_for_impl();
    let ty = &input.ident;
    let join = match partner(input)? {
        Some(other) => quote! {
            /// Connects this bundle of one child with the opposite bundle of another child.
            pub fn join(&mut self, other: &mut #other #tg) {
                #(self.#names.join(&mut other.#names);)*
            }
            /// Connects this bundle of a block with the opposite bundle of the same block.
            pub fn pass(&mut self, other: &mut #other #tg) {
                #[allow(unused_imports)]
                use ::chimney_hdl_kernel::krt::Pass as _;
                #(self.#names.pass(&mut other.#names);)*
            }
        },
        None => T2::new(),
    };
    Ok(quote! {
        #[automatically_derived]
        impl #ig ::chimney_hdl_kernel::core::prelude::Logic for #ty #tg #wh {
            fn update(&mut self) {}
        }
        #[automatically_derived]
        impl #ig ::chimney_hdl_kernel::core::prelude::Block for #ty #tg #wh {
            #walkers
            fn accept(&self, name: &str, probe: &mut dyn ::chimney_hdl_kernel::core::prelude::Probe) {
                probe.visit_start_namespace(name, self);
                #(::chimney_hdl_kernel::core::prelude::Block::accept(&self.#names, #texts, probe);)*
                probe.visit_end_namespace(name, self);
            }
        }
        #[automatically_derived]
        impl #ig #ty #tg #wh {
            /// Connects this bundle of a block with the same bundle of its child.
            pub fn link(&mut self, other: &mut Self) {
                #[allow(unused_imports)]
                use ::chimney_hdl_kernel::core::prelude::LogicLink as _;
                #(self.#names.link(&mut other.#names);)*
            }
            #join
        }
    })
}

fn partner(input: &DeriveInput) -> Result<Option<Ident>> {
    for a in &input.attrs {
        if let syn::Meta::NameValue(nv) = &a.meta {
            if nv.path.is_ident("join") {
                if let syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(s), .. }) = &nv.value {
                    return s.parse().map(Some);
                }
                return Err(Error::new_spanned(nv, "write `#[join = \"Name\"]`"));
            }
        }
    }
    Ok(None)
}
