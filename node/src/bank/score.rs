//! The score of a call: one question for all providers of the group, and what their answers add up to.
//!
//! The question rides in the sessions that look customers up, where the grant permits both; a provider without such
//! a session gets one for the score alone. That a score is missing keeps nobody from the rest of the answer.

use std::sync::Arc;

use windvane_protocols::audit::entry::Event;
use windvane_protocols::audit::grant::Operation;
use windvane_protocols::lookup::DataSet;
use windvane_protocols::lookup::request::ScoreReply;
use windvane_protocols::party::PartyId;
use windvane_protocols::score::calibration::ONE;
use windvane_protocols::score::epoch::Epoch;
use windvane_protocols::score::model::ModelCard;
use windvane_protocols::score::query::{self, AwaitAnswers, Fault, FaultKind, Unblinded, ask};
use windvane_protocols::score::universe::Universe;

mod active;
mod output;

pub(super) use active::Active;
pub(super) use output::Restrictions;

use active::Watch;
use output::Output;

use super::ask::{Run, Session, offload};
use super::contract::{Contract, SessionTerms};
use super::granted::{names, permits};
use super::{BankError, Inquiry};
use crate::score::monitor::Outcome;
use crate::score::parts::DenseParts;
use crate::score::table::SummedTable;
use crate::verification::{ScoreReport, ScoreSource, ScoreStatus};

/// An epoch that the bank scores with.
#[derive(Debug)]
pub(super) struct Scoring {
    pub(super) epoch: Epoch,
    pub(super) universe: Universe,
    pub(super) card: ModelCard,
    pub(super) table: SummedTable,
    /// The bank's own parts, where its model has any.
    pub(super) own: Option<DenseParts>,
    watch: Watch,
}

/// What every provider of the group is asked.
#[derive(Debug)]
pub(super) struct ScoreQuestion {
    pub(super) group: DataSet,
    pub(super) epoch: u64,
    pub(super) question: query::Question,
}

/// A score that is being asked for.
#[derive(Debug)]
pub(super) struct ScoreCall {
    scoring: Arc<Scoring>,
    wait: AwaitAnswers,
    question: Arc<ScoreQuestion>,
    output: Output,
}

/// What becomes of the score of a call.
#[derive(Debug)]
pub(super) enum Planned {
    /// No group is active.
    Inactive,
    /// Nobody is asked, and this is every customer's report.
    Without(Box<ScoreReport>),
    /// The providers of the group are asked.
    Asked(ScoreCall),
}

/// The scores of a call, and what the log is told of them.
#[derive(Debug, Default)]
pub(super) struct Scores {
    /// One for every customer, in order.
    pub(super) reports: Vec<ScoreReport>,
    /// What the monitor counts, for every customer.
    pub(super) outcomes: Vec<Outcome>,
    pub(super) events: Vec<Event>,
}

impl Scores {
    /// The same report for every customer, where nobody was asked. The monitor has nothing to count.
    pub(super) fn all(report: &ScoreReport, customers: usize) -> Self {
        Self { reports: vec![report.clone(); customers], ..Self::default() }
    }
}

impl Scoring {
    /// Blinds the customers' numbers.
    pub(super) async fn ask(self: Arc<Self>, inquiries: Arc<[Inquiry]>) -> Result<ScoreCall, BankError> {
        offload(inquiries.len(), move || {
            let phones: Vec<_> = inquiries.iter().map(|inquiry| inquiry.person.phone.as_ref()).collect();
            let asked = ask(&self.epoch, &self.universe, &phones, &mut rand::rng());
            let (wait, question) = asked.map_err(|error| {
                tracing::error!(code = "ASK_FAILED", %error, "a score's question could not be made");
                BankError::internal()
            })?;
            let terms = self.epoch.charter().terms();
            let question = ScoreQuestion { group: terms.group.clone(), epoch: terms.epoch, question };
            Ok(ScoreCall { wait, question: Arc::new(question), scoring: self, output: Output::Everything })
        })
        .await?
    }

    /// The report of a score that nobody is asked for, by the code of why.
    pub(super) fn without(&self, code: &str) -> ScoreReport {
        let terms = self.epoch.charter().terms();
        ScoreReport::unavailable(&terms.group, terms.epoch, self.card.name(), code)
    }

    fn members(&self) -> impl Iterator<Item = &PartyId> {
        self.epoch.charter().providers().iter().map(|identity| &identity.party)
    }

    /// The providers whose answers were not of use, each once with the code of why. One with two sessions may have
    /// refused in one and answered in the other.
    fn missing(
        &self,
        answers: &[query::Answer],
        refused: &[(PartyId, String)],
        faults: &[Fault],
    ) -> Vec<ScoreSource> {
        let why = |member: &PartyId| {
            let wrong = faults.iter().find(|fault| fault.provider == *member);
            if wrong.is_none() && answers.iter().any(|answer| answer.provider == *member) {
                return None;
            }
            let said = || refused.iter().find(|(party, _)| party == member).map(|(_, code)| code.as_str());
            let code = wrong.map(|fault| code_of(fault.kind)).or_else(said);
            Some(ScoreSource {
                provider: member.to_string(),
                error: code.unwrap_or("NO_CONTRACT").to_owned(),
            })
        };
        self.members().filter_map(why).collect()
    }
}

impl ScoreCall {
    /// What it is scored with.
    pub(super) fn scoring(&self) -> Arc<Scoring> {
        self.scoring.clone()
    }

    /// What the sessions carry.
    pub(super) fn question(&self) -> Arc<ScoreQuestion> {
        self.question.clone()
    }

    /// Plans a call: the question into one session of every provider of the group, and sessions of their own where
    /// none may carry it. Nobody is asked where the grants name different bands, so that nothing could be said.
    pub(super) fn plan(
        mut self,
        sessions: &mut Vec<Session>,
        contracts: &[Arc<Contract>],
        restrictions: &Restrictions,
        purpose: &str,
        now_ms: u64,
    ) -> Planned {
        let mut riding = sessions.clone();
        self.ride(&mut riding, contracts, purpose, now_ms);
        self.restrict(&riding, restrictions, purpose);
        if self.output == Output::Nothing {
            return Planned::Without(Box::new(self.scoring.without("SCORE_BANDS_DIFFER")));
        }
        *sessions = riding;
        Planned::Asked(self)
    }

    fn ride(&self, sessions: &mut Vec<Session>, contracts: &[Arc<Contract>], purpose: &str, now_ms: u64) {
        let group = &self.question.group;
        for member in self.scoring.members() {
            let riding = sessions.iter_mut().filter(|session| session.contract.party() == member);
            let mut terms = riding.filter_map(|session| session.terms.as_mut().ok());
            let rides = |terms: &&mut SessionTerms| {
                permits(&terms.grant, Operation::Score, group) && names(&terms.grant, purpose)
            };
            if let Some(terms) = terms.find(rides) {
                terms.scores = true;
                continue;
            }
            let Some(contract) = contracts.iter().find(|c| c.party() == member) else { continue };
            let terms = contract.admitted(contract.score_terms(group, purpose, now_ms));
            sessions.push(Session { contract: contract.clone(), looks_up: false, terms });
        }
    }

    /// Every provider restricts what is told, by the grant that it is asked under; where that names no bands, or it is not
    /// asked, by its newest for the purpose, be that at its end: where a quorum of the others suffices, the sum has its part
    /// all the same.
    fn restrict(&mut self, sessions: &[Session], restrictions: &Restrictions, purpose: &str) {
        for member in self.scoring.members() {
            let mut riding = sessions.iter().filter(|session| session.contract.party() == member);
            let terms = riding.find_map(|session| session.terms.as_ref().ok().filter(|terms| terms.scores));
            let bands = terms.and_then(|terms| terms.grant.score_bands.as_ref());
            self.output.restrict(bands.or_else(|| restrictions.of(member, &self.question.group, purpose)));
        }
    }

    /// Combines and opens what the sessions brought.
    pub(super) async fn finish(self, runs: &[Run]) -> Result<Scores, BankError> {
        let replies: Vec<_> =
            runs.iter().filter_map(|run| Some((run.provider().clone(), run.score.clone()?))).collect();
        offload(self.wait.positions().len(), move || self.combine(replies)).await
    }

    fn combine(self, replies: Vec<(PartyId, ScoreReply)>) -> Scores {
        let Self { scoring, wait, output, .. } = self;
        let positions = wait.positions().to_vec();
        let (mut answers, mut refused) = (Vec::new(), Vec::new());
        for (party, reply) in replies {
            match reply {
                ScoreReply::Answered(answer) => answers.push(answer),
                ScoreReply::Refused(code) => refused.push((party, code)),
            }
        }
        let (opened, faults) = match wait.on_answers(&answers) {
            Ok(unblinded) => {
                let faults = unblinded.faults().to_vec();
                (Some(unblinded), faults)
            }
            Err(unavailable) => (None, unavailable.faults),
        };
        let mut events = faults.iter().map(|fault| failed(&fault.provider, code_of(fault.kind))).collect();
        let missing = scoring.missing(&answers, &refused, &faults);
        let reader = Reader { scoring: &scoring, output: &output, missing: &missing };
        let scored = match opened {
            Some(unblinded) => reader.open(unblinded, &mut events),
            None => reader.nothing(&positions, "SCORE_UNAVAILABLE"),
        };
        let (outcomes, reports) = scored.into_iter().unzip();
        Scores { reports, outcomes, events }
    }
}

/// Makes reports of what was opened.
#[derive(Clone, Copy)]
struct Reader<'a> {
    scoring: &'a Scoring,
    output: &'a Output,
    missing: &'a [ScoreSource],
}

impl Reader<'_> {
    fn open(self, unblinded: Unblinded, events: &mut Vec<Event>) -> Vec<(Outcome, ScoreReport)> {
        let positions = unblinded.positions().to_vec();
        let present: Vec<_> = positions.iter().copied().flatten().collect();
        let rows = match self.scoring.table.rows(&present) {
            Ok(rows) => rows,
            Err(error) => {
                tracing::error!(code = "SCORE_TABLE_UNREADABLE", %error, "rows of the score's table cannot be read");
                return self.nothing(&positions, "SCORE_TABLE_UNREADABLE");
            }
        };
        let report =
            |(position, sum): (Option<u64>, Option<Result<u16, query::Undecodable>>)| match (position, sum) {
                (Some(position), Some(Ok(sum))) => self.scored(position, sum),
                (_, Some(Err(error))) => {
                    tracing::error!(
                        code = "SCORE_UNDECODABLE",
                        epoch = error.epoch,
                        "a row of the score's table does not decode"
                    );
                    events.push(failed(
                        &self.scoring.epoch.charter().terms().requester.party,
                        "SCORE_UNDECODABLE",
                    ));
                    (Outcome::Undecodable, self.without(ScoreStatus::Undecodable, Some("SCORE_UNDECODABLE")))
                }
                _ => self.outside(),
            };
        let opened = unblinded.open(&rows);
        positions.into_iter().zip(opened).map(report).collect()
    }

    fn scored(self, position: u64, sum: u16) -> (Outcome, ScoreReport) {
        let own = self.scoring.own.as_ref().map_or(0, |parts| parts.as_slice()[position as usize]);
        let (sum, card) = (sum + u16::from(own), &self.scoring.card);
        let place = card.bands().as_slice().partition_point(|band| band.from <= sum) - 1;
        let probability = f64::from(card.calibration().probability(sum)) / f64::from(ONE);
        let (band, all) = match self.output {
            Output::Everything => (card.bands().of(sum), true),
            Output::Bands(bands) => (bands.of(sum), false),
            // Nobody was asked.
            Output::Nothing => return self.unavailable("SCORE_BANDS_DIFFER"),
        };
        let report = ScoreReport {
            band: Some(band.name.clone()),
            probability: all.then_some(probability),
            sum: all.then_some(sum),
            ..self.without(ScoreStatus::Scored, None)
        };
        (Outcome::Band(place), report)
    }

    /// Where no sum is opened: who is outside the universe would have none either.
    fn nothing(self, positions: &[Option<u64>], code: &str) -> Vec<(Outcome, ScoreReport)> {
        let of = |position: &Option<u64>| position.map_or_else(|| self.outside(), |_| self.unavailable(code));
        positions.iter().map(of).collect()
    }

    fn outside(self) -> (Outcome, ScoreReport) {
        (Outcome::Outside, self.without(ScoreStatus::Outside, None))
    }

    fn unavailable(self, code: &str) -> (Outcome, ScoreReport) {
        (Outcome::Unavailable, self.without(ScoreStatus::Unavailable, Some(code)))
    }

    fn without(self, status: ScoreStatus, error: Option<&str>) -> ScoreReport {
        let terms = self.scoring.epoch.charter().terms();
        ScoreReport {
            status,
            error: error.map(str::to_owned),
            missing: self.missing.to_vec(),
            ..ScoreReport::unavailable(&terms.group, terms.epoch, self.scoring.card.name(), "")
        }
    }
}

fn failed(peer: &PartyId, code: &str) -> Event {
    Event::Failed { session: None, peer: peer.clone(), code: code.to_owned() }
}

const fn code_of(fault: FaultKind) -> &'static str {
    match fault {
        FaultKind::Stranger => "SCORE_STRANGER",
        FaultKind::Repeated => "SCORE_REPEATED",
        FaultKind::Context => "SCORE_CONTEXT",
        FaultKind::Count => "SCORE_COUNT",
        _ => "SCORE_PROOF_INVALID",
    }
}
