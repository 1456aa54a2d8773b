//! What a link does to frames, and its textual form.
//!
//! The text is spelled like the options of `tc qdisc add ... netem`, so that docs and habits carry over:
//!
//! | text | meaning |
//! |---|---|
//! | `loss 1%` (or `loss random 1%`) | each frame is lost with this probability |
//! | `loss gemodel 1% 30% 100% 0%` | Gilbert-Elliott: p, r, 1-h, 1-k; missing ones are r = 1-p, 1-h = 100%, 1-k = 0% |
//! | `loss list 7,9,12-14` | exactly these frames; the first frame is number 1, as in a capture |
//! | `loss 1% ecn` | what would be lost is marked, if it is ECN-capable (RFC 3168) |
//! | `delay 10ms 2ms` (`distribution normal`) | fixed delay and jitter, uniform by default |
//! | `reorder 5% gap 3` | every 3rd frame, with this probability, overtakes the delayed ones |
//! | `duplicate 0.1%` | a second copy right behind |
//! | `corrupt 0.01%` (`bits 3`) | flip one bit (or several) somewhere |
//! | `rate 100mbit` | serialisation; `limit 1000` frames wait at most, further ones are dropped |
//! | `mtu 1280` | frames with a longer IP packet are dropped |
//! | `seed 7` | the seed of all decisions |
//!
//! Options may be combined: `loss 1% delay 10ms 2ms seed 3`.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// Which frames are lost.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Loss {
    /// None.
    #[default]
    None,
    /// Each with this probability (0 to 1).
    Random(f64),
    /// Two-state Markov chain.
    GilbertElliott {
        /// Good to bad.
        p: f64,
        /// Bad to good.
        r: f64,
        /// Loss in the bad state.
        loss_bad: f64,
        /// Loss in the good state.
        loss_good: f64,
    },
    /// Exactly these frames, as inclusive ranges of frame numbers from 1.
    List(Vec<(u64, u64)>),
}

/// Shape of the jitter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Distribution {
    /// Evenly within delay ± jitter.
    #[default]
    Uniform,
    /// Bell shaped with jitter as standard deviation, cut at three of them.
    Normal,
}

/// Everything that can happen to a frame on a link. `Default` is a perfect link.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Impairment {
    /// Loss.
    pub loss: Loss,
    /// ECN-capable packets are marked instead of lost.
    pub is_ecn: bool,
    /// Fixed delay.
    pub delay_ns: u64,
    /// Jitter around it.
    pub jitter_ns: u64,
    /// Shape of the jitter.
    pub distribution: Distribution,
    /// Probability that a candidate frame overtakes; 0 = off.
    pub reorder: f64,
    /// Every how many frames there is a candidate; 0 and 1 = each frame.
    pub reorder_gap: u64,
    /// Probability of a second copy.
    pub duplicate: f64,
    /// Probability of damage.
    pub corrupt: f64,
    /// Bits flipped in a damaged frame; 0 counts as 1.
    pub corrupt_bits: u32,
    /// Bits per second; 0 = not limited.
    pub rate_bits: u64,
    /// Frames that may wait for the rate; 0 = [`DEFAULT_LIMIT`].
    pub limit: usize,
    /// Longest IP packet; 0 = no limit.
    pub mtu: usize,
    /// Seed of all decisions.
    pub seed: u64,
}

/// Queue length when `limit` is not given, as in netem.
pub const DEFAULT_LIMIT: usize = 1000;

/// Why a text is not an impairment.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ParseError {
    /// Not one of the options.
    #[error(
        "unknown impairment option `{0}` (loss, ecn, delay, reorder, duplicate, corrupt, rate, limit, mtu, seed)"
    )]
    UnknownOption(String),
    /// The option needs a value.
    #[error("impairment option `{0}` needs a value")]
    MissingValue(&'static str),
    /// The value makes no sense.
    #[error("impairment option `{option}`: `{value}` is not {expected}")]
    BadValue {
        /// Option.
        option: &'static str,
        /// Value found.
        value: String,
        /// What would have been right.
        expected: &'static str,
    },
    /// Reordering is done by letting frames overtake delayed ones.
    #[error("`reorder` needs a `delay`")]
    ReorderWithoutDelay,
    /// Marks are losses that did not happen.
    #[error("`ecn` needs a `loss`")]
    EcnWithoutLoss,
}

impl Impairment {
    /// Is the link perfect?
    pub fn is_none(&self) -> bool {
        Self { seed: 0, ..self.clone() } == Self::default()
    }

    /// Every frame arrives once, whole, and behind those before it: at most later.
    #[must_use]
    pub fn is_faithful(&self) -> bool {
        Self { delay_ns: 0, ..self.clone() }.is_none()
    }
}

impl FromStr for Impairment {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut words = Words { list: text.split_whitespace().collect(), at: 0 };
        let mut out = Self::default();
        while let Some(option) = words.next() {
            match option {
                "loss" | "drop" => out.loss = words.loss()?,
                "ecn" => out.is_ecn = true,
                "delay" | "latency" => words.delay(&mut out)?,
                "reorder" => {
                    out.reorder = words.percent("reorder")?;
                    if words.skip("gap") {
                        out.reorder_gap = words.number("gap")?;
                    }
                }
                "gap" => out.reorder_gap = words.number("gap")?,
                "duplicate" => out.duplicate = words.percent("duplicate")?,
                "corrupt" => {
                    out.corrupt = words.percent("corrupt")?;
                    if words.skip("bits") {
                        out.corrupt_bits = words.number("bits")?.min(4096) as u32;
                        // a frame has no more to lose
                    }
                }
                "rate" => out.rate_bits = words.rate()?,
                "limit" => out.limit = words.number("limit")? as usize, // 64-bit only
                "mtu" => out.mtu = words.number("mtu")? as usize,       // 64-bit only
                "seed" => out.seed = words.number("seed")?,
                other => return Err(ParseError::UnknownOption(other.to_owned())),
            }
        }
        if out.is_ecn && out.loss == Loss::None {
            return Err(ParseError::EcnWithoutLoss);
        }
        if out.reorder > 0.0 && out.delay_ns == 0 {
            return Err(ParseError::ReorderWithoutDelay);
        }
        Ok(out)
    }
}

struct Words<'a> {
    list: Vec<&'a str>,
    at: usize,
}

impl<'a> Words<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let word = self.list.get(self.at).copied();
        self.at += usize::from(word.is_some());
        word
    }

    fn skip(&mut self, word: &str) -> bool {
        let found = self.list.get(self.at) == Some(&word);
        self.at += usize::from(found);
        found
    }

    fn value(&mut self, option: &'static str) -> Result<&'a str, ParseError> {
        self.next().ok_or(ParseError::MissingValue(option))
    }

    fn number(&mut self, option: &'static str) -> Result<u64, ParseError> {
        let value = self.value(option)?;
        value.parse().map_err(|_| bad(option, value, "a whole number"))
    }

    fn percent(&mut self, option: &'static str) -> Result<f64, ParseError> {
        let value = self.value(option)?;
        percent(value).ok_or_else(|| bad(option, value, "a percentage from 0% to 100%"))
    }

    /// The next word, if it is a percentage.
    fn optional_percent(&mut self) -> Option<f64> {
        let value = percent(self.list.get(self.at)?)?;
        self.at += 1;
        Some(value)
    }

    /// The next word, if it is a time.
    fn optional_time(&mut self) -> Option<u64> {
        let value = time_ns(self.list.get(self.at)?)?;
        self.at += 1;
        Some(value)
    }

    fn loss(&mut self) -> Result<Loss, ParseError> {
        if self.skip("list") {
            let value = self.value("loss list")?;
            return frame_list(value).ok_or_else(|| bad("loss list", value, "like 7,9,12-14"));
        }
        if self.skip("gemodel") {
            let p = self.percent("loss gemodel")?;
            let r = self.optional_percent().unwrap_or(1.0 - p);
            let loss_bad = self.optional_percent().unwrap_or(1.0);
            let loss_good = self.optional_percent().unwrap_or(0.0);
            return Ok(Loss::GilbertElliott { p, r, loss_bad, loss_good });
        }
        self.skip("random");
        self.percent("loss").map(Loss::Random)
    }

    fn delay(&mut self, out: &mut Impairment) -> Result<(), ParseError> {
        let value = self.value("delay")?;
        out.delay_ns = time_ns(value).ok_or_else(|| bad("delay", value, "a time like 10ms"))?;
        out.jitter_ns = self.optional_time().unwrap_or(0);
        let named = self.skip("distribution");
        if self.skip("normal") {
            out.distribution = Distribution::Normal;
        } else if !self.skip("uniform") && named {
            let value = self.value("distribution")?;
            return Err(bad("distribution", value, "uniform or normal"));
        }
        Ok(())
    }

    fn rate(&mut self) -> Result<u64, ParseError> {
        let value = self.value("rate")?;
        let units = [("gbit", 1e9), ("mbit", 1e6), ("kbit", 1e3), ("bit", 1.0)];
        scaled(value, &units).filter(|r| *r >= 1).ok_or_else(|| bad("rate", value, "a rate like 100mbit"))
    }
}

fn bad(option: &'static str, value: &str, expected: &'static str) -> ParseError {
    ParseError::BadValue { option, value: value.to_owned(), expected }
}

fn percent(word: &str) -> Option<f64> {
    let value: f64 = word.strip_suffix('%')?.parse().ok()?;
    (0.0..=100.0).contains(&value).then_some(value / 100.0)
}

fn time_ns(word: &str) -> Option<u64> {
    let units =
        [("ns", 1.0), ("us", 1e3), ("usec", 1e3), ("ms", 1e6), ("msec", 1e6), ("s", 1e9), ("sec", 1e9)];
    scaled(word, &units)
}

fn scaled(word: &str, units: &[(&str, f64)]) -> Option<u64> {
    let split = word.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let factor = units.iter().find(|(unit, _)| *unit == &word[split..])?.1;
    let value = word[..split].parse::<f64>().ok()? * factor;
    (value < 1e18).then_some(value.round() as u64) // in range, not negative
}

fn frame_list(word: &str) -> Option<Loss> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.parse().ok()?, last.parse().ok()?);
        (1 <= first && first <= last).then_some((first, last))
    };
    word.split(',').map(range).collect::<Option<Vec<_>>>().map(Loss::List)
}

impl fmt::Display for Impairment {
    /// The text that parses to the same value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |p: f64| format!("{}%", (p * 1e10).round() / 1e8);
        let mut parts = Vec::new();
        match &self.loss {
            Loss::None => (),
            Loss::Random(p) => parts.push(format!("loss {}", percent(*p))),
            Loss::GilbertElliott { p, r, loss_bad, loss_good } => {
                let numbers = [p, r, loss_bad, loss_good].map(|x| percent(*x)).join(" ");
                parts.push(format!("loss gemodel {numbers}"));
            }
            Loss::List(list) => {
                let range = |(a, b): &(u64, u64)| if a == b { format!("{a}") } else { format!("{a}-{b}") };
                parts.push(format!("loss list {}", list.iter().map(range).collect::<Vec<_>>().join(",")));
            }
        }
        if self.is_ecn {
            parts.push("ecn".to_owned());
        }
        if self.delay_ns > 0 || self.jitter_ns > 0 {
            let shape = if self.distribution == Distribution::Normal { " distribution normal" } else { "" };
            parts.push(format!("delay {}ns {}ns{shape}", self.delay_ns, self.jitter_ns));
        }
        if self.reorder > 0.0 {
            parts.push(format!("reorder {} gap {}", percent(self.reorder), self.reorder_gap));
        }
        if self.duplicate > 0.0 {
            parts.push(format!("duplicate {}", percent(self.duplicate)));
        }
        if self.corrupt > 0.0 {
            parts.push(format!("corrupt {} bits {}", percent(self.corrupt), self.corrupt_bits));
        }
        if self.rate_bits > 0 {
            parts.push(format!("rate {}bit", self.rate_bits));
        }
        let numbers = [("limit", self.limit as u64), ("mtu", self.mtu as u64), ("seed", self.seed)];
        parts.extend(numbers.iter().filter(|(_, n)| *n > 0).map(|(name, n)| format!("{name} {n}")));
        f.write_str(&parts.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Impairment {
        text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    #[test]
    fn netem_spellings_are_understood() {
        assert_eq!(parse("loss 1%").loss, Loss::Random(0.01));
        let marking = parse("loss 1% ecn");
        assert_eq!((marking.loss, marking.is_ecn), (Loss::Random(0.01), true));
        assert_eq!(parse("loss random 0.5%").loss, Loss::Random(0.005));
        assert_eq!(parse("loss list 7,9,12-14").loss, Loss::List(vec![(7, 7), (9, 9), (12, 14)]));
        let model = Loss::GilbertElliott { p: 0.01, r: 0.3, loss_bad: 1.0, loss_good: 0.0 };
        assert_eq!(parse("loss gemodel 1% 30%").loss, model);
        let all = parse(
            "delay 10ms 2ms distribution normal reorder 5% gap 3 corrupt 1% bits 2 rate 1.5mbit limit 50",
        );
        assert_eq!(
            (all.delay_ns, all.jitter_ns, all.distribution),
            (10_000_000, 2_000_000, Distribution::Normal)
        );
        assert_eq!((all.reorder, all.reorder_gap), (0.05, 3));
        assert_eq!((all.corrupt, all.corrupt_bits, all.rate_bits, all.limit), (0.01, 2, 1_500_000, 50));
        let rest = parse("duplicate 0.1% mtu 1280 seed 9 delay 250us");
        assert_eq!((rest.duplicate, rest.mtu, rest.seed, rest.delay_ns), (0.001, 1280, 9, 250_000));
        assert!(parse("").is_none() && parse("seed 3").is_none() && !parse("mtu 9").is_none());
        assert!(parse("delay 3ms").is_faithful() && !parse("delay 3ms 1ms").is_faithful());
    }

    #[test]
    fn the_display_form_parses_to_the_same_value() {
        let texts = [
            "",
            "loss 1%",
            "loss gemodel 1.5% 30% 90% 0.01%",
            "loss list 1,3-9",
            "loss 2% ecn seed 4",
            "delay 1ms 1us distribution normal reorder 25% gap 5 seed 12",
            "duplicate 3% corrupt 0.0001% bits 7 rate 10gbit limit 9 mtu 600",
        ];
        for text in texts {
            let value = parse(text);
            assert_eq!(parse(&value.to_string()), value, "{text} -> {value}");
        }
    }

    #[test]
    fn nonsense_is_refused_with_a_sentence() {
        let refused = |text: &str| text.parse::<Impairment>().unwrap_err().to_string();
        for text in [
            "los 1%",
            "loss",
            "loss 101%",
            "loss 1",
            "loss -1%",
            "delay",
            "delay 5",
            "delay 1ms distribution x",
        ] {
            println!("{text}: {}", refused(text));
        }
        for text in [
            "loss list 0",
            "loss list 5-3",
            "loss list a",
            "rate 0mbit",
            "rate fast",
            "seed",
            "seed x",
            "mtu -1",
        ] {
            println!("{text}: {}", refused(text));
        }
        assert_eq!("ecn".parse::<Impairment>(), Err(ParseError::EcnWithoutLoss));
        assert_eq!("reorder 5%".parse::<Impairment>(), Err(ParseError::ReorderWithoutDelay));
    }
}
