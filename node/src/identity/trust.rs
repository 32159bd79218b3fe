//! Whom the node believes, as its state file has it.

use windvane_keys::identity::AuthorityCertificate;
use windvane_keys::revocation::RevocationList;
use windvane_keys::trust::{Anchor, Trust};

use crate::config::CertificatesConfig;
use crate::error::NodeError;
use crate::store::Store;

/// Reads authorities and revocation lists.
///
/// # Errors
/// [`NodeError`] when the state file cannot be read, or holds what was never put there.
pub(super) fn load(
    own: AuthorityCertificate,
    store: &Store,
    config: &CertificatesConfig,
) -> Result<Trust, NodeError> {
    let anchor = |(certificate, parties): (Vec<u8>, String)| {
        let parties = parties.split(' ').map(str::parse).collect::<Result<_, _>>();
        Ok(Anchor {
            certificate: AuthorityCertificate::from_der(&certificate)?,
            parties: parties.map_err(|error| NodeError::Given {
                code: "STATE_DAMAGED",
                message: format!("the state file's authorities: {error}; restore it from a backup"),
            })?,
        })
    };
    let anchors = store.authorities()?.into_iter().map(anchor).collect::<Result<_, NodeError>>()?;
    let list = |(issuer, der): ([u8; 32], Vec<u8>)| Ok((issuer, RevocationList::from_der(&der)?));
    let lists = store.revocation_lists()?.into_iter().map(list).collect::<Result<_, NodeError>>()?;
    let trust = Trust::new(own).with_anchors(anchors).with_lists(lists);
    Ok(trust.refusing_overdue(config.refuse_overdue_lists))
}
