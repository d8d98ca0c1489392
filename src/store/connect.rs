//! Makes the client of a store from a location, the settings and the variables
//! of the environment, and sees to it that what leaves this machine is encrypted.

use std::net::IpAddr;
use std::sync::Arc;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::local::LocalFileSystem;
use object_store::{BackoffConfig, ClientConfigKey, ClientOptions, ObjectStore, RetryConfig};

use super::error::{Result, StoreError, StoreErrorKind};
use super::location::{Location, Root};
use crate::config::ProviderVariables;
use crate::config::settings::StoreSettings;

/// Variables that say where Azure Blob is, other than by its account's name.
const AZURE_ENDPOINTS: &[&str] = &["AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT", "AZURITE_BLOB_STORAGE_URL"];

/// Variables that name the account, one of which must be there; the emulator has
/// an account of its own.
const AZURE_ACCOUNTS: &[&str] = &["AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_USE_EMULATOR"];

/// Variables that say where S3 is.
const S3_ENDPOINTS: &[&str] = &["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"];

/// Variables that say where Google Cloud Storage is.
const GOOGLE_ENDPOINTS: &[&str] = &["GOOGLE_BASE_URL"];

/// The client of what the location is in.
///
/// # Errors
/// [`StoreErrorKind::Invalid`] or [`StoreErrorKind::Denied`], with the variable to set.
pub(super) fn connect(
    location: &Location,
    settings: &StoreSettings,
    variables: &ProviderVariables,
) -> Result<Arc<dyn ObjectStore>> {
    let failed = |prefix: &str, error: object_store::Error| {
        let error = StoreError::about(location, &error);
        StoreError::new(StoreErrorKind::Invalid, format!("{error}; check the {prefix} variables of the environment"))
    };
    Ok(match location.root() {
        Root::Azure(container) => {
            if AZURE_ACCOUNTS.iter().all(|name| variables.get(name).is_none()) {
                return Err(StoreError::new(
                    StoreErrorKind::Invalid,
                    format!("{location}: AZURE_STORAGE_ACCOUNT_NAME must name the account that the container is in"),
                ));
            }
            let options = client_options(settings, variables, AZURE_ENDPOINTS)?;
            let builder = MicrosoftAzureBuilder::new()
                .with_client_options(options)
                .with_retry(retry_config(settings))
                .with_container_name(container);
            let mut builder = match variables.get("IDENTITY_ENDPOINT") {
                Some(endpoint) => builder.with_msi_endpoint(endpoint),
                None => builder,
            };
            for (name, value) in variables.with_prefix("AZURE_") {
                match name.to_ascii_lowercase().parse() {
                    Ok(AzureConfigKey::Client(key)) => {
                        if let Some(key) = checked_client_key(key, name, value)? {
                            builder = builder.with_config(AzureConfigKey::Client(key), value);
                        }
                    }
                    Ok(AzureConfigKey::SkipSignature) => refuse_anonymous(name, value)?,
                    // The location says it.
                    Ok(AzureConfigKey::ContainerName) | Err(_) => {}
                    Ok(key) => builder = builder.with_config(key, value),
                }
            }
            Arc::new(builder.build().map_err(|error| failed("AZURE_", error))?)
        }
        Root::S3(bucket) => {
            let options = client_options(settings, variables, S3_ENDPOINTS)?;
            let mut builder = AmazonS3Builder::new()
                .with_client_options(options)
                .with_retry(retry_config(settings))
                .with_bucket_name(bucket);
            for (name, value) in variables.with_prefix("AWS_") {
                match name.to_ascii_lowercase().parse() {
                    Ok(AmazonS3ConfigKey::Client(key)) => {
                        if let Some(key) = checked_client_key(key, name, value)? {
                            builder = builder.with_config(AmazonS3ConfigKey::Client(key), value);
                        }
                    }
                    Ok(AmazonS3ConfigKey::SkipSignature) => refuse_anonymous(name, value)?,
                    Ok(AmazonS3ConfigKey::Bucket) | Err(_) => {}
                    Ok(key) => builder = builder.with_config(key, value),
                }
            }
            Arc::new(builder.build().map_err(|error| failed("AWS_", error))?)
        }
        Root::Google(bucket) => {
            let options = client_options(settings, variables, GOOGLE_ENDPOINTS)?;
            let mut builder = GoogleCloudStorageBuilder::new()
                .with_client_options(options)
                .with_retry(retry_config(settings))
                .with_bucket_name(bucket);
            for (name, value) in variables.with_prefix("GOOGLE_") {
                match name.to_ascii_lowercase().parse() {
                    Ok(GoogleConfigKey::Client(key)) => {
                        if let Some(key) = checked_client_key(key, name, value)? {
                            builder = builder.with_config(GoogleConfigKey::Client(key), value);
                        }
                    }
                    Ok(GoogleConfigKey::SkipSignature) => refuse_anonymous(name, value)?,
                    Ok(GoogleConfigKey::Bucket) | Err(_) => {}
                    Ok(key) => builder = builder.with_config(key, value),
                }
            }
            Arc::new(builder.build().map_err(|error| failed("GOOGLE_", error))?)
        }
        Root::Local => Arc::new(LocalFileSystem::new().with_fsync(settings.sync_files)),
    })
}

fn client_options(
    settings: &StoreSettings,
    variables: &ProviderVariables,
    endpoints: &[&str],
) -> Result<ClientOptions> {
    let mut plain = false;
    for name in endpoints {
        if let Some(endpoint) = variables.get(name) {
            plain |= is_loopback_http(name, endpoint)?;
        }
    }
    Ok(ClientOptions::new()
        .with_allow_http(plain)
        .with_connect_timeout(settings.connect_timeout)
        // A model or an input may be large: what is bounded is the wait for the
        // next bytes, not the whole.
        .with_read_timeout(settings.timeout)
        .with_timeout_disabled())
}

fn retry_config(settings: &StoreSettings) -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig::default(),
        max_retries: settings.max_retries,
        retry_timeout: settings.retry_timeout,
    }
}

/// The key, unless it is decided by other means; an error where it would give up
/// encryption.
fn checked_client_key(key: ClientConfigKey, name: &str, value: &str) -> Result<Option<ClientConfigKey>> {
    match key {
        // Decided by the endpoint.
        ClientConfigKey::AllowHttp => Ok(None),
        ClientConfigKey::AllowInvalidCertificates if !is_off(value) => Err(StoreError::new(
            StoreErrorKind::Invalid,
            format!(
                "{name} is set: a store's certificate is always checked; unset it, and add the store's CA to the system's"
            ),
        )),
        key => Ok(Some(key)),
    }
}

/// An error where a variable would have a store asked without credentials.
fn refuse_anonymous(name: &str, value: &str) -> Result<()> {
    match is_off(value) {
        true => Ok(()),
        false => Err(StoreError::new(
            StoreErrorKind::Invalid,
            format!("{name} is set: a store is always asked with credentials; unset it, and set those of an account"),
        )),
    }
}

/// Whether a variable that stands for yes or no says no.
fn is_off(value: &str) -> bool {
    value.eq_ignore_ascii_case("false") || value == "0"
}

/// Whether an endpoint is an emulator on this machine over plain HTTP.
///
/// # Errors
/// Plain HTTP to another machine, or no URL.
fn is_loopback_http(name: &str, endpoint: &str) -> Result<bool> {
    let invalid = |message: String| StoreError::new(StoreErrorKind::Invalid, message);
    let lower = endpoint.to_ascii_lowercase();
    if lower.starts_with("https://") {
        return Ok(false);
    }
    let Some(rest) = lower.strip_prefix("http://") else {
        return Err(invalid(format!("{name}: expected a URL that begins with https://")));
    };
    let authority = rest.split(['/', '\\', '?', '#']).next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next(),
        None => authority.split(':').next(),
    };
    let host = host.unwrap_or_default();
    let is_loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    match is_loopback && !authority.contains('@') {
        true => Ok(true),
        false => Err(invalid(format!(
            "{name}: plain HTTP is for an emulator on this machine (127.0.0.1, [::1] or localhost); use https:// for '{host}'"
        ))),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;

    fn connected(location: &str, variables: &[(&str, &str)]) -> Result<Arc<dyn ObjectStore>> {
        let variables = variables.iter().copied().collect();
        connect(&Location::parse(location).unwrap(), &StoreSettings::default(), &variables)
    }

    const AZURE: (&str, &str) = ("AZURE_STORAGE_ACCOUNT_NAME", "account");

    #[test]
    fn plain_http_stays_on_this_machine() {
        for loopback in ["http://127.0.0.1:10000/a", "HTTP://localhost:1", "http://[::1]:1/a", "http://127.9.9.9"] {
            assert!(is_loopback_http("X", loopback).unwrap(), "{loopback}");
        }
        assert!(!is_loopback_http("X", "https://example.org").unwrap());
        for bad in [
            "http://example.org",
            "http://10.0.0.1:9000",
            "http://127.0.0.1@example.org/",
            "http://localhost.example.org",
            "http://127.0.0.1.example.org",
            "example.org",
            "ftp://localhost",
            "",
        ] {
            assert!(is_loopback_http("X", bad).is_err(), "{bad}");
        }
        let error =
            connected("s3://b", &[("AWS_ENDPOINT", "http://minio:9000"), ("AWS_ALLOW_HTTP", "true")]).unwrap_err();
        assert!(error.to_string().contains("AWS_ENDPOINT: plain HTTP"), "{error}");
        let error = connected("az://c", &[AZURE, ("AZURE_STORAGE_ENDPOINT", "http://10.1.1.1/a")]).unwrap_err();
        assert!(error.to_string().contains("use https:// for '10.1.1.1'"), "{error}");
    }

    #[test]
    fn certificates_are_always_checked() {
        let error = connected("s3://b", &[("AWS_ALLOW_INVALID_CERTIFICATES", "true")]).unwrap_err();
        assert!(error.to_string().contains("AWS_ALLOW_INVALID_CERTIFICATES is set"), "{error}");
        assert!(connected("s3://b", &[("AWS_ALLOW_INVALID_CERTIFICATES", "false")]).is_ok());
    }

    #[test]
    fn no_store_is_asked_without_credentials() {
        for (location, variable) in
            [("az://c", "AZURE_SKIP_SIGNATURE"), ("s3://b", "AWS_SKIP_SIGNATURE"), ("gs://b", "GOOGLE_SKIP_SIGNATURE")]
        {
            for value in ["true", "1", "YES"] {
                let error = connected(location, &[AZURE, (variable, value)]).unwrap_err();
                assert_eq!(error.kind(), StoreErrorKind::Invalid);
                assert!(error.to_string().contains(&format!("{variable} is set")), "{error}");
            }
            assert!(connected(location, &[AZURE, (variable, "false")]).is_ok(), "{variable}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = connected("az://c", &[]).unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Invalid);
        assert!(error.to_string().contains("AZURE_STORAGE_ACCOUNT_NAME"), "{error}");
        assert!(connected("az://c", &[AZURE, ("AZURE_CONTAINER_NAME", "other"), ("AZURE_UNHEARD_OF", "x")]).is_ok());
        assert!(connected("/data", &[]).is_ok());
    }

    #[test]
    fn a_key_that_is_no_key_is_not_repeated() {
        let error = connected("az://c", &[AZURE, ("AZURE_STORAGE_ACCOUNT_KEY", "sword fish")]).unwrap_err();
        assert!(!error.to_string().contains("sword"), "{error}");
    }
}
