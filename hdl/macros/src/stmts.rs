//! The twin of statements.

use crate::kernel::{convert, is_elab};
use crate::native::SetUp;
use crate::T2;
use proc_macro2::{Ident, Span};
use quote::{quote, quote_spanned, ToTokens};
use std::collections::HashSet;
use syn::spanned::Spanned;
use syn::{Block, Error, Expr, ExprMacro, Local, Member, Pat, Result, Stmt};

/// Builds the twin and collects what it has to refuse.
#[derive(Default)]
pub(crate) struct Twin {
    /// Names bound by `let`, arguments and loops.
    pub locals: HashSet<String>,
    /// `let mut k: usize`: stays an integer.
    elab_mut: HashSet<String>,
    /// Inside an operand nothing may be assigned.
    pub nested: usize,
    errors: Option<Error>,
}

/// `self.a.b[i].next.f.g` -> (`self.a.b[i]`, [f, g]).
fn next_place(l: &Expr) -> Option<(Expr, Vec<Member>)> {
    let (mut e, mut fields) = (l, vec![]);
    while let Expr::Field(f) = e {
        if matches!(&f.member, Member::Named(n) if n == "next") && rooted_self(&f.base) {
            fields.reverse();
            return Some(((*f.base).clone(), fields));
        }
        fields.push(f.member.clone());
        e = &f.base;
    }
    None
}

/// `x.f.g` -> (`x`, [f, g]).
fn local_place(l: &Expr) -> Option<(Ident, Vec<Member>)> {
    let (mut e, mut fields) = (l, vec![]);
    while let Expr::Field(f) = e {
        fields.push(f.member.clone());
        e = &f.base;
    }
    fields.reverse();
    match e {
        Expr::Path(p) => Some((p.path.get_ident()?.clone(), fields)),
        _ => None,
    }
}

/// Whether the expression is a place inside `self`.
pub(crate) fn rooted_self(e: &Expr) -> bool {
    match e {
        Expr::Path(p) => p.path.is_ident("self"),
        Expr::Field(f) => rooted_self(&f.base),
        Expr::Index(i) => rooted_self(&i.expr),
        Expr::Paren(p) => rooted_self(&p.expr),
        _ => false,
    }
}

/// The two closures that name a field of a record: its type, and its offset.
pub(crate) fn field_fns(path: &[Member], sp: Span) -> T2 {
    let mut off = quote!(0usize);
    let mut at = quote!(s);
    for m in path {
        if let Member::Named(n) = m {
            let getter = quote::format_ident!("get_my_offset_{}", n, span = n.span());
            off = quote_spanned!(sp=> #off + #at.#getter());
        }
        at = quote_spanned!(sp=> #at.#m);
    }
    quote_spanned!(sp=> |s| #at, |s| #off)
}

impl Twin {
    pub fn local(&mut self, name: &str) {
        self.locals.insert(name.into());
    }
    pub fn finish(&mut self) -> Result<()> {
        self.errors.take().map_or(Ok(()), Err)
    }
    /// Refuses `t` with a reason; all refusals are shown at once.
    pub fn bad(&mut self, t: impl ToTokens, why: &str) -> T2 {
        let e = Error::new_spanned(t, why);
        match &mut self.errors {
            Some(all) => all.combine(e),
            None => self.errors = Some(e),
        }
        quote!(unreachable!())
    }

    /// A block, as a block expression.
    pub fn body(&mut self, b: &Block) -> T2 {
        let mut out = T2::new();
        let n = b.stmts.len();
        for (i, s) in b.stmts.iter().enumerate() {
            out.extend(self.stmt(s, i + 1 == n));
        }
        quote!({ #out })
    }

    fn stmt(&mut self, s: &Stmt, last: bool) -> T2 {
        match s {
            Stmt::Local(l) => self.let_(l),
            Stmt::Item(i) => self.bad(i, "no items inside a kernel: put it outside"),
            Stmt::Macro(m) => self.set_up(&m.mac),
            Stmt::Expr(Expr::Macro(ExprMacro { mac, .. }), _) => self.set_up(mac),
            Stmt::Expr(e, None) if last => self.effect_or_value(e),
            Stmt::Expr(e, _) => {
                let t = self.effect(e);
                quote!(#t;)
            }
        }
    }

    /// The end of a block: an assignment, or the value of the block.
    fn effect_or_value(&mut self, e: &Expr) -> T2 {
        match e {
            Expr::Assign(_) => {
                let t = self.effect(e);
                quote!(#t;)
            }
            Expr::MethodCall(m) if m.method == "set_bits" => self.effect(e),
            Expr::ForLoop(_) => self.effect(e),
            _ => self.expr(e),
        }
    }

    /// An expression whose effect counts.
    fn effect(&mut self, e: &Expr) -> T2 {
        match e {
            Expr::Assign(a) => self.assign(&a.left, &a.right, a.eq_token.span()),
            Expr::If(_) | Expr::Match(_) | Expr::Block(_) => self.expr(e),
            Expr::ForLoop(f) => self.for_loop(f),
            Expr::MethodCall(m) if m.method == "set_bits" => self.set_bits(m),
            Expr::Call(c) => match self.connect(c) {
                Some(t) => t,
                None => self.bad(e, "the result is not used"),
            },
            Expr::Paren(p) => self.effect(&p.expr),
            _ => self.bad(e, "this statement has no hardware effect"),
        }
    }

    /// `T::link(&mut self.a, &mut self.b)`, `T::join(..)` or `T::pass(..)`.
    fn connect(&mut self, c: &syn::ExprCall) -> Option<T2> {
        let Expr::Path(p) = &*c.func else { return None };
        let name = &p.path.segments.last()?.ident;
        if p.path.segments.len() < 2
            || !["link", "join", "pass"].iter().any(|n| name == n)
            || c.args.len() != 2
        {
            return None;
        }
        let mut places = vec![];
        for a in &c.args {
            match a {
                Expr::Reference(r) if r.mutability.is_some() && rooted_self(&r.expr) => {
                    places.push(self.place(&r.expr))
                }
                _ => return Some(self.bad(a, "`link`, `join` and `pass` take `&mut self.<bundle>`")),
            }
        }
        let (a, b) = (&places[0], &places[1]);
        let how = match name.to_string().as_str() {
            "link" => quote!(Link),
            "join" => quote!(Join),
            _ => quote!(Pass),
        };
        let krt = quote!(::chimney_hdl_kernel::krt);
        Some(quote_spanned!(name.span()=> #krt::connect(&#a, &#b, #krt::Wiring::#how)))
    }

    fn set_up(&mut self, m: &syn::Macro) -> T2 {
        let name = m.path.get_ident().map(ToString::to_string).unwrap_or_default();
        if !["dff_setup", "dff_reset", "clock", "reset"].contains(&name.as_str()) {
            return self.bad(m, "a kernel cannot look into this macro");
        }
        let Ok(s) = m.parse_body::<SetUp>() else {
            return self.bad(m, "write `name!(self, signal, field, ..)`");
        };
        let (me, first, rest, sp) = (&s.me, &s.first, &s.rest, m.path.span());
        match name.as_str() {
            "dff_setup" => {
                quote_spanned!(sp=> #(::chimney_hdl_kernel::krt::record_hold(&#rest, &#me.#first);)*)
            }
            "dff_reset" => quote_spanned!(sp=> ::chimney_hdl_kernel::krt::branch(
                ::chimney_hdl_kernel::krt::read(&#me.#first),
                || { #(::chimney_hdl_kernel::krt::record_clear(&#rest);)* }, || ());),
            port => {
                let port = Ident::new(port, Span::call_site());
                quote_spanned!(sp=> #(::chimney_hdl_kernel::krt::assign(&#rest.#port,
                    ::chimney_hdl_kernel::krt::read(&#me.#first));)*)
            }
        }
    }

    fn let_(&mut self, l: &Local) -> T2 {
        let Some(init) = &l.init else { return self.bad(l, "give the variable a value here") };
        if let Some((_, e)) = &init.diverge {
            return self.bad(e, "`let .. else` has no hardware meaning");
        }
        let (pat, ty) = match &l.pat {
            Pat::Type(t) => (&*t.pat, Some(&*t.ty)),
            p => (p, None),
        };
        let v = self.expr(&init.expr);
        let v = ty.map_or(v.clone(), |t| convert(t, &v));
        let names = match pat {
            Pat::Ident(_) | Pat::Wild(_) => vec![pat],
            Pat::Tuple(t) => t.elems.iter().collect(),
            p => return self.bad(p, "a pattern is a name or a tuple of names"),
        };
        let (mut plain, mut binds) = (vec![], vec![]);
        for p in names {
            match p {
                Pat::Ident(i) if i.by_ref.is_none() && i.subpat.is_none() => {
                    let (n, text) = (&i.ident, i.ident.to_string());
                    self.local(&text);
                    self.elab_mut.remove(&text);
                    plain.push(quote!(#n));
                    let elab = ty.is_some_and(is_elab);
                    binds.push(match i.mutability {
                        Some(_) if elab => {
                            self.elab_mut.insert(text);
                            quote!(let mut #n = #n;)
                        }
                        Some(_) => quote_spanned!(n.span()=> let #n = ::chimney_hdl_kernel::krt::bind_mut(#text, #n);),
                        None => quote_spanned!(n.span()=> let #n = ::chimney_hdl_kernel::krt::bind(#text, #n);),
                    });
                }
                Pat::Wild(_) => plain.push(quote!(_)),
                p => return self.bad(p, "a pattern is a name or a tuple of names"),
            }
        }
        if matches!(pat, Pat::Tuple(_)) {
            quote!(let (#(#plain,)*) = #v; #(#binds)*)
        } else {
            quote!(let #(#plain)* = #v; #(#binds)*)
        }
    }

    fn for_loop(&mut self, f: &syn::ExprForLoop) -> T2 {
        if let Some(l) = &f.label {
            return self.bad(l, "no labels");
        }
        let pat = match &*f.pat {
            Pat::Ident(i) if i.by_ref.is_none() && i.mutability.is_none() && i.subpat.is_none() => {
                self.local(&i.ident.to_string());
                i.to_token_stream()
            }
            Pat::Wild(_) => quote!(_),
            p => return self.bad(p, "the loop variable is a name"),
        };
        let over = match &*f.expr {
            Expr::Range(r) => {
                let (Some(a), Some(b)) = (&r.start, &r.end) else {
                    return self.bad(r, "a loop has a first and a last index");
                };
                let (a, b, lim) = (self.opnd(a), self.opnd(b), &r.limits);
                quote_spanned!(r.span()=> #a #lim #b)
            }
            e => self.opnd(e),
        };
        let body = self.body(&f.body);
        quote_spanned!(f.for_token.span()=> for #pat in #over #body)
    }

    fn set_bits(&mut self, m: &syn::ExprMethodCall) -> T2 {
        if self.nested > 0 {
            return self.bad(m, "no assignment inside an operand, an argument or a condition");
        }
        let sp = m.method.span();
        let (recv, args): (&Expr, Vec<_>) = (&m.receiver, m.args.iter().collect());
        let [i, v] = args.as_slice() else { return self.bad(m, "`set_bits::<W>(offset, value)`") };
        let (i, v) = (self.opnd(i), self.opnd(v));
        let width = m.turbofish.as_ref().map(|t| &t.args);
        let v = match width {
            Some(w) => {
                quote!(::chimney_hdl_kernel::krt::Hw::<::chimney_hdl_kernel::core::prelude::Bits<{ #w }>>::hw(#v))
            }
            None => v,
        };
        if let Some((p, f)) = next_place(recv) {
            if !f.is_empty() {
                return self.bad(recv, "`set_bits` works on a whole signal");
            }
            let p = self.place(&p);
            return quote_spanned!(sp=> ::chimney_hdl_kernel::krt::assign_bits(&#p, #i, #v));
        }
        match local_place(recv) {
            Some((x, f)) if f.is_empty() && self.locals.contains(&x.to_string()) => {
                quote_spanned!(sp=> ::chimney_hdl_kernel::krt::set_bits(&#x, #i, #v))
            }
            _ => self.bad(recv, "`set_bits` works on `self.<signal>.next` or a `let mut` variable"),
        }
    }

    fn assign(&mut self, l: &Expr, r: &Expr, sp: Span) -> T2 {
        if self.nested > 0 {
            return self.bad(l, "no assignment inside an operand, an argument or a condition");
        }
        let v = self.opnd(r);
        if let Some((p, f)) = next_place(l) {
            let p = self.place(&p);
            if f.is_empty() {
                return quote_spanned!(sp=> ::chimney_hdl_kernel::krt::assign(&#p, #v));
            }
            let ff = field_fns(&f, l.span());
            return quote_spanned!(sp=> ::chimney_hdl_kernel::krt::assign_field(&#p, #ff, #v));
        }
        match local_place(l) {
            Some((x, f)) if f.is_empty() && self.elab_mut.contains(&x.to_string()) => quote!(#x = #v),
            Some((x, f)) if self.locals.contains(&x.to_string()) => {
                if f.is_empty() {
                    quote_spanned!(sp=> ::chimney_hdl_kernel::krt::set(&#x, #v))
                } else {
                    let ff = field_fns(&f, l.span());
                    quote_spanned!(sp=> ::chimney_hdl_kernel::krt::set_field(&#x, #ff, #v))
                }
            }
            _ => self.bad(l, "assign to `self.<signal>.next` or to a `let mut` variable"),
        }
    }
}
