//! Bits of the request in messages: quoted, and cut so that no answer echoes a
//! body back.

/// Most characters of a value or a name in a message.
const CHARACTERS: usize = 40;

/// A name in single quotes.
pub(super) fn quoted(name: &str) -> String {
    format!("'{}'", shortened(name))
}

/// A string value as JSON.
pub(super) fn string(value: &str) -> String {
    serde_json::Value::from(shortened(value)).to_string()
}

/// Text of at most 40 characters; what was cut off shows as an ellipsis.
pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(CHARACTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_values_are_cut_between_characters() {
        assert_eq!(shortened(&"ä".repeat(40)), "ä".repeat(40));
        assert_eq!(shortened(&"ä".repeat(41)), format!("{}…", "ä".repeat(40)));
        assert_eq!(string("a\"b\n"), r#""a\"b\n""#);
        assert_eq!(quoted("crim"), "'crim'");
    }
}
