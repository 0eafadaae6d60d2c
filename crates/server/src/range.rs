//! `Range` of a GET and `Content-Range` of an upload.

use std::ops::Range;

/// What a `Range` header asks of content of some length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// All of it. Also the answer to what we do not understand and to several ranges at once:
    /// "A server MAY ignore the Range header field" (RFC 9110, 14.2).
    All,
    /// One part.
    Part(Range<u64>),
    /// Nothing that is there: 416.
    Unsatisfiable,
}

impl Wanted {
    /// Reads a `Range` header. RFC 9110, 14.1.2 and 14.2.
    pub(crate) fn parse(header: &str, length: u64) -> Self {
        let Some(spec) = header.strip_prefix("bytes=") else { return Self::All };
        let Some((first, last)) = spec.trim().split_once('-') else { return Self::All };
        match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => part(first, last, length),
            // It can be understood, and no content has it. RFC 9110, 14.2: "MAY ignore or reject".
            (Some(_), Some(_)) => Self::Unsatisfiable,
            (Some(first), None) if last.is_empty() => part(first, u64::MAX, length),
            (None, Some(0)) if first.is_empty() => Self::Unsatisfiable,
            (None, Some(_)) if first.is_empty() && length == 0 => Self::Unsatisfiable,
            (None, Some(count)) if first.is_empty() => {
                Self::Part(length.saturating_sub(count)..length)
            }
            _ => Self::All,
        }
    }
}

fn part(first: u64, last: u64, length: u64) -> Wanted {
    if first >= length {
        return Wanted::Unsatisfiable;
    }
    Wanted::Part(first..last.saturating_add(1).min(length))
}

/// The `Content-Range` of a chunk, which "MUST match `^[0-9]+-[0-9]+$`" and is inclusive on both
/// ends (distribution-spec, "Pushing a blob in chunks").
pub(crate) fn content_range(header: &str) -> Option<Range<u64>> {
    let (first, last) = header.split_once('-')?;
    let (first, last) = (number(first)?, number(last)?);
    (first <= last).then_some(first..last.checked_add(1)?)
}

/// How much of an upload is there, for the `Range` header of an answer: `0-<end-of-range>`.
/// Clients expect `0-0` of an upload without a byte, as of one with a single byte.
pub(crate) fn uploaded(length: u64) -> String {
    format!("0-{}", length.saturating_sub(1))
}

/// Digits alone: `parse` would take a plus sign.
pub(crate) fn number(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_a_get() {
        for (header, wanted) in [
            ("bytes=0-0", Wanted::Part(0..1)),
            ("bytes=2-", Wanted::Part(2..10)),
            ("bytes=-3", Wanted::Part(7..10)),
            ("bytes=-30", Wanted::Part(0..10)),
            ("bytes=5-99", Wanted::Part(5..10)),
            ("bytes=5-18446744073709551615", Wanted::Part(5..10)),
            ("bytes=10-", Wanted::Unsatisfiable),
            ("bytes=10-12", Wanted::Unsatisfiable),
            ("bytes=-0", Wanted::Unsatisfiable),
            ("bytes=0-1,3-4", Wanted::All),
            ("bytes=3-2", Wanted::Unsatisfiable),
            ("bytes=a-b", Wanted::All),
            ("bytes=+1-2", Wanted::All),
            ("bytes=1-99999999999999999999", Wanted::All),
            ("bytes=-", Wanted::All),
            ("bytes=", Wanted::All),
            ("items=0-1", Wanted::All),
        ] {
            assert_eq!(Wanted::parse(header, 10), wanted, "{header}");
        }
        assert_eq!(Wanted::parse("bytes=0-", 0), Wanted::Unsatisfiable);
        assert_eq!(Wanted::parse("bytes=-1", 0), Wanted::Unsatisfiable);
    }

    #[test]
    fn ranges_of_a_chunk() {
        assert_eq!(content_range("0-0"), Some(0..1));
        assert_eq!(content_range("10-19"), Some(10..20));
        for bad in [
            "",
            "-",
            "0-",
            "-1",
            "5-4",
            "a-b",
            "bytes 0-1/2",
            "0-1/2",
            " 0-1",
            "0-1 ",
            "+0-1",
            "0-18446744073709551615",
            "0-18446744073709551616",
            "0--1",
        ] {
            assert_eq!(content_range(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn ranges_of_an_upload() {
        assert_eq!([0, 1, 2, 100].map(uploaded), ["0-0", "0-0", "0-1", "0-99"]);
    }
}
