//! Mistakes that show when Verilog is made, and the harness that finds the ones nobody can see.
#![allow(missing_docs)]

use chimney_hdl_kernel::core::prelude::{Bits, Clock, In, Local, Logic, Out, Signal, Verilog};
use chimney_hdl_kernel::diff::Diff;
use chimney_hdl_kernel::{kernel, verilog, Dff, LogicBlock, LogicStruct};

/// A block with one of everything, for kernels that are wrong.
macro_rules! wrong {
    ($test:ident, $part:literal, |$me:ident| $body:block) => {
        #[test]
        fn $test() {
            #[derive(LogicBlock, Default)]
            struct Child {
                x: Signal<In, Bits<8>>,
                y: Signal<Out, Bits<8>>,
            }
            #[kernel]
            impl Logic for Child {
                fn update(&mut self) {
                    self.y.next = self.x.val() + 1;
                }
            }
            #[derive(LogicBlock, Default)]
            struct Wrong {
                clock: Signal<In, Clock>,
                go: Signal<In, bool>,
                a: Signal<In, Bits<8>>,
                out: Signal<Out, Bits<8>>,
                tmp: Signal<Local, Bits<8>>,
                r: Dff<Bits<8>>,
                c: Child,
            }
            wrong!(@kernel $me $body);
            let e = verilog(&Wrong::default(), "wrong").expect_err("this kernel is wrong").to_string();
            assert!(e.contains($part), "{e}");
        }
    };
    (@kernel $me:ident $body:block) => {
        #[kernel]
        impl Logic for Wrong {
            fn update(&mut $me) $body
        }
    };
}

wrong!(an_output_driven_in_one_branch_is_a_latch, "`out` is not driven on every path", |self| {
    dff_setup!(self, clock, r);
    self.tmp.next = self.a.val();
    self.c.x.next = self.a.val();
    if self.go.val() {
        self.out.next = self.a.val();
    }
});

wrong!(an_arm_that_forgets_an_output_is_a_latch, "`out` is not driven on every path", |self| {
    dff_setup!(self, clock, r);
    self.tmp.next = self.a.val();
    self.c.x.next = self.a.val();
    match self.a.val().index() {
        0 => self.out.next = self.a.val(),
        1 | 2 => {}
        _ => self.out.next = bits::<8>(0),
    }
});

wrong!(a_child_input_must_be_driven, "`c$x` is not driven", |self| {
    dff_setup!(self, clock, r);
    self.tmp.next = self.a.val();
    self.out.next = self.c.y.val();
});

wrong!(a_register_needs_its_set_up, "`r$d` is missing in `dff_setup!`", |self| {
    self.tmp.next = self.a.val();
    self.c.x.next = self.a.val();
    self.out.next = self.r.q.val();
});

wrong!(a_local_is_written_before_it_is_read, "`tmp` is read before it is wholly written", |self| {
    dff_setup!(self, clock, r);
    self.out.next = self.tmp.val();
    self.tmp.next = self.a.val();
    self.c.x.next = self.a.val();
});

wrong!(a_part_comes_after_the_whole, "a part of `out` is written before the whole", |self| {
    dff_setup!(self, clock, r);
    self.tmp.next = self.a.val();
    self.c.x.next = self.a.val();
    self.out.next.set_bits::<4>(0, self.a.val().get_bits::<4>(0));
    self.out.next = self.a.val();
});

wrong!(an_own_input_is_not_driven, "`a` cannot be driven here", |self| {
    dff_setup!(self, clock, r);
    self.tmp.next = self.a.val();
    self.c.x.next = self.a.val();
    self.out.next = self.a.val();
    self.a.next = bits::<8>(0);
});

wrong!(an_input_of_a_child_is_not_read, "`c$x` is an input of a child", |self| {
    dff_setup!(self, clock, r);
    self.tmp.next = self.a.val();
    self.c.x.next = self.a.val();
    self.out.next = self.c.x.val();
});

wrong!(the_next_value_of_a_register_is_not_read, "`r$d` is an input of a child", |self| {
    dff_setup!(self, clock, r);
    self.tmp.next = self.a.val();
    self.c.x.next = self.a.val();
    self.out.next = self.r.d.val();
});

wrong!(a_number_must_fit, "256 does not fit into 8 bits", |self| {
    dff_setup!(self, clock, r);
    self.tmp.next = self.a.val();
    self.c.x.next = self.a.val();
    self.out.next = self.a.val() + 256;
});

wrong!(a_slice_starts_inside, "bits from 9 of 8 bits", |self| {
    dff_setup!(self, clock, r);
    self.tmp.next = self.a.val();
    self.c.x.next = self.a.val();
    self.out.next = self.a.val().get_bits::<8>(9);
});

wrong!(registers_are_set_up_outside_any_branch, "`dff_setup!` belongs to the top", |self| {
    if self.go.val() {
        dff_setup!(self, clock, r);
    }
    self.tmp.next = self.a.val();
    self.c.x.next = self.a.val();
    self.out.next = self.a.val();
});

/// What Verilog says of a block with a port, a register or a child of this name.
macro_rules! named {
    ($word:ident) => {{
        #[derive(LogicBlock, Default)]
        struct Inner {
            a: Signal<In, bool>,
            out: Signal<Out, bool>,
        }
        impl Logic for Inner {
            fn update(&mut self) {
                self.out.next = self.a.val();
            }
            fn hdl(&self) -> Verilog {
                Verilog::Custom("always @(*) out = a;\n".into())
            }
        }
        #[derive(LogicBlock, Default)]
        struct Port {
            $word: Signal<In, bool>,
            out: Signal<Out, bool>,
        }
        #[kernel]
        impl Logic for Port {
            fn update(&mut self) {
                self.out.next = self.$word.val();
            }
        }
        #[derive(LogicBlock, Default)]
        struct Register {
            clock: Signal<In, Clock>,
            a: Signal<In, bool>,
            out: Signal<Out, bool>,
            $word: Dff<bool>,
        }
        #[kernel]
        impl Logic for Register {
            fn update(&mut self) {
                dff_setup!(self, clock, $word);
                self.$word.d.next = self.a.val();
                self.out.next = self.$word.q.val();
            }
        }
        #[derive(LogicBlock, Default)]
        struct Child {
            a: Signal<In, bool>,
            out: Signal<Out, bool>,
            $word: Inner,
        }
        #[kernel]
        impl Logic for Child {
            fn update(&mut self) {
                self.$word.a.next = self.a.val();
                self.out.next = self.$word.out.val();
            }
        }
        #[derive(LogicBlock, Default)]
        struct Widget {
            $word: Signal<In, bool>,
            out: Signal<Out, bool>,
        }
        impl Logic for Widget {
            fn update(&mut self) {
                self.out.next = self.$word.val();
            }
            fn hdl(&self) -> Verilog {
                Verilog::Custom(format!("always @(*) out = {};\n", stringify!($word)))
            }
        }
        [
            verilog(&Port::default(), "names"),
            verilog(&Register::default(), "names"),
            verilog(&Child::default(), "names"),
            verilog(&Widget::default(), "names"),
            verilog(&Inner::default(), stringify!($word)),
        ]
    }};
}

/// Names of ports, registers, children and tops reach Verilog as they are: a word of SystemVerilog is refused by name.
#[test]
fn verilog_words_are_no_names() {
    for (word, made) in [
        ("before", named!(before)),
        ("table", named!(table)),
        ("begin", named!(begin)),
        ("expect", named!(expect)),
    ] {
        for result in made {
            let e = result.expect_err(word).to_string();
            assert!(e.contains(&format!("`{word}` is a Verilog word")), "{e}");
        }
    }
    for result in named!(ready) {
        result.expect("no word of Verilog");
    }
}

/// Fields of a record and of a bundle, and `let`s, get other names in Verilog: these words are free there.
#[derive(LogicStruct, Default, Copy, Clone, PartialEq, Debug)]
struct Entry {
    before: Bits<8>,
    table: Bits<4>,
}

#[derive(LogicBlock, Default)]
struct Wordy {
    clock: Signal<In, Clock>,
    a: Signal<In, Entry>,
    out: Signal<Out, Entry>,
    entry: Dff<Entry>,
}
#[kernel]
impl Logic for Wordy {
    fn update(&mut self) {
        dff_setup!(self, clock, entry);
        let before = self.entry.q.val().before;
        let mut table = self.a.val().table;
        if before == 7 {
            table = table + 1;
        }
        self.entry.d.next = Entry { before: self.a.val().before + before, table };
        self.out.next = self.entry.q.val();
    }
}

#[test]
fn verilog_words_are_fields_of_records_and_variables() {
    let clock = |u: &mut Wordy, c: bool| u.clock.next = c.into();
    Diff::new("wordy", 500).run(Wordy::default(), |u, r| u.a.next = r.any(), clock);
}

/// A widget whose Verilog says something else than its Rust.
#[derive(LogicBlock, Default)]
struct Liar {
    a: Signal<In, Bits<8>>,
    sum: Signal<Out, Bits<8>>,
    stuck: Signal<Out, Bits<8>>,
}
impl Logic for Liar {
    fn update(&mut self) {
        self.sum.next = self.a.val() + 1;
        self.stuck.next = self.a.val() >> 8;
    }
    fn hdl(&self) -> Verilog {
        Verilog::Custom(
            "always @(*) sum = a == 8'hff ? 8'h1 : a + 8'h1;\nalways @(*) stuck = a >> 8;\n".into(),
        )
    }
}

#[test]
fn the_harness_sees_a_rare_difference_and_a_stuck_output() {
    let o = Diff::new("liar", 2000).outcome(Liar::default(), |u, r| u.a.next = r.any(), |_, _| {}).unwrap();
    assert!(
        o.differences.iter().any(|d| d.contains("port sum: native 00000000 Verilated 00000001")),
        "{o:?}"
    );
    assert_eq!(o.stuck, ["stuck"]);
}

#[test]
#[should_panic(expected = "outputs that never changed: stuck")]
fn an_output_that_never_changes_fails() {
    #[derive(LogicBlock, Default)]
    struct Stuck {
        a: Signal<In, Bits<8>>,
        sum: Signal<Out, Bits<8>>,
        stuck: Signal<Out, bool>,
    }
    #[kernel]
    impl Logic for Stuck {
        fn update(&mut self) {
            self.sum.next = self.a.val() + 1;
            self.stuck.next = self.a.val() > 255;
        }
    }
    Diff::new("stuck_block", 500).run(Stuck::default(), |u, r| u.a.next = r.any(), |_, _| {});
}
