//! `windvane keys`: a node's own keys, the callers of its REST interface, and a trial authority.

use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;
use windvane::admin::Admin;
use windvane::clock::{SystemClock, rfc3339};
use windvane::identity::Layout;
use windvane_keys::files::write_private;
use windvane_keys::record::KeyRecord;
use windvane_keys::store::KeyStore as _;

use super::Answer;
use super::authority::{InitArgs, RevokeArgs};
use super::failure::Failure;
use super::place::{Place, hand_over};
use super::terminal::table;

/// What to do with keys.
#[derive(Debug, clap::Subcommand)]
pub(super) enum KeysCommand {
    /// Make the keys of a new node and begin its log. Run again after it was interrupted, it makes what is missing
    Init {
        #[command(flatten)]
        place: Place,
    },
    /// Ask for the node's next certificate, with a new TLS key. Have the answer imported by every partner first and
    /// by this node last: then no call fails
    Renew {
        /// Where to write the request; printed when not given
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        #[command(flatten)]
        place: Place,
    },
    /// Run a certificate authority for a trial
    #[command(subcommand)]
    Ca(CaCommand),
    /// List the node's keys, destroyed ones too
    List {
        #[command(flatten)]
        place: Place,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the verifier key of the node's log, for auditors and partners
    LogVerifier {
        #[command(flatten)]
        place: Place,
    },
    /// Admit and dismiss callers of the REST interface
    #[command(subcommand)]
    Token(TokenCommand),
}

/// What to do with an authority.
#[derive(Debug, clap::Subcommand)]
pub(super) enum CaCommand {
    /// Make the authority's key and certificate
    Init(InitArgs),
    /// Issue the next revocation list: all that was revoked before, and the certificates of these enrolments
    Revoke(RevokeArgs),
}

/// What to do with callers' tokens.
#[derive(Debug, clap::Subcommand)]
pub(super) enum TokenCommand {
    /// Admit a caller and give its token, which is shown this once
    Add {
        /// The caller's name in the node's logs: letters, digits and -_.@
        name: String,
        /// Write the token into this file, for its owner only, instead of printing it; outside of the data directory,
        /// of which a backup would take it along as it is
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        #[command(flatten)]
        place: Place,
    },
    /// Dismiss a caller; its token is refused within moments
    Remove {
        /// The caller's name
        name: String,
        #[command(flatten)]
        place: Place,
    },
}

impl KeysCommand {
    pub(super) fn run(self) -> Result<Answer, Failure> {
        match self {
            Self::Init { place } => init(&place),
            Self::Renew { out, place } => {
                hand_over(out.as_deref(), place.admin()?.renewal_request()?, "request")
            }
            Self::Ca(CaCommand::Init(args)) => args.run(),
            Self::Ca(CaCommand::Revoke(args)) => args.run(),
            Self::List { place, json } => list(&place, json),
            Self::LogVerifier { place } => Ok(Answer::text(place.admin()?.log_verifier()?)),
            Self::Token(TokenCommand::Add { name, out, place }) => add_token(&place, &name, out),
            Self::Token(TokenCommand::Remove { name, place }) => {
                place.admin()?.dismiss_caller(&name)?;
                Ok(Answer::text(format!("{name} is dismissed")))
            }
        }
    }
}

fn init(place: &Place) -> Result<Answer, Failure> {
    let config = place.load()?;
    let admin = Admin::init(&config, Arc::new(SystemClock))?;
    let layout = Layout::new(config.node.data_dir.clone());
    let passphrase = match (&config.keys.passphrase_file, &config.keys.systemd_credential) {
        (Some(path), _) => format!("{}; without it the keys are lost", path.display()),
        (None, name) => format!("systemd credential {}", name.as_deref().unwrap_or_default()),
    };
    let party = &config.node.party;
    Ok(Answer::text(format!(
        "{party} has its keys.\n\
         keys        {keys}\n\
         passphrase  {passphrase}\n\
         log         {log}\n\
         verifier    {verifier}\n\
         \n\
         Next: windvane partner request --out {party}.request, have it signed by the certificate authority,\n\
         and windvane partner import the enrolment that comes back.",
        keys = layout.keys().display(),
        log = layout.log().display(),
        verifier = admin.log_verifier()?,
    )))
}

/// One key in a listing.
#[derive(Debug, Serialize)]
struct KeyView {
    purpose: String,
    state: &'static str,
    created_at: String,
    id: String,
    public: String,
}

impl KeyView {
    fn of(record: KeyRecord) -> Self {
        Self {
            purpose: record.purpose.to_string(),
            state: record.state.as_str(),
            created_at: rfc3339(record.created_at_ms),
            id: record.id.to_string(),
            public: hex::encode(record.public),
        }
    }
}

fn list(place: &Place, json: bool) -> Result<Answer, Failure> {
    let records = place.admin()?.keys().store.records()?;
    let views: Vec<_> = records.into_iter().map(KeyView::of).collect();
    Ok(Answer::either(json, &views, |views| {
        let row = |v: &KeyView| [v.purpose.clone(), v.state.to_owned(), v.created_at.clone(), v.id.clone()];
        table(["PURPOSE", "STATE", "CREATED", "ID"], views.iter().map(row))
    }))
}

fn add_token(place: &Place, name: &str, out: Option<PathBuf>) -> Result<Answer, Failure> {
    out.as_deref().map_or(Ok(()), |out| place.check_outside(out))?;
    let admin = place.admin()?;
    let token = admin.admit_caller(name)?;
    let Some(path) = out else { return Ok(Answer::text(token.expose())) };
    if let Err(error) = write_private(&path, token.expose().as_bytes()) {
        // Nobody has the token, and the name is free again.
        return Err(match admin.dismiss_caller(name) {
            Ok(()) => error.into(),
            Err(_) => Failure::given(
                "TOKEN_LOST",
                format!(
                    "{error}; {name} is admitted, and nobody has its token: run windvane keys token remove \
                     {name}, and add it again"
                ),
            ),
        });
    }
    Ok(Answer::text(format!("{name} is admitted; its token is in {}", path.display())))
}
