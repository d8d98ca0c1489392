//! The value of an `Authorization` header (RFC 6750 section 2.1), read strictly:
//! what two readers could understand differently is refused.

use super::AuthFailure;

/// The token of an `Authorization` header's value: the scheme `Bearer` in any
/// case (RFC 9110 section 11.1), spaces, and exactly one token.
///
/// # Errors
/// [`AuthFailure::Missing`] for an empty value or `Bearer` alone,
/// [`AuthFailure::Scheme`] for another scheme, [`AuthFailure::Malformed`] for
/// more than one token or characters that no token has.
pub fn bearer(header_value: &str) -> Result<&str, AuthFailure> {
    let value = header_value.trim_matches([' ', '\t']);
    if value.is_empty() {
        return Err(AuthFailure::Missing);
    }
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(AuthFailure::Scheme);
    }
    let token = token.trim_start_matches(' ');
    if token.is_empty() {
        return Err(AuthFailure::Missing);
    }
    if !token.bytes().all(is_token_byte) {
        return Err(AuthFailure::Malformed);
    }
    Ok(token)
}

/// Characters of `b64token` in RFC 6750 section 2.1.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/' | b'=')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_has_any_case() {
        for value in ["Bearer a.b.c", "bearer a.b.c", "BEARER   a.b.c", "  Bearer a.b.c "] {
            assert_eq!(bearer(value), Ok("a.b.c"), "{value:?}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for (value, failure) in [
            ("", AuthFailure::Missing),
            ("   ", AuthFailure::Missing),
            ("Bearer", AuthFailure::Missing),
            ("Bearer  ", AuthFailure::Missing),
            ("Basic dTpw", AuthFailure::Scheme),
            ("a.b.c", AuthFailure::Scheme),
            ("BearerX a.b.c", AuthFailure::Scheme),
            ("Bearer\ta.b.c", AuthFailure::Scheme),
            ("Bearer a.b.c d.e.f", AuthFailure::Malformed),
            ("Bearer a.b.c, Bearer d", AuthFailure::Malformed),
            ("Bearer \"a.b.c\"", AuthFailure::Malformed),
            ("Bearer a.b.\u{e9}", AuthFailure::Malformed),
        ] {
            assert_eq!(bearer(value), Err(failure), "{value:?}");
        }
    }
}
