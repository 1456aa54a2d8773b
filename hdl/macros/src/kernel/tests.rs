//! Syntax without a hardware meaning is refused by the macro, at its token.
use super::expand;
use quote::quote;

/// Wraps statements into a kernel and returns what the macro says about them.
fn refusal(body: &str) -> Option<String> {
    let body: proc_macro2::TokenStream = body.parse().expect("tokens");
    let item = quote! { impl Logic for X { fn update(&mut self) { #body } } };
    expand(item).err().map(|e| e.to_string())
}

#[test]
fn accepted_statements_are_accepted() {
    for ok in [
        "self.x.next = self.a.val() + 1;",
        "let mut n = self.a.val(); if self.go.val() { n = n + 1; } self.x.next = n;",
        "for i in 0..4 { self.x[i].next = self.a.val().get_bit(i); }",
        "match self.s.q.val() { S::A | S::B => self.x.next = K, _ => {} }",
        "let (a, b) = f::<8>(self.a.val(), 3); self.r.d.next.f.g = a & b;",
        "dff_setup!(self, clock, a, b); clock!(self, clock, c.d);",
        "Axis::link(&mut self.a, &mut self.b.c[1]);",
        "self.x.next = R { a: 1.into(), ..R::default() };",
    ] {
        assert_eq!(refusal(ok), None, "{ok}");
    }
}

#[test]
fn syntax_without_hardware_meaning_is_refused() {
    for (bad, why) in [
        ("while self.a.val() {}", "no hardware"),
        ("loop { break; }", "no hardware"),
        ("return;", "no hardware"),
        ("self.x.next = f(self.a.val())?;", "no hardware meaning"),
        ("self.x.next = &self.a.val();", "no hardware meaning"),
        ("self.x.next = (|v| v)(self.a.val());", "by its name"),
        ("println!(\"hello\");", "look into this macro"),
        ("let mut n = self.a.val(); n += 1;", "no hardware effect"),
        ("match self.s.val() { S::A if self.go.val() => {} _ => {} }", "no guards"),
        ("match self.a.val().index() { 0..=3 => {} _ => {} }", "a pattern is"),
        ("match self.s.val() { other => {} }", "a pattern is"),
        ("if let S::A = self.s.val() {}", "use `match`"),
        ("let S::A = self.s.val() else { return };", "no hardware"),
        ("let x;", "a value here"),
        ("fn inner() {}", "outside"),
        ("self.x.next = self.a.val() + { self.y.next = true; 1 };", "no assignment inside"),
        ("if { self.y.next = true; true } {}", "no assignment inside"),
        ("self.x.next = self.a;", "`.val()`"),
        ("self.x = self.a.val();", "assign to"),
        ("other.next = self.a.val();", "assign to"),
        ("f(self.a.val());", "not used"),
        ("self.a.val();", "no hardware effect"),
        ("self.x.next = -self.a.val();", "no hardware meaning"),
        ("self.x.next = \"text\";", "no hardware meaning"),
        ("self.x.next = unsafe { self.a.val() };", "no hardware meaning"),
        ("dff_setup!(this, clock, a);", "`name!"),
        ("Axis::link(self.a, self.b);", "&mut self"),
        ("self.x.next = self.a.val().clone();", "copied anyway"),
        ("'l: for i in 0..4 {}", "no labels"),
        ("let [a, b] = self.pair.val();", "a name or a tuple"),
    ] {
        let said = refusal(bad).unwrap_or_else(|| panic!("accepted: {bad}"));
        assert!(said.contains(why), "{bad}: {said}");
    }
}

#[test]
fn every_refusal_is_reported_at_once() {
    let item = quote! { impl Logic for X { fn update(&mut self) { while a {} loop {} } } };
    assert_eq!(expand(item).unwrap_err().into_iter().count(), 2);
}

#[test]
fn only_kernels_are_kernels() {
    for bad in [
        "struct X;",
        "impl X { fn update(&mut self) {} }",
        "fn f(x: Bits<8>) {}",
        "fn f(&self) -> bool { true }",
        "impl Logic for X { fn connect(&mut self) {} }",
        "fn f((a, b): (bool, bool)) -> bool { a }",
    ] {
        let item: proc_macro2::TokenStream = bad.parse().unwrap();
        assert!(expand(item).is_err(), "{bad}");
    }
}
