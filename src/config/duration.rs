//! Durations in settings are text such as `30s`, `5m` or `1h 30m`.

use std::time::Duration;

use jiff::SignedDuration;
use serde::{Deserialize, Deserializer, Serializer, de};

/// Reads a friendly duration; negative ones are an error.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse(&text).map_err(de::Error::custom)
}

/// Writes a friendly duration.
pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format(*duration))
}

/// Parses text such as `30s` or `1h 30m`.
///
/// # Errors
/// A sentence that names the text and shows what is expected.
pub fn parse(text: &str) -> Result<Duration, String> {
    text.parse::<SignedDuration>()
        .ok()
        .and_then(|signed| Duration::try_from(signed).ok())
        .ok_or_else(|| format!("'{text}' is not a duration; write it as 500ms, 30s, 5m or 1h 30m"))
}

/// The shortest friendly form.
pub fn format(duration: Duration) -> String {
    match SignedDuration::try_from(duration) {
        Ok(signed) => format!("{signed:#}"),
        Err(_) => format!("{}s", duration.as_secs()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        for millis in [0, 1, 500, 1_000, 75_000, 5_400_000, 90_061_001] {
            let duration = Duration::from_millis(millis);
            assert_eq!(parse(&format(duration)), Ok(duration), "{}", format(duration));
        }
        assert_eq!(parse("1h 30m"), Ok(Duration::from_secs(5400)));
    }

    #[test]
    fn what_is_no_duration_is_named() {
        for text in ["", "30", "-5s", "soon", "1 fortnight"] {
            let message = parse(text).expect_err(text);
            assert!(message.contains(&format!("'{text}'")), "{message}");
        }
    }
}
