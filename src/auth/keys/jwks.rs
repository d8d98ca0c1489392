//! JWK sets (RFC 7517): what identity providers publish. A set may hold keys for
//! other uses; those are left out, as section 5 asks, and said so. A key that
//! claims to be for us and is broken, weak or private is an error.

use aws_lc_rs::signature;
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::public::{check, check_rsa_bits};
use super::{KeyProblem, VerificationKey};

/// The usable keys of a set.
pub(super) struct JwkSet {
    pub(super) keys: Vec<VerificationKey>,
    /// Why others were left out, one sentence each.
    pub(super) skipped: Vec<String>,
}

#[derive(Deserialize)]
struct RawSet {
    keys: Vec<RawKey>,
}

#[derive(Deserialize)]
struct RawKey {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    /// Private parts: of RSA, EC and OKP keys, and of symmetric ones.
    d: Option<IgnoredAny>,
    k: Option<IgnoredAny>,
}

/// Reads `{"keys": [...]}`.
pub(super) fn parse(bytes: &[u8]) -> Result<JwkSet, KeyProblem> {
    let raw: RawSet = serde_json::from_slice(bytes).map_err(|error| KeyProblem::NotJwkSet(error.to_string()))?;
    let mut set = JwkSet { keys: Vec::new(), skipped: Vec::new() };
    for (index, key) in raw.keys.iter().enumerate() {
        let position = index + 1;
        if key.d.is_some() || key.k.is_some() {
            return Err(KeyProblem::PrivateKey);
        }
        match key.purpose() {
            Ok(algorithm) => {
                let decoded = key.decode(algorithm, position)?;
                set.keys.push(VerificationKey::new(key.kid.clone(), algorithm, decoded));
            }
            Err(reason) => set.skipped.push(format!("key {position} {reason}")),
        }
    }
    if set.keys.is_empty() {
        return Err(KeyProblem::NothingUsable(set.skipped));
    }
    Ok(set)
}

impl RawKey {
    /// The algorithm that the key verifies, or why it is not for us.
    fn purpose(&self) -> Result<Algorithm, String> {
        if let Some(usage) = self.usage.as_deref().filter(|usage| *usage != "sig") {
            return Err(format!("is for the use '{usage}'"));
        }
        if self.key_ops.as_ref().is_some_and(|operations| operations.iter().all(|operation| operation != "verify")) {
            return Err("is not for the operation 'verify'".to_owned());
        }
        // `Ed25519` is the newer name of the same algorithm (RFC 9864).
        let (algorithm, names): (_, &[&str]) = match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => (Algorithm::RS256, &["RS256"]),
            ("EC", Some("P-256")) => (Algorithm::ES256, &["ES256"]),
            ("OKP", Some("Ed25519")) => (Algorithm::EdDSA, &["EdDSA", "Ed25519"]),
            (kind, Some(curve)) => return Err(format!("is of the kind {kind} on the curve {curve}")),
            (kind, None) => return Err(format!("is of the kind {kind}")),
        };
        match &self.alg {
            Some(name) if !names.contains(&name.as_str()) => Err(format!("is for the algorithm {name}")),
            _ => Ok(algorithm),
        }
    }

    fn decode(&self, algorithm: Algorithm, position: usize) -> Result<DecodingKey, KeyProblem> {
        let undecodable = |reason: &str| KeyProblem::Undecodable { position, reason: reason.to_owned() };
        let part = |value: &Option<String>, name: &str| {
            value.clone().ok_or_else(|| undecodable(&format!("it has no member '{name}'")))
        };
        let not_base64 = |_| undecodable("a member is not base64url");
        match algorithm {
            Algorithm::RS256 => {
                let key =
                    DecodingKey::from_rsa_components(&part(&self.n, "n")?, &part(&self.e, "e")?).map_err(not_base64)?;
                let DecodingKeyKind::RsaModulusExponent { n, e } = key.kind() else {
                    return Err(undecodable("not an RSA key"));
                };
                check_rsa_bits(bits(n)).map_err(|kind| KeyProblem::Unsupported { position, kind })?;
                signature::RsaPublicKeyComponents { n, e }
                    .to_parsed_public_key(&signature::RSA_PKCS1_2048_8192_SHA256)
                    .map_err(|_| undecodable("not an RSA key"))?;
                Ok(key)
            }
            Algorithm::ES256 => {
                let key =
                    DecodingKey::from_ec_components(&part(&self.x, "x")?, &part(&self.y, "y")?).map_err(not_base64)?;
                checked(key, &signature::ECDSA_P256_SHA256_FIXED).ok_or_else(|| undecodable("not a point of P-256"))
            }
            _ => {
                let key = DecodingKey::from_ed_components(&part(&self.x, "x")?).map_err(not_base64)?;
                checked(key, &signature::ED25519).ok_or_else(|| undecodable("not an Ed25519 key"))
            }
        }
    }
}

fn checked(key: DecodingKey, algorithm: &'static dyn signature::VerificationAlgorithm) -> Option<DecodingKey> {
    check(algorithm, key.try_get_as_bytes().ok()?).ok()?;
    Some(key)
}

/// Bits of a big-endian number.
fn bits(number: &[u8]) -> u32 {
    let digits = number.iter().position(|byte| *byte != 0).map_or(&[][..], |first| &number[first..]);
    digits.first().map_or(0, |first| digits.len() as u32 * 8 - first.leading_zeros())
}
