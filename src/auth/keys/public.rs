//! Public keys in PEM files (SubjectPublicKeyInfo, RFC 5280 section 4.1.2.7).
//! Each is tried on the library when it is read, so that a bad one is found
//! before the first token comes.

use aws_lc_rs::signature::{self, ParsedPublicKey, VerificationAlgorithm};
use jsonwebtoken::{Algorithm, DecodingKey};
use rustls::pki_types::pem::SectionKind;
use x509_parser::oid_registry::{OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_PKCS1_RSAENCRYPTION, OID_SIG_ED25519};
use x509_parser::prelude::FromDer;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::{KeyProblem, VerificationKey};
use crate::pem;

/// Reads every key of a PEM file.
pub(super) fn parse(bytes: &[u8]) -> Result<Vec<VerificationKey>, KeyProblem> {
    pem::parse(bytes)?
        .iter()
        .enumerate()
        .map(|(index, section)| match section.kind {
            SectionKind::PublicKey => key_from_der(&section.der, index + 1),
            SectionKind::Certificate => Err(KeyProblem::Certificate),
            _ => Err(KeyProblem::PrivateKey),
        })
        .collect()
}

pub(super) fn key_from_der(der: &[u8], position: usize) -> Result<VerificationKey, KeyProblem> {
    let undecodable = |reason: &str| KeyProblem::Undecodable { position, reason: reason.to_owned() };
    let unsupported = |kind: String| KeyProblem::Unsupported { position, kind };

    let (rest, info) = SubjectPublicKeyInfo::from_der(der).map_err(|_| undecodable("not a SubjectPublicKeyInfo"))?;
    if !rest.is_empty() {
        return Err(undecodable("bytes follow the key"));
    }
    let key = info.subject_public_key.data.as_ref();
    let kind = &info.algorithm.algorithm;
    let (algorithm, key) = if *kind == OID_PKCS1_RSAENCRYPTION {
        let bits = signature::RsaParameters::public_modulus_len(key).map_err(|_| undecodable("not an RSA key"))?;
        check_rsa_bits(bits).map_err(unsupported)?;
        (Algorithm::RS256, DecodingKey::from_rsa_der(key))
    } else if *kind == OID_KEY_TYPE_EC_PUBLIC_KEY {
        let curve = info.algorithm.parameters.as_ref().and_then(|any| any.as_oid().ok());
        if curve.as_ref() != Some(&OID_EC_P256) {
            let curve = curve.map_or("without a named curve".to_owned(), |oid| format!("on the curve {oid}"));
            return Err(unsupported(format!("an EC key {curve}")));
        }
        check(&signature::ECDSA_P256_SHA256_FIXED, key).map_err(|()| undecodable("not a point of P-256"))?;
        (Algorithm::ES256, DecodingKey::from_ec_der(key))
    } else if *kind == OID_SIG_ED25519 {
        check(&signature::ED25519, key).map_err(|()| undecodable("not an Ed25519 key"))?;
        (Algorithm::EdDSA, DecodingKey::from_ed_der(key))
    } else {
        return Err(unsupported(format!("of the kind {kind}")));
    };
    Ok(VerificationKey::new(None, algorithm, key))
}

/// RSA below 2048 bits is within reach (RFC 7518 section 3.3); above 8192 bits a
/// single check takes so long that a flood of forged tokens would be felt.
pub(super) fn check_rsa_bits(bits: u32) -> Result<(), String> {
    match bits {
        2048..=8192 => Ok(()),
        _ => Err(format!("an RSA key of {bits} bits")),
    }
}

/// Whether the library can use the key, so that a bad one is found now and
/// not when the first token comes.
pub(super) fn check(algorithm: &'static dyn VerificationAlgorithm, key: &[u8]) -> Result<(), ()> {
    ParsedPublicKey::new(algorithm, key).map(drop).map_err(drop)
}
