//! What the routes need of a bank: the seam at which their tests stand.

use std::pin::Pin;

use super::idempotency::Idempotency;
use crate::bank::{Bank, BankError, Inquiry, Keyed};
use crate::verification::VerificationReport;

/// An answer on its way.
pub(super) type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, BankError>> + Send + 'a>>;

/// Answers questions; see [`Bank`] for the meaning of each call.
pub(super) trait Verifier: Send + Sync {
    fn verify(&self, inquiry: Inquiry, keyed: Option<Keyed>) -> Answer<'_, VerificationReport>;
    fn verify_batch(
        &self,
        inquiries: Vec<Inquiry>,
        keyed: Option<Keyed>,
    ) -> Answer<'_, Vec<VerificationReport>>;
    fn score_batch(
        &self,
        inquiries: Vec<Inquiry>,
        keyed: Option<Keyed>,
    ) -> Answer<'_, Vec<VerificationReport>>;
    fn report<'a>(&'a self, id: &'a str) -> Answer<'a, Option<VerificationReport>>;
    fn user_of_token(&self, token_sha256: [u8; 32]) -> Answer<'_, Option<String>>;
    fn idempotency(&self) -> &Idempotency;
}

impl Verifier for Bank {
    fn verify(&self, inquiry: Inquiry, keyed: Option<Keyed>) -> Answer<'_, VerificationReport> {
        Box::pin(self.verify_under(keyed, inquiry))
    }

    fn verify_batch(
        &self,
        inquiries: Vec<Inquiry>,
        keyed: Option<Keyed>,
    ) -> Answer<'_, Vec<VerificationReport>> {
        Box::pin(self.verify_batch_under(keyed, inquiries))
    }

    fn score_batch(
        &self,
        inquiries: Vec<Inquiry>,
        keyed: Option<Keyed>,
    ) -> Answer<'_, Vec<VerificationReport>> {
        Box::pin(self.score_batch_under(keyed, inquiries))
    }

    fn report<'a>(&'a self, id: &'a str) -> Answer<'a, Option<VerificationReport>> {
        Box::pin(self.report(id))
    }

    fn idempotency(&self) -> &Idempotency {
        self.idempotency()
    }

    fn user_of_token(&self, token_sha256: [u8; 32]) -> Answer<'_, Option<String>> {
        Box::pin(self.user_of_token(token_sha256))
    }
}
