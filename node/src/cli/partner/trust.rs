//! Authorities of organisations, and what they revoked.

use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;
use sha2::{Digest as _, Sha256};
use windvane::admin::read_text;
use windvane::clock::rfc3339;
use windvane_keys::enrolment::{Enrolment, EnrolmentRequest};
use windvane_keys::files::{read_public, write_public};
use windvane_keys::identity::{KEYS_EXTENSION, certificates_from_pem};
use windvane_keys::revocation::MAX_LIST_BYTES;
use windvane_keys::trust::Trust;
use windvane_protocols::party::PartyId;

use super::super::Answer;
use super::super::failure::Failure;
use super::super::place::{Place, hand_over};
use super::super::terminal::table;

pub(super) fn assemble(
    request: &Path,
    chain: &Path,
    authority: &Path,
    out: Option<&Path>,
) -> Result<Answer, Failure> {
    let request = EnrolmentRequest::from_pem(&read_text(request)?)?;
    let read = |path: &Path| Ok::<_, Failure>(certificates_from_pem(read_text(path)?.as_bytes())?);
    let chain = read(chain)?.iter().map(|der| der.to_vec()).collect();
    let authority = read(authority)?;
    let what = format!("enrolment of {}", request.party());
    let enrolment = Enrolment::with_chain(request, chain, &authority[0])?;
    hand_over(out, enrolment.to_pem(), &what)
}

pub(super) fn csr(request: &Path, out: &Path, extensions: &Path) -> Result<Answer, Failure> {
    let request = EnrolmentRequest::from_pem(&read_text(request)?)?;
    write_public(out, request.certificate_request_pem().as_bytes())?;
    write_public(extensions, extensions_of(&request).as_bytes())?;
    Ok(Answer::text(format!(
        "request of {party} written to {out}, extensions to {extensions}.\n\
         For example: openssl x509 -req -in {out} -extfile {extensions} -CA ca.pem -CAkey ca.key -days 365\n\
         Next: windvane partner assemble REQUEST --chain FILE --authority FILE",
        party = request.party(),
        out = out.display(),
        extensions = extensions.display(),
    )))
}

/// The request cannot ask for the digest of itself, so the authority adds it.
fn extensions_of(request: &EnrolmentRequest) -> String {
    let [a, b, c] = KEYS_EXTENSION;
    let mut text = format!(
        "basicConstraints = critical,CA:FALSE\nkeyUsage = critical,digitalSignature\n\
         extendedKeyUsage = serverAuth,clientAuth\nsubjectAltName = URI:{}\n{a}.{b}.{c} = DER:04:40",
        request.party().to_uri()
    );
    for byte in request.digest() {
        // Writing to a string cannot fail.
        let _ = write!(text, ":{byte:02X}");
    }
    text + "\n"
}

pub(super) fn bind(place: &Place, authority: &Path, parties: &[PartyId]) -> Result<Answer, Failure> {
    let bound = place.admin()?.bind_authority(&read_text(authority)?, parties)?;
    let sha256 = hex::encode(Sha256::digest(&bound.certificate.der));
    let parties: Vec<_> = bound.parties.iter().map(PartyId::as_str).collect();
    Ok(Answer::text(format!("the authority with SHA-256 {sha256} speaks for {} alone", parties.join(", "))))
}

pub(super) fn revocations(place: &Place, file: &Path) -> Result<Answer, Failure> {
    let imported = place.admin()?.import_revocations(&read_public(file, 2 * MAX_LIST_BYTES)?)?;
    let (list, known) = (imported.list, if imported.known { "was here already" } else { "counts now" });
    Ok(Answer::text(format!(
        "list {} {known}: {} certificates are revoked, the next list is due by {}",
        list.number(),
        list.len(),
        rfc3339(list.next_update_ms())
    )))
}

/// An authority in a listing.
#[derive(Debug, Serialize)]
struct AuthorityView {
    sha256: String,
    /// `*` is everybody whom no other authority speaks for.
    parties: String,
    valid_until: String,
}

/// A revocation list in a listing.
#[derive(Debug, Serialize)]
struct ListView {
    number: String,
    revoked: usize,
    issued_at: String,
    next_by: String,
}

#[derive(Debug, Serialize)]
struct TrustView {
    authorities: Vec<AuthorityView>,
    revocation_lists: Vec<ListView>,
}

impl TrustView {
    fn of(trust: &Trust) -> Self {
        let view = |certificate: &windvane_keys::identity::AuthorityCertificate, parties| AuthorityView {
            sha256: hex::encode(Sha256::digest(&certificate.der)),
            parties,
            valid_until: rfc3339(certificate.not_after_ms),
        };
        let names = |parties: &[PartyId]| parties.iter().map(PartyId::as_str).collect::<Vec<_>>().join(" ");
        let bound = trust.anchors().iter().map(|anchor| view(&anchor.certificate, names(&anchor.parties)));
        let free = !trust.anchors().iter().any(|anchor| anchor.certificate == *trust.own());
        let own = free.then(|| view(trust.own(), "*".to_owned()));
        let lists = trust.lists().map(|list| ListView {
            number: list.number(),
            revoked: list.len(),
            issued_at: rfc3339(list.this_update_ms()),
            next_by: rfc3339(list.next_update_ms()),
        });
        Self { authorities: own.into_iter().chain(bound).collect(), revocation_lists: lists.collect() }
    }

    fn text(&self) -> String {
        let row = |v: &AuthorityView| [v.parties.clone(), v.valid_until.clone(), v.sha256.clone()];
        let authorities = table(["PARTIES", "VALID UNTIL", "SHA-256"], self.authorities.iter().map(row));
        if self.revocation_lists.is_empty() {
            return authorities;
        }
        let row =
            |v: &ListView| [v.number.clone(), v.revoked.to_string(), v.issued_at.clone(), v.next_by.clone()];
        let lists = self.revocation_lists.iter().map(row);
        format!("{authorities}\n\n{}", table(["LIST", "REVOKED", "ISSUED", "NEXT BY"], lists))
    }
}

pub(super) fn list(place: &Place, json: bool) -> Result<Answer, Failure> {
    let view = TrustView::of(&place.admin()?.certificate()?.trust);
    Ok(Answer::either(json, &view, TrustView::text))
}
