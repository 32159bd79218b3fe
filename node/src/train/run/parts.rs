//! From contributions to parts: the scale of the model, and what all providers' parts of the listed rows add up to.
//!
//! A provider's span follows from its trees; where it is alone, so that the bank knows its contributions, from these. The
//! sum of parts is decrypted as that of contributions is: it is what a call for the same number is answered with later.

use std::ops::RangeInclusive;
use std::sync::Arc;

use windvane_protocols::train::scale::{Scale, ScaleError, Scaling, Span, Values};
use windvane_protocols::train::step::Step;
use windvane_protocols::train::tree::Tree;
use windvane_protocols::transcript::{Reader, Record, Transcript, TranscriptError};

use super::BankStage;
use super::cells::decrypt;
use super::error::{Fault, TrainError};
use super::job::{Job, blocking};
use super::unit::{JointUnit, each};
use crate::train::features::Features;
use crate::train::sample::{Kind, Listed};

/// How all parties' contributions become parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::train) struct Scales {
    own: Scaling,
    /// By unit.
    units: Vec<Scaling>,
}

impl Scales {
    /// The scale of a training whose blocks are through, from the bank's table and trees, and each unit's trees. Where
    /// there is but one provider, `lone` has its contributions to the rows that are no decoys.
    pub(in crate::train) fn of(
        features: &Features,
        own_trees: &[Tree],
        units: &[Vec<Tree>],
        lone: Option<&[i64]>,
    ) -> Result<Self, ScaleError> {
        let elsewhere = features.apply_elsewhere(own_trees, true);
        let own = Span::of(features.apply(own_trees).into_iter().chain([elsewhere]))?;
        let spans = match lone {
            Some(told) => vec![Span::of(told.iter().copied())?],
            None => units.iter().map(|trees| Span::of_trees(trees)).collect::<Result<Vec<_>, _>>()?,
        };
        let values = if lone.is_some() { Values::Coarse } else { Values::Fine };
        Self::new(own, &spans, values)
    }

    /// From the bank's span and those of all units, whose parts have such values.
    fn new(own: Span, units: &[Span], values: Values) -> Result<Self, ScaleError> {
        let all: Vec<_> = units.iter().copied().chain([own]).collect();
        let widest = Scale::new(&all)?.widest();
        let units = units.iter().map(|span| Scaling::new(widest, *span, values)).collect::<Result<_, _>>()?;
        Ok(Self { own: Scaling::new(widest, own, Values::Fine)?, units })
    }

    /// The same spans on a scale of twice the width.
    #[cfg(feature = "faults")]
    pub(super) fn widened(&self) -> Self {
        let widest = 2 * self.widest();
        let wide =
            |of: &Scaling| Scaling::new(widest, of.span(), of.values()).expect("twice is not too wide");
        Self { own: wide(&self.own), units: self.units.iter().map(wide).collect() }
    }

    /// The width of the widest party's span.
    pub(super) const fn widest(&self) -> u64 {
        self.own.scale().widest()
    }

    /// The bank's.
    pub(in crate::train) const fn own(&self) -> Scaling {
        self.own
    }

    /// Those of all units, in their order.
    pub(in crate::train) fn units(&self) -> &[Scaling] {
        &self.units
    }
}

/// The contributions to rows that are no decoys, for [`Scales::of`].
pub(in crate::train) fn of_known(listed: &Listed, joint: &[i64]) -> Vec<i64> {
    let known = listed.kinds().iter().zip(joint).filter(|(kind, _)| **kind != Kind::Decoy);
    known.map(|(_, value)| *value).collect()
}

/// What the parts of all providers add up to, by listed row; nothing for decoys.
pub(super) async fn sums(
    job: &Arc<Job>,
    units: &[Arc<JointUnit>],
    scales: &Scales,
) -> Result<Vec<u16>, TrainError> {
    let rows = job.listed.rows();
    let asked = units.iter().zip(scales.units()).flat_map(|(unit, scaling)| {
        unit.links.iter().map(|link| (link.clone(), Step::Parts { scaling: *scaling }))
    });
    let answers = each(asked.map(|(link, step)| async move {
        let answer = link.step(&step, rows).await?;
        BankStage::Part.reached();
        Ok(answer)
    }));
    let answers = answers.await?;
    let can_be = 0..=answers.len() as i64 * i64::from(u8::MAX);
    let sent: Vec<_> = answers.into_iter().map(|answer| answer.ciphertexts).collect();
    let providers = units.iter().map(|unit| unit.parties()).collect::<Vec<_>>().join(", ");
    let wrong = move |fault| TrainError::Provider { providers: providers.clone(), stage: "parts", fault };
    blocking(job, move |job| {
        let values = decrypt(&job.key, &job.decoder, &sent, rows, job.threads());
        let values = values.map_err(|error| wrong(error.into()))?;
        checked(&values, job.listed.kinds(), &can_be).ok_or_else(|| wrong(Fault::Parts))
    })
    .await
}

/// Sums of parts that can be: those of real and held-out rows within their range, and 0 for decoys.
fn checked(values: &[i64], kinds: &[Kind], can_be: &RangeInclusive<i64>) -> Option<Vec<u16>> {
    let sum = |(value, kind): (&i64, &Kind)| {
        let sound = if *kind == Kind::Decoy { *value == 0 } else { can_be.contains(value) };
        sound.then(|| u16::try_from(*value).ok()).flatten()
    };
    values.iter().zip(kinds).map(sum).collect()
}

impl Record for Scales {
    const DOMAIN: &'static str = "windvane/train-scales/v1";

    fn write(&self, t: Transcript) -> Transcript {
        t.bytes("own", &self.own.to_bytes()).list("unit", self.units.iter().map(|unit| unit.to_bytes()))
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, TranscriptError> {
        let form = |label| TranscriptError::Form { label, expected: "a scale, a span and 0 or 1" };
        let own = Scaling::from_bytes(r.array("own")?).ok_or(form("own"))?;
        let unit = |bytes: &[u8]| bytes.try_into().ok().and_then(Scaling::from_bytes).ok_or(form("unit"));
        let units = r.list("unit", windvane_protocols::limits::MAX_SCORE_PROVIDERS)?.into_iter().map(unit);
        Ok(Self { own, units: units.collect::<Result<_, _>>()? })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Of a bank and two units.
    pub(in crate::train::run) fn scales() -> Scales {
        let span = |minimum, maximum| Span::new(minimum, maximum).unwrap();
        Scales::new(span(-7, 90), &[span(0, 3), span(-50, 0)], Values::Fine).unwrap()
    }

    #[test]
    fn the_widest_party_gives_the_scale_of_all_and_the_banks_parts_have_all_values() {
        let span = |minimum, maximum| Span::new(minimum, maximum).unwrap();
        let lone = Scales::new(span(-7, 10), &[span(-90, 30)], Values::Coarse).unwrap();
        assert_eq!((lone.widest(), lone.own().values()), (120, Values::Fine));
        assert_eq!(lone.units(), [Scaling::new(120, span(-90, 30), Values::Coarse).unwrap()]);
        assert_eq!(scales().widest(), 97);
    }

    #[test]
    fn scales_survive_their_encoding() {
        assert_eq!(Scales::decode(scales().encode().as_bytes()), Ok(scales()));
    }

    #[test]
    fn sums_beyond_what_parts_can_add_up_to_and_any_of_decoys_are_refused() {
        let kinds = [Kind::Training(true), Kind::Decoy, Kind::HeldOut(false)];
        let checked = |values: [i64; 3]| checked(&values, &kinds, &(0..=510));
        assert_eq!(checked([510, 0, 7]), Some(vec![510, 0, 7]));
        for wrong in [[511, 0, 7], [-1, 0, 7], [1, 1, 7], [1, 0, 511], [1, -1, 7], [1, 0, 1 << 16]] {
            assert_eq!(checked(wrong), None, "{wrong:?}");
        }
    }
}
