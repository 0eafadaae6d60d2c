//! The head of a message, and how long its body is. RFC 9112.

use std::io::{self, BufRead, ErrorKind};

/// A head, as its lines came.
#[derive(Clone, Debug)]
pub(super) struct Head {
    lines: Vec<String>,
}

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    Length(u64),
    Chunked,
    /// With the connection.
    Open,
}

impl Head {
    /// Reads one; nothing at the end of the connection.
    pub(super) fn read(from: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if from.read_line(&mut line)? == 0 {
                return if lines.is_empty() {
                    Ok(None)
                } else {
                    Err(ErrorKind::UnexpectedEof.into())
                };
            }
            let line = line.trim_end().to_owned();
            if line.is_empty() {
                return Ok(Some(Self { lines }));
            }
            lines.push(line);
        }
    }

    /// A head of these lines.
    pub(super) fn of(text: &str) -> Self {
        Self { lines: text.lines().map(str::to_owned).collect() }
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        (self.lines.join("\r\n") + "\r\n\r\n").into_bytes()
    }

    /// A word of the first line.
    pub(super) fn word(&self, number: usize) -> &str {
        self.lines.first().and_then(|line| line.split(' ').nth(number)).unwrap_or_default()
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.lines.iter().skip(1).find_map(|line| value(line, name))
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.lines.retain(|line| value(line, name).is_none());
    }

    pub(super) fn set(&mut self, name: &str, value: &str) {
        self.remove(name);
        self.lines.push(format!("{name}: {value}"));
    }

    /// Whether the connection ends with this message. RFC 9112, 9.6.
    pub(super) fn closes(&self) -> bool {
        self.get("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }

    pub(super) fn request_body(&self) -> Body {
        self.body(Body::Length(0))
    }

    /// That of an answer to a method.
    pub(super) fn answer_body(&self, method: &str) -> Body {
        match self.word(1) {
            _ if method == "HEAD" => Body::Length(0),
            "204" | "304" => Body::Length(0),
            _ => self.body(Body::Open),
        }
    }

    fn body(&self, silent: Body) -> Body {
        if self.get("transfer-encoding").is_some() {
            return Body::Chunked;
        }
        match self.get("content-length") {
            Some(length) => Body::Length(length.parse().unwrap()),
            None => silent,
        }
    }
}

fn value<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let (found, value) = line.split_once(':')?;
    found.eq_ignore_ascii_case(name).then(|| value.trim())
}
