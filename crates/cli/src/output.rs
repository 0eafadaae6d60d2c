//! What goes to standard output: the result, as text or as one JSON document.

use std::io::{self, Write};

use serde::Serialize;

use conex_spec::{Error, Location, Result};

use crate::args::Format;

/// Prints results.
#[derive(Debug)]
pub struct Output {
    format: Format,
    aside: bool,
}

impl Output {
    /// A printer of one format.
    pub fn new(format: Format) -> Self {
        Self { format, aside: false }
    }

    /// The same printer beside what is written to a location: where an archive goes to standard
    /// output, the report goes to standard error.
    #[must_use]
    pub fn beside(&self, destination: &Location) -> Self {
        Self { format: self.format, aside: destination.is_stream() }
    }

    /// The format.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Prints a report: as JSON whole, as text in the words of `text`.
    pub fn report<T: Serialize>(&self, report: &T, text: impl FnOnce(&T) -> String) -> Result<()> {
        match self.format {
            Format::Text => self.print(&text(report)),
            Format::Json => {
                let json = serde_json::to_string_pretty(report)
                    .map_err(|err| Error::invalid("result cannot be printed").source(err))?;
                self.print(&(json + "\n"))
            }
        }
    }

    /// Prints text as it is. A reader that has gone away is no failure.
    pub fn print(&self, text: &str) -> Result<()> {
        let mut out: Box<dyn Write> =
            if self.aside { Box::new(io::stderr()) } else { Box::new(io::stdout()) };
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(err) if err.kind() != io::ErrorKind::BrokenPipe => {
                Err(Error::from_io(err, || "cannot write to standard output".into()))
            }
            _ => Ok(()),
        }
    }
}

/// Text of a stranger, with nothing in it that a terminal would obey.
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            safe.extend(c.escape_default());
        } else {
            safe.push(c);
        }
    }
    safe
}

/// Bytes as people read them: `1.5 MiB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    let mut whole = bytes as f64;
    while whole >= 1024.0 && unit + 1 < UNITS.len() {
        whole /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{whole:.1} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let shown = [0, 1023, 1024, 1536, 5 << 20, u64::MAX].map(size);
        assert_eq!(shown, ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "5.0 MiB", "16777216.0 TiB"]);
    }
}
