//! The twin of expressions: the same tokens, with the operators that Rust does not let us overload turned into calls.

use crate::native::{builtin, builtin_path};
use crate::stmts::{field_fns, rooted_self, Twin};
use crate::T2;
use proc_macro2::Ident;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{BinOp, Expr, Lit, Member, Pat, UnOp};

impl Twin {
    /// An operand. Rust fixes its value when it is evaluated, but Verilog text is read later, so nothing may be
    /// assigned inside.
    pub fn opnd(&mut self, e: &Expr) -> T2 {
        self.nested += 1;
        let t = self.expr(e);
        self.nested -= 1;
        t
    }

    /// A place in `self`: the real Rust place, with elaboration-time indices.
    pub fn place(&mut self, e: &Expr) -> T2 {
        match e {
            Expr::Index(i) => {
                let (b, x) = (self.place(&i.expr), self.opnd(&i.index));
                quote_spanned!(e.span()=> #b[#x])
            }
            Expr::Field(f) => {
                let (b, m) = (self.place(&f.base), &f.member);
                quote_spanned!(e.span()=> #b.#m)
            }
            Expr::Paren(p) => self.place(&p.expr),
            _ => quote!(#e),
        }
    }

    pub fn expr(&mut self, e: &Expr) -> T2 {
        let sp = e.span();
        match e {
            Expr::Lit(l) if matches!(l.lit, Lit::Int(_) | Lit::Bool(_)) => quote!(#l),
            Expr::Paren(p) => self.expr(&p.expr),
            Expr::Group(g) => self.expr(&g.expr),
            Expr::Path(p) if p.path.is_ident("self") => self.bad(e, "`self` alone is no value"),
            Expr::Path(p) => match p.path.get_ident() {
                Some(i) if self.locals.contains(&i.to_string()) => quote_spanned!(sp=> #i.clone()),
                _ => quote_spanned!(sp=> (::chimney_hdl_kernel::krt::Wrap(#p)).k_lift()),
            },
            Expr::Binary(b) => self.binary(b),
            Expr::Unary(u) if matches!(u.op, UnOp::Not(_)) => {
                let x = self.opnd(&u.expr);
                quote_spanned!(sp=> (!#x))
            }
            Expr::Cast(c) => {
                let (x, t) = (self.opnd(&c.expr), &c.ty);
                quote_spanned!(sp=> (#x as #t))
            }
            Expr::If(i) => self.if_(i),
            Expr::Match(m) => self.match_(m),
            Expr::Block(b) if b.label.is_none() => self.body(&b.block),
            Expr::Field(f) => self.field(f),
            Expr::Index(i) => self.index(i),
            Expr::MethodCall(m) => self.method(m),
            Expr::Call(c) => self.call(c),
            Expr::Struct(s) => self.record(s),
            Expr::Tuple(t) => {
                let x: Vec<_> = t.elems.iter().map(|x| self.opnd(x)).collect();
                quote_spanned!(sp=> (#(#x,)*))
            }
            Expr::Array(a) => {
                let x: Vec<_> = a.elems.iter().map(|x| self.opnd(x)).collect();
                quote_spanned!(sp=> [#(::chimney_hdl_kernel::krt::norm(#x)),*])
            }
            Expr::Repeat(r) => {
                let (x, n) = (self.opnd(&r.expr), &r.len);
                quote_spanned!(sp=> { let r = ::chimney_hdl_kernel::krt::norm(#x);
                    ::core::array::from_fn::<_, { #n }, _>(|_| r.clone()) })
            }
            Expr::ForLoop(_) => self.bad(e, "a loop is a statement"),
            _ => self.bad(e, "this has no hardware meaning"),
        }
    }

    fn binary(&mut self, b: &syn::ExprBinary) -> T2 {
        let sp = b.span();
        let (l, r, op) = (self.opnd(&b.left), self.opnd(&b.right), &b.op);
        let (f, lazy) = match op {
            BinOp::Eq(_) => ("eq", false),
            BinOp::Ne(_) => ("ne", false),
            BinOp::Lt(_) => ("lt", false),
            BinOp::Le(_) => ("le", false),
            BinOp::Gt(_) => ("gt", false),
            BinOp::Ge(_) => ("ge", false),
            BinOp::And(_) => ("and", true),
            BinOp::Or(_) => ("or", true),
            BinOp::Add(_)
            | BinOp::Sub(_)
            | BinOp::Mul(_)
            | BinOp::Div(_)
            | BinOp::Rem(_)
            | BinOp::BitAnd(_)
            | BinOp::BitOr(_)
            | BinOp::BitXor(_)
            | BinOp::Shl(_)
            | BinOp::Shr(_) => return quote_spanned!(sp=> (#l #op #r)),
            _ => return self.bad(op, "write `x = x op y`"),
        };
        let f = Ident::new(f, op.span());
        if lazy {
            quote_spanned!(sp=> ::chimney_hdl_kernel::krt::#f(#l, || #r))
        } else {
            quote_spanned!(sp=> ::chimney_hdl_kernel::krt::#f(#l, #r))
        }
    }

    fn if_(&mut self, i: &syn::ExprIf) -> T2 {
        if let Expr::Let(l) = &*i.cond {
            return self.bad(l, "`if let` has no hardware meaning: use `match`");
        }
        let (c, t) = (self.opnd(&i.cond), self.body(&i.then_branch));
        let el = match &i.else_branch {
            Some((_, x)) => self.expr(x),
            None => quote!(()),
        };
        quote_spanned!(i.cond.span()=> ::chimney_hdl_kernel::krt::branch(#c,
            || ::chimney_hdl_kernel::krt::norm(#t), || ::chimney_hdl_kernel::krt::norm(#el)))
    }

    fn match_(&mut self, m: &syn::ExprMatch) -> T2 {
        let on = self.opnd(&m.expr);
        let mut out = quote_spanned!(m.expr.span()=> ::chimney_hdl_kernel::krt::case(#on));
        let n = m.arms.len();
        for (k, a) in m.arms.iter().enumerate() {
            if let Some((_, g)) = &a.guard {
                return self.bad(g, "no guards: use `if` inside the arm");
            }
            let mut pats = vec![];
            let mut last = k + 1 == n;
            self.pattern(&a.pat, &mut pats, &mut last);
            let body = match &*a.body {
                Expr::Assign(_) | Expr::ForLoop(_) => {
                    let b: syn::Block = {
                        let x = &a.body;
                        syn::parse_quote!({ #x; })
                    };
                    self.body(&b)
                }
                x => self.expr(x),
            };
            let sp = a.fat_arrow_token.span();
            out = quote_spanned!(sp=> #out.arm(&[#(#pats),*], #last, || ::chimney_hdl_kernel::krt::norm(#body)));
        }
        quote_spanned!(m.match_token.span()=> #out.end())
    }

    fn pattern(&mut self, p: &Pat, out: &mut Vec<T2>, last: &mut bool) {
        match p {
            Pat::Wild(_) => *last = true,
            Pat::Or(o) => o.cases.iter().for_each(|p| self.pattern(p, out, last)),
            Pat::Paren(q) => self.pattern(&q.pat, out, last),
            Pat::Lit(l) if matches!(l.lit, Lit::Int(_) | Lit::Bool(_)) => out.push(quote!(#l)),
            Pat::Path(q) => out.push(quote!(#q)),
            Pat::Ident(i)
                if i.ident.to_string().chars().all(|c| c.is_uppercase() || c.is_numeric() || c == '_') =>
            {
                out.push(quote!(#i)); // a constant
            }
            _ => {
                self.bad(p, "a pattern is a variant, a constant, a number, `_`, or several with `|`");
            }
        }
    }

    fn field(&mut self, f: &syn::ExprField) -> T2 {
        let sp = f.span();
        if rooted_self(&f.base) {
            return self.bad(f, "read a signal with `.val()`");
        }
        match &f.member {
            Member::Unnamed(n) => {
                let b = self.opnd(&f.base);
                quote_spanned!(sp=> (#b).#n)
            }
            m => {
                let (b, ff) = (self.opnd(&f.base), field_fns(std::slice::from_ref(m), sp));
                quote_spanned!(sp=> ::chimney_hdl_kernel::krt::field(#b, #ff))
            }
        }
    }

    fn index(&mut self, i: &syn::ExprIndex) -> T2 {
        let sp = i.span();
        let x = self.opnd(&i.index);
        match &*i.expr {
            Expr::Path(p) if p.path.get_ident().is_some_and(|n| self.locals.contains(&n.to_string())) => {
                quote_spanned!(sp=> #p[#x].clone())
            }
            Expr::Path(p) => quote_spanned!(sp=> (::chimney_hdl_kernel::krt::Wrap(#p[#x])).k_lift()),
            Expr::Index(_) if !rooted_self(&i.expr) => {
                let b = self.index_base(&i.expr);
                quote_spanned!(sp=> #b[#x].clone())
            }
            _ => self.bad(i, "index an array variable or a constant array; read signals with `.val()`"),
        }
    }

    fn index_base(&mut self, e: &Expr) -> T2 {
        match e {
            Expr::Index(i) => {
                let (b, x) = (self.index_base(&i.expr), self.opnd(&i.index));
                quote!(#b[#x])
            }
            Expr::Path(p) => quote!(#p),
            _ => self.bad(e, "index an array variable"),
        }
    }

    fn method(&mut self, m: &syn::ExprMethodCall) -> T2 {
        let sp = m.method.span();
        if m.method == "val" && rooted_self(&m.receiver) {
            let p = self.place(&m.receiver);
            return quote_spanned!(sp=> ::chimney_hdl_kernel::krt::read(&#p));
        }
        if m.method == "set_bits" {
            return self.bad(m, "no assignment inside an operand, an argument or a condition");
        }
        if m.method == "clone" {
            return self.bad(m, "hardware values are copied anyway");
        }
        let x = self.opnd(&m.receiver);
        if m.method == "into" {
            return quote_spanned!(sp=> ::chimney_hdl_kernel::krt::conv(#x));
        }
        let (name, fish) = (&m.method, &m.turbofish);
        let args: Vec<_> = m.args.iter().map(|a| self.opnd(a)).collect();
        quote_spanned!(sp=> #x.#name #fish(#(#args),*))
    }

    fn call(&mut self, c: &syn::ExprCall) -> T2 {
        let sp = c.span();
        let Expr::Path(p) = &*c.func else { return self.bad(&c.func, "call a function by its name") };
        if let Some((name, generics)) = builtin(&p.path) {
            let f = builtin_path("krt", &name, &generics);
            let args: Vec<_> = c.args.iter().map(|a| self.builtin_arg(&name, a)).collect();
            return quote_spanned!(sp=> #f(#(#args),*));
        }
        let segments = &p.path.segments;
        if segments.len() >= 2 && segments.last().is_some_and(|s| s.ident == "default") && c.args.is_empty() {
            return quote_spanned!(sp=> (::chimney_hdl_kernel::krt::Wrap(#c)).k_lift());
        }
        let args: Vec<_> = c.args.iter().map(|a| self.opnd(a)).collect();
        let mut head = p.path.clone();
        let generics = head.segments.last_mut().map(|s| std::mem::take(&mut s.arguments));
        let generics = match generics {
            Some(syn::PathArguments::AngleBracketed(a)) => {
                let a = a.args;
                quote!(::<#a>)
            }
            _ => T2::new(),
        };
        quote_spanned!(sp=> #head::hdl #generics(#(#args),*))
    }

    fn builtin_arg(&mut self, f: &Ident, a: &Expr) -> T2 {
        match a {
            Expr::Reference(r) if f == "mux" && rooted_self(&r.expr) => {
                let p = self.place(&r.expr);
                quote!(&#p)
            }
            Expr::Closure(c) if f == "array" && c.inputs.len() == 1 => {
                let Some(Pat::Ident(i)) = c.inputs.first() else { return self.bad(c, "`|i| ..`") };
                self.local(&i.ident.to_string());
                let body = self.opnd(&c.body);
                quote_spanned!(c.span()=> |#i| #body)
            }
            _ => self.opnd(a),
        }
    }

    fn record(&mut self, s: &syn::ExprStruct) -> T2 {
        let (sp, path) = (s.span(), &s.path);
        let mut pieces = vec![];
        for f in &s.fields {
            let (v, ff) = (self.opnd(&f.expr), field_fns(std::slice::from_ref(&f.member), f.member.span()));
            pieces.push(
                quote_spanned!(f.member.span()=> ::chimney_hdl_kernel::krt::piece::<#path, _>(#ff, #v)),
            );
        }
        let base = match &s.rest {
            Some(b) => {
                let b = self.opnd(b);
                quote!(Some(#b))
            }
            None => quote!(None),
        };
        quote_spanned!(sp=> ::chimney_hdl_kernel::krt::record::<#path>(vec![#(#pieces),*], #base))
    }
}
