//! Decimal numbers as text: which integers a double can't hold, and what R and
//! others write for a double in a table.

/// A number that was written in a cell.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Number {
    /// The double nearest to what was written.
    Double(f64),
    /// An integer that no double equals, or a number beyond the range of doubles.
    Inexact,
}

/// Reads a decimal number with an optional sign, fraction and exponent, or `NaN`,
/// `Inf` and `Infinity` in any case; `None` for anything else.
pub(crate) fn parse(text: &str) -> Option<Number> {
    let is_decimal = |byte: &u8| matches!(byte, b'0'..=b'9' | b'.' | b'+' | b'-' | b'e' | b'E');
    if text.bytes().all(|byte| is_decimal(&byte)) {
        let double: f64 = text.parse().ok()?;
        if double.is_infinite() || is_rounded_integer(text) {
            return Some(Number::Inexact);
        }
        return Some(Number::Double(double));
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let is_word = ["nan", "inf", "infinity"].iter().any(|word| unsigned.eq_ignore_ascii_case(word));
    if is_word { text.parse().ok().map(Number::Double) } else { None }
}

/// Whether a literal is an integer, written as one, that differs from the
/// double nearest to it.
pub(crate) fn is_rounded_integer(literal: &str) -> bool {
    // 15 digits always fit.
    if literal.len() <= 15 {
        return false;
    }
    let digits = literal.strip_prefix(['-', '+']).unwrap_or(literal);
    let is_integer = digits.bytes().all(|byte| byte.is_ascii_digit());
    let digits = digits.trim_start_matches('0');
    is_integer && digits.parse::<f64>().is_ok_and(|double| format!("{double:.0}") != digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_integers_that_no_double_equals_are_rounded() {
        for rounded in ["9007199254740993", "-9007199254740993", "18446744073709551617", "100000000000000000000001"] {
            assert!(is_rounded_integer(rounded), "{rounded}");
        }
        for exact in [
            "0",
            "-1",
            "9007199254740992",
            "+00000000009007199254740992",
            "18446744073709551616",
            "100000000000000000000",
            "1e23",
            "0.1",
            "\"x\"",
            "0000000000000000000000",
        ] {
            assert!(!is_rounded_integer(exact), "{exact}");
        }
    }

    #[test]
    fn numbers_as_r_and_others_write_them() {
        for (text, double) in [
            ("1", 1.0),
            ("-0.5", -0.5),
            (".5", 0.5),
            ("+3.", 3.0),
            ("007", 7.0),
            ("1e+05", 1e5),
            ("1E-320", 1e-320),
            ("2.2250738585072011e-308", 2.225_073_858_507_201e-308),
            ("Inf", f64::INFINITY),
            ("-Inf", f64::NEG_INFINITY),
            ("-infinity", f64::NEG_INFINITY),
        ] {
            assert_eq!(parse(text), Some(Number::Double(double)), "{text}");
        }
        assert!(matches!(parse("NaN"), Some(Number::Double(nan)) if nan.is_nan()));
        for other in ["", "-", ".", "e5", "1e", "1 2", "0x1p3", "1_000", "1,5", "in", "infin", "١", "1d5"] {
            assert_eq!(parse(other), None, "{other}");
        }
        for inexact in ["9007199254740993", "1e309", "-1e999"] {
            assert_eq!(parse(inexact), Some(Number::Inexact), "{inexact}");
        }
    }
}
