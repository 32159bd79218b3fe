//! The setup of an epoch: providers share a key that none of them has, relayed by a bank that none trusts.
//!
//! Feldman, "A practical scheme for non-interactive verifiable secret sharing" (FOCS 1987), by every provider
//! at once (Pedersen, Eurocrypt 1991), with proofs of possession as in FROST (Komlo, Goldberg, SAC 2020,
//! figure 1). Three rounds, each a signed message from everybody to everybody:
//!
//! ```text
//! announcement   a fresh key to which shares are sealed
//! dealing        commitments C_j[m] = a_j[m]·G, proof of possession of k_j = a_j[0], sealed shares f_j(i)
//! confirmation   digest of everything above; the bank signs it too
//! ```
//!
//! Provider `i` (from 1, ascending by name) keeps `K_i = Σ_j f_j(i)`. Everyone derives `K_i·G` from the
//! commitments. Nobody is disqualified: whatever is wrong ends the setup with an error that names the party,
//! so the bias that Gennaro, Jarecki, Krawczyk and Rabin (Journal of Cryptology 2007) describe reduces to
//! choosing among keys by refusing to finish, which costs the refuser its name on an error.

use curve25519_dalek::Scalar;
use ed25519_dalek::SigningKey;
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::epoch::{Epoch, Member, MemberKeys};
use super::group::Charter;
use crate::party::PartyId;
use crate::transcript::{Record, Signed};

mod evidence;
pub(super) mod polynomial;
mod possession;
pub mod record;
pub mod seal;
mod sharing;
#[cfg(test)]
mod tests;

pub use evidence::{Evidence, EvidenceError};
pub use sharing::PublicSharing;

use polynomial::Polynomial;
use possession::Possession;
use record::{Announcement, Confirmation, Dealing, FromParty};
use seal::SealingKey;

/// Why a setup ends. Every fault names the party whose signed message shows it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// The caller is not of the group, or its own key is not the pinned one.
    #[error("{party} with this key is not of the scoring group")]
    NotMember {
        /// The caller.
        party: PartyId,
    },
    /// A party's message is missing, or stands twice.
    #[error("the setup has {found} messages of {party} where it needs one")]
    Messages {
        /// The party.
        party: PartyId,
        /// How many there are.
        found: usize,
    },
    /// A message of a party outside the group.
    #[error("{party} is not of the scoring group")]
    Stranger {
        /// The party.
        party: PartyId,
    },
    /// The signature is not by the pinned identity: somebody on the way changed or made the message.
    #[error("a message in the name of {party} is not signed by its pinned identity")]
    Signature {
        /// In whose name it is.
        party: PartyId,
    },
    /// The message is of another setup: other terms, another epoch, or other messages before it.
    #[error("{party} signed a message of another setup")]
    Disagreement {
        /// Who signed it.
        party: PartyId,
    },
    /// Our own message came back as another one.
    #[error("our own message was replaced by another that we once signed")]
    OwnMessage,
    /// Commitments, sealing key or shares are of the wrong number, or no encodings, or the identity.
    #[error("the message of {party} is malformed")]
    Form {
        /// Whose message it is.
        party: PartyId,
    },
    /// The proof of possession does not hold.
    #[error("{party} does not prove that it has the key that it commits to")]
    Possession {
        /// The dealer.
        party: PartyId,
    },
    /// The share does not open, or does not fit its commitments.
    #[error("the share from {party} does not fit its commitments")]
    WrongShare {
        /// The dealer.
        party: PartyId,
    },
    /// The shares add up to nothing: somebody chose a key against another.
    #[error("the shared key is zero")]
    ZeroKey,
    /// Stored keys are not those of the setup.
    #[error("the stored keys are not those of this setup")]
    ForeignKeys,
}

/// A step's new state and what to send.
#[derive(Debug)]
pub struct Step<S, M> {
    /// What waits for the next messages.
    pub state: S,
    /// What every party of the group must get.
    pub message: Signed<M>,
}

/// Waits for everybody's sealing keys.
#[derive(Debug)]
pub struct AwaitAnnouncements {
    charter: Charter,
    index: usize,
    sealing: SealingKey,
    own: Signed<Announcement>,
}

/// Waits for everybody's commitments and shares.
pub struct AwaitDealings {
    charter: Charter,
    index: usize,
    sealing: SealingKey,
    announcements: Vec<Signed<Announcement>>,
    own: Signed<Dealing>,
    /// k_j: of the polynomial, nothing else is needed again.
    table: Zeroizing<Scalar>,
}

/// Waits for everybody's confirmation. The keys are already there, to be stored before ours is sent.
#[derive(Debug)]
pub struct AwaitConfirmations {
    sharing: PublicSharing,
    index: usize,
    keys: MemberKeys,
}

/// Begins a setup as a provider. The caller has made sure that the epoch is new
/// ([`super::ledger::Ledger::begin`]).
///
/// # Errors
/// [`SetupError::NotMember`].
pub fn announce(
    charter: Charter,
    party: &PartyId,
    key: &SigningKey,
    rng: &mut impl CryptoRng,
) -> Result<Step<AwaitAnnouncements, Announcement>, SetupError> {
    let index = charter.index(party).filter(|i| charter.providers()[*i].key == key.verifying_key());
    let index = index.ok_or_else(|| SetupError::NotMember { party: party.clone() })?;
    let sealing = SealingKey::random(rng);
    let announcement =
        Announcement { charter: *charter.digest(), party: party.clone(), sealing: sealing.public() };
    let message = Signed::sign(announcement, key);
    Ok(Step { state: AwaitAnnouncements { charter, index, sealing, own: message.clone() }, message })
}

impl AwaitAnnouncements {
    /// Deals a fresh key to the sealing keys of all providers, our own included.
    ///
    /// # Errors
    /// [`SetupError`].
    pub fn on_announcements(
        self,
        announcements: &[Signed<Announcement>],
        key: &SigningKey,
        rng: &mut impl CryptoRng,
    ) -> Result<Step<AwaitDealings, Dealing>, SetupError> {
        let announcements = sharing::announcements(&self.charter, announcements)?;
        own(&announcements, self.index, &self.own)?;
        let polynomial = Polynomial::random(self.charter.threshold(), rng);
        let dealing = deal(&self.charter, self.index, &announcements, &polynomial, rng)?;
        let message = Signed::sign(dealing, key);
        let (own, table) = (message.clone(), Zeroizing::new(*polynomial.constant()));
        let Self { charter, index, sealing, .. } = self;
        Ok(Step { state: AwaitDealings { charter, index, sealing, announcements, own, table }, message })
    }
}

fn deal(
    charter: &Charter,
    index: usize,
    announcements: &[Signed<Announcement>],
    polynomial: &Polynomial,
    rng: &mut impl CryptoRng,
) -> Result<Dealing, SetupError> {
    let dealer = charter.providers()[index].party.clone();
    let commitments = polynomial.commitments();
    let possession = Possession::prove(charter, &dealer, &commitments, polynomial.constant(), rng);
    let mut dealing = Dealing {
        charter: *charter.digest(),
        announcements: sharing::digest(announcements),
        dealer,
        commitments: commitments.as_bytes().to_vec(),
        possession: possession.to_bytes(),
        shares: Vec::with_capacity(announcements.len()),
    };
    for (x, to) in (1..).zip(announcements) {
        let to = to.body();
        let sealed = seal::seal(&dealing.binding(charter, &to.party), &to.sealing, &polynomial.at(x), rng);
        dealing.shares.push(sealed.ok_or_else(|| SetupError::Form { party: to.party.clone() })?);
    }
    Ok(dealing)
}

impl AwaitDealings {
    /// Checks every dealing, opens and adds up our shares, and confirms.
    ///
    /// # Errors
    /// [`SetupError`]; a wrong share is its dealer's, whose signature covers it.
    pub fn on_dealings(
        self,
        dealings: &[Signed<Dealing>],
        key: &SigningKey,
    ) -> Result<Step<AwaitConfirmations, Confirmation>, SetupError> {
        let sharing = PublicSharing::check(self.charter, &self.announcements, dealings)?;
        own(sharing.dealings(), self.index, &self.own)?;
        let keys = sharing.open(self.index, &self.sealing, self.table)?;
        let party = sharing.charter().providers()[self.index].party.clone();
        let message = sharing.confirm(party, key);
        Ok(Step { state: AwaitConfirmations { sharing, index: self.index, keys }, message })
    }
}

impl std::fmt::Debug for AwaitDealings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AwaitDealings").field("index", &self.index).finish_non_exhaustive()
    }
}

impl AwaitConfirmations {
    /// Our shares, to be stored before the confirmation is sent.
    pub const fn keys(&self) -> &MemberKeys {
        &self.keys
    }

    /// What everybody could check.
    pub const fn sharing(&self) -> &PublicSharing {
        &self.sharing
    }

    /// Takes the setup up again after a restart, with the keys that were stored.
    ///
    /// # Errors
    /// [`SetupError::NotMember`], [`SetupError::ForeignKeys`].
    pub fn resume(sharing: PublicSharing, party: &PartyId, keys: MemberKeys) -> Result<Self, SetupError> {
        let index = sharing.charter().index(party);
        let index = index.ok_or_else(|| SetupError::NotMember { party: party.clone() })?;
        sharing.public_keys()?.check(index, &keys)?;
        Ok(Self { sharing, index, keys })
    }

    /// Ends the setup when every provider and the bank have confirmed the same.
    ///
    /// # Errors
    /// [`SetupError`].
    pub fn on_confirmations(self, confirmations: &[Signed<Confirmation>]) -> Result<Member, SetupError> {
        let epoch: Epoch = self.sharing.agree(confirmations)?;
        Ok(Member::new(epoch, self.index, self.keys))
    }
}

/// A relay that puts an older message of ours in place of the current one would split the group.
fn own<T: Record + FromParty>(
    messages: &[Signed<T>],
    index: usize,
    own: &Signed<T>,
) -> Result<(), SetupError> {
    if messages[index] == *own { Ok(()) } else { Err(SetupError::OwnMessage) }
}
