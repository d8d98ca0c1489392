//! Bearer tokens in requests (RFC 6750): takes the token from its header, has
//! it verified, and says in `WWW-Authenticate` what was wrong.

use actix_web::http::header::{self, HeaderMap, HeaderValue};

use super::respond::Failure;
use crate::auth::{self, AuthFailure, Principal, Scope, Verifier};
use crate::error::{Error, Kind};
use crate::telemetry::metrics;

/// What `WWW-Authenticate` says (RFC 6750 section 3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// No token was sent: only the scheme, no error code.
    TokenNeeded,
    /// The header can't be read as one bearer token.
    InvalidRequest,
    /// The token was refused.
    InvalidToken,
    /// The token is good and lacks this scope.
    InsufficientScope(String),
}

impl Challenge {
    /// The header's value.
    pub(crate) fn header_value(&self) -> HeaderValue {
        match self {
            Self::TokenNeeded => HeaderValue::from_static("Bearer realm=\"rscore\""),
            Self::InvalidRequest => HeaderValue::from_static("Bearer realm=\"rscore\", error=\"invalid_request\""),
            Self::InvalidToken => HeaderValue::from_static("Bearer realm=\"rscore\", error=\"invalid_token\""),
            Self::InsufficientScope(scope) => {
                // A scope is made of visible ASCII without quotes and
                // backslashes (RFC 6749 section 3.3). This one has a part of
                // the path in it, which must not end the quoted string.
                let legal = scope.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e));
                let text = match legal {
                    true => format!("Bearer realm=\"rscore\", error=\"insufficient_scope\", scope=\"{scope}\""),
                    false => "Bearer realm=\"rscore\", error=\"insufficient_scope\"".to_owned(),
                };
                HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("Bearer"))
            }
        }
    }
}

/// The caller, from the request's one `Authorization: Bearer` header.
///
/// # Errors
/// [`Kind::Unauthenticated`] without a token, or with one that does not verify.
pub(crate) fn principal(headers: &HeaderMap, verifier: &Verifier) -> Result<Principal, Failure> {
    let token = match one_header(headers) {
        Ok(value) => auth::bearer(value),
        Err(failure) => Err(failure),
    };
    let token = token.map_err(|failure| match failure {
        AuthFailure::Missing => refuse(failure, Challenge::TokenNeeded),
        _ => refuse(failure, Challenge::InvalidRequest),
    })?;
    verifier.verify(token).map_err(|failure| refuse(failure, Challenge::InvalidToken))
}

/// Lets the caller through when the token covers the scope.
///
/// # Errors
/// [`Kind::Forbidden`] otherwise.
pub(crate) fn require(principal: &Principal, scope: &Scope) -> Result<(), Failure> {
    if principal.allows(scope) {
        return Ok(());
    }
    metrics::auth_failure("scope");
    let scope = scope.to_string();
    Err(Failure {
        error: Box::new(Error::new(Kind::Forbidden, format!("the token lacks the scope '{scope}'"))),
        challenge: Some(Challenge::InsufficientScope(scope)),
    })
}

fn one_header(headers: &HeaderMap) -> Result<&str, AuthFailure> {
    let mut values = headers.get_all(header::AUTHORIZATION);
    match (values.next(), values.next()) {
        (None, _) => Err(AuthFailure::Missing),
        (Some(value), None) => value.to_str().map_err(|_| AuthFailure::Malformed),
        // With two of them, a proxy may have checked the other one.
        (Some(_), Some(_)) => Err(AuthFailure::Malformed),
    }
}

fn refuse(failure: AuthFailure, challenge: Challenge) -> Failure {
    metrics::auth_failure(failure.reason());
    Failure { challenge: Some(challenge), ..Error::new(Kind::Unauthenticated, failure.detail()).into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_headers_are_no_token() {
        let mut headers = HeaderMap::new();
        assert_eq!(one_header(&headers), Err(AuthFailure::Missing));
        headers.append(header::AUTHORIZATION, HeaderValue::from_static("Bearer a"));
        assert_eq!(one_header(&headers), Ok("Bearer a"));
        headers.append(header::AUTHORIZATION, HeaderValue::from_static("Bearer b"));
        assert_eq!(one_header(&headers), Err(AuthFailure::Malformed));
    }

    #[test]
    fn a_challenge_names_the_scope_unless_it_would_break_the_header() {
        let value = Challenge::InsufficientScope("score:a\", error=\"x".to_owned()).header_value();
        assert_eq!(value, "Bearer realm=\"rscore\", error=\"insufficient_scope\"");
        let value = Challenge::InsufficientScope("score:boston".to_owned()).header_value();
        assert_eq!(value, "Bearer realm=\"rscore\", error=\"insufficient_scope\", scope=\"score:boston\"");
    }
}
