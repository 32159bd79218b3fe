//! What everybody can check of a setup, the bank included: signatures, proofs of possession, public keys.

use curve25519_dalek::traits::IsIdentity as _;
use curve25519_dalek::{RistrettoPoint, Scalar};
use ed25519_dalek::SigningKey;
use zeroize::Zeroizing;

use super::super::epoch::{Epoch, MemberKeys, PublicKeys};
use super::super::group::{Charter, Identity};
use super::polynomial::{Commitments, decode};
use super::possession::Possession;
use super::record::{Announcement, Confirmation, Dealing, FromParty};
use super::seal::SealingKey;
use super::{Evidence, SetupError};
use crate::oprf::PublicKey;
use crate::party::PartyId;
use crate::transcript::{Hash, Record, Signed, Transcript};

/// Announcements and dealings of a whole group, checked. Not active before everybody has confirmed it.
#[derive(Debug, Clone)]
pub struct PublicSharing {
    charter: Charter,
    announcements: Vec<Signed<Announcement>>,
    dealings: Vec<Signed<Dealing>>,
    commitments: Vec<Commitments>,
    transcript: Hash,
}

impl PublicSharing {
    /// Checks all announcements and dealings, which may come in any order.
    ///
    /// # Errors
    /// [`SetupError`], naming whose message is wrong.
    pub fn check(
        charter: Charter,
        announcements: &[Signed<Announcement>],
        dealings: &[Signed<Dealing>],
    ) -> Result<Self, SetupError> {
        let announcements = self::announcements(&charter, announcements)?;
        let dealings = collect(&charter, charter.providers().iter(), dealings)?;
        let seen = digest(&announcements);
        let check = |dealing: &Signed<Dealing>| check_dealing(&charter, &seen, dealing.body());
        let commitments = dealings.iter().map(check).collect::<Result<_, _>>()?;
        let transcript = Transcript::new("windvane/score-setup/v1")
            .bytes("group", charter.digest())
            .bytes("announcements", &seen)
            .bytes("dealings", &digest(&dealings))
            .digest();
        Ok(Self { charter, announcements, dealings, commitments, transcript })
    }

    /// The group.
    pub const fn charter(&self) -> &Charter {
        &self.charter
    }

    /// The dealings, ascending by dealer.
    pub fn dealings(&self) -> &[Signed<Dealing>] {
        &self.dealings
    }

    /// Digest of everything so far: what all parties compare and sign.
    pub const fn transcript(&self) -> &Hash {
        &self.transcript
    }

    /// Confirms the setup in a party's name: a provider's, or the bank's.
    pub fn confirm(&self, party: PartyId, key: &SigningKey) -> Signed<Confirmation> {
        let charter = *self.charter.digest();
        Signed::sign(Confirmation { charter, party, transcript: self.transcript }, key)
    }

    /// Ends the setup for everybody who has no share of it, when all providers and the bank have confirmed.
    ///
    /// # Errors
    /// [`SetupError`], naming who did not confirm, or confirmed something else.
    pub fn agree(self, confirmations: &[Signed<Confirmation>]) -> Result<Epoch, SetupError> {
        let keys = self.public_keys()?;
        let identities = self.charter.terms().identities();
        let confirmations = collect(&self.charter, identities, confirmations)?;
        let other = |message: &&Signed<Confirmation>| message.body().transcript != self.transcript;
        if let Some(message) = confirmations.iter().find(other) {
            return Err(SetupError::Disagreement { party: message.body().party.clone() });
        }
        let terms = self.charter.terms().clone();
        let Self { charter, announcements, dealings, .. } = self;
        Ok(Epoch::new(charter, keys, Evidence { terms, announcements, dealings, confirmations }))
    }

    /// Everything that follows from the commitments: ctx, `K_i·G` of every provider, and `K·G`.
    ///
    /// # Errors
    /// [`SetupError::ZeroKey`].
    pub(super) fn public_keys(&self) -> Result<PublicKeys, SetupError> {
        let shares = (1..=self.commitments.len() as u64).map(|x| self.sum(|c| c.at(x)));
        Ok(PublicKeys {
            context: self.context(),
            shares: shares.collect::<Result<_, _>>()?,
            joint: self.sum(|c| *c.constant())?,
            tables: self.commitments.iter().map(|c| c.as_bytes()[0]).collect(),
        })
    }

    /// Opens the shares that were dealt to us, and adds them up.
    pub(super) fn open(
        &self,
        index: usize,
        sealing: &SealingKey,
        table: Zeroizing<Scalar>,
    ) -> Result<MemberKeys, SetupError> {
        let recipient = &self.charter.providers()[index].party;
        let mut sum = Zeroizing::new(Scalar::ZERO);
        for (dealing, commitments) in self.dealings.iter().map(Signed::body).zip(&self.commitments) {
            let share = sealing.open(&dealing.binding(&self.charter, recipient), &dealing.shares[index]);
            let fits = |share: &Zeroizing<Scalar>| {
                RistrettoPoint::mul_base(share) == commitments.at(index as u64 + 1)
            };
            let wrong = || SetupError::WrongShare { party: dealing.dealer.clone() };
            *sum += *share.filter(fits).ok_or_else(wrong)?;
        }
        MemberKeys::new(Some(table), &sum).ok_or(SetupError::ZeroKey)
    }

    fn sum(&self, commitment: impl Fn(&Commitments) -> RistrettoPoint) -> Result<PublicKey, SetupError> {
        let sum: RistrettoPoint = self.commitments.iter().map(commitment).sum();
        if sum.is_identity() {
            return Err(SetupError::ZeroKey);
        }
        PublicKey::from_bytes(sum.compress().to_bytes()).map_err(|_| SetupError::ZeroKey)
    }

    /// ctx: the terms and all commitments.
    fn context(&self) -> Hash {
        let t = self.charter.terms().write(Transcript::new("windvane/score-context/v1"));
        self.commitments.iter().fold(t, |t, c| t.list("commitment", c.as_bytes().iter())).digest()
    }
}

/// Checks the announcements and puts them in the providers' order.
pub(super) fn announcements(
    charter: &Charter,
    messages: &[Signed<Announcement>],
) -> Result<Vec<Signed<Announcement>>, SetupError> {
    let announcements = collect(charter, charter.providers().iter(), messages)?;
    match announcements.iter().find(|message| decode(&message.body().sealing).is_none()) {
        Some(message) => Err(SetupError::Form { party: message.body().party.clone() }),
        None => Ok(announcements),
    }
}

/// Digest over messages with their signatures, in the providers' order.
pub(super) fn digest<T: Record>(messages: &[Signed<T>]) -> Hash {
    Transcript::new("windvane/score-messages/v1")
        .list("message", messages.iter().map(Signed::digest))
        .digest()
}

/// Exactly one message of each identity, signed by its pinned key and of this setup, in the identities' order.
fn collect<'a, T: Record + FromParty>(
    charter: &Charter,
    identities: impl Iterator<Item = &'a Identity>,
    messages: &[Signed<T>],
) -> Result<Vec<Signed<T>>, SetupError> {
    let identities: Vec<_> = identities.collect();
    let stranger = |message: &&Signed<T>| identities.iter().all(|i| i.party != *message.body().party());
    if let Some(message) = messages.iter().find(stranger) {
        return Err(SetupError::Stranger { party: message.body().party().clone() });
    }
    let pick = |identity: &&Identity| {
        let party = identity.party.clone();
        let mut own = messages.iter().filter(|message| *message.body().party() == party);
        match (own.next(), own.count()) {
            (Some(message), 0) if !message.verify(&identity.key) => Err(SetupError::Signature { party }),
            (Some(message), 0) if message.body().charter() != charter.digest() => {
                Err(SetupError::Disagreement { party })
            }
            (Some(message), 0) => Ok(message.clone()),
            (first, more) => Err(SetupError::Messages { party, found: usize::from(first.is_some()) + more }),
        }
    };
    identities.iter().map(pick).collect()
}

fn check_dealing(charter: &Charter, seen: &Hash, dealing: &Dealing) -> Result<Commitments, SetupError> {
    let party = || dealing.dealer.clone();
    if dealing.announcements != *seen {
        return Err(SetupError::Disagreement { party: party() });
    }
    let counts = (dealing.commitments.len(), dealing.shares.len());
    if counts != (charter.threshold(), charter.providers().len()) {
        return Err(SetupError::Form { party: party() });
    }
    let form = || SetupError::Form { party: party() };
    let commitments = Commitments::from_bytes(&dealing.commitments).ok_or_else(form)?;
    let possession = Possession::from_bytes(&dealing.possession).ok_or_else(form)?;
    if possession.holds(charter, &dealing.dealer, &commitments) {
        Ok(commitments)
    } else {
        Err(SetupError::Possession { party: party() })
    }
}
