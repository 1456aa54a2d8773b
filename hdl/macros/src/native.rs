//! The native side: built-in functions by full path, helper macros expanded, everything else as written.

use proc_macro2::Span;
use quote::{quote, quote_spanned};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned;
use syn::visit_mut::{self, VisitMut};
use syn::{Block, Error, Expr, ExprCall, GenericArgument, Ident, Path, PathArguments, Result, Stmt, Token};

/// Built-in functions and the number of their generic arguments.
const BUILTINS: &[(&str, usize)] = &[
    ("bits", 1),
    ("bit_cast", 2),
    ("cat", 2),
    ("mul", 3),
    ("pack", 2),
    ("unpack", 2),
    ("select", 0),
    ("mux", 0),
    ("array", 2),
    ("unread", 1),
];

/// If `p` names a built-in: its name and its generic arguments, completed with `_`.
pub(crate) fn builtin(p: &Path) -> Option<(Ident, Vec<GenericArgument>)> {
    if p.segments.len() != 1 {
        return None;
    }
    let s = &p.segments[0];
    let (_, n) = BUILTINS.iter().find(|b| s.ident == b.0)?;
    let mut args: Vec<GenericArgument> = match &s.arguments {
        PathArguments::AngleBracketed(a) => a.args.iter().cloned().collect(),
        _ => vec![],
    };
    while !args.is_empty() && args.len() < *n {
        args.push(syn::parse_quote!(_));
    }
    Some((s.ident.clone(), args))
}

/// The path of a built-in in the module `home` of the library.
pub(crate) fn builtin_path(home: &str, name: &Ident, args: &[GenericArgument]) -> Expr {
    let home = Ident::new(home, Span::call_site());
    let sp = name.span();
    let path = quote_spanned!(sp=> ::chimney_hdl_kernel::#home::#name);
    if args.is_empty() {
        syn::parse_quote!(#path)
    } else {
        syn::parse_quote!(#path::<#(#args),*>)
    }
}

/// `name!(self, first, a, b, ..)`.
pub(crate) struct SetUp {
    /// `self` as the user wrote it, which matters inside `macro_rules!`.
    pub me: Ident,
    pub first: Ident,
    pub rest: Vec<Expr>,
}

impl Parse for SetUp {
    fn parse(input: ParseStream) -> Result<Self> {
        let me = Ident::parse_any(input)?;
        if me != "self" {
            return Err(Error::new(me.span(), "the first argument is `self`"));
        }
        input.parse::<Token![,]>()?;
        let first = input.parse()?;
        let mut rest = vec![];
        while !input.is_empty() {
            input.parse::<Token![,]>()?;
            if input.is_empty() {
                break;
            }
            let e: Expr = input.parse()?;
            if !matches!(&e, Expr::Path(_) | Expr::Field(_)) {
                return Err(Error::new_spanned(e, "name a field of `self`"));
            }
            rest.push(self_field(&me, e));
        }
        Ok(SetUp { me, first, rest })
    }
}

/// `a.b` -> `self.a.b`.
fn self_field(me: &Ident, e: Expr) -> Expr {
    match e {
        Expr::Field(mut f) => {
            *f.base = self_field(me, *f.base);
            Expr::Field(f)
        }
        other => syn::parse_quote_spanned!(other.span()=> #me.#other),
    }
}

struct Rewrite {
    error: Option<Error>,
}

impl Rewrite {
    fn expand(&mut self, m: &syn::Macro) -> Option<Stmt> {
        let name = m.path.get_ident()?.to_string();
        if !["dff_setup", "dff_reset", "clock", "reset"].contains(&name.as_str()) {
            return None;
        }
        let s: SetUp = match m.parse_body() {
            Ok(s) => s,
            Err(e) => {
                self.error.get_or_insert(e);
                return None;
            }
        };
        let (me, first, rest) = (&s.me, &s.first, &s.rest);
        let q = match name.as_str() {
            "dff_setup" => quote!({ #(::chimney_hdl_kernel::krt::hold(&mut #rest, #me.#first.val());)* }),
            "dff_reset" => quote!(if #me.#first.val() { #(::chimney_hdl_kernel::krt::clear(&mut #rest);)* }),
            // `clock` and `reset` are also the names of the children's ports.
            port => {
                let port = Ident::new(port, Span::call_site());
                quote!({ #(#rest.#port.next = #me.#first.val();)* })
            }
        };
        Some(syn::parse_quote!(#q))
    }
}

impl VisitMut for Rewrite {
    fn visit_stmt_mut(&mut self, s: &mut Stmt) {
        let mac = match s {
            Stmt::Macro(m) => Some(m.mac.clone()),
            Stmt::Expr(Expr::Macro(m), _) => Some(m.mac.clone()),
            _ => None,
        };
        if let Some(new) = mac.and_then(|m| self.expand(&m)) {
            *s = new;
            return;
        }
        visit_mut::visit_stmt_mut(self, s);
    }
    fn visit_expr_call_mut(&mut self, c: &mut ExprCall) {
        visit_mut::visit_expr_call_mut(self, c);
        if let Expr::Path(p) = &*c.func {
            if let Some((name, args)) = builtin(&p.path) {
                *c.func = builtin_path("builtin", &name, &args);
            }
        }
    }
}

/// Rewrites a kernel's body for native simulation.
pub(crate) fn rewrite(b: &mut Block) -> Result<()> {
    let mut r = Rewrite { error: None };
    r.visit_block_mut(b);
    r.error.map_or(Ok(()), Err)
}
