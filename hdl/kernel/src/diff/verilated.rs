//! A block's Verilated model, driven clock by clock like a [`Bench`](super::Bench).

use super::model::{words, Model, Step};
use super::tools::Error;
use super::{clock_ports, Clocked};
use crate::builtin::Packed;
use crate::netlist::{ports, verilog, Port};
use rust_hdl_core::prelude::{Block, In, Signal};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::process::{Child, ChildStdin, ChildStdout};

/// A port by name, and how its value gets out of the block or into it.
#[doc(hidden)]
pub struct Pin<F>(pub &'static str, pub F);

/// Gives an input its next value; its bits, if they are other ones or if `all` are wanted.
type Put<B> = fn(&mut B, all: bool) -> Option<Vec<bool>>;
/// Sets an output.
type Take<B> = fn(&mut B, &[bool]);

/// All ports of the block `B` but its clocks; made by [`pins!`](crate::pins).
pub struct Pins<B> {
    #[doc(hidden)]
    pub inputs: Vec<Pin<Put<B>>>,
    #[doc(hidden)]
    pub outputs: Vec<Pin<Take<B>>>,
}

/// Names all ports of a block but its clocks: `pins!(Adder; reset, s_valid, s_word; sum, done)`, inputs first.
#[macro_export]
macro_rules! pins {
    ($block:ty; $($input:ident),*; $($output:ident),*) => {
        $crate::diff::Pins::<$block> {
            inputs: vec![$($crate::diff::Pin(stringify!($input), |u, all| $crate::diff::put(&mut u.$input, all))),*],
            outputs: vec![$($crate::diff::Pin(stringify!($output), |u, b| u.$output.next = $crate::diff::take(b))),*],
        }
    };
}

/// See [`Put`].
#[doc(hidden)]
pub fn put<T: Packed>(input: &mut Signal<In, T>, all: bool) -> Option<Vec<bool>> {
    input.update_all();
    (all || input.changed).then(|| {
        let mut bits = Vec::with_capacity(T::BITS);
        input.val().put(&mut bits);
        bits
    })
}

/// The value of some bits.
#[doc(hidden)]
pub fn take<T: Packed>(bits: &[bool]) -> T {
    T::take(&mut bits.iter().copied())
}

/// A running model. What happens for each bit is in here, where it is compiled with optimisation.
struct Running {
    child: Child,
    to: Option<ChildStdin>,
    from: ChildStdout,
    /// Words of all inputs, and the step.
    request: Vec<u8>,
    answer: Vec<u8>,
    before: Vec<u8>,
}

impl Running {
    fn start(model: &Model, words_in: usize, words_out: usize) -> Result<Self, Error> {
        let mut child = model.start()?;
        let (to, from) = (child.stdin.take(), child.stdout.take().expect("stdout is piped"));
        let (request, answer) = (vec![0; 4 * words_in + 1], vec![0; 4 * words_out]);
        Ok(Running { child, to, from, request, before: answer.clone(), answer })
    }

    /// Sets the words from number `at` on.
    fn set(&mut self, at: usize, bits: &[bool]) {
        for (to, bits) in self.request[4 * at..].iter_mut().zip(bits.chunks(8)) {
            *to = bits.iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(*bit));
        }
    }

    fn exchange(&mut self, step: Step) {
        *self.request.last_mut().expect("the step") = step as u8;
        std::mem::swap(&mut self.answer, &mut self.before);
        let to = self.to.as_mut().expect("it is open until the end");
        to.write_all(&self.request)
            .and_then(|()| self.from.read_exact(&mut self.answer))
            .expect("the model runs");
    }

    /// The `bits` bits of an output that begins with word `at`, if it has changed or if `all` are wanted.
    fn get(&self, at: usize, bits: usize, all: bool) -> Option<Vec<bool>> {
        let bytes = 4 * at..4 * at + bits.div_ceil(8);
        let (new, old) = (&self.answer[bytes.clone()], &self.before[bytes]);
        (all || new != old).then(|| (0..bits).map(|i| new[i / 8] >> (i % 8) & 1 == 1).collect())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The end of its input is the end of the program.
        self.to = None;
        let _ = self.child.wait();
    }
}

/// A Verilated block: for tests that need many clocks; 40 times faster than native simulation of a large block.
///
/// It says nothing about native simulation: that both agree is the business of a [`Diff`](super::Diff) of the same block,
/// which shares the model if it has the same name.
///
/// ```ignore
/// let mut b = Verilated::new("adder", Adder::default(), pins!(Adder; reset, s_valid, s_word; sum, done));
/// b.cycle(|u| u.s_valid.next = true);
/// assert!(b.u().done.val());
/// ```
pub struct Verilated<B> {
    /// Holds the values of the ports; its own logic never runs.
    u: Box<B>,
    /// With the number of its first word.
    inputs: Vec<(Put<B>, usize)>,
    /// With the number of its first word, and its bits.
    outputs: Vec<(Take<B>, usize, usize)>,
    running: Running,
}

/// The functions of `pins` in the order of `ports`, with the number of the first word and the bits; and the words of all.
fn ordered<F: Copy>(ports: &[&Port], pins: &[Pin<F>]) -> (Vec<(F, usize, usize)>, usize) {
    let by_name: HashMap<&str, F> = pins.iter().map(|p| (p.0, p.1)).collect();
    let strange: Vec<_> = by_name.keys().filter(|n| ports.iter().all(|p| p.name != **n)).collect();
    assert!(strange.is_empty(), "not of this direction: {strange:?}");
    let mut at = 0;
    let place = |p: &&Port| {
        let pin = by_name.get(p.name.as_str()).unwrap_or_else(|| panic!("missing in pins!: {}", p.name));
        at += words(p);
        (*pin, at - words(p), p.bits)
    };
    (ports.iter().map(place).collect(), at)
}

impl<B: Block> Verilated<B> {
    /// Builds (or finds) the model of `block`. `name` is the name of the module, unique within a workspace.
    ///
    /// # Panics
    /// When the block cannot become a model, or `pins` are not its ports.
    pub fn new(name: &str, block: B, pins: Pins<B>) -> Self {
        Self::build(name, block, pins).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    fn build(name: &str, block: B, pins: Pins<B>) -> Result<Self, Error> {
        let text = verilog(&block, name)
            .map_err(|e| Error::Tool { what: "elaboration".into(), log: e.to_string() })?;
        let (ports, clocks) = (ports(&block), clock_ports(&block));
        let of = |input: bool| -> Vec<&Port> {
            ports.iter().filter(|p| p.input == input && !clocks.contains(&p.name)).collect()
        };
        let (inputs, words_in) = ordered(&of(true), &pins.inputs);
        let (outputs, words_out) = ordered(&of(false), &pins.outputs);
        let model = Model::build(name, &text, (&ports, &clocks), false)?;
        let running = Running::start(&model, words_in, words_out)?;
        let inputs = inputs.into_iter().map(|(put, at, _)| (put, at)).collect();
        let mut v = Verilated { u: Box::new(block), inputs, outputs, running };
        v.step(Step::Settle, true);
        Ok(v)
    }

    fn step(&mut self, step: Step, all: bool) {
        for (put, at) in &self.inputs {
            if let Some(bits) = put(&mut self.u, all) {
                self.running.set(*at, &bits);
            }
        }
        self.running.exchange(step);
        for (take, at, bits) in &self.outputs {
            if let Some(bits) = self.running.get(*at, *bits, all) {
                take(&mut self.u, &bits);
            }
        }
    }
}

impl<B: Block> Clocked<B> for Verilated<B> {
    fn u(&self) -> &B {
        &self.u
    }
    fn settle(&mut self, poke: impl FnOnce(&mut B)) {
        poke(&mut self.u);
        self.step(Step::Settle, false);
    }
    fn edge(&mut self) {
        self.step(Step::Edge, false);
    }
    fn cycle(&mut self, poke: impl FnOnce(&mut B)) {
        poke(&mut self.u);
        self.step(Step::Cycle, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(name: &str, bits: usize) -> Port {
        Port { name: name.into(), bits, input: true }
    }

    #[test]
    fn pins_lie_where_the_ports_are() {
        let ports = [port("a", 33), port("b", 1), port("c", 64)];
        let (places, words) =
            ordered(&ports.iter().collect::<Vec<_>>(), &[Pin("c", 'c'), Pin("a", 'a'), Pin("b", 'b')]);
        assert_eq!((places, words), (vec![('a', 0, 33), ('b', 2, 1), ('c', 3, 64)], 5));
    }

    #[test]
    #[should_panic(expected = "missing in pins!: b")]
    fn a_port_without_a_pin_is_refused() {
        ordered(&[&port("a", 1), &port("b", 1)], &[Pin("a", ())]);
    }

    #[test]
    #[should_panic(expected = "not of this direction")]
    fn a_pin_without_a_port_is_refused() {
        ordered(&[&port("a", 1)], &[Pin("a", ()), Pin("b", ())]);
    }
}
