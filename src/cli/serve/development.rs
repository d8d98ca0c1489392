//! What `--dev` adds: throw-away keys, and a line that can be pasted into
//! another terminal.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde_json::value::RawValue;

use crate::auth::mint::Minter;
use crate::auth::scope::Grant;
use crate::config::Settings;
use crate::scoring::catalog::{Catalog, State};
use crate::tls::development::{self, DevelopmentError, DevelopmentFiles};

/// Where the throw-away files go; ignored by git.
const DIRECTORY: &str = "certs/dev";

/// How long the printed token is good: a day of work.
const TOKEN_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// The model that the printed line calls, when it is there.
const FAVOURITE: &str = "boston";

/// Makes the files and has the settings use them.
pub(super) fn prepare(settings: &mut Settings) -> Result<DevelopmentFiles, DevelopmentError> {
    let files = development::prepare(Path::new(DIRECTORY))?;
    settings.apply_development_files(
        files.certificate.clone(),
        files.key.clone(),
        files.verification_key.clone(),
        files.signing_key.clone(),
    );
    Ok(files)
}

/// What is printed once all models are loaded: where the server is, and a call
/// that works.
pub(super) fn welcome(
    settings: &Settings,
    files: &DevelopmentFiles,
    catalog: &Catalog,
    callers: SocketAddr,
    operator: SocketAddr,
) -> String {
    let mut text = String::from("\n");
    let scheme = if settings.server.insecure_http { "http" } else { "https" };
    let base = format!("{scheme}://localhost:{}", callers.port());
    let _ = writeln!(text, "rscore is ready: {base}  (metrics and probes: http://{operator})");
    let _ = writeln!(text, "development mode: throw-away certificate and keys in {DIRECTORY}, loopback only");

    let token = Minter::from_settings(&settings.auth)
        .and_then(|minter| minter.mint("developer", &[Grant::ScoreAny, Grant::ModelsRead], TOKEN_LIFETIME));
    let token = match token {
        Ok(token) => token,
        Err(error) => {
            let _ = writeln!(text, "no token could be made for an example: {error}");
            return text;
        }
    };
    let trust = match settings.tls.certificate.as_ref() == Some(&files.certificate) && !settings.server.insecure_http {
        true => format!("--cacert {} ", files.ca_certificate.display()),
        false => String::new(),
    };
    let Some((name, body)) = example(catalog) else {
        let _ = writeln!(text, "no model with a sample is loaded; list what is there with:\n");
        let _ = writeln!(text, "curl -sS {trust}-H 'Authorization: Bearer {token}' {base}/models\n");
        return text;
    };
    let _ = writeln!(text, "predict the first row of the sample of '{name}' with:\n");
    let _ = writeln!(
        text,
        "curl -sS {trust}-H 'Authorization: Bearer {token}' -H 'Content-Type: application/json' \
         {base}/models/{name}/predict -d '{}'\n",
        body.replace('\'', r"'\''")
    );
    text
}

/// A model that is ready and the first row of its sample.
fn example(catalog: &Catalog) -> Option<(String, String)> {
    let mut candidates: Vec<(String, String)> = catalog
        .list()
        .into_iter()
        .filter_map(|(name, versions)| {
            let (_, state) = versions.into_iter().next_back()?;
            let State::Ready { info, .. } = state else { return None };
            Some((name.to_string(), first_row(info.sample.as_ref()?.get())))
        })
        .collect();
    candidates.sort_by_key(|(name, _)| name != FAVOURITE);
    candidates.into_iter().next()
}

/// The first of a sample's records; a sample of another form as it is.
fn first_row(sample: &str) -> String {
    match serde_json::from_str::<Vec<&RawValue>>(sample) {
        Ok(records) => match records.first() {
            Some(record) => format!("[{}]", one_line(record.get())),
            None => "[]".to_owned(),
        },
        Err(_) => one_line(sample),
    }
}

/// JSON text without the line breaks between its parts. Within strings JSON has
/// none.
fn one_line(json: &str) -> String {
    json.lines().map(str::trim).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_record_is_the_example() {
        assert_eq!(first_row("[\n {\"a\": 1.50,\n  \"b\": \"x y\"},\n {\"a\": 2}\n]"), "[{\"a\": 1.50,\"b\": \"x y\"}]");
        assert_eq!(first_row("{\"a\": [1]}"), "{\"a\": [1]}");
        assert_eq!(first_row("[]"), "[]");
    }
}
