//! Minted tokens pass the verifier with the same settings, whatever the key.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use super::super::testing::{Files, PAIRS, Pair, now};
use super::super::{Scope, Verifier};
use super::*;

const HOUR: Duration = Duration::from_secs(3600);

/// Settings that sign with one pair and verify with its public half.
fn settings(files: &Files, pair: &Pair) -> AuthSettings {
    AuthSettings { signing_key: Some(files.write("signing", &pair.private_pem)), ..files.settings(&pair.public_pem) }
}

fn refusal(contents: &str) -> String {
    let files = Files::new();
    let settings = AuthSettings { signing_key: Some(files.write("signing", contents)), ..AuthSettings::default() };
    Minter::from_settings(&settings).expect_err("no key to sign with").to_string()
}

#[test]
fn a_minted_token_of_each_algorithm_passes() {
    for pair in PAIRS.iter() {
        let files = Files::new();
        let settings = AuthSettings {
            issuer: Some("https://rscore.example".to_owned()),
            audience: Some("rscore".to_owned()),
            ..settings(&files, pair)
        };
        let token = Minter::from_settings(&settings).unwrap().mint("app", &[Grant::ScoreAny], HOUR).unwrap();
        let principal = Verifier::from_settings(&settings).unwrap().verify(&token).unwrap();
        assert_eq!(&*principal.subject, "app");
        assert!(principal.allows(&Scope::Score("boston".to_owned())));
        assert!(!principal.allows(&Scope::ModelsRead));
        assert_eq!(jsonwebtoken::decode_header(&token).unwrap().alg, pair.algorithm);
    }
}

#[test]
fn the_claims_are_those_of_the_settings_and_the_request() {
    let files = Files::new();
    let settings = AuthSettings { issuer: Some("me".to_owned()), ..settings(&files, &PAIRS[2]) };
    let minter = Minter::from_settings(&settings).unwrap();
    let grants = [Grant::Score("boston".to_owned()), Grant::ModelsRead];
    let read = |token: &str| jsonwebtoken::dangerous::insecure_decode_claims::<serde_json::Value>(token).unwrap();
    let claims = read(&minter.mint("app", &grants, HOUR).unwrap());
    assert_eq!(claims["scope"], "score:boston models:read");
    assert_eq!(claims["iss"], "me");
    assert!(claims.get("aud").is_none());
    let issued = claims["iat"].as_u64().unwrap();
    assert_eq!(claims["exp"].as_u64().unwrap(), issued + 3600);
    assert!((issued as f64 - now()).abs() < 60.0);
    let again = read(&minter.mint("app", &grants, HOUR).unwrap());
    assert_ne!(claims["jti"], again["jti"]);
}

#[test]
fn the_secret_signs_when_there_is_no_key() {
    let files = Files::new();
    let settings = files.secret_settings("x".repeat(40) + "\n");
    let token = Minter::from_settings(&settings).unwrap().mint("app", &[], HOUR).unwrap();
    assert!(Verifier::from_settings(&settings).unwrap().verify(&token).is_ok());

    let both = AuthSettings { hs256_secret_file: settings.hs256_secret_file, ..self::settings(&files, &PAIRS[1]) };
    let token = Minter::from_settings(&both).unwrap().mint("app", &[], HOUR).unwrap();
    assert_eq!(jsonwebtoken::decode_header(&token).unwrap().alg, Algorithm::ES256);
}

#[test]
fn what_is_no_signing_key_is_named() {
    let missing = Minter::from_settings(&AuthSettings::default()).expect_err("no key").to_string();
    assert!(missing.contains("auth.signing_key"), "{missing}");
    assert!(refusal("hello").contains("/signing: has no PEM section"));
    assert!(refusal(&PAIRS[1].public_pem).contains("PKCS#8"));
    assert!(refusal(&PAIRS[1].private_pem.replace("PRIVATE", "EC PRIVATE")).contains("openssl pkcs8"));
    assert!(refusal(&format!("{0}{0}", PAIRS[1].private_pem)).contains("one private key"));
    let p384 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap().serialize_pem();
    assert!(refusal(&p384).contains("P-256"));
    assert!(refusal("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n").contains("Ed25519"));
}

#[test]
fn nothing_of_the_key_is_printed() {
    let files = Files::new();
    let minter = Minter::from_settings(&files.secret_settings("correct horse battery staple, at length")).unwrap();
    assert!(!format!("{minter:?}").contains("horse"));
    assert!(format!("{minter:?}").contains("redacted"));
}
