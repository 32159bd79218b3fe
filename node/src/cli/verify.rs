//! `windvane verify`: one customer, through the running node.

use std::path::{Path, PathBuf};

use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use sha2::{Digest as _, Sha256};
use windvane::http::{Client, ConsentBody, Private, Token, VerificationBody};
use windvane::verification::DocumentType;
use windvane_keys::files::{read_private, read_public};

use super::failure::Failure;
use super::place::Place;
use super::{Answer, runtime};

mod report;

/// Environment variable of the caller's token.
const TOKEN_VARIABLE: &str = "WINDVANE_TOKEN";

/// A token has 43 characters; more than this is another file.
const MAX_TOKEN_FILE_BYTES: usize = 1_024;

/// Largest signed text or scan of one.
const MAX_CONSENT_BYTES: usize = 64 << 20;

/// How to reach the running node.
#[derive(Debug, clap::Args)]
pub(super) struct Reach {
    #[command(flatten)]
    pub(super) place: Place,
    /// The node's REST interface; `http.listen` of the configuration when not given
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// A file with the caller's token, see `keys token add`, that only its owner may read; the token in the
    /// environment variable WINDVANE_TOKEN when not given
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// Options of `verify`.
///
/// The customer's details are visible to other users of the machine while the command runs, and stay in a
/// shell's history; systems call the REST interface instead.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct VerifyArgs {
    /// The customer's name; not compared when not given
    #[arg(long)]
    name: Option<String>,
    /// The document's number; not compared when not given
    #[arg(long, value_name = "NUMBER")]
    id: Option<String>,
    /// The mobile number
    #[arg(long, value_name = "NUMBER")]
    phone: String,
    /// What the call is for: a code that the grants name
    #[arg(long, value_name = "CODE")]
    purpose: String,
    /// The bank's own application number
    #[arg(long)]
    ticket: String,
    /// The bank's id of the customer's authorisation
    #[arg(long, value_name = "ID")]
    consent: String,
    /// The text that the customer signed; its SHA-256 goes into the evidence
    #[arg(long, value_name = "FILE")]
    consent_file: Option<PathBuf>,
    /// Who asks, by the bank's own code
    #[arg(long, value_name = "CODE")]
    operator: String,
    /// The document's kind
    #[arg(long, default_value = "resident_id", value_parser = document_type())]
    document_type: DocumentType,
    /// The bank's own code of the customer type, for its rules
    #[arg(long, value_name = "CODE")]
    customer_type: Option<String>,
    /// Repeated with the same key and the same question, the command gives the first answer again and asks nobody
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    #[command(flatten)]
    reach: Reach,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The document's kind by its code.
pub(super) fn document_type() -> impl clap::builder::TypedValueParser<Value = DocumentType> {
    PossibleValuesParser::new(DocumentType::ALL.map(DocumentType::as_str)).map(|word| {
        DocumentType::ALL
            .into_iter()
            .find(|kind| kind.as_str() == word)
            .expect("only these words are let through")
    })
}

impl Reach {
    /// A client of the running node.
    pub(super) fn client(&self) -> Result<Client, Failure> {
        let token = self.token()?;
        Client::new(&self.url()?, &token).map_err(Failure::rest)
    }

    /// A client of the running node, where a token is given.
    pub(super) fn optional_client(&self) -> Result<Option<Client>, Failure> {
        let given = self.token_file.is_some() || std::env::var_os(TOKEN_VARIABLE).is_some();
        given.then(|| self.client()).transpose()
    }

    fn url(&self) -> Result<String, Failure> {
        if let Some(url) = &self.url {
            return Ok(url.clone());
        }
        match self.place.load()?.http {
            Some(http) if http.listen.port() != 0 => Ok(format!("http://{}", http.listen)),
            _ => Err(Failure::given("URL_MISSING", "the configuration fixes no http.listen; give --url")),
        }
    }

    fn token(&self) -> Result<Token, Failure> {
        let text = match &self.token_file {
            Some(path) => read_private(path, MAX_TOKEN_FILE_BYTES)?,
            None => std::env::var(TOKEN_VARIABLE).map(String::into_bytes).map_err(|_| {
                let message = "give --token-file, or set WINDVANE_TOKEN; `keys token add` makes a token";
                Failure::given("TOKEN_MISSING", message)
            })?,
        };
        let text = zeroize::Zeroizing::new(text);
        let parsed = std::str::from_utf8(&text).ok().and_then(|text| Token::parse(text.trim()).ok());
        let malformed = "the token is not 43 characters of base64url; `keys token add` makes one";
        parsed.ok_or_else(|| Failure::given("TOKEN_INVALID", malformed))
    }
}

impl VerifyArgs {
    pub(super) fn run(self) -> Result<Answer, Failure> {
        let client = self.reach.client()?;
        let (json, key) = (self.json, self.idempotency_key.clone());
        let body = self.body()?;
        let asked = runtime()?.block_on(async {
            match key {
                Some(key) => client.verify_once(&body, &key).await,
                None => client.verify(&body).await,
            }
        });
        let report = asked.map_err(Failure::rest)?;
        Ok(Answer::either(json, &report, report::text))
    }

    fn body(self) -> Result<VerificationBody, Failure> {
        let digest = self.consent_file.as_deref().map(digest_of).transpose()?;
        Ok(VerificationBody {
            name: self.name.map(Private::from),
            id_number: self.id.map(Private::from),
            document_type: self.document_type,
            phone: self.phone.into(),
            customer_type: self.customer_type,
            purpose: self.purpose,
            ticket: self.ticket,
            consent: ConsentBody { id: self.consent, digest },
            operator: self.operator,
            outlet: None,
            branch: None,
        })
    }
}

fn digest_of(path: &Path) -> Result<String, Failure> {
    Ok(hex::encode(Sha256::digest(read_public(path, MAX_CONSENT_BYTES)?)))
}
