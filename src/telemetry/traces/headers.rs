//! Headers for the collector, from a file: they hold secrets, which settings don't.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use reqwest::header::{HeaderName, HeaderValue};

/// Largest file, in bytes.
const MAX_BYTES: u64 = 64 * 1024;

/// Reads a file of headers, one `name: value` a line; empty lines and those that begin
/// with `#` are left out. What is wrong with it is told without its text.
pub(super) fn read(path: &Path) -> Result<HashMap<String, String>, String> {
    let mut text = String::new();
    let file = File::open(path).map_err(|error| format!("{} can't be read: {error}", path.display()))?;
    file.take(MAX_BYTES + 1)
        .read_to_string(&mut text)
        .map_err(|error| format!("{} can't be read: {error}", path.display()))?;
    if text.len() as u64 > MAX_BYTES {
        return Err(format!("{} is larger than {MAX_BYTES} bytes", path.display()));
    }
    parse(&text).map_err(|line| format!("line {line} of {} is not a header, 'name: value'", path.display()))
}

/// The headers of a text, or the number of a line that is none.
fn parse(text: &str) -> Result<HashMap<String, String>, usize> {
    let mut headers = HashMap::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let header = line.split_once(':').map(|(name, value)| (name.trim(), value.trim()));
        let valid = header.filter(|(name, value)| {
            HeaderName::from_bytes(name.as_bytes()).is_ok() && HeaderValue::from_str(value).is_ok()
        });
        let (name, value) = valid.ok_or(number + 1)?;
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_header() {
        let headers = parse("# the vendor's\nAuthorization: Bearer a:b\n\n x-scope : one \n").expect("headers");
        assert_eq!(headers.len(), 2);
        assert_eq!(headers["authorization"], "Bearer a:b");
        assert_eq!(headers["x-scope"], "one");
    }

    #[test]
    fn what_is_wrong_is_told_without_its_text() {
        assert_eq!(parse("a: b\nswordfish"), Err(2));
        assert_eq!(parse("two words: swordfish"), Err(1));
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "swordfish").expect("written");
        let message = read(file.path()).expect_err("no header");
        assert!(message.starts_with("line 1 of ") && !message.contains("swordfish"), "{message}");
    }
}
