//! Tokens through the front door of this module: the good ones of every
//! algorithm, and each way of being bad.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::testing::{Files, PAIRS, Pair, claims, now};
use super::*;

const SECRET: &str = "correct horse battery staple, at length";

fn hs256(secret: &[u8], claims: &Value) -> String {
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &EncodingKey::from_secret(secret)).unwrap()
}

/// A verifier that knows the public halves of all pairs.
fn verifier() -> Verifier {
    let pems: String = PAIRS.iter().map(|pair| pair.public_pem.as_str()).collect();
    Verifier::from_settings(&Files::new().settings(pems)).unwrap()
}

fn failure(verifier: &Verifier, token: &str) -> AuthFailure {
    verifier.verify(token).expect_err("the token is bad")
}

/// base64url without padding, of ASCII JSON, by way of the library's own encoder.
fn encode(part: &Value) -> String {
    let token = hs256(b"any", part);
    token.split('.').nth(1).unwrap().to_owned()
}

#[test]
fn a_good_token_of_each_algorithm_passes() {
    let verifier = verifier();
    for pair in PAIRS.iter() {
        let principal = verifier.verify(&pair.sign(&claims())).unwrap();
        assert_eq!(&*principal.subject, "app", "{:?}", pair.algorithm);
        assert!(principal.allows(&Scope::Score("boston".to_owned())));
        assert!(!principal.allows(&Scope::Score("iris".to_owned())));
        assert!(!principal.allows(&Scope::ModelsRead));
    }
    let verifier = Verifier::from_settings(&Files::new().secret_settings(format!("{SECRET}\n"))).unwrap();
    assert!(verifier.verify(&hs256(SECRET.as_bytes(), &claims())).is_ok());
}

#[test]
fn a_token_without_subject_has_the_empty_one() {
    let token = PAIRS[1].sign(&json!({"exp": now() + 60.0}));
    assert_eq!(&*verifier().verify(&token).unwrap().subject, "");
}

#[test]
fn no_token_and_garbage_are_told_apart() {
    let verifier = verifier();
    assert_eq!(failure(&verifier, ""), AuthFailure::Missing);
    let good = PAIRS[1].sign(&claims());
    let (message, _) = good.rsplit_once('.').unwrap();
    for garbage in [
        "garbage",
        "a.b.c",
        "..",
        "a.b.c.d",
        "\u{1f600}",
        message,
        &format!("{good}.x"),
        &format!("{message}.!!!"),
        &format!("{good}="),
        &format!(" {good}"),
    ] {
        assert_eq!(failure(&verifier, garbage), AuthFailure::Malformed, "{garbage}");
    }
}

#[test]
fn a_token_over_the_bound_is_not_parsed() {
    let verifier = verifier();
    let padded = |length: usize| PAIRS[2].sign(&json!({"exp": now() + 60.0, "pad": "x".repeat(length)}));
    assert!(verifier.verify(&padded(5_000)).is_ok());
    assert_eq!(failure(&verifier, &padded(7_000)), AuthFailure::TooLong);
    assert_eq!(failure(&verifier, &"x".repeat(MAX_TOKEN_BYTES + 1)), AuthFailure::TooLong);
    assert_eq!(failure(&verifier, &"x".repeat(MAX_TOKEN_BYTES)), AuthFailure::Malformed);
}

#[test]
fn a_token_signed_by_another_key_is_refused() {
    let verifier = verifier();
    for pair in PAIRS.iter() {
        let other = Pair::generate(pair.algorithm).sign(&claims());
        assert_eq!(failure(&verifier, &other), AuthFailure::Signature, "{:?}", pair.algorithm);
    }
}

#[test]
fn a_changed_payload_or_header_is_refused() {
    let verifier = verifier();
    for pair in PAIRS.iter() {
        let token = pair.sign(&claims());
        let parts: Vec<&str> = token.split('.').collect();
        let admin = encode(&json!({"sub": "app", "scope": "admin", "exp": now() + 60.0}));
        assert_eq!(failure(&verifier, &format!("{}.{admin}.{}", parts[0], parts[2])), AuthFailure::Signature);
        let header = encode(&json!({"alg": serde_json::to_value(pair.algorithm).unwrap(), "typ": "other"}));
        assert_eq!(failure(&verifier, &format!("{header}.{}.{}", parts[1], parts[2])), AuthFailure::Signature);
    }
}

#[test]
fn alg_none_is_refused() {
    let verifier = verifier();
    for name in ["none", "None", "NONE", "nOnE", ""] {
        let message = format!("{}.{}", encode(&json!({"alg": name, "typ": "JWT"})), encode(&claims()));
        assert_eq!(failure(&verifier, &format!("{message}.")), AuthFailure::Algorithm, "{name}");
        let signature = PAIRS[0].sign(&claims()).rsplit_once('.').unwrap().1.to_owned();
        assert_eq!(failure(&verifier, &format!("{message}.{signature}")), AuthFailure::Algorithm, "{name}");
    }
}

#[test]
fn a_public_key_is_no_hmac_secret() {
    for pair in PAIRS.iter() {
        let alone = Verifier::from_settings(&Files::new().settings(&pair.public_pem)).unwrap();
        let files = Files::new();
        let both = AuthSettings { keys: files.settings(&pair.public_pem).keys, ..files.secret_settings(SECRET) };
        let both = Verifier::from_settings(&both).unwrap();
        for secret in [pair.public_pem.as_bytes(), pair.public_pem.trim_end().as_bytes()] {
            let forged = hs256(secret, &claims());
            assert_eq!(failure(&alone, &forged), AuthFailure::Algorithm);
            assert_eq!(failure(&both, &forged), AuthFailure::Signature);
        }
    }
}

#[test]
fn other_algorithms_of_a_key_s_family_are_refused() {
    let rsa = &PAIRS[0];
    for algorithm in [Algorithm::RS384, Algorithm::RS512, Algorithm::PS256, Algorithm::PS512] {
        let token = jsonwebtoken::encode(&Header::new(algorithm), &claims(), &rsa.encoding_key()).unwrap();
        assert_eq!(failure(&verifier(), &token), AuthFailure::Algorithm, "{algorithm:?}");
    }
    let secret = Verifier::from_settings(&Files::new().secret_settings(SECRET)).unwrap();
    let token =
        jsonwebtoken::encode(&Header::new(Algorithm::HS512), &claims(), &EncodingKey::from_secret(SECRET.as_bytes()));
    assert_eq!(failure(&secret, &token.unwrap()), AuthFailure::Algorithm);
    assert_eq!(failure(&secret, &PAIRS[1].sign(&claims())), AuthFailure::Algorithm);
}

#[test]
fn a_header_that_asks_for_an_extension_is_refused() {
    let header = Header { crit: Some(vec!["b64".to_owned()]), ..Header::new(Algorithm::EdDSA) };
    let token = jsonwebtoken::encode(&header, &claims(), &PAIRS[2].encoding_key()).unwrap();
    assert_eq!(failure(&verifier(), &token), AuthFailure::Malformed);
}

#[test]
fn claims_are_checked_after_the_signature() {
    let files = Files::new();
    let settings = AuthSettings {
        issuer: Some("https://id.example".to_owned()),
        audience: Some("rscore".to_owned()),
        ..files.settings(&PAIRS[1].public_pem)
    };
    let verifier = Verifier::from_settings(&settings).unwrap();
    let good = json!({"exp": now() + 60.0, "iss": "https://id.example", "aud": ["rscore", "other"]});
    assert!(verifier.verify(&PAIRS[1].sign(&good)).is_ok());
    for (name, value, expected) in [
        ("exp", json!(now() - 60.0), AuthFailure::Expired),
        ("exp", Value::Null, AuthFailure::NoExpiry),
        ("exp", json!("soon"), AuthFailure::Malformed),
        ("nbf", json!(now() + 60.0), AuthFailure::NotYetValid),
        ("nbf", json!([]), AuthFailure::Malformed),
        ("iss", json!("https://evil.example"), AuthFailure::Issuer),
        ("aud", json!("other"), AuthFailure::Audience),
        ("sub", json!({"name": "app"}), AuthFailure::Malformed),
    ] {
        let mut bad = good.clone();
        bad[name] = value;
        assert_eq!(failure(&verifier, &PAIRS[1].sign(&bad)), expected, "{name}");
        assert_eq!(failure(&verifier, &Pair::generate(Algorithm::ES256).sign(&bad)), AuthFailure::Signature, "{name}");
    }
}

#[test]
fn the_default_leeway_is_that_of_the_settings() {
    let files = Files::new();
    let verifier = Verifier::from_settings(&files.settings(&PAIRS[1].public_pem)).unwrap();
    let token = PAIRS[1].sign(&json!({"exp": 1_000}));
    assert!(verifier.verify_at(&token, 1_029.0).is_ok());
    assert_eq!(verifier.verify_at(&token, 1_030.0).expect_err("too late"), AuthFailure::Expired);
}

#[test]
fn a_remembered_token_expires_all_the_same() {
    let verifier = verifier();
    let token = PAIRS[0].sign(&json!({"sub": "app", "nbf": 500, "exp": 1_000}));
    for _ in 0..2 {
        assert_eq!(&*verifier.verify_at(&token, 900.0).unwrap().subject, "app");
    }
    assert_eq!(verifier.verify_at(&token, 2_000.0).expect_err("too late"), AuthFailure::Expired);
    assert_eq!(verifier.verify_at(&token, 100.0).expect_err("too early"), AuthFailure::NotYetValid);
}

#[test]
fn without_a_clock_no_token_passes() {
    let time = unix_seconds(UNIX_EPOCH - std::time::Duration::from_secs(1));
    let token = PAIRS[1].sign(&json!({"exp": 1e300}));
    assert_eq!(verifier().verify_at(&token, time).expect_err("no clock"), AuthFailure::Expired);
}

#[test]
fn a_huge_leeway_is_no_overflow() {
    let files = Files::new();
    let settings = AuthSettings { leeway: std::time::Duration::MAX, ..files.settings(&PAIRS[1].public_pem) };
    let verifier = Verifier::from_settings(&settings).unwrap();
    assert!(verifier.verify(&PAIRS[1].sign(&json!({"exp": 1}))).is_ok());
}

#[test]
fn nothing_of_a_key_is_printed() {
    let secret = Verifier::from_settings(&Files::new().secret_settings(SECRET)).unwrap();
    assert!(!format!("{secret:?}").contains("horse"));
    assert!(!format!("{secret:?}").contains("99, 111, 114"));
}

proptest! {
    #[test]
    fn no_text_is_a_token(text in "\\PC{0,200}") {
        prop_assert!(verifier().verify(&text).is_err());
    }

    #[test]
    fn no_single_changed_character_passes(position in any::<proptest::sample::Index>(), with in "[A-Za-z0-9_.-]") {
        let token = PAIRS[2].sign(&json!({"sub": "app", "exp": 4_000_000_000_u32}));
        let position = position.index(token.len());
        let changed = format!("{}{with}{}", &token[..position], &token[position + 1..]);
        prop_assume!(changed != token);
        prop_assert!(verifier().verify(&changed).is_err());
    }
}

#[test]
fn a_key_that_is_taken_away_vouches_for_nothing_any_more() {
    let files = Files::new();
    let settings = files.settings(&PAIRS[1].public_pem);
    let verifier = Verifier::from_settings(&settings).unwrap();
    let (old, new) = (PAIRS[1].sign(&claims()), PAIRS[2].sign(&claims()));
    assert!(verifier.verify(&old).is_ok(), "and its signature is remembered");

    std::fs::write(&settings.keys[0], "no key").unwrap();
    assert!(verifier.reload().is_err());
    assert!(verifier.verify(&old).is_ok(), "a bad file changes nothing");

    std::fs::write(&settings.keys[0], &PAIRS[2].public_pem).unwrap();
    verifier.reload().unwrap();
    assert!(verifier.verify(&old).is_err());
    assert!(verifier.verify(&new).is_ok());
}
