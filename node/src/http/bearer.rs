//! Bearer tokens (RFC 6750): 32 random bytes, known to the node only as a SHA-256.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use sha2::{Digest as _, Sha256};
use windvane_protocols::secret::Secret;

use super::app::App;
use super::problem::Problem;

/// Bytes of entropy in a token; 32 bytes are 43 characters of base64url.
const TOKEN_BYTES: usize = 32;

/// A bearer token in its text form: 43 characters of base64url without padding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token(Secret<String>);

/// The text is not 32 bytes in base64url without padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a token is 43 characters of base64url without padding")]
pub struct MalformedToken;

impl Token {
    /// A token from 32 random bytes.
    pub fn from_bytes(bytes: [u8; TOKEN_BYTES]) -> Self {
        Self(Secret::new(BASE64_URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// Reads a token's text.
    ///
    /// # Errors
    /// [`MalformedToken`].
    pub fn parse(text: &str) -> Result<Self, MalformedToken> {
        let mut bytes = zeroize::Zeroizing::new([0; TOKEN_BYTES]);
        match BASE64_URL_SAFE_NO_PAD.decode_slice(text, &mut *bytes) {
            Ok(TOKEN_BYTES) => Ok(Self(Secret::new(text.to_owned()))),
            _ => Err(MalformedToken),
        }
    }

    /// SHA-256 of the 43 characters, as `printf %s TOKEN | sha256sum` gives it: what a node stores.
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.expose()).into()
    }

    /// The text itself.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

/// Who sent a request: the name that its token was admitted under.
#[derive(Debug, Clone)]
pub(super) struct Caller(pub(super) String);

/// Lets a request pass whose token a user was admitted with.
pub(super) async fn admit(
    State(app): State<App>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let token = token_of(request.headers())?;
    match app.bank.user_of_token(token.digest()).await? {
        Some(caller) => {
            tracing::Span::current().record("caller", &caller);
            request.extensions_mut().insert(Caller(caller));
            Ok(next.run(request).await)
        }
        None => Err(invalid("the token is not admitted")),
    }
}

fn token_of(headers: &HeaderMap) -> Result<Token, Problem> {
    let mut given = headers.get_all(AUTHORIZATION).iter();
    let missing = Problem::unauthenticated("TOKEN_MISSING", "the request carries no token");
    let value = given.next().ok_or(missing)?;
    let (scheme, text) =
        value.to_str().ok().and_then(|v| v.split_once(' ')).ok_or(invalid("not a bearer token"))?;
    if given.next().is_some() || !scheme.eq_ignore_ascii_case("bearer") {
        return Err(invalid("not one bearer token"));
    }
    Token::parse(text).map_err(|error| invalid(&error.to_string()))
}

fn invalid(message: &str) -> Problem {
    Problem::unauthenticated("TOKEN_INVALID", message)
}
