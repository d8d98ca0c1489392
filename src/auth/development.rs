//! A throw-away pair of signing keys for `--dev`.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use aws_lc_rs::signature::Ed25519KeyPair;

use crate::pem;

/// Where the pair lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningKeyFiles {
    /// Private key, PKCS#8; for `auth.signing_key`.
    pub signing_key: PathBuf,
    /// Its public half; for `auth.keys`.
    pub verification_key: PathBuf,
}

/// Takes the Ed25519 pair in `directory`, which exists; makes a new one when
/// there is none, when the halves don't belong together, or when others could
/// read the private one.
///
/// # Errors
/// When a file can't be written.
pub fn prepare(directory: &Path) -> io::Result<SigningKeyFiles> {
    let files = SigningKeyFiles {
        signing_key: directory.join("signing-key.pem"),
        verification_key: directory.join("signing-key.pub.pem"),
    };
    if !usable(&files) {
        let (private, public) = generate()?;
        pem::write_private(&files.signing_key, &private)?;
        pem::write_public(&files.verification_key, &public)?;
    }
    Ok(files)
}

fn usable(files: &SigningKeyFiles) -> bool {
    let (Ok(private), Ok(public)) =
        (fs::read_to_string(&files.signing_key), fs::read_to_string(&files.verification_key))
    else {
        return false;
    };
    is_private(&files.signing_key)
        && rcgen::KeyPair::from_pem(&private)
            .is_ok_and(|pair| pair.is_compatible(&rcgen::PKCS_ED25519) && pair.public_key_pem() == public)
}

/// Whether nobody but the owner may touch a file.
pub(crate) fn is_private(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o077 == 0)
}

/// Private and public half as PEM. PKCS#8 version 1, which every tool reads;
/// version 2 with the public key inside trips older ones.
fn generate() -> io::Result<(String, String)> {
    let key = Ed25519KeyPair::generate().and_then(|key| key.to_pkcs8v1()).map_err(io::Error::other)?;
    let pair = rcgen::KeyPair::try_from(key.as_ref()).map_err(io::Error::other)?;
    Ok((pair.serialize_pem(), pair.public_key_pem()))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn a_good_pair_is_kept_and_the_private_half_is_private() {
        let directory = tempfile::tempdir().unwrap();
        let files = prepare(directory.path()).unwrap();
        let before = fs::read(&files.signing_key).unwrap();
        assert!(is_private(&files.signing_key));
        assert_eq!(prepare(directory.path()).unwrap(), files);
        assert_eq!(fs::read(&files.signing_key).unwrap(), before);
    }

    #[test]
    fn a_pair_that_is_damaged_foreign_or_readable_by_others_is_made_anew() {
        let directory = tempfile::tempdir().unwrap();
        let files = prepare(directory.path()).unwrap();
        let damage: [&dyn Fn(); 4] = [
            &|| fs::write(&files.verification_key, generate().unwrap().1).unwrap(),
            &|| fs::write(&files.signing_key, "garbage").unwrap(),
            &|| fs::remove_file(&files.verification_key).unwrap(),
            &|| fs::set_permissions(&files.signing_key, fs::Permissions::from_mode(0o644)).unwrap(),
        ];
        for (index, damage) in damage.into_iter().enumerate() {
            let before = fs::read(&files.signing_key).unwrap();
            damage();
            assert!(!usable(&files), "{index}");
            prepare(directory.path()).unwrap();
            assert!(usable(&files), "{index}");
            assert_ne!(fs::read(&files.signing_key).unwrap(), before, "{index}");
        }
    }
}
