//! Colours against the truth.

use std::fmt;

use windvane::verification::Colour;

const COLOURS: [Colour; 3] = [Colour::Red, Colour::Yellow, Colour::Green];

/// How many were given which colour, of the fraudulent and of the others.
#[derive(Debug, Default)]
pub(super) struct Table {
    cases: Vec<(Colour, bool)>,
}

impl FromIterator<(Colour, bool)> for Table {
    /// Pairs of a colour and whether it was fraud.
    fn from_iter<I: IntoIterator<Item = (Colour, bool)>>(cases: I) -> Self {
        Self { cases: cases.into_iter().collect() }
    }
}

impl Table {
    /// Share of the fraudulent who were given `colour` or a worse one.
    pub(super) fn recall(&self, colour: Colour) -> f64 {
        self.share(colour, true)
    }

    /// Share of the others who were given `colour` or a worse one.
    pub(super) fn false_positives(&self, colour: Colour) -> f64 {
        self.share(colour, false)
    }

    fn share(&self, colour: Colour, fraud: bool) -> f64 {
        self.count(fraud, |given| given >= colour) as f64 / self.count(fraud, |_| true) as f64
    }

    fn count(&self, fraud: bool, wanted: impl Fn(Colour) -> bool) -> usize {
        self.cases.iter().filter(|(given, is_fraud)| *is_fraud == fraud && wanted(*given)).count()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  {:<8}{:>8}{:>8}", "colour", "fraud", "other")?;
        for colour in COLOURS {
            let count = |fraud| self.count(fraud, |given| given == colour);
            writeln!(f, "  {colour:<8}{:>8}{:>8}", count(true), count(false))?;
        }
        for (what, colour) in [("red or yellow", Colour::Yellow), ("red", Colour::Red)] {
            let (recall, false_positives) = (self.recall(colour), self.false_positives(colour));
            writeln!(f, "  {what}: recall {recall:.4}, false-positive rate {false_positives:.4}")?;
        }
        Ok(())
    }
}

#[test]
fn shares_are_of_the_fraudulent_and_of_the_others() {
    let cases = [
        (Colour::Red, true),
        (Colour::Yellow, true),
        (Colour::Green, true),
        (Colour::Green, true),
        (Colour::Yellow, false),
        (Colour::Green, false),
        (Colour::Green, false),
        (Colour::Green, false),
        (Colour::Green, false),
    ];
    let table: Table = cases.into_iter().collect();
    assert_eq!((table.recall(Colour::Red), table.recall(Colour::Yellow)), (0.25, 0.5));
    assert_eq!((table.false_positives(Colour::Red), table.false_positives(Colour::Yellow)), (0.0, 0.2));
}
