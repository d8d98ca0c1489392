//! What a token says, and whether that is enough (RFC 7519 section 4.1). Only
//! claims of a token whose signature was good get here.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::AuthFailure;
use super::scope::Grants;
use crate::config::settings::AuthSettings;

/// The claims that rscore reads; others are left alone.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Claims {
    /// Subject: who calls.
    pub sub: Option<String>,
    /// Issuer.
    pub iss: Option<String>,
    /// Audience, one or several.
    pub aud: Option<Audience>,
    /// Expiration time, seconds since 1970; may have a fraction.
    pub exp: Option<f64>,
    /// Not valid before, seconds since 1970; may have a fraction.
    pub nbf: Option<f64>,
    /// Scopes, the claim of RFC 8693 section 4.2.
    scope: Option<Words>,
    /// Scopes, the claim of Microsoft Entra ID and Okta.
    scp: Option<Words>,
    /// Roles.
    roles: Option<Words>,
}

/// `aud`: one name or several (RFC 7519 section 4.1.3).
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Audience {
    /// A plain string.
    One(String),
    /// An array of strings.
    Many(Vec<String>),
}

/// Words in one string, or one word per element of an array. An element is
/// taken whole: a space in it doesn't make two scopes of it.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Words {
    One(String),
    Many(Vec<String>),
    /// Another issuer's idea of the claim, for example objects. It grants
    /// nothing, and is no reason to refuse a token that other claims grant.
    Foreign(IgnoredAny),
}

impl Claims {
    /// What the scopes and roles add up to.
    pub fn grants(&self) -> Grants {
        Grants::new(words(&self.scope).chain(words(&self.scp)), words(&self.roles))
    }
}

fn words(claim: &Option<Words>) -> Box<dyn Iterator<Item = &str> + '_> {
    match claim {
        Some(Words::One(text)) => Box::new(text.split(' ')),
        Some(Words::Many(list)) => Box::new(list.iter().map(String::as_str)),
        Some(Words::Foreign(_)) | None => Box::new(std::iter::empty()),
    }
}

/// What the settings ask of every token.
#[derive(Debug, Clone, PartialEq)]
pub struct Expectations {
    issuer: Option<String>,
    audience: Option<String>,
    /// Seconds.
    leeway: f64,
}

impl Expectations {
    /// Takes them from the settings.
    pub fn from_settings(settings: &AuthSettings) -> Self {
        Self {
            issuer: settings.issuer.clone(),
            audience: settings.audience.clone(),
            leeway: settings.leeway.as_secs_f64(),
        }
    }

    /// Checks the claims at a time in seconds since 1970. Without a configured
    /// audience a token for any audience is taken.
    pub fn check(&self, claims: &Claims, now: f64) -> Result<(), AuthFailure> {
        // 'On or after' the expiration is too late (RFC 7519 section 4.1.4).
        let expires = claims.exp.ok_or(AuthFailure::NoExpiry)?;
        if now >= expires + self.leeway {
            return Err(AuthFailure::Expired);
        }
        if claims.nbf.is_some_and(|not_before| now < not_before - self.leeway) {
            return Err(AuthFailure::NotYetValid);
        }
        if self.issuer.is_some() && claims.iss != self.issuer {
            return Err(AuthFailure::Issuer);
        }
        match (&self.audience, &claims.aud) {
            (None, _) => Ok(()),
            (Some(us), Some(Audience::One(name))) if name == us => Ok(()),
            (Some(us), Some(Audience::Many(names))) if names.contains(us) => Ok(()),
            (Some(_), _) => Err(AuthFailure::Audience),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use std::time::Duration;

    use serde_json::json;

    use super::super::scope::Scope;
    use super::*;

    const NOW: f64 = 1_000_000.0;

    fn check(settings: &AuthSettings, claims: serde_json::Value) -> Result<(), AuthFailure> {
        Expectations::from_settings(settings).check(&serde_json::from_value(claims).unwrap(), NOW)
    }

    fn strict() -> AuthSettings {
        AuthSettings { leeway: Duration::ZERO, ..AuthSettings::default() }
    }

    #[test]
    fn time_is_checked_to_the_second_and_below() {
        assert_eq!(check(&strict(), json!({"exp": NOW + 1.0})), Ok(()));
        assert_eq!(check(&strict(), json!({"exp": NOW + 0.25})), Ok(()));
        assert_eq!(check(&strict(), json!({"exp": NOW as u64})), Err(AuthFailure::Expired));
        assert_eq!(check(&strict(), json!({"exp": -5})), Err(AuthFailure::Expired));
        assert_eq!(check(&strict(), json!({"exp": 1e300})), Ok(()));
        assert_eq!(check(&strict(), json!({"exp": NOW + 9.0, "nbf": NOW})), Ok(()));
        assert_eq!(check(&strict(), json!({"exp": NOW + 9.0, "nbf": NOW + 0.25})), Err(AuthFailure::NotYetValid));
    }

    #[test]
    fn leeway_moves_both_ends() {
        let settings = AuthSettings { leeway: Duration::from_secs(30), ..AuthSettings::default() };
        assert_eq!(check(&settings, json!({"exp": NOW - 29.0})), Ok(()));
        assert_eq!(check(&settings, json!({"exp": NOW - 30.0})), Err(AuthFailure::Expired));
        assert_eq!(check(&settings, json!({"exp": NOW + 99.0, "nbf": NOW + 30.0})), Ok(()));
        assert_eq!(check(&settings, json!({"exp": NOW + 99.0, "nbf": NOW + 31.0})), Err(AuthFailure::NotYetValid));
    }

    #[test]
    fn expiry_is_required() {
        assert_eq!(check(&strict(), json!({"sub": "a"})), Err(AuthFailure::NoExpiry));
        assert_eq!(check(&strict(), json!({"exp": null})), Err(AuthFailure::NoExpiry));
        assert!(serde_json::from_value::<Claims>(json!({"exp": "1000001"})).is_err());
    }

    #[test]
    fn issuer_is_checked_when_configured() {
        let settings = AuthSettings { issuer: Some("https://id.example".to_owned()), ..strict() };
        let exp = NOW + 9.0;
        assert_eq!(check(&settings, json!({"exp": exp, "iss": "https://id.example"})), Ok(()));
        assert_eq!(check(&settings, json!({"exp": exp, "iss": "https://id.example/"})), Err(AuthFailure::Issuer));
        assert_eq!(check(&settings, json!({"exp": exp})), Err(AuthFailure::Issuer));
        assert_eq!(check(&strict(), json!({"exp": exp, "iss": "anyone"})), Ok(()));
    }

    #[test]
    fn audience_is_checked_when_configured() {
        let settings = AuthSettings { audience: Some("rscore".to_owned()), ..strict() };
        let exp = NOW + 9.0;
        for good in [json!("rscore"), json!(["other", "rscore"])] {
            assert_eq!(check(&settings, json!({"exp": exp, "aud": good})), Ok(()));
        }
        for bad in [json!("other"), json!("rscore2"), json!([]), json!(["other"]), json!(null)] {
            assert_eq!(check(&settings, json!({"exp": exp, "aud": bad})), Err(AuthFailure::Audience));
        }
        assert_eq!(check(&settings, json!({"exp": exp})), Err(AuthFailure::Audience));
        assert_eq!(check(&strict(), json!({"exp": exp, "aud": ["other"]})), Ok(()));
    }

    #[test]
    fn scopes_are_read_from_each_claim_that_carries_them() {
        for (claims, expected) in [
            (json!({"scope": "models:read score:boston"}), true),
            (json!({"scp": "openid score:boston"}), true),
            (json!({"scp": ["openid", "score:boston"]}), true),
            (json!({"roles": "reader"}), true),
            (json!({"roles": ["auditor", "reader"]}), true),
            (json!({"roles": [{"name": "owner"}], "scope": "score:boston"}), true),
            (json!({"scp": ["openid score:boston"]}), false),
            (json!({"scope": "score:boston\tmodels:read"}), false),
            (json!({"scope": 7, "roles": [{"name": "owner"}]}), false),
            (json!({}), false),
        ] {
            let parsed: Claims = serde_json::from_value(claims.clone()).unwrap();
            assert_eq!(parsed.grants().allow(&Scope::Score("boston".to_owned())), expected, "{claims}");
        }
    }
}
