//! What the operators of a fleet change while its nodes run: certificates, revocation lists, epochs, snapshots, peers.

use std::net::SocketAddr;
use std::path::Path;

use windvane_keys::enrolment::Enrolment;

use super::authority::Authority;
use super::party::Party;
use super::{BANK, Fleet, FleetError};
use crate::admin::read_text;
use crate::dataset::DataSetConfig;
use crate::error::NodeError;
use crate::identity::Certificate;

/// A second bank, which knows the first carrier and is known there.
const PEER: &str = "bank-b";

/// The commands of everybody in a fleet. They block on files.
#[derive(Debug)]
pub struct Operators {
    authority: Authority,
    bank: Party,
    carriers: Vec<Party>,
    /// Enrolments whose certificates were renewed and not revoked yet.
    superseded: Vec<String>,
}

/// A peer of the first carrier beside the bank.
#[derive(Debug)]
pub struct Peer {
    /// What it shows and believes.
    pub certificate: Certificate,
    /// The carrier's party id.
    pub carrier: String,
    /// Where the carrier is.
    pub address: SocketAddr,
    enrolment: String,
}

impl Operators {
    /// Opens the files of a running fleet.
    ///
    /// # Errors
    /// [`FleetError`].
    pub fn of(fleet: &Fleet) -> Result<Self, FleetError> {
        let open = |party: &str| Party::open(&fleet.dir().join(party), party);
        let carriers = fleet.carriers().iter().map(|(party, _)| open(party)).collect::<Result<_, _>>()?;
        Ok(Self {
            authority: Authority::open(&fleet.dir().join("certificates"))?,
            bank: open(BANK)?,
            carriers,
            superseded: Vec::new(),
        })
    }

    /// Has the bank's or a carrier's next certificate signed, for a new key, and makes it known to its partners. The
    /// party's own node goes on with the present one until [`Self::renew`].
    ///
    /// # Errors
    /// [`FleetError`].
    pub fn prepare_renewals(&self) -> Result<Vec<String>, FleetError> {
        let mut signed = vec![self.signed(&self.bank)?];
        for carrier in &self.carriers {
            carrier.import_enrolment(&signed[0])?;
            let enrolment = self.signed(carrier)?;
            self.bank.import_enrolment(&enrolment)?;
            signed.push(enrolment);
        }
        Ok(signed)
    }

    /// Lets every node use the certificate that its partners know by now.
    ///
    /// # Errors
    /// [`FleetError`].
    pub fn renew(&mut self, signed: &[String]) -> Result<(), FleetError> {
        let mut superseded = Vec::new();
        for (party, enrolment) in std::iter::once(&self.bank).chain(&self.carriers).zip(signed) {
            superseded.push(party.own_enrolment()?);
            party.import_enrolment(enrolment)?;
        }
        self.superseded.extend(superseded);
        Ok(())
    }

    fn signed(&self, party: &Party) -> Result<String, FleetError> {
        let sign = || self.authority.sign(&party.admin().renewal_request()?);
        sign().map_err(FleetError::party(party.name()))
    }

    /// Revokes the certificates that were renewed, and has every node import the list.
    ///
    /// # Errors
    /// [`FleetError`].
    pub fn revoke_superseded(&mut self) -> Result<(), FleetError> {
        let superseded = std::mem::take(&mut self.superseded);
        self.revoke(&superseded)
    }

    /// Revokes a peer.
    ///
    /// # Errors
    /// [`FleetError`].
    pub fn revoke_peer(&mut self, peer: &Peer) -> Result<(), FleetError> {
        self.revoke(std::slice::from_ref(&peer.enrolment))
    }

    fn revoke(&mut self, enrolments: &[String]) -> Result<(), FleetError> {
        let list = self.authority.revoke(enrolments)?;
        // The carriers first: the peer that is revoked calls them.
        for party in self.carriers.iter().chain([&self.bank]) {
            let imported = party.admin().import_revocations(list.as_bytes());
            imported.map_err(FleetError::party(party.name()))?;
        }
        Ok(())
    }

    /// Builds and publishes every carrier's next epoch.
    ///
    /// # Errors
    /// [`FleetError`].
    pub fn publish_epochs(&self) -> Result<(), FleetError> {
        for carrier in &self.carriers {
            let publish = || {
                let config = DataSetConfig::load(&carrier.dir().join("dataset.toml"))?;
                carrier.admin().build(&config, &())?;
                carrier.admin().publish(&config)
            };
            publish().map_err(FleetError::party(carrier.name()))?;
        }
        Ok(())
    }

    /// Downloads every carrier's current snapshot to the bank.
    ///
    /// # Errors
    /// [`FleetError`].
    pub async fn fetch_snapshots(&self) -> Result<(), FleetError> {
        for carrier in &self.carriers {
            self.bank.fetch(carrier.name()).await?;
        }
        Ok(())
    }

    /// Whether every node has read what commands changed; what it read it takes into effect a moment later.
    ///
    /// # Errors
    /// [`FleetError`].
    pub fn all_read(&self) -> Result<bool, FleetError> {
        let mut read = true;
        for party in self.carriers.iter().chain([&self.bank]) {
            read &= party.admin().is_flushed().map_err(FleetError::party(party.name()))?;
        }
        Ok(read)
    }

    /// Makes the second bank, and it and the first carrier each other's partners.
    ///
    /// # Errors
    /// [`FleetError`].
    pub fn acquaint_peer(&self, fleet: &Fleet) -> Result<Peer, FleetError> {
        let peer = Party::bank(&fleet.dir().join(PEER), PEER)?;
        let enrolment = peer.enrol(&self.authority)?;
        let (Some(carrier), Some((party, address))) =
            (self.carriers.first(), fleet.carriers().first().cloned())
        else {
            return Err(FleetError::NotReady { party: PEER.to_owned() });
        };
        carrier.import_enrolment(&enrolment)?;
        peer.import_enrolment(&carrier.own_enrolment()?)?;
        let certificate = peer.admin().certificate().map_err(FleetError::party(PEER))?;
        Ok(Peer { certificate, carrier: party, address, enrolment })
    }
}

impl Authority {
    fn revoke(&mut self, enrolments: &[String]) -> Result<String, FleetError> {
        let parse = |pem: &String| Ok::<_, NodeError>(Enrolment::from_pem(pem)?);
        let enrolments = enrolments.iter().map(parse).collect::<Result<Vec<_>, _>>();
        let enrolments = enrolments.map_err(FleetError::party("authority"))?;
        let serials: Vec<_> = enrolments.iter().map(|e| e.certificate().serial.as_slice()).collect();
        self.revoke_serials(&serials)
    }
}

impl Party {
    fn own_enrolment(&self) -> Result<String, FleetError> {
        let path = Path::new("data").join("enrolment.pem");
        read_text(&self.dir().join(path)).map_err(FleetError::party(self.name()))
    }
}
