//! Manifests and deltas: every epoch has one manifest, every publication id names one signed record, and every delta follows
//! one.

use windvane_protocols::lookup::delta::{Delta, check_id};
use windvane_protocols::lookup::manifest::Manifest;
use windvane_protocols::lookup::row::PublicationId;
use windvane_protocols::transcript::{Hash, Signed};

use super::{Check, Content, Epoch, Signature};
use crate::audit::code;
use crate::audit::report::Fault;

impl Content {
    pub(super) fn published<'a>(
        &mut self,
        index: u64,
        signed: &'a Signed<Manifest>,
        checks: &mut Vec<Check<'a>>,
    ) -> Vec<Fault> {
        let (body, digest) = (signed.body(), signed.digest());
        self.manifests.entry(digest).or_insert((index, body.provider.clone()));
        let mut faults = self.signed(index, Signature::Manifest(signed), checks);
        let epoch = (body.provider.clone(), body.data_set.clone(), body.epoch);
        let fresh = Epoch { entry: index, manifest: digest, hours: body.hours() };
        let known = *self.epochs.entry(epoch).or_insert(fresh);
        if known.manifest != digest {
            let text = format!("the epoch was published with another manifest in entry {}", known.entry);
            faults.push(Fault::new(code::SECOND_MANIFEST, text));
        }
        faults.extend(body.publications.iter().filter_map(|p| self.named(index, p.id, digest)));
        faults
    }

    pub(super) fn delta_published<'a>(
        &mut self,
        index: u64,
        signed: &'a Signed<Delta>,
        checks: &mut Vec<Check<'a>>,
    ) -> Vec<Fault> {
        let (body, digest) = (signed.body(), signed.digest());
        let mut faults = self.signed(index, Signature::Delta(signed), checks);
        if !self.manifests.contains_key(&body.base) {
            let text = format!("the log lacks the publication that delta {} follows", body.index);
            faults.push(Fault::new(code::DELTA_BASE, text));
        }
        self.manifests.entry(digest).or_insert((index, body.provider.clone()));
        faults.extend(self.named(index, body.publication.id, digest));
        faults
    }

    fn named(&mut self, index: u64, id: PublicationId, digest: Hash) -> Option<Fault> {
        let (entry, known) = *self.ids.entry(id).or_insert((index, digest));
        let text = || format!("the publication id names another record in entry {entry}");
        check_id(&digest, Some(known)).err().map(|error| Fault::new(error.code(), text()))
    }
}
