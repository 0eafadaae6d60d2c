//! Times that servers write, as seconds since 1970. Nothing comes back for what is no time.

/// `date-time` of RFC 3339, 5.6; a fraction of a second is left out.
pub(crate) fn rfc3339(text: &str) -> Option<i64> {
    let (date, rest) = text.split_at_checked(10)?;
    let [year, month, day] = numbers(date, '-')?;
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let (time, rest) = rest.split_at_checked(8)?;
    let rest = match rest.strip_prefix('.') {
        Some(fraction) => fraction.trim_start_matches(|c: char| c.is_ascii_digit()),
        None => rest,
    };
    let offset = match rest {
        "Z" | "z" => 0,
        _ => {
            let sign = if rest.starts_with('-') { -1 } else { 1 };
            let [hours, minutes] = numbers(rest.strip_prefix(['+', '-'])?, ':')?;
            sign * (hours * 3600 + minutes * 60)
        }
    };
    Some(seconds(year, month, day, numbers(time, ':')?)? - offset)
}

/// The form of dates that RFC 9110, 5.6.7, prefers: `Sun, 06 Nov 1994 08:49:37 GMT`.
pub(crate) fn http(text: &str) -> Option<i64> {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let words: Vec<_> = text.trim().strip_suffix(" GMT")?.split(' ').collect();
    let [_, day, month, year, time] = words[..] else { return None };
    let month = MONTHS.find(month).filter(|at| month.len() == 3 && at % 3 == 0)?;
    let month = i64::try_from(month / 3 + 1).ok()?;
    seconds(number(year)?, month, number(day)?, numbers(time, ':')?)
}

/// Days from the civil calendar: a year begins in March here, so that a leap day is its last.
fn seconds(year: i64, month: i64, day: i64, [h, m, s]: [i64; 3]) -> Option<i64> {
    let sound = (1..=12).contains(&month) && (1..=31).contains(&day) && h < 24 && m < 60 && s < 61;
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
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T12:00:00Z", 951_825_600),
            ("2026-11-22T10:56:35.123456Z", 1_795_344_995),
            ("2026-11-22T12:56:35+02:00", 1_795_344_995),
            ("2026-11-22 05:26:35.1-05:30", 1_795_344_995),
        ] {
            assert_eq!(rfc3339(text), Some(expected), "{text}");
        }
        assert_eq!(http("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(http("Sun, 22 Nov 2026 10:56:35 GMT"), Some(1_795_344_995));
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
