//! Tokens that don't count are refused, and what they were sent with never
//! gets near a worker.

use std::path::Path;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::support::client::Request;
use crate::support::keys;
use crate::support::metrics::Metrics;
use crate::support::setup::Setup;

/// No other test has a model of this name: its metrics are this test's alone.
const MODEL: &str = "guarded";
const ISSUER: &str = "https://id.example";
const AUDIENCE: &str = "rscore-test";

/// A token and what the answer must be.
struct Case {
    what: &'static str,
    token: String,
    status: u16,
    error: &'static str,
}

fn invalid(what: &'static str, token: String) -> Case {
    Case { what, token, status: 401, error: "error=\"invalid_token\"" }
}

/// Good claims with some of them changed; `null` leaves one out.
fn claims(changes: &Value) -> Value {
    let mut claims = json!({
        "sub": "tester", "iss": ISSUER, "aud": AUDIENCE, "exp": keys::now() + 600, "scope": format!("score:{MODEL} models:read"),
    });
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    claims
}

fn sign(algorithm: Algorithm, key: &EncodingKey, changes: &Value) -> String {
    jsonwebtoken::encode(&Header::new(algorithm), &claims(changes), key).unwrap()
}

fn bad_tokens() -> Vec<Case> {
    let read = |path: &Path| std::fs::read(path).unwrap();
    let trusted = EncodingKey::from_ed_pem(&read(&keys::FILES.signing_key)).unwrap();
    let signed = |changes| sign(Algorithm::EdDSA, &trusted, &changes);
    let stranger = |kind, algorithm| {
        let pem = rcgen::KeyPair::generate_for(kind).unwrap().serialize_pem();
        let key = match algorithm {
            Algorithm::EdDSA => EncodingKey::from_ed_pem(pem.as_bytes()),
            _ => EncodingKey::from_ec_pem(pem.as_bytes()),
        };
        sign(algorithm, &key.unwrap(), &json!({}))
    };
    let public_pem = EncodingKey::from_secret(&read(&keys::FILES.verification_key));
    let good = signed(json!({}));
    let [header, payload, signature] = good.split('.').collect::<Vec<_>>().try_into().unwrap();
    let other = signed(json!({"sub": "somebody else"}));
    let other_payload = other.split('.').nth(1).unwrap();
    let now = keys::now();
    // {"alg":"none"} and {"alg":"none","typ":"JWT"} in base64url.
    let (none, none_typed) = ("eyJhbGciOiJub25lIn0", "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0");
    vec![
        invalid("expired", signed(json!({"exp": now - 120}))),
        invalid("without an expiry", signed(json!({"exp": null}))),
        invalid("not yet valid", signed(json!({"nbf": now + 120}))),
        invalid("of another key", stranger(&rcgen::PKCS_ED25519, Algorithm::EdDSA)),
        invalid("of another key and algorithm", stranger(&rcgen::PKCS_ECDSA_P256_SHA256, Algorithm::ES256)),
        invalid("with alg none", format!("{none}.{payload}.")),
        invalid("with alg none and a signature", format!("{none_typed}.{payload}.{signature}")),
        invalid("of HS256 with the public key as its secret", sign(Algorithm::HS256, &public_pem, &json!({}))),
        invalid("with a payload that was not signed", format!("{header}.{other_payload}.{signature}")),
        invalid("without its signature", format!("{header}.{payload}.")),
        invalid("for another audience", signed(json!({"aud": "another"}))),
        invalid("for no audience", signed(json!({"aud": null}))),
        invalid("of another issuer", signed(json!({"iss": "https://id.example.evil"}))),
        invalid("of no issuer", signed(json!({"iss": null}))),
        invalid("no token at all", "abc.def.ghi".to_owned()),
        Case { what: "absent", token: String::new(), status: 401, error: "" },
        Case {
            what: "with another model's scope",
            token: signed(json!({"scope": "score:guarded2 score:guard models:read"})),
            status: 403,
            error: "error=\"insufficient_scope\", scope=\"score:guarded\"",
        },
        Case {
            what: "without a scope",
            token: signed(json!({"scope": null})),
            status: 403,
            error: "error=\"insufficient_scope\", scope=\"score:guarded\"",
        },
    ]
}

/// Calls of the model that got as far as the queue.
fn queued(metrics: &Metrics) -> f64 {
    metrics.sum("rscore_stage_duration_seconds_count", &[("model", MODEL), ("stage", "queue")])
}

#[tokio::test]
async fn a_bad_token_is_refused_before_anything_is_done() {
    let directory = tempfile::tempdir().unwrap();
    let calls = directory.path().join("calls");
    let script = format!(
        "score <- function(model, data) {{ cat('called\\n', file = '{}', append = TRUE); 2 * data$x }}",
        calls.display()
    );
    let server = Setup::new()
        .script(MODEL, &script)
        .settings(|settings| {
            settings.auth.issuer = Some(ISSUER.to_owned());
            settings.auth.audience = Some(AUDIENCE.to_owned());
        })
        .start()
        .await;
    let predict = || Request::predict(MODEL, r#"[{"x": 21}]"#);
    for case in bad_tokens() {
        let Case { what, token, status, error } = case;
        let value = if token.is_empty() { String::new() } else { format!("Bearer {token}") };
        let reply = server.send(predict().header("Authorization", &value)).await;
        assert_eq!(reply.status, status, "a token {what}: {}", reply.text());
        reply.is_problem(status, if status == 401 { "unauthenticated" } else { "forbidden" });
        let expected = match error {
            "" => "Bearer realm=\"rscore\"".to_owned(),
            error => format!("Bearer realm=\"rscore\", {error}"),
        };
        assert_eq!(reply.header("www-authenticate"), Some(&*expected), "a token {what}");
        if status == 401 {
            let metadata = server.send(Request::get("/models").header("Authorization", &value)).await;
            assert_eq!(metadata.status, 401, "metadata with a token {what}");
        }
    }
    let metrics = server.metrics().await;
    assert_eq!(queued(&metrics), 0.0, "a refused request reached the queue");
    assert_eq!(metrics.sum("rscore_requests_total", &[("model", MODEL)]), 0.0, "its model was looked up");
    assert!(metrics.sum("rscore_auth_failures_total", &[("reason", "signature")]) >= 1.0);
    assert!(!calls.exists(), "R was called");

    // The same request with a good token shows that the proof would have failed.
    assert_eq!(server.send(predict()).await.predictions(), [42.0]);
    assert_eq!(queued(&server.metrics().await), 1.0);
    assert_eq!(std::fs::read_to_string(&calls).unwrap(), "called\n");
}
