//! Time as data: an instant and a span in milliseconds, with arithmetic that saturates.
//!
//! Nothing here reads a clock. `now` is read once, at the edge, and passed.

use std::fmt;

/// An instant: milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Millis(pub i64);

/// A length of time in milliseconds; never negative when made by [`Span::parse`] or the constructors.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Span(pub i64);

impl Span {
    /// Longer than any session may live: stands for "never ends by this rule".
    pub const FOREVER: Span = Span(i64::MAX);

    /// `n` milliseconds.
    pub const fn millis(n: i64) -> Span {
        Span(n)
    }
    /// `n` seconds, saturating.
    pub const fn secs(n: i64) -> Span {
        Span(n.saturating_mul(1_000))
    }
    /// `n` minutes, saturating.
    pub const fn minutes(n: i64) -> Span {
        Span::secs(n.saturating_mul(60))
    }
    /// `n` hours, saturating.
    pub const fn hours(n: i64) -> Span {
        Span::minutes(n.saturating_mul(60))
    }
    /// `n` days of 24 hours, saturating.
    pub const fn days(n: i64) -> Span {
        Span::hours(n.saturating_mul(24))
    }
    /// Whole seconds, rounded down.
    pub const fn as_secs(self) -> i64 {
        self.0.div_euclid(1_000)
    }

    /// Reads `"90s"`, `"15m"`, `"24h"`, `"30d"`, `"250ms"` and sums of them with falling units (`"1h30m"`).
    ///
    /// # Errors
    /// A sentence that says what is wrong and what would be right.
    pub fn parse(text: &str) -> Result<Span, String> {
        let wrong = || {
            format!(
                "`{}` is not a duration: write a number and a unit, such as \"30d\", \"24h\", \"15m\", \"90s\"",
                text.escape_debug()
            )
        };
        let mut rest = text;
        let mut total: i64 = 0;
        let mut last_unit = i64::MAX;
        if rest.is_empty() {
            return Err(wrong());
        }
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (number, tail) = rest.split_at_checked(digits).ok_or_else(wrong)?;
            let letters = tail.bytes().take_while(u8::is_ascii_lowercase).count();
            let (unit, tail) = tail.split_at_checked(letters).ok_or_else(wrong)?;
            let number: i64 = number.parse().map_err(|_| wrong())?;
            let unit = match unit {
                "ms" => 1,
                "s" => 1_000,
                "m" => 60_000,
                "h" => 3_600_000,
                "d" => 86_400_000,
                _ => return Err(wrong()),
            };
            if unit >= last_unit {
                return Err(wrong());
            }
            last_unit = unit;
            let sum = number.checked_mul(unit).and_then(|part| total.checked_add(part));
            total = sum.ok_or_else(|| format!("`{}` is longer than can be counted", text.escape_debug()))?;
            rest = tail;
        }
        Ok(Span(total))
    }
}

impl fmt::Display for Span {
    /// The shortest exact form: `30d`, `1h30m`, `250ms`, `0s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Span::FOREVER {
            return f.write_str("never");
        }
        let mut left = self.0;
        if left == 0 {
            return f.write_str("0s");
        }
        if left < 0 {
            f.write_str("-")?;
            left = left.saturating_neg();
        }
        for (unit, name) in [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms")] {
            let n = left / unit;
            if n > 0 {
                write!(f, "{n}{name}")?;
                left -= n * unit;
            }
        }
        Ok(())
    }
}

impl Millis {
    /// The instant `span` later; saturates at the end of time.
    pub const fn plus(self, span: Span) -> Millis {
        Millis(self.0.saturating_add(span.0))
    }
    /// The instant `span` earlier; saturates.
    pub const fn minus(self, span: Span) -> Millis {
        Millis(self.0.saturating_sub(span.0))
    }
    /// How long after `earlier` this is; zero when it is not after it.
    pub const fn since(self, earlier: Millis) -> Span {
        let d = self.0.saturating_sub(earlier.0);
        if d < 0 { Span(0) } else { Span(d) }
    }

    /// Reads RFC 3339, such as `2026-11-22T10:00:00.123Z` or with an offset (`+02:00`). Fractions beyond milliseconds
    /// are cut off. Leap seconds (`:60`) are read as the second before.
    ///
    /// # Errors
    /// A sentence that says what would be right.
    pub fn parse(text: &str) -> Result<Millis, String> {
        parse_rfc3339(text.as_bytes()).ok_or_else(|| {
            format!(
                "`{}` is not an RFC 3339 time: write it such as \"2026-01-31T13:45:00Z\"",
                text.escape_debug()
            )
        })
    }

    /// Writes RFC 3339 in UTC with milliseconds, 24 bytes for the years 0 to 9999 (clamped outside of them).
    pub fn rfc3339(self) -> [u8; 24] {
        let ms = self.0.clamp(MIN_MS, MAX_MS);
        // From year 0 on nothing is negative, and a day's milliseconds fit into 32 bits: both are cheaper to divide.
        let since = u64::try_from(ms - MIN_MS).unwrap_or(0);
        let days = i64::try_from(since / 86_400_000).unwrap_or(0) + MIN_MS / 86_400_000;
        let in_day = u32::try_from(since % 86_400_000).unwrap_or(0);
        let (year, month, day) = civil_from_days(days);
        let small = |n: i64| u32::try_from(n).unwrap_or(0);
        let [a, b, c, d] = digits(small(year));
        let [_, _, e, f] = digits(small(month));
        let [_, _, g, h] = digits(small(day));
        let (seconds, thousandths) = (in_day / 1_000, in_day % 1_000);
        let [_, _, i, j] = digits(seconds / 3_600);
        let [_, _, k, l] = digits(seconds / 60 % 60);
        let [_, _, m, n] = digits(seconds % 60);
        let [_, o, p, q] = digits(thousandths);
        [a, b, c, d, b'-', e, f, b'-', g, h, b'T', i, j, b':', k, l, b':', m, n, b'.', o, p, q, b'Z']
    }
}

/// The last four digits.
fn digits(n: u32) -> [u8; 4] {
    let digit = |n: u32| b'0' + u8::try_from(n % 10).unwrap_or(0);
    [digit(n / 1_000), digit(n / 100), digit(n / 10), digit(n)]
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rfc3339().iter().try_for_each(|b| fmt::Write::write_char(f, char::from(*b)))
    }
}

const MIN_MS: i64 = -62_167_219_200_000; // 0000-01-01T00:00:00Z
const MAX_MS: i64 = 253_402_300_799_999; // 9999-12-31T23:59:59.999Z

/// Days since the epoch to (year, month, day) in the proleptic Gregorian calendar, by counting 400-year eras from
/// March, so that the leap day comes last.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let year_of_era = y.rem_euclid(400);
    let shifted_month = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn parse_rfc3339(text: &[u8]) -> Option<Millis> {
    let number = |from: usize, to: usize| -> Option<i64> {
        let part = text.get(from..to)?;
        if !part.iter().all(u8::is_ascii_digit) {
            return None;
        }
        Some(part.iter().fold(0, |n, b| n * 10 + i64::from(b - b'0')))
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let shape = [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')].iter().all(|(i, b)| text.get(*i) == Some(b));
    if !shape || !matches!(text.get(10), Some(b'T' | b't' | b' ')) {
        return None;
    }
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let longest = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i64::from(leap),
        _ => return None,
    };
    if day < 1 || day > longest || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut rest = text.get(19..)?;
    let mut fraction = 0;
    if let Some((b'.', tail)) = rest.split_first() {
        let count = tail.iter().take_while(|b| b.is_ascii_digit()).count();
        if count == 0 || count > 18 {
            return None;
        }
        for place in 0..3 {
            let digit = if place < count { i64::from(tail.get(place)? - b'0') } else { 0 };
            fraction = fraction * 10 + digit;
        }
        rest = tail.get(count..)?;
    }
    let offset = match rest {
        [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2]
            if [h1, h2, m1, m2].iter().all(|b| b.is_ascii_digit()) =>
        {
            let hours = i64::from(h1 - b'0') * 10 + i64::from(h2 - b'0');
            let minutes = i64::from(m1 - b'0') * 10 + i64::from(m2 - b'0');
            if hours > 23 || minutes > 59 {
                return None;
            }
            (hours * 60 + minutes) * if *sign == b'-' { -60_000 } else { 60_000 }
        }
        _ => return None,
    };
    let seconds = days_from_civil(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second.min(59);
    Some(Millis(seconds * 1_000 + fraction - offset))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_instants_are_written_and_read() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_868_800_000, "2000-03-01T00:00:00.000Z"),
            (1_795_341_600_123, "2026-11-22T10:00:00.123Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (MAX_MS, "9999-12-31T23:59:59.999Z"),
            (MIN_MS, "0000-01-01T00:00:00.000Z"),
        ] {
            assert_eq!(Millis(ms).to_string(), text);
            assert_eq!(Millis::parse(text), Ok(Millis(ms)), "{text}");
        }
        assert_eq!(Millis::parse("2026-11-22T12:00:00.1239+02:00"), Ok(Millis(1_795_341_600_123)));
        assert_eq!(Millis::parse("2026-11-22 10:00:00z"), Ok(Millis(1_795_341_600_000)));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "2026",
            "2026-11-22",
            "2026-11-22T10:00:00",
            "2026-13-01T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "2026-11-22T24:00:00Z",
            "2026-11-22T10:60:00Z",
            "2026-11-22T10:00:00.Z",
            "2026-11-22T10:00:00+2:00",
            "2026-11-22T10:00:00Zx",
            "2026-11-00T10:00:00Z",
            "+026-11-22T10:00:00Z",
        ] {
            assert!(Millis::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn spans_are_read_and_written() {
        for (text, ms) in [
            ("250ms", 250),
            ("90s", 90_000),
            ("1m30s", 90_000),
            ("15m", 900_000),
            ("24h", 86_400_000),
            ("30d", 2_592_000_000),
            ("0s", 0),
        ] {
            assert_eq!(Span::parse(text), Ok(Span(ms)), "{text}");
        }
        for (ms, text) in [(0, "0s"), (90_000, "1m30s"), (86_400_000, "1d"), (90_061_001, "1d1h1m1s1ms")] {
            assert_eq!(Span(ms).to_string(), text);
        }
        for text in [
            "",
            "10",
            "m",
            "10x",
            "10 m",
            "-5s",
            "1.5h",
            "1s1m",
            "1m1m",
            "99999999999999999d",
            "9223372036854775807ms1d",
        ] {
            assert!(Span::parse(text).is_err(), "{text}");
        }
        for text in ["\u{1b}[31m", "1\n", "99999999999999d\n"] {
            let said = Span::parse(text).unwrap_err();
            assert!(!said.chars().any(char::is_control), "what was sent is escaped: {said:?}");
        }
    }

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Millis(i64::MAX).plus(Span(1)), Millis(i64::MAX));
        assert_eq!(Millis(5).plus(Span::FOREVER), Millis(i64::MAX));
        assert_eq!(Millis(3).since(Millis(5)), Span(0));
        assert_eq!(Millis(i64::MAX).since(Millis(i64::MIN)), Span(i64::MAX));
    }

    proptest! {
        #[test]
        fn every_instant_survives_the_round_trip(ms in MIN_MS..=MAX_MS) {
            prop_assert_eq!(Millis::parse(&Millis(ms).to_string()), Ok(Millis(ms)));
        }
        #[test]
        fn every_span_survives_the_round_trip(ms in 0i64..i64::MAX) {
            prop_assert_eq!(Span::parse(&Span(ms).to_string()), Ok(Span(ms)));
        }
        #[test]
        fn no_text_panics(text in "\\PC{0,40}") {
            let _ = Millis::parse(&text);
            let _ = Span::parse(&text);
        }
    }
}
