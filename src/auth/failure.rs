//! Why a token was refused, in the few kinds that a metric may count, with the
//! words that a caller may see.

use std::fmt;

/// Why a token was refused; the name is the `reason` label of `rscore_auth_failures_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AuthFailure {
    /// No token in the request.
    Missing,
    /// An `Authorization` header of another scheme than `Bearer`.
    Scheme,
    /// Not a compact JWT, or claims of the wrong type.
    Malformed,
    /// Longer than [`MAX_TOKEN_BYTES`](super::MAX_TOKEN_BYTES).
    TooLong,
    /// `alg` is `none`, unknown, or one that no configured key is for.
    Algorithm,
    /// There are keys for the algorithm, none with the token's `kid`.
    UnknownKey,
    /// No key made this signature over these contents.
    Signature,
    /// The token has no `exp`, so it would be good for ever.
    NoExpiry,
    /// `exp` has passed.
    Expired,
    /// `nbf` is in the future.
    NotYetValid,
    /// `iss` is not the configured issuer.
    Issuer,
    /// `aud` does not name this server.
    Audience,
}

impl AuthFailure {
    /// Every failure, for what must cover them all (the metric's label values).
    pub const ALL: [Self; 12] = [
        Self::Missing,
        Self::Scheme,
        Self::Malformed,
        Self::TooLong,
        Self::Algorithm,
        Self::UnknownKey,
        Self::Signature,
        Self::NoExpiry,
        Self::Expired,
        Self::NotYetValid,
        Self::Issuer,
        Self::Audience,
    ];

    /// Label of the metric.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Scheme => "scheme",
            Self::Malformed => "malformed",
            Self::TooLong => "too_long",
            Self::Algorithm => "algorithm",
            Self::UnknownKey => "unknown_key",
            Self::Signature => "signature",
            Self::NoExpiry => "no_expiry",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
        }
    }

    /// A sentence for the caller. What a forger could learn from (which
    /// algorithms, which keys) shares one text; claims are spoken of openly,
    /// since they are only looked at once the signature was good.
    pub fn detail(self) -> &'static str {
        match self {
            Self::Missing => "this route needs a token; send it in the header 'Authorization: Bearer TOKEN'",
            Self::Scheme => "the Authorization header must be of the form 'Bearer TOKEN'",
            Self::Malformed => "the token is not a well-formed JWT",
            Self::TooLong => "the token is too long",
            Self::Algorithm | Self::UnknownKey | Self::Signature => {
                "the token was not signed by a key that this server trusts"
            }
            Self::NoExpiry => "the token has no expiry; it needs an 'exp' claim",
            Self::Expired => "the token has expired; get a new one",
            Self::NotYetValid => "the token is not valid yet; check the clocks of its issuer and of this server",
            Self::Issuer => "the token is from an issuer that this server does not accept",
            Self::Audience => "the token is meant for another audience than this server",
        }
    }
}

impl fmt::Display for AuthFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.detail())
    }
}

impl std::error::Error for AuthFailure {}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn reasons_are_distinct_labels() {
        let reasons: HashSet<_> = AuthFailure::ALL.iter().map(|failure| failure.reason()).collect();
        assert_eq!(reasons.len(), AuthFailure::ALL.len());
        assert!(reasons.iter().all(|r| r.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')));
    }

    #[test]
    fn a_forger_can_not_tell_a_wrong_key_from_a_wrong_algorithm() {
        assert_eq!(AuthFailure::Algorithm.detail(), AuthFailure::Signature.detail());
        assert_eq!(AuthFailure::UnknownKey.detail(), AuthFailure::Signature.detail());
    }
}
