//! The forms in which rows come and go, and what they are called.

use std::fmt;

/// A form of rows as bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// JSON in one document.
    Json,
    /// Comma-separated values with a header (RFC 4180).
    Csv,
    /// One JSON value per line.
    Ndjson,
    /// The streaming format of Arrow IPC.
    Arrow,
    /// Apache Parquet.
    Parquet,
}

impl Format {
    /// Every form, the most common first.
    pub const ALL: [Self; 5] = [Self::Json, Self::Csv, Self::Ndjson, Self::Arrow, Self::Parquet];

    /// Its media type without parameters.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Csv => "text/csv",
            Self::Ndjson => "application/x-ndjson",
            Self::Arrow => "application/vnd.apache.arrow.stream",
            Self::Parquet => "application/vnd.apache.parquet",
        }
    }

    /// The form of that media type, in lower case and without parameters.
    pub fn of_media_type(media_type: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.media_type() == media_type)
    }

    /// The form of files with that extension, in any case: `csv`, `jsonl` or
    /// `ndjson`, `json`, `arrow` or `arrows`, `parquet`.
    pub fn of_extension(extension: &str) -> Option<Self> {
        Some(match extension.to_ascii_lowercase().as_str() {
            "json" => Self::Json,
            "csv" => Self::Csv,
            "jsonl" | "ndjson" => Self::Ndjson,
            "arrow" | "arrows" => Self::Arrow,
            "parquet" => Self::Parquet,
            _ => return None,
        })
    }

    /// Whether it is text, which has a character encoding.
    pub fn is_text(self) -> bool {
        matches!(self, Self::Json | Self::Csv | Self::Ndjson)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Json => "JSON",
            Self::Csv => "CSV",
            Self::Ndjson => "NDJSON",
            Self::Arrow => "an Arrow stream",
            Self::Parquet => "Parquet",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back() {
        for format in Format::ALL {
            assert_eq!(Format::of_media_type(format.media_type()), Some(format));
        }
        assert_eq!(Format::of_extension("CSV"), Some(Format::Csv));
        assert_eq!((Format::of_extension("txt"), Format::of_media_type("text/plain")), (None, None));
    }
}
