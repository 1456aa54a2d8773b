//! The two items that `#[kernel]` accepts: `impl Logic for X`, and a pure function.

use crate::native;
use crate::stmts::Twin;
use crate::T2;
use quote::{quote, ToTokens};
use syn::{Error, FnArg, ImplItem, Item, ItemFn, ItemImpl, Pat, Result, ReturnType, Type};

pub(crate) fn expand(item: T2) -> Result<T2> {
    match syn::parse2::<Item>(item)? {
        Item::Impl(i) => logic_impl(i),
        Item::Fn(f) => function(f),
        other => Err(Error::new_spanned(other, "`#[kernel]` belongs on `impl Logic for X` or on a function")),
    }
}

fn logic_impl(mut item: ItemImpl) -> Result<T2> {
    let is_logic =
        item.trait_.as_ref().is_some_and(|t| t.1.segments.last().is_some_and(|s| s.ident == "Logic"));
    if !is_logic {
        return Err(Error::new_spanned(&item.self_ty, "`#[kernel]` belongs on `impl Logic for X`"));
    }
    let update = match item.items.as_mut_slice() {
        [ImplItem::Fn(f)] if f.sig.ident == "update" => f,
        _ => return Err(Error::new_spanned(&item.self_ty, "the kernel is `update` and nothing else")),
    };
    let mut twin = Twin::default();
    let body = twin.body(&update.block);
    twin.finish()?;
    let Some(me) = update.sig.receiver().map(|r| r.self_token) else {
        return Err(Error::new_spanned(&update.sig, "the kernel is `fn update(&mut self)`"));
    };
    native::rewrite(&mut update.block)?;
    let hdl: ImplItem = syn::parse_quote! {
        #[allow(warnings, clippy::all)]
        fn hdl(&#me) -> ::chimney_hdl_kernel::core::prelude::Verilog {
            use ::chimney_hdl_kernel::krt::{LiftElab as _, LiftHw as _};
            ::chimney_hdl_kernel::krt::elaborate(#me, || #body)
        }
    };
    item.items.push(hdl);
    Ok(item.into_token_stream())
}

/// Types that live at elaboration time and stay plain Rust.
pub(crate) fn is_elab(t: &Type) -> bool {
    matches!(t, Type::Path(p) if ["usize", "u64", "u32", "i32"].iter().any(|n| p.path.is_ident(n)))
}

/// The symbolic form of a type.
pub(crate) fn twin_type(t: &Type) -> T2 {
    match t {
        _ if is_elab(t) => quote!(#t),
        Type::Tuple(x) => {
            let e = x.elems.iter().map(twin_type);
            quote!((#(#e,)*))
        }
        Type::Array(a) => {
            let (e, n) = (twin_type(&a.elem), &a.len);
            quote!([#e; #n])
        }
        Type::Paren(p) => twin_type(&p.elem),
        _ => quote!(::chimney_hdl_kernel::krt::E<#t>),
    }
}

/// An argument type: whatever can become the type.
fn arg_type(t: &Type) -> T2 {
    match t {
        _ if is_elab(t) => quote!(#t),
        Type::Tuple(x) => {
            let e = x.elems.iter().map(arg_type);
            quote!((#(#e,)*))
        }
        Type::Array(a) => {
            let (e, n) = (arg_type(&a.elem), &a.len);
            quote!([#e; #n])
        }
        Type::Paren(p) => arg_type(&p.elem),
        _ => quote!(impl ::chimney_hdl_kernel::krt::Hw<#t>),
    }
}

/// Converts the value `x` to the symbolic form of type `t`.
pub(crate) fn convert(t: &Type, x: &T2) -> T2 {
    match t {
        _ if is_elab(t) => x.clone(),
        Type::Tuple(tt) if tt.elems.is_empty() => x.clone(),
        Type::Tuple(tt) => {
            let names: Vec<_> = (0..tt.elems.len()).map(|i| quote::format_ident!("r{}", i)).collect();
            let e = tt.elems.iter().zip(&names).map(|(t, n)| convert(t, &quote!(#n)));
            quote!({ let (#(#names,)*) = #x; (#(#e,)*) })
        }
        Type::Array(a) => {
            let inner = convert(&a.elem, &quote!(x));
            quote!((#x).map(|x| #inner))
        }
        Type::Paren(p) => convert(&p.elem, x),
        _ => quote!(::chimney_hdl_kernel::krt::Hw::<#t>::hw(#x)),
    }
}

fn function(mut f: ItemFn) -> Result<T2> {
    let mut twin = Twin::default();
    let (mut params, mut binds) = (vec![], vec![]);
    for a in &f.sig.inputs {
        let FnArg::Typed(a) = a else { return Err(Error::new_spanned(a, "a kernel function has no `self`")) };
        let (Pat::Ident(p), t) = (&*a.pat, &*a.ty) else {
            return Err(Error::new_spanned(&a.pat, "an argument is a name"));
        };
        let (n, text, at) = (&p.ident, p.ident.to_string(), arg_type(t));
        params.push(quote!(#n: #at));
        twin.local(&text);
        let v = convert(t, &quote!(#n));
        binds.push(match (is_elab(t), p.mutability.is_some()) {
            (true, true) => return Err(Error::new_spanned(p, "an integer argument stays as it is")),
            (true, false) => T2::new(),
            (false, true) => quote!(let #n = ::chimney_hdl_kernel::krt::bind_mut(#text, #v);),
            (false, false) => quote!(let #n = ::chimney_hdl_kernel::krt::bind_arg(#text, #v);),
        });
    }
    let ReturnType::Type(_, ret) = &f.sig.output else {
        return Err(Error::new_spanned(&f.sig.ident, "a kernel function returns a value"));
    };
    let body = twin.body(&f.block);
    twin.finish()?;
    let (ret_t, value) = (twin_type(ret), convert(ret, &quote!(r)));
    let (vis, name, text) = (&f.vis, &f.sig.ident, f.sig.ident.to_string());
    let (generics, wh) = (&f.sig.generics, &f.sig.generics.where_clause);
    let twin_fn = quote! {
        #[doc(hidden)]
        #[allow(non_camel_case_types, dead_code)]
        #vis struct #name {}
        #[allow(warnings, clippy::all)]
        impl #name {
            #[doc(hidden)]
            pub fn hdl #generics(#(#params),*) -> #ret_t #wh {
                use ::chimney_hdl_kernel::krt::{LiftElab as _, LiftHw as _};
                let _scope = ::chimney_hdl_kernel::krt::Scope::enter(#text);
                #(#binds)*
                let r = #body;
                #value
            }
        }
    };
    native::rewrite(&mut f.block)?;
    Ok(quote!(#f #twin_fn))
}

#[cfg(test)]
mod tests;
