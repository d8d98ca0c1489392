//! PEM files, read so that no section of one is ever skipped: a key or
//! certificate that silently drops out of a file is found out in production.

mod file;

use std::path::Path;

use rustls::pki_types::pem::{PemObject, SectionKind};

pub(crate) use file::{ReadError, read_bounded, write_private, write_public};

/// Largest PEM file that is read, in bytes. A certificate chain is a few KiB.
const MAX_BYTES: u64 = 1024 * 1024;

/// Why a PEM file was refused; the caller adds the path.
#[derive(Debug, thiserror::Error)]
pub enum PemError {
    /// The bytes could not be had.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Not one `-----BEGIN` line.
    #[error("has no PEM section (a line such as '-----BEGIN CERTIFICATE-----'); is it DER, or another file?")]
    NoSection,
    /// A private key under a password.
    #[error("holds a private key under a password; decrypt it with 'openssl pkey -in FILE -out FILE.plain'")]
    Encrypted,
    /// A section with a label that nothing here reads.
    #[error("has a section '{0}', which is not supported; CERTIFICATE, PUBLIC KEY and PRIVATE KEY are")]
    UnknownLabel(String),
    /// Base64 or armour that does not parse.
    #[error("is not well-formed PEM: {0}")]
    Malformed(String),
}

/// One decoded section.
pub(crate) struct Section {
    /// What its label says.
    pub(crate) kind: SectionKind,
    /// Its bytes, usually DER.
    pub(crate) der: Vec<u8>,
}

/// Reads every section of a PEM file, in order. `EC PARAMETERS`, which openssl
/// writes in front of an EC key that repeats them, carry nothing and are left out.
///
/// # Errors
/// When the file can't be read, has no section, or has one that can't be
/// decoded or has an unknown label.
pub(crate) fn read(path: &Path) -> Result<Vec<Section>, PemError> {
    parse(&read_bounded(path, MAX_BYTES)?)
}

/// [`read`] for bytes that are in memory.
pub(crate) fn parse(bytes: &[u8]) -> Result<Vec<Section>, PemError> {
    let mut expected = 0;
    for label in labels(bytes) {
        match label.as_str() {
            "ENCRYPTED PRIVATE KEY" => return Err(PemError::Encrypted),
            "EC PARAMETERS" => {}
            "CERTIFICATE" | "PUBLIC KEY" | "PRIVATE KEY" | "RSA PRIVATE KEY" | "EC PRIVATE KEY" => expected += 1,
            _ => return Err(PemError::UnknownLabel(label)),
        }
    }
    if expected == 0 {
        return Err(PemError::NoSection);
    }
    let sections = <(SectionKind, Vec<u8>)>::pem_slice_iter(bytes)
        .map(|section| section.map(|(kind, der)| Section { kind, der }))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| PemError::Malformed(error.to_string()))?;
    // The parser lets a second BEGIN line replace a section that never ended.
    if sections.len() != expected {
        return Err(PemError::Malformed(format!("{expected} sections begin and {} end", sections.len())));
    }
    Ok(sections)
}

/// Labels of all lines that begin a section.
fn labels(bytes: &[u8]) -> impl Iterator<Item = String> + '_ {
    bytes.split(|byte| matches!(byte, b'\n' | b'\r')).filter_map(|line| {
        let label = line.strip_prefix(b"-----BEGIN ")?;
        Some(String::from_utf8_lossy(label).trim_end().trim_end_matches('-').chars().take(64).collect())
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    const SECTION: &str = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n";

    fn error(text: &str) -> String {
        parse(text.as_bytes()).err().expect("the text is refused").to_string()
    }

    #[test]
    fn every_section_is_returned_in_order() {
        let text = format!("comment\n{SECTION}-----BEGIN CERTIFICATE-----\r\nAQID\r\n-----END CERTIFICATE-----\r\n");
        let sections = parse(text.as_bytes()).unwrap();
        assert_eq!(sections.len(), 2);
        assert_eq!((sections[0].kind, sections[0].der.as_slice()), (SectionKind::PublicKey, [0, 0, 0].as_slice()));
        assert_eq!((sections[1].kind, sections[1].der.as_slice()), (SectionKind::Certificate, [1, 2, 3].as_slice()));
    }

    #[test]
    fn a_file_without_sections_is_refused() {
        assert!(error("").contains("no PEM section"));
        assert!(error("hello\n").contains("no PEM section"));
        assert!(error("-----BEGIN EC PARAMETERS-----\nAAAA\n-----END EC PARAMETERS-----\n").contains("no PEM section"));
    }

    #[test]
    fn a_damaged_section_is_an_error_even_beside_a_good_one() {
        assert!(error(&format!("{SECTION}-----BEGIN PUBLIC KEY-----\nAAAA\n")).contains("well-formed"));
        assert!(
            error(&format!("{SECTION}-----BEGIN PUBLIC KEY-----\n????\n-----END PUBLIC KEY-----\n"))
                .contains("well-formed")
        );
        assert!(error(&format!("-----BEGIN CERTIFICATE-----\nAAAA\n{SECTION}")).contains("well-formed"));
    }

    #[test]
    fn labels_that_nothing_reads_are_named() {
        assert!(error("-----BEGIN ENCRYPTED PRIVATE KEY-----\n").contains("openssl pkey"));
        assert!(error(&format!("{SECTION}-----BEGIN RSA PUBLIC KEY-----\n")).contains("'RSA PUBLIC KEY'"));
    }

    #[test]
    fn parameters_in_front_of_a_key_are_left_out() {
        let text = format!("-----BEGIN EC PARAMETERS-----\nAAAA\n-----END EC PARAMETERS-----\n{SECTION}");
        assert_eq!(parse(text.as_bytes()).unwrap().len(), 1);
    }
}
