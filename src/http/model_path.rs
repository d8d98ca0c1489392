//! The model that a path names.

use actix_web::HttpRequest;

use crate::error::{Error, Kind, Result};

/// Name and, where the path has one, version.
///
/// # Errors
/// [`Kind::NotFound`] for a version that is not a positive integer: there is
/// none of that name.
pub(crate) fn parse(request: &HttpRequest) -> Result<(&str, Option<u32>)> {
    let path = request.match_info();
    let version = path.get("version").map(version).transpose()?;
    Ok((path.query("name"), version))
}

fn version(text: &str) -> Result<u32> {
    let digits = !text.is_empty() && !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
    digits
        .then(|| text.parse().ok())
        .flatten()
        .ok_or_else(|| Error::new(Kind::NotFound, "there is no such version; versions are positive integers such as 1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_positive_integers() {
        assert_eq!(version("1").expect("good"), 1);
        assert_eq!(version("4294967295").expect("good"), u32::MAX);
        for bad in ["0", "-1", "+1", "01", "1.0", "latest", "", "4294967296"] {
            assert_eq!(*version(bad).expect_err(bad).kind(), Kind::NotFound);
        }
    }
}
