//! Dates and timestamps as ISO 8601 text, both ways. Input is strict: four-digit
//! years and no guessing. Output covers every value that the Arrow types hold.

use std::io::Write;

use jiff::civil::Date;

const SECONDS_PER_DAY: i64 = 86_400;
const MICROSECONDS_PER_SECOND: i64 = 1_000_000;
const MICROSECONDS_PER_DAY: i64 = SECONDS_PER_DAY * MICROSECONDS_PER_SECOND;

/// Days since 1970-01-01 of a date written `YYYY-MM-DD`; `None` when the text
/// is anything else.
pub(crate) fn parse_date(text: &str) -> Option<i32> {
    days_of(text.as_bytes())
}

/// Microseconds since 1970-01-01T00:00:00Z of `YYYY-MM-DDThh:mm[:ss[.f…]]` with
/// an optional `Z`, `±hh`, `±hhmm` or `±hh:mm`. A space may stand for the `T`,
/// no offset means UTC, and the fraction is rounded half up to microseconds.
pub(crate) fn parse_timestamp(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let days = days_of(bytes.get(..10)?)?;
    if !matches!(bytes.get(10)?, b'T' | b't' | b' ') || *bytes.get(13)? != b':' {
        return None;
    }
    let hour = number_below(24, bytes.get(11..13)?)?;
    let minute = number_below(60, bytes.get(14..16)?)?;
    let mut rest = bytes.get(16..)?;
    let (mut second, mut fraction) = (0, 0);
    if let Some(after) = rest.strip_prefix(b":") {
        second = number_below(60, after.get(..2)?)?;
        rest = &after[2..];
        if let [b'.' | b',', after @ ..] = rest {
            let digits = after.iter().take_while(|byte| byte.is_ascii_digit()).count();
            fraction = microseconds_of(&after[..digits])?;
            rest = &after[digits..];
        }
    }
    let seconds =
        i64::from(days) * SECONDS_PER_DAY + i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second);
    Some((seconds - offset_of(rest)?) * MICROSECONDS_PER_SECOND + fraction)
}

/// Appends a date as `YYYY-MM-DD`; years outside 0 to 9999 in the expanded form
/// of ISO 8601, a sign and at least six digits.
pub(crate) fn write_date(days: i32, out: &mut Vec<u8>) {
    let (year, month, day) = civil_from_days(i64::from(days));
    let sign = if year < 0 { "-" } else { "+" };
    let written = match year {
        0..=9999 => write!(out, "{year:04}-{month:02}-{day:02}"),
        _ => write!(out, "{sign}{:06}-{month:02}-{day:02}", year.unsigned_abs()),
    };
    written.expect("writing to a Vec cannot fail");
}

/// Appends an instant in UTC as `YYYY-MM-DDThh:mm:ss[.f…]Z`, with as many digits
/// of the fraction as are needed.
pub(crate) fn write_timestamp(microseconds: i64, out: &mut Vec<u8>) {
    let days = microseconds.div_euclid(MICROSECONDS_PER_DAY);
    let of_day = microseconds.rem_euclid(MICROSECONDS_PER_DAY);
    write_date(i32::try_from(days).expect("an i64 of microseconds is less than 107 million days"), out);
    let seconds = of_day / MICROSECONDS_PER_SECOND;
    write!(out, "T{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
        .expect("writing to a Vec cannot fail");
    let fraction = of_day % MICROSECONDS_PER_SECOND;
    if fraction != 0 {
        write!(out, ".{fraction:06}").expect("writing to a Vec cannot fail");
        while out.last() == Some(&b'0') {
            out.pop();
        }
    }
    out.push(b'Z');
}

fn days_of(bytes: &[u8]) -> Option<i32> {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = *bytes else { return None };
    let year = number_below(10_000, &[y1, y2, y3, y4])?;
    let month = number_below(13, &[m1, m2])?;
    let day = number_below(32, &[d1, d2])?;
    let date = Date::new(year, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()?;
    let since_epoch = date.duration_since(Date::constant(1970, 1, 1));
    i32::try_from(since_epoch.as_secs() / SECONDS_PER_DAY).ok()
}

/// The decimal number in `digits` when it is nothing but digits and below `limit`.
fn number_below(limit: i16, digits: &[u8]) -> Option<i16> {
    let mut number = 0;
    for byte in digits {
        number = number * 10 + i16::from(byte.is_ascii_digit().then(|| byte - b'0')?);
    }
    (number < limit).then_some(number)
}

/// Microseconds of the digits after a decimal sign, rounded half up.
fn microseconds_of(digits: &[u8]) -> Option<i64> {
    if digits.is_empty() {
        return None;
    }
    let digit = |position: usize| i64::from(digits.get(position).map_or(0, |byte| byte - b'0'));
    let whole = (0..6).fold(0, |sum, position| sum * 10 + digit(position));
    Some(whole + i64::from(digit(6) >= 5))
}

/// Seconds east of UTC of an ISO 8601 offset; nothing means UTC.
fn offset_of(bytes: &[u8]) -> Option<i64> {
    let (sign, digits) = match bytes {
        [] | b"Z" | b"z" => return Some(0),
        [b'+', digits @ ..] => (1, digits),
        [b'-', digits @ ..] => (-1, digits),
        _ => return None,
    };
    let (hours, minutes) = match *digits {
        [h1, h2] => ([h1, h2], *b"00"),
        [h1, h2, m1, m2] | [h1, h2, b':', m1, m2] => ([h1, h2], [m1, m2]),
        _ => return None,
    };
    Some(sign * (i64::from(number_below(24, &hours)?) * 3600 + i64::from(number_below(60, &minutes)?) * 60))
}

/// Year, month and day of a number of days since 1970-01-01 in the proleptic
/// Gregorian calendar. Counts in eras of 400 years that begin on 1 March, after
/// Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", 2014. jiff
/// stops at year 9999, the Arrow type doesn't.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    const DAYS_PER_ERA: i64 = 146_097;
    let shifted = days + 719_468;
    let era = shifted.div_euclid(DAYS_PER_ERA);
    let day_of_era = shifted.rem_euclid(DAYS_PER_ERA);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn date(days: i32) -> String {
        let mut out = Vec::new();
        write_date(days, &mut out);
        String::from_utf8(out).expect("dates are ASCII")
    }

    fn timestamp(microseconds: i64) -> String {
        let mut out = Vec::new();
        write_timestamp(microseconds, &mut out);
        String::from_utf8(out).expect("timestamps are ASCII")
    }

    #[test]
    fn dates_read_strictly() {
        assert_eq!(parse_date("1970-01-01"), Some(0));
        assert_eq!(parse_date("1969-12-31"), Some(-1));
        assert_eq!(parse_date("2024-02-29"), Some(19_782));
        assert_eq!(parse_date("9999-12-31"), Some(2_932_896));
        for wrong in [
            "",
            "2023-02-29",
            "2024-00-10",
            "2024-13-01",
            "2024-01-32",
            "2024-1-1",
            "20240229",
            "2024-02-29T00:00",
            " 2024-02-29",
            "+024-02-29",
            "29.02.2024",
            "２024-02-2",
        ] {
            assert_eq!(parse_date(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn timestamps_read_with_offset_and_fraction() {
        assert_eq!(parse_timestamp("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(parse_timestamp("1970-01-01 00:00:01"), Some(1_000_000));
        assert_eq!(parse_timestamp("1970-01-01T01:30"), Some(5_400_000_000));
        assert_eq!(parse_timestamp("1970-01-01T01:00:00+01:00"), Some(0));
        assert_eq!(parse_timestamp("1970-01-01T01:00:00+0100"), Some(0));
        assert_eq!(parse_timestamp("1969-12-31T19:00:00-05"), Some(0));
        assert_eq!(parse_timestamp("1970-01-01T00:00:00.123456Z"), Some(123_456));
        assert_eq!(parse_timestamp("1970-01-01T00:00:00,5Z"), Some(500_000));
        assert_eq!(parse_timestamp("1970-01-01T00:00:00.1234565Z"), Some(123_457));
        assert_eq!(parse_timestamp("1970-01-01T00:00:00.9999999Z"), Some(1_000_000));
        assert_eq!(parse_timestamp("1969-12-31T23:59:59.75Z"), Some(-250_000));
        assert_eq!(parse_timestamp("9999-12-31T23:59:59Z"), Some(253_402_300_799_000_000));
    }

    #[test]
    fn other_timestamps_are_refused() {
        for wrong in [
            "",
            "2024-02-29",
            "2024-02-29T",
            "2024-02-29T24:00:00Z",
            "2024-02-29T12:60:00Z",
            "2024-02-29T12:00:60Z",
            "2024-02-29T12:00:00.Z",
            "2024-02-29T12:00.5Z",
            "2024-02-29T12:00:00 Z",
            "2024-02-29T12:00:00+1",
            "2024-02-29T12:00:00+25:00",
            "2024-02-29T12:00:00Z[UTC]",
            "2024-02-29_12:00:00Z",
            "2024-02-29T12-00-00Z",
            "2024-02-30T12:00:00Z",
        ] {
            assert_eq!(parse_timestamp(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn every_year_can_be_written() {
        assert_eq!(date(0), "1970-01-01");
        assert_eq!(date(2_932_896), "9999-12-31");
        assert_eq!(date(2_932_897), "+010000-01-01");
        assert_eq!(date(-719_528), "0000-01-01");
        assert_eq!(date(-719_529), "-000001-12-31");
        assert_eq!(date(i32::MAX), "+5881580-07-11");
        assert_eq!(date(i32::MIN), "-5877641-06-23");
    }

    #[test]
    fn fractions_are_as_long_as_needed() {
        assert_eq!(timestamp(1_709_208_000_123_456), "2024-02-29T12:00:00.123456Z");
        assert_eq!(timestamp(1_709_208_000_500_000), "2024-02-29T12:00:00.5Z");
        assert_eq!(timestamp(1_709_208_000_000_000), "2024-02-29T12:00:00Z");
        assert_eq!(timestamp(-1), "1969-12-31T23:59:59.999999Z");
        assert_eq!(timestamp(i64::MAX), "+294247-01-10T04:00:54.775807Z");
        assert_eq!(timestamp(i64::MIN), "-290308-12-21T19:59:05.224192Z");
    }

    proptest! {
        #[test]
        fn dates_survive_a_round_trip(days in -719_528..=2_932_896) {
            let text = date(days);
            prop_assert_eq!(parse_date(&text), Some(days));
            let known: Date = text.parse().expect("jiff reads our dates");
            prop_assert_eq!(known.to_string(), text);
        }

        #[test]
        fn timestamps_survive_a_round_trip(instant in -62_167_219_200_000_000_i64..=253_402_300_799_999_999) {
            prop_assert_eq!(parse_timestamp(&timestamp(instant)), Some(instant));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,40}", digits in "[-0-9T:.+Z ]{0,40}") {
            let _ = (parse_date(&text), parse_timestamp(&text), parse_date(&digits), parse_timestamp(&digits));
        }
    }
}
