//! Bits of the request in messages: quoted, and cut so that no answer echoes a
//! body back.

/// Most characters of a value in a message.
const VALUE_CHARACTERS: usize = 40;
/// Most characters of a name, which should be found again in the request.
const NAME_CHARACTERS: usize = 200;

/// A name in single quotes.
pub(crate) fn quoted(name: &str) -> String {
    format!("'{}'", self::name(name))
}

/// A name as it is.
pub(crate) fn name(name: &str) -> String {
    shortened(name, NAME_CHARACTERS)
}

/// A name as a JSON string.
pub(crate) fn json_name(name: &str) -> String {
    serde_json::Value::from(self::name(name)).to_string()
}

/// A string value as JSON.
pub(crate) fn string(value: &str) -> String {
    serde_json::Value::from(literal(value)).to_string()
}

/// A value as it is written in the body.
pub(crate) fn literal(value: &str) -> String {
    shortened(value, VALUE_CHARACTERS)
}

/// Text of at most that many characters; what was cut off shows as an ellipsis.
pub(crate) fn shortened(text: &str, characters: usize) -> String {
    match text.char_indices().nth(characters) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_values_are_cut_between_characters() {
        assert_eq!(literal(&"ä".repeat(40)), "ä".repeat(40));
        assert_eq!(literal(&"ä".repeat(41)), format!("{}…", "ä".repeat(40)));
        assert_eq!(string("a\"b\n"), r#""a\"b\n""#);
        assert_eq!(quoted("crim"), "'crim'");
    }
}
