//! Sessions as one log has them: request, receipt, countersignature, failure.

use std::collections::HashMap;
use std::sync::Arc;

use windvane_protocols::audit::receipt::{Countersignature, Receipt};
use windvane_protocols::lookup::PROTOCOL;
use windvane_protocols::lookup::request::Request;
use windvane_protocols::party::{PartyId, SessionId};
use windvane_protocols::transcript::{Hash, Signed};

use super::code;
use super::report::Fault;

/// Error codes are short words.
const MAX_CODE_BYTES: usize = 64;

/// Who asks whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) requester: PartyId,
    pub(super) provider: PartyId,
}

/// One session. Signed records are held by their digests, signatures included.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) pair: Arc<Pair>,
    pub(super) customers: u64,
    pub(super) commitments: [u8; 32],
    /// Entry and digest of the request that was logged before it was sent.
    pub(super) requested: Option<(u64, Hash)>,
    pub(super) answered: Option<Answered>,
    /// Entry of the countersignature.
    pub(super) countersigned: Option<u64>,
}

/// A receipt.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answered {
    pub(super) entry: u64,
    pub(super) at_ms: u64,
    pub(super) request: Hash,
    pub(super) receipt: Hash,
}

/// All sessions of a log.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    pairs: Vec<Arc<Pair>>,
    by_id: HashMap<SessionId, Session>,
    by_receipt: HashMap<Hash, SessionId>,
    /// Entry and code of a session's first failure.
    failed: HashMap<SessionId, (u64, String)>,
}

impl Sessions {
    /// Takes the party's own request.
    pub(super) fn request(&mut self, entry: u64, signed: &Signed<Request>) -> Result<(), Fault> {
        let session = self.session(signed.body());
        match session.requested {
            Some((first, _)) => {
                let text = format!("entry {first} requests the same session");
                Err(Fault::new(code::SESSION_REPEATED, text))
            }
            None => {
                session.requested = Some((entry, signed.digest()));
                Ok(())
            }
        }
    }

    /// Takes a receipt, in the log of `party`. The flag tells whether the request in it is the very one that
    /// the same log has, so that its signature needs no second look.
    pub(super) fn answer(
        &mut self,
        (entry, at_ms): (u64, u64),
        signed: &Signed<Receipt>,
        party: &PartyId,
    ) -> (bool, Vec<Fault>) {
        let (receipt, digest) = (signed.body(), signed.digest());
        let (request, id) = (receipt.request.digest(), receipt.request.body().session);
        let own = *party == receipt.request.body().requester;
        self.by_receipt.insert(digest, id);
        let session = self.session(receipt.request.body());
        let mut faults = check_receipt(receipt);
        if let Some(first) = session.answered {
            let text = format!("entry {} answers the same session", first.entry);
            faults.push(Fault::new(code::RECEIPT_REPEATED, text));
        } else {
            session.answered = Some(Answered { entry, at_ms, request, receipt: digest });
        }
        let known = session.requested.is_some_and(|(_, requested)| requested == request);
        match session.requested {
            Some((first, _)) if !known => {
                let text = format!("the receipt holds another request than entry {first}");
                faults.push(Fault::new(code::REQUEST_DIFFERS, text));
            }
            None if own => {
                let text = "no entry before this one has the request that the receipt answers";
                faults.push(Fault::new(code::REQUEST_MISSING, text));
            }
            _ => {}
        }
        (known, faults)
    }

    /// Takes a countersignature of these receipts; each must be there, and between the same parties.
    pub(super) fn countersign(
        &mut self,
        entry: u64,
        body: &Countersignature,
        receipts: &[Hash],
    ) -> Vec<Fault> {
        let mut faults = Vec::new();
        for receipt in receipts {
            let id = self.by_receipt.get(receipt).copied();
            let session = id.and_then(|id| self.by_id.get_mut(&id)).filter(|session| {
                session.pair.requester == body.requester && session.pair.provider == body.provider
            });
            match session {
                Some(session) => drop(session.countersigned.get_or_insert(entry)),
                None => {
                    let digest = hex::encode(&receipt[..16]);
                    let text = format!("no entry before this one has the receipt {digest}… of these parties");
                    faults.push(Fault::new(code::RECEIPT_UNKNOWN, text));
                }
            }
        }
        faults
    }

    /// Takes a failure. A text that is no code is not taken over: it would be printed.
    pub(super) fn fail(&mut self, entry: u64, session: SessionId, code: &str) {
        let plain = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
        let good = (1..=MAX_CODE_BYTES).contains(&code.len()) && code.bytes().all(plain);
        let code = if good { code } else { "MALFORMED_CODE" };
        self.failed.entry(session).or_insert_with(|| (entry, code.to_owned()));
    }

    /// A session by its name.
    pub(super) fn find(&self, id: &SessionId) -> Option<&Session> {
        self.by_id.get(id)
    }

    /// Entry and code of a session's first failure.
    pub(super) fn failure(&self, id: &SessionId) -> Option<&(u64, String)> {
        self.failed.get(id)
    }

    /// All sessions, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&SessionId, &Session)> {
        self.by_id.iter()
    }

    fn session(&mut self, request: &Request) -> &mut Session {
        if !self.by_id.contains_key(&request.session) {
            let session = Session {
                pair: self.pair(request),
                customers: request.customers,
                commitments: request.commitments,
                requested: None,
                answered: None,
                countersigned: None,
            };
            self.by_id.insert(request.session, session);
        }
        self.by_id.get_mut(&request.session).expect("it was inserted when it was not there")
    }

    /// A log has few pairs and many sessions.
    fn pair(&mut self, request: &Request) -> Arc<Pair> {
        let same =
            |pair: &&Arc<Pair>| pair.requester == request.requester && pair.provider == request.provider;
        if let Some(pair) = self.pairs.iter().find(same) {
            return pair.clone();
        }
        let (requester, provider) = (request.requester.clone(), request.provider.clone());
        let pair = Arc::new(Pair { requester, provider });
        self.pairs.push(pair.clone());
        pair
    }
}

fn check_receipt(receipt: &Receipt) -> Vec<Fault> {
    let mut faults = Vec::new();
    if receipt.protocol != PROTOCOL {
        faults.push(Fault::new(code::PROTOCOL_UNKNOWN, format!("the receipt is not of {PROTOCOL}")));
    }
    let request = receipt.request.body();
    let scored = if request.score.is_some() {
        receipt.scored == 0 || receipt.scored == request.customers
    } else {
        receipt.scored == 0
    };
    let expected = request.expected();
    let expected = expected.iter().map(|(group, count)| (*group, *count as u64));
    if !scored || !receipt.elements.iter().copied().eq(expected) {
        let text = "the receipt counts other elements than the request names";
        faults.push(Fault::new(code::COUNTS_DIFFER, text));
    }
    faults
}
