//! From a request's fields to a canonical question, or the field and the rule that was broken.

use windvane_protocols::identity::{Document, IdentityError, Name, Person, Phone};
use windvane_protocols::limits::MAX_PURPOSE_BYTES;

use super::body::{Asker, BatchItem, ConsentBody, Private};
use super::problem::Problem;
use crate::bank::Inquiry;

/// The longest ticket, consent id, operator, outlet, branch or customer type, in bytes: they stand in log
/// lines, in a sealed store and in tables.
const MAX_CODE_BYTES: usize = 128;

impl Asker {
    /// Purpose and operator, checked.
    ///
    /// # Errors
    /// A [`Problem`] that names the field and the rule.
    pub(super) fn check(&self) -> Result<(), Problem> {
        code("purpose", &self.purpose, MAX_PURPOSE_BYTES)?;
        code("operator", &self.operator, MAX_CODE_BYTES)
    }
}

impl BatchItem {
    /// Checks every field by the rules of the node, without sending anything.
    ///
    /// # Errors
    /// A [`Problem`] that names the first field and rule that was broken.
    pub fn check(&self) -> Result<(), Problem> {
        self.person().map(|_| ())?;
        self.check_codes()
    }

    /// The canonical question; `asker` has been checked.
    pub(super) fn inquiry(self, asker: &Asker) -> Result<Inquiry, Problem> {
        let person = self.person()?;
        self.check_codes()?;
        let document_type = person.document.is_some().then(|| self.document_type.as_str().to_owned());
        Ok(Inquiry {
            person,
            customer_type: self.customer_type,
            document_type,
            purpose: asker.purpose.clone(),
            ticket: self.ticket,
            consent: self.consent.committed(),
            operator: asker.operator.clone(),
            outlet: self.outlet,
            branch: self.branch,
        })
    }

    fn person(&self) -> Result<Person, Problem> {
        let phone = Phone::parse(self.phone.expose()).map_err(Problem::identity)?;
        let document =
            optional(self.id_number.as_ref(), |number| Document::parse(self.document_type.kind(), number))?;
        let name = optional(self.name.as_ref(), Name::parse)?;
        Ok(Person { phone: Some(phone), document, name, other: None })
    }

    /// Checks the ticket alone.
    pub(crate) fn check_ticket(&self) -> Result<(), Problem> {
        code("ticket", &self.ticket, MAX_CODE_BYTES)
    }

    fn check_codes(&self) -> Result<(), Problem> {
        self.check_ticket()?;
        self.consent.check()?;
        let optional =
            [("customer_type", &self.customer_type), ("outlet", &self.outlet), ("branch", &self.branch)];
        optional
            .into_iter()
            .filter_map(|(field, value)| Some((field, value.as_ref()?)))
            .try_for_each(|(field, value)| code(field, value, MAX_CODE_BYTES))
    }
}

impl ConsentBody {
    fn check(&self) -> Result<(), Problem> {
        code("consent.id", &self.id, MAX_CODE_BYTES)?;
        if self.id.chars().any(char::is_whitespace) {
            return Err(Problem::rule("consent.id", "CONSENT_ID_CHARACTER", "consent.id: white space"));
        }
        match self.digest.as_deref() {
            Some(digest) if !is_digest(digest) => {
                let message = "consent.digest: not 64 lower-case hexadecimal digits";
                Err(Problem::rule("consent.digest", "CONSENT_DIGEST_FORMAT", message))
            }
            _ => Ok(()),
        }
    }

    /// The text that the evidence commits to: the id, then ` sha256:` and the digest where there is one.
    /// It is unambiguous, because an id has no white space.
    fn committed(self) -> String {
        match self.digest {
            Some(digest) => format!("{} sha256:{digest}", self.id),
            None => self.id,
        }
    }
}

fn optional<T>(
    value: Option<&Private>,
    parse: impl Fn(&str) -> Result<T, IdentityError>,
) -> Result<Option<T>, Problem> {
    value.map(|text| parse(text.expose())).transpose().map_err(Problem::identity)
}

fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// A code of the bank's own: not blank, not too long, no control characters.
fn code(field: &str, value: &str, limit: usize) -> Result<(), Problem> {
    let refuse = |rule: &str, what: String| {
        let code = format!("{}_{rule}", field.replace('.', "_").to_ascii_uppercase());
        Err(Problem::rule(field, &code, format!("{field}: {what}")))
    };
    if value.len() > limit {
        return refuse("LENGTH", format!("{} bytes, expected at most {limit}", value.len()));
    }
    if value.chars().any(char::is_control) {
        return refuse("CHARACTER", "a control character".to_owned());
    }
    if value.trim().is_empty() {
        return refuse("EMPTY", "empty".to_owned());
    }
    Ok(())
}
