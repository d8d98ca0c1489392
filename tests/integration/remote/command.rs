//! `rscore models`, for init containers and people.

use std::fs;

use super::{factor, put};
use crate::support::emulators::Bucket;
use crate::support::program::run;
use crate::support::setup::Setup;

#[tokio::test]
async fn a_repository_is_listed_pulled_and_served() {
    for bucket in [Bucket::azure().await, Bucket::s3().await] {
        let (store, directory) = (bucket.store(), tempfile::tempdir().unwrap());
        put(&store, 1, 2).await;
        put(&store, 12, 3).await;
        store.overwrite("notes.txt", "x".into()).await.unwrap();
        let variables: Vec<(&str, &str)> =
            bucket.variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let variables = [&variables[..], &[("RSCORE_MODELS__SETTLE", "100ms")]].concat();

        let output = run(directory.path(), &["models", "list", &bucket.url], &variables).await;
        assert!(output.status.success(), "{output:?}");
        let listed = String::from_utf8(output.stdout).unwrap();
        let rows: Vec<Vec<&str>> = listed.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[0][..4], ["MODEL", "VERSION", "FILES", "SIZE"], "{listed}");
        assert_eq!(rows[1][..3], ["scale", "1", "2"], "{listed}");
        assert_eq!(rows[2][..3], ["scale", "12", "2"], "{listed}");
        assert!(listed.contains("passed over notes.txt"), "{listed}");

        let pull = ["models", "pull", &bucket.url, "models"];
        let output = run(directory.path(), &pull, &variables).await;
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("models has 2 versions"), "{text}");
        let log = String::from_utf8(output.stderr).unwrap();
        assert!(log.contains("fetched") && log.contains("/s"), "{log}");
        let again = run(directory.path(), &pull, &variables).await;
        assert!(String::from_utf8(again.stdout).unwrap().contains("(0 B in"), "nothing is fetched again");

        let models = directory.path().join("models");
        let server = Setup::new().settings(|settings| settings.models.path = models).start().await;
        assert_eq!(factor(&server).await, 3.0);
    }
}

#[tokio::test]
async fn mistakes_end_with_their_codes_and_hold_no_secret() {
    let directory = tempfile::tempdir().unwrap();
    let bucket = Bucket::azure().await;
    let missing = format!("{}-missing", bucket.url);
    let key = bucket.variables.iter().find(|(name, _)| name.ends_with("KEY")).unwrap().1.clone();
    for (url, extra, code, expected) in [
        ("ftp://x", ("A", ""), 64, "expected az://"),
        ("az://container?sig=swordfish", ("A", ""), 64, "environment"),
        (missing.as_str(), ("A", ""), 1, "ContainerNotFound"),
        (bucket.url.as_str(), ("AZURE_STORAGE_ENDPOINT", "http://192.0.2.1/x"), 64, "plain HTTP"),
    ] {
        let mut variables: Vec<(&str, &str)> =
            bucket.variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        variables.push(extra);
        let output = run(directory.path(), &["models", "pull", url, "models"], &variables).await;
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(text.contains(expected), "{text}");
        assert!(!text.contains("swordfish") && !text.contains(&key), "{text}");
    }
    // A folder of one's own is left alone.
    fs::create_dir_all(directory.path().join("own/boston/1")).unwrap();
    let variables: Vec<(&str, &str)> =
        bucket.variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let output = run(directory.path(), &["models", "pull", &bucket.url, "own"], &variables).await;
    assert_eq!(output.status.code(), Some(1));
}

#[tokio::test]
async fn serve_says_what_is_wrong_with_a_location() {
    let directory = tempfile::tempdir().unwrap();
    let output =
        run(directory.path(), &["serve", "--dev", "--models", "az://models"], &[("AZURE_STORAGE_ACCOUNT_NAME", "")])
            .await;
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64), "{text}");
    assert!(text.contains("AZURE_STORAGE_ACCOUNT_NAME"), "{text}");
}
