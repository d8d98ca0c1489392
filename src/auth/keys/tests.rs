//! Key files: what is loaded, what is left out, and the words for what is wrong.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::path::PathBuf;

use serde_json::{Value, json};

use super::super::Verifier;
use super::super::testing::{Files, PAIRS, Pair, claims};
use super::*;

fn set(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

/// The words for a file of keys that is refused.
fn refusal(contents: impl AsRef<[u8]>) -> String {
    let error = KeySet::load(&Files::new().settings(contents)).expect_err("the file is bad").to_string();
    assert!(error.contains("/keys: "), "the file is named: {error}");
    error
}

#[test]
fn a_jwk_set_verifies_each_algorithm() {
    let files = Files::new();
    let keys: Vec<Value> = PAIRS.iter().map(|pair| pair.jwk(&json!({"use": "sig"}))).collect();
    let verifier = Verifier::from_settings(&files.settings(set(&keys))).unwrap();
    for pair in PAIRS.iter() {
        assert!(verifier.verify(&pair.sign(&claims())).is_ok(), "{:?}", pair.algorithm);
        assert!(verifier.verify(&Pair::generate(pair.algorithm).sign(&claims())).is_err());
    }
}

#[test]
fn a_jwk_without_algorithm_has_that_of_its_kind() {
    let files = Files::new();
    let keys: Vec<Value> = PAIRS.iter().map(|pair| pair.jwk(&json!({"alg": null, "key_ops": ["verify"]}))).collect();
    let loaded = KeySet::load(&files.settings(set(&keys))).unwrap();
    let algorithms: Vec<Algorithm> = loaded.keys.iter().map(|key| key.algorithm).collect();
    assert_eq!(algorithms, [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA]);
}

#[test]
fn the_key_id_picks_the_key() {
    let (old, new) = (Pair::generate(Algorithm::ES256), Pair::generate(Algorithm::ES256));
    let keys = set(&[old.jwk(&json!({"kid": "old"})), new.jwk(&json!({"kid": "new"}))]);
    let files = Files::new();
    let verifier = Verifier::from_settings(&files.settings(keys)).unwrap();
    let verify = |token: String| verifier.verify(&token).map(drop);
    assert_eq!(verify(old.sign_as(Some("old"), &claims())), Ok(()));
    assert_eq!(verify(new.sign_as(Some("new"), &claims())), Ok(()));
    assert_eq!(verify(new.sign_as(Some("old"), &claims())), Err(AuthFailure::Signature));
    assert_eq!(verify(new.sign_as(Some("gone"), &claims())), Err(AuthFailure::UnknownKey));
    // Without a `kid`, every key of the algorithm is tried.
    assert_eq!(verify(old.sign(&claims())), Ok(()));
    assert_eq!(verify(new.sign(&claims())), Ok(()));
}

#[test]
fn a_key_without_id_is_tried_for_every_token() {
    let files = Files::new();
    let verifier = Verifier::from_settings(&files.settings(&PAIRS[1].public_pem)).unwrap();
    assert!(verifier.verify(&PAIRS[1].sign_as(Some("any"), &claims())).is_ok());
}

#[test]
fn keys_of_a_set_that_are_for_something_else_are_left_out() {
    let rsa = &PAIRS[0];
    let others = [
        rsa.jwk(&json!({"use": "enc"})),
        rsa.jwk(&json!({"key_ops": ["encrypt"]})),
        rsa.jwk(&json!({"alg": "RS512"})),
        rsa.jwk(&json!({"alg": "RSA-OAEP"})),
        json!({"kty": "EC", "crv": "P-384", "x": "AA", "y": "AA"}),
        json!({"kty": "OKP", "crv": "X25519", "x": "AA"}),
        json!({"kty": "AKP", "alg": "ML-DSA-44", "pub": "AA"}),
    ];
    let error = refusal(set(&others));
    for part in ["no key that can verify", "'enc'", "RS512", "RSA-OAEP", "P-384", "X25519", "AKP"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    let mut with_ours = others.to_vec();
    with_ours.push(PAIRS[1].jwk(&json!({})));
    let parsed = jwks::parse(set(&with_ours).as_bytes()).unwrap();
    assert_eq!((parsed.keys.len(), parsed.skipped.len()), (1, 7));
}

#[test]
fn a_broken_key_of_a_set_is_an_error() {
    let (rsa, ec, ed) = (&PAIRS[0], &PAIRS[1], &PAIRS[2]);
    for (key, part) in [
        (rsa.jwk(&json!({"n": null})), "no member 'n'"),
        (rsa.jwk(&json!({"n": "+/=="})), "base64url"),
        (rsa.jwk(&json!({"n": "AQAB"})), "RSA key of 17 bits"),
        (rsa.jwk(&json!({"e": "AA"})), "not an RSA key"),
        (ec.jwk(&json!({"y": null})), "no member 'y'"),
        (ec.jwk(&json!({"y": "AAAA"})), "not a point"),
        (ed.jwk(&json!({"x": "AAAA"})), "not an Ed25519 key"),
        (ec.jwk(&json!({"d": "AAAA"})), "private key"),
        (json!({"kty": "oct", "k": "c2VjcmV0"}), "private key"),
    ] {
        let error = refusal(set(&[ed.jwk(&json!({})), key]));
        assert!(error.contains(part), "{part}: {error}");
    }
    assert!(refusal("{").contains("not a JWK set"));
    assert!(refusal("{\"keys\": 1}").contains("not a JWK set"));
    assert!(refusal("{\"keys\": []}").contains("no key that can verify"));
}

#[test]
fn what_is_no_public_key_is_named() {
    let certificate = rcgen::generate_simple_self_signed(vec!["a".to_owned()]).unwrap().cert.pem();
    assert!(refusal("hello").contains("no PEM section"));
    assert!(refusal("").contains("no PEM section"));
    assert!(refusal(&PAIRS[0].private_pem).contains("private key where a public one belongs"));
    assert!(refusal(format!("{}{}", PAIRS[1].public_pem, PAIRS[1].private_pem)).contains("private key"));
    assert!(refusal(certificate).contains("openssl x509"));
    assert!(refusal("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n").contains("key 1"));
}

#[test]
fn keys_that_are_weak_or_of_another_curve_are_refused() {
    let p384 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap().public_key_pem();
    let error = refusal(format!("{}{p384}", PAIRS[1].public_pem));
    assert!(error.contains("key 2") && error.contains("1.3.132.0.34") && error.contains("P-256"), "{error}");
    assert!(check_bits(2047).contains("2047 bits"));
    assert!(check_bits(1024).contains("1024 bits"));
    assert!(check_bits(8193).contains("8193 bits"));
    assert_eq!(public::check_rsa_bits(2048), Ok(()));
    let weak = public::key_from_der(&rsa_1024(), 1).expect_err("too short").to_string();
    assert!(weak.contains("RSA key of 1024 bits"), "{weak}");
}

/// SubjectPublicKeyInfo of an RSA key of 1024 bits. Any odd number does for a
/// modulus, and the library makes none this short.
fn rsa_1024() -> Vec<u8> {
    let mut der = vec![0x30, 0x81, 0x9f, 0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
    der.extend([0x05, 0x00, 0x03, 0x81, 0x8d, 0x00, 0x30, 0x81, 0x89, 0x02, 0x81, 0x81, 0x00]);
    der.extend([0xc5; 128]);
    der.extend([0x02, 0x03, 0x01, 0x00, 0x01]);
    der
}

fn check_bits(bits: u32) -> String {
    public::check_rsa_bits(bits).expect_err("out of bounds")
}

#[test]
fn a_secret_must_be_long_and_no_key_file() {
    let files = Files::new();
    let error = |secret: &str| KeySet::load(&files.secret_settings(secret)).expect_err("a bad secret").to_string();
    assert!(error("").contains("0 bytes"));
    assert!(error(&format!("{}\n\r\n", "x".repeat(31))).contains("31 bytes"));
    assert!(error(&PAIRS[0].public_pem).contains("PEM"));
    assert!(KeySet::load(&files.secret_settings("x".repeat(32) + "\n")).is_ok());
    // Blanks are part of the secret; only line breaks at the end are not.
    assert_eq!(read_secret(&files.write("secret", format!(" {} \r\n", "x".repeat(32)))).unwrap().len(), 34);
}

#[test]
fn all_mistakes_are_reported_at_once() {
    let files = Files::new();
    let settings = AuthSettings {
        keys: vec![files.path("missing"), files.write("good", &PAIRS[1].public_pem), files.write("bad", "hello")],
        hs256_secret_file: Some(files.write("short", "x")),
        ..AuthSettings::default()
    };
    let error = KeySet::load(&settings).expect_err("three mistakes").to_string();
    let lines: Vec<&str> = error.lines().collect();
    assert_eq!(lines.len(), 3, "{error}");
    assert!(lines[0].contains("/missing: can't be read: No such file"), "{error}");
    assert!(lines[1].contains("/bad: has no PEM section"), "{error}");
    assert!(lines[2].contains("/short: holds a secret of 1 bytes"), "{error}");
}

#[test]
fn without_a_key_there_is_no_verifier() {
    let error = KeySet::load(&AuthSettings::default()).expect_err("no key").to_string();
    assert!(error.contains("auth.keys") && error.contains("auth.hs256_secret_file"));
}

#[test]
fn the_number_of_keys_is_bounded() {
    let files = Files::new();
    let with = |count: usize| files.settings(PAIRS[2].public_pem.repeat(count));
    assert!(KeySet::load(&with(MAX_KEYS)).is_ok());
    let error = KeySet::load(&with(MAX_KEYS + 1)).expect_err("too many").to_string();
    assert!(error.contains("65 keys") && error.contains("64"), "{error}");
}

#[test]
fn a_file_over_the_bound_is_refused() {
    assert!(refusal(vec![b'x'; MAX_FILE_BYTES as usize + 1]).contains("larger than"));
    let folder = AuthSettings { keys: vec![PathBuf::from("/")], ..AuthSettings::default() };
    assert!(KeySet::load(&folder).expect_err("a folder").to_string().contains("can't be read"));
}
