//! The files of `--dev`: what a client makes of them, and when they are kept.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use super::*;
use crate::auth::mint::Minter;
use crate::auth::{Scope, Verifier};
use crate::config::settings::AuthSettings;

fn folder() -> (TempDir, PathBuf) {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("certs/dev");
    (parent, directory)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Contents of the files, certificates first.
fn contents(files: &DevelopmentFiles) -> [Vec<u8>; 5] {
    [&files.ca_certificate, &files.certificate, &files.key, &files.signing_key, &files.verification_key]
        .map(|path| fs::read(path).unwrap())
}

#[test]
fn the_files_serve_https_and_tokens() {
    let (_parent, directory) = folder();
    let files = prepare(&directory).unwrap();
    let tls = TlsSettings { certificate: Some(files.certificate.clone()), key: Some(files.key.clone()) };
    assert!(crate::tls::ServerCertificate::load(&tls).is_ok());
    let auth = AuthSettings {
        keys: vec![files.verification_key.clone()],
        signing_key: Some(files.signing_key.clone()),
        ..AuthSettings::default()
    };
    let token = Minter::from_settings(&auth).unwrap().mint("me", &["score:*".parse().unwrap()], MARGIN).unwrap();
    let principal = Verifier::from_settings(&auth).unwrap().verify(&token).unwrap();
    assert!(principal.allows(&Scope::Score("boston".to_owned())));
}

#[test]
fn what_is_private_is_the_owner_s_alone() {
    let (_parent, directory) = folder();
    let files = prepare(&directory).unwrap();
    assert_eq!(mode(&directory), 0o700);
    assert_eq!((mode(&files.key), mode(&files.signing_key)), (0o600, 0o600));
    let names = fs::read_dir(&directory).unwrap().count();
    assert_eq!(names, 6, "five files and the lock; the key of the CA is not kept");
}

#[test]
fn good_files_are_kept() {
    let (_parent, directory) = folder();
    let before = contents(&prepare(&directory).unwrap());
    assert_eq!(contents(&prepare(&directory).unwrap()), before);
    let almost_over = SystemTime::now() + VALIDITY - MARGIN - Duration::from_secs(600);
    assert_eq!(contents(&prepare_at(&directory, almost_over).unwrap()), before);
}

#[test]
fn certificates_with_less_than_a_day_left_are_made_anew_and_signing_keys_kept() {
    let (_parent, directory) = folder();
    let before = contents(&prepare(&directory).unwrap());
    let later = SystemTime::now() + VALIDITY - MARGIN + Duration::from_secs(600);
    let after = contents(&prepare_at(&directory, later).unwrap());
    for index in 0..3 {
        assert_ne!(after[index], before[index], "{index}");
    }
    assert_eq!(after[3..], before[3..]);
}

#[test]
fn files_that_do_not_fit_together_are_made_anew() {
    let (_parent, directory) = folder();
    let files = prepare(&directory).unwrap();
    let other = generate(SystemTime::now()).unwrap();
    let damage: [&dyn Fn(); 6] = [
        &|| fs::write(&files.ca_certificate, &other.ca_certificate).unwrap(),
        &|| fs::write(&files.certificate, &other.certificate).unwrap(),
        &|| fs::write(&files.key, &other.key).unwrap(),
        &|| fs::write(&files.key, "garbage").unwrap(),
        &|| fs::remove_file(&files.ca_certificate).unwrap(),
        &|| fs::set_permissions(&files.key, fs::Permissions::from_mode(0o640)).unwrap(),
    ];
    for (index, damage) in damage.into_iter().enumerate() {
        let now = SystemTime::now();
        assert!(files.usable(now), "{index}");
        damage();
        assert!(!files.usable(now), "{index}");
        prepare(&directory).unwrap();
        assert_eq!(mode(&files.key), 0o600, "{index}");
    }
    assert!(files.usable(SystemTime::now()));
}

#[test]
fn processes_that_start_at_once_get_the_same_files() {
    let (_parent, directory) = folder();
    let all: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| contents(&prepare(&directory).unwrap()))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(all.windows(2).all(|two| two[0] == two[1]));
}

#[test]
fn a_folder_that_can_not_be_made_is_named() {
    let (parent, _) = folder();
    let file = parent.path().join("file");
    fs::write(&file, "").unwrap();
    let error = prepare(&file.join("dev")).expect_err("a file is in the way").to_string();
    assert!(error.contains("file/dev: can't write"), "{error}");
}
