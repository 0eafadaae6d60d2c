//! Times as documents and servers write them, in seconds since 1970. Nothing comes back for what is
//! no time.

/// `date-time` of RFC 3339, 5.6, in seconds and nanoseconds; of a fraction nine digits count.
pub fn rfc3339(text: &str) -> Option<(i64, u32)> {
    let (date, rest) = text.split_at_checked(10)?;
    let [year, month, day] = numbers(date, '-')?;
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let (time, rest) = rest.split_at_checked(8)?;
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?),
        None => ("", rest),
    };
    let offset = match rest {
        "Z" | "z" => 0,
        _ => {
            let sign = if rest.starts_with('-') { -1 } else { 1 };
            let [hours, minutes] = numbers(rest.strip_prefix(['+', '-'])?, ':')?;
            sign * (hours * 3600 + minutes * 60)
        }
    };
    let nanos = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    Some((seconds(year, month, day, numbers(time, ':')?)? - offset, nanos))
}

/// What [`rfc3339`] reads, in UTC; a fraction only where there is one. Years that RFC 3339 cannot write
/// come as seconds, in the form of GNU date: `@253402300800`.
pub fn to_rfc3339(secs: i64, nanos: u32) -> String {
    let fraction = if nanos == 0 { String::new() } else { format!(".{nanos:09}") };
    let fraction = fraction.trim_end_matches('0');
    if !(-62_135_596_800..253_402_300_800).contains(&secs) {
        return format!("@{secs}{fraction}");
    }
    let (days, second) = (secs.div_euclid(86400) + 719_468, secs.rem_euclid(86400));
    // Eras of 400 years, which begin in March: the inverse of `seconds`.
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = era * 400 + year + next;
    let (h, m, s) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}{fraction}Z")
}

/// The form of dates that RFC 9110, 5.6.7, prefers: `Sun, 06 Nov 1994 08:49:37 GMT`.
pub fn http(text: &str) -> Option<i64> {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let words: Vec<_> = text.trim().strip_suffix(" GMT")?.split(' ').collect();
    let [_, day, month, year, time] = words[..] else { return None };
    let month = MONTHS.find(month).filter(|at| month.len() == 3 && at % 3 == 0)?;
    let month = i64::try_from(month / 3 + 1).ok()?;
    seconds(number(year)?, month, number(day)?, numbers(time, ':')?)
}

/// Days from the civil calendar: a year begins in March here, so that a leap day is its last.
fn seconds(year: i64, month: i64, day: i64, [h, m, s]: [i64; 3]) -> Option<i64> {
    let sound = year > 0
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && h < 24
        && m < 60
        && s < 61;
    if !sound {
        return None;
    }
    let year = if month < 3 { year - 1 } else { year };
    let month = (month + 9) % 12;
    let leap_days = year / 4 - year / 100 + year / 400;
    let days = year * 365 + leap_days + (month * 153 + 2) / 5 + day - 1 - 719_468;
    Some(days * 86400 + h * 3600 + m * 60 + s)
}

fn numbers<const N: usize>(text: &str, separator: char) -> Option<[i64; N]> {
    let parts: Option<Vec<i64>> = text.split(separator).map(number).collect();
    parts?.try_into().ok()
}

fn number(text: &str) -> Option<i64> {
    let digits = (1..=4).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", (0, 0)),
            ("2000-02-29T12:00:00Z", (951_825_600, 0)),
            ("2026-11-22T10:56:35.123456Z", (1_795_344_995, 123_456_000)),
            ("2026-11-22T12:56:35+02:00", (1_795_344_995, 0)),
            ("2026-11-22 05:26:35.1-05:30", (1_795_344_995, 100_000_000)),
            ("2000-02-29T23:59:59.5Z", (951_868_799, 500_000_000)),
            ("2024-05-06T07:08:09.1234567899+02:00", (1_714_972_089, 123_456_789)),
            ("1969-12-31T23:59:59-00:30", (1799, 0)),
        ] {
            assert_eq!(rfc3339(text), Some(expected), "{text}");
        }
        assert_eq!(http("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(http("Sun, 22 Nov 2026 10:56:35 GMT"), Some(1_795_344_995));
    }

    #[test]
    fn times_come_back() {
        for (secs, nanos, text) in [
            (0, 0, "1970-01-01T00:00:00Z"),
            (-1, 500_000_000, "1969-12-31T23:59:59.5Z"),
            (951_868_799, 1, "2000-02-29T23:59:59.000000001Z"),
            (-62_135_596_800, 0, "0001-01-01T00:00:00Z"),
            (253_402_300_799, 0, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(to_rfc3339(secs, nanos), text);
            assert_eq!(rfc3339(text), Some((secs, nanos)));
        }
        for secs in (-62_135_596_800_i64..253_402_300_800).step_by(86400 * 17 + 12345) {
            assert_eq!(rfc3339(&to_rfc3339(secs, 0)), Some((secs, 0)));
        }
        assert_eq!(to_rfc3339(i64::MAX, 10), "@9223372036854775807.00000001");
    }

    #[test]
    fn nonsense() {
        for text in [
            "",
            "x",
            "2026-11-22",
            "2026-13-22T00:00:00Z",
            "2026-11-22T25:00:00Z",
            "é026-11-22T",
            "2026-11-22T10:56:35",
            "2026-11-22T10:56:35+1",
            "99999-01-01T00:00:00Z",
            "0000-01-01T00:00:00Z",
            "2024-01-01T00:00:00+9999999999999999:00",
            "2024-05-06T07:08:09.Z1",
            "2024-05-06T07:08:09.5",
            "x024-05-06T07:08:09Z",
            "2024-05-06T07:08:0é",
            "2026-+1-22T00:00:00Z",
        ] {
            assert_eq!(rfc3339(text), None, "{text}");
        }
        for text in [
            "",
            "GMT",
            "Sun, 06 nov 1994 08:49:37 GMT",
            "Sun, 06 anF 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(http(text), None, "{text}");
        }
    }
}
