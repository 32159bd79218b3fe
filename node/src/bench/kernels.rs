//! `windvane bench kernels`.

use rand::RngExt as _;
use serde::{Serialize, Serializer};
use windvane_kernels::ristretto::Backend;
use windvane_kernels::timing::{Timing, measure};

use crate::demo::{DemoError, note, print, rounded};

/// What stands in place of a figure without the instructions for it.
const NOT_MEASURED: &str = "not measured";

/// How to measure.
#[derive(Debug, Clone, Copy)]
pub struct KernelsBench {
    /// Elements that every operation works on; at least one.
    pub elements: usize,
    /// Rounds, of which the fastest counts; at least one.
    pub rounds: usize,
    /// One JSON object instead of a table.
    pub json: bool,
}

/// What was measured, on one thread.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KernelsFigures {
    /// Whether this processor has AVX-512 IFMA.
    pub ifma: bool,
    /// Elements that every operation worked on.
    pub elements: usize,
    /// Rounds, of which the fastest counts.
    pub rounds: usize,
    /// Each operation by its name.
    #[serde(flatten, serialize_with = "by_name")]
    pub operations: Vec<(&'static str, OperationFigures)>,
}

/// One operation's time per element, microseconds. Both sides took turns in the same rounds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct OperationFigures {
    /// Eight lanes of AVX-512 IFMA.
    #[serde(serialize_with = "or_not_measured")]
    pub ours_us: Option<f64>,
    /// `curve25519-dalek` with the backend that it chose.
    pub dalek_us: f64,
    /// How many times faster those lanes are.
    #[serde(serialize_with = "or_not_measured")]
    pub ratio: Option<f64>,
    /// Eight lanes of AVX2, which processors without AVX-512 IFMA run.
    #[serde(serialize_with = "or_not_measured")]
    pub avx2_us: Option<f64>,
    /// How many times faster than dalek those are.
    #[serde(serialize_with = "or_not_measured")]
    pub avx2_ratio: Option<f64>,
}

impl KernelsBench {
    /// Measures and prints; progress goes to standard error. Blocks.
    ///
    /// # Errors
    /// [`DemoError`].
    pub fn run(self) -> Result<KernelsFigures, DemoError> {
        note(&format!("{} elements, {} rounds of seven operations", self.elements, self.rounds));
        let mut rng = rand::rng();
        let strings: Vec<[u8; 64]> =
            (0..self.elements).map(|_| std::array::from_fn(|_| rng.random())).collect();
        let timings = measure(&strings, self.rounds);
        let figures = KernelsFigures {
            ifma: Backend::ifma().is_some(),
            elements: self.elements,
            rounds: self.rounds,
            operations: timings.iter().map(|timing| (timing.operation, timing.into())).collect(),
        };
        print(&if self.json { figures.json() } else { figures.table() })?;
        Ok(figures)
    }
}

impl KernelsFigures {
    fn json(&self) -> String {
        serde_json::to_string(self).expect("a struct of numbers and texts always serialises")
    }

    fn table(&self) -> String {
        let head = ["microseconds each", "AVX-512 IFMA", "AVX2", "dalek", "IFMA ratio", "AVX2 ratio"];
        let row = |[name, figures @ ..]: [&str; 6]| {
            figures.iter().fold(format!("{name:<20}"), |line, figure| format!("{line}{figure:>14}"))
        };
        let figure = |value: Option<f64>| value.map_or(NOT_MEASURED.into(), |value| format!("{value:.3}"));
        let line = |(name, operation): &(&str, OperationFigures)| {
            let OperationFigures { ours_us, dalek_us, ratio, avx2_us, avx2_ratio } = *operation;
            let [a, b, c, d, e] = [ours_us, avx2_us, Some(dalek_us), ratio, avx2_ratio].map(figure);
            row([name, &a, &b, &c, &d, &e])
        };
        let head = row(head);
        let lines: Vec<_> = std::iter::once(head).chain(self.operations.iter().map(line)).collect();
        lines.join("\n")
    }
}

impl From<&Timing> for OperationFigures {
    fn from(timing: &Timing) -> Self {
        Self {
            ours_us: timing.ours_us.map(rounded),
            dalek_us: rounded(timing.dalek_us),
            ratio: timing.ratio().map(rounded),
            avx2_us: timing.avx2_us.map(rounded),
            avx2_ratio: timing.avx2_ratio().map(rounded),
        }
    }
}

fn by_name<S: Serializer>(
    operations: &[(&'static str, OperationFigures)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(operations.iter().copied())
}

fn or_not_measured<S: Serializer>(figure: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    match figure {
        Some(figure) => serializer.serialize_f64(*figure),
        None => serializer.serialize_str(NOT_MEASURED),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_object_has_the_seven_operations_with_their_figures() {
        let figures = KernelsBench { elements: 9, rounds: 1, json: true }.run().unwrap();
        let json: serde_json::Value = serde_json::from_str(&figures.json()).unwrap();
        assert_eq!(json["ifma"], Backend::ifma().is_some());
        let names =
            ["hash_mul_encode", "decode_mul_encode", "hash", "decode", "encode_batched", "mul_base", "add"];
        assert_eq!(figures.operations.iter().map(|(name, _)| *name).collect::<Vec<_>>(), names);
        for name in names {
            assert!(json[name]["dalek_us"].as_f64().unwrap() > 0.0, "{json}");
            assert_eq!(json[name]["ours_us"].is_f64(), Backend::ifma().is_some());
            assert_eq!(json[name]["avx2_us"].is_f64(), Backend::avx2().is_some());
        }
        assert_eq!(figures.table().lines().count(), 8);
    }

    #[test]
    fn figures_without_the_instructions_are_said_not_to_be_measured() {
        let operation =
            OperationFigures { ours_us: None, dalek_us: 9.5, ratio: None, avx2_us: None, avx2_ratio: None };
        let figures =
            KernelsFigures { ifma: false, elements: 1, rounds: 1, operations: vec![("add", operation)] };
        let json: serde_json::Value = serde_json::from_str(&figures.json()).unwrap();
        assert_eq!(json["add"]["ours_us"], NOT_MEASURED);
        assert_eq!(json["add"]["ratio"], NOT_MEASURED);
        assert_eq!(json["add"]["avx2_us"], NOT_MEASURED);
        assert!(figures.table().contains(NOT_MEASURED));
    }
}
