//! The parts of a provider: what its registry will hold, and what of it is told in a training.

use windvane_protocols::train::scale::{Scaling, Span};
use windvane_protocols::train::step::Step;
use zeroize::Zeroizing;

use super::session::Session;
use super::{Desk, internal};
use crate::error::Refusal;
use crate::train::TrainRefusal;
use crate::train::folder::Secret;
use crate::train::parts::TableParts;

impl Session {
    /// The parts of the whole table under a scale. A provider that is alone shows few values, whatever the bank asks.
    /// With several, a bank could make the parts of all but one constant by the span, and read the last one's from the
    /// sum: so the span must be that of the trees.
    pub(super) fn parts(&self, scaling: Scaling) -> Result<TableParts<'_>, TrainRefusal> {
        let (trees, lone) = (self.trees().trees(), self.charter().providers().count() == 1);
        if !lone && Span::of_trees(trees) != Ok(scaling.span()) {
            return Err(TrainRefusal::Scale);
        }
        let scaling = if lone { scaling.coarse() } else { scaling };
        Ok(TableParts::of(self.features(), trees, self.carriers() == 1, scaling))
    }

    /// The parts of listed rows.
    pub(super) fn listed_parts(&self, desk: &Desk, scaling: Scaling) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        let positions = self.positions(desk)?;
        Ok(self.parts(scaling)?.listed(&positions))
    }

    /// The listed positions.
    pub(super) fn positions(&self, desk: &Desk) -> Result<Vec<u64>, Refusal> {
        let key = &desk.provider.shared().keys.storage;
        let list = self.kept().unseal(Secret::List, key).map_err(|error| internal(&error))?;
        let list = list.ok_or(Refusal::Internal)?;
        Ok(self.charter().open_list(&list, self.universe().rows()).map_err(TrainRefusal::from)?)
    }

    /// The scale under which parts were told.
    pub(super) fn scaling(&self) -> Option<Scaling> {
        match self.state().steps.last()?.step {
            Step::Parts { scaling } => Some(scaling),
            _ => None,
        }
    }
}
