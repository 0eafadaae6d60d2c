//! Compressed streams, read and written in this process: no helper program is ever run
//! (rule U12), and what the descriptor says decides what is decoded.
//!
//! | | read | written |
//! |---|---|---|
//! | gzip | any number of members; anything after them is refused (rule T5) | one member, no name, no time, on all cores |
//! | zstd | any number of frames, windows up to 128 MiB (rule T7) | one frame with its checksum, on all cores |

use std::io::{self, BufRead, BufReader, Read, Write};
use std::num::NonZero;
use std::thread;

use conex_spec::{Compression, Error, Kind, Result};
use flate2::bufread::MultiGzDecoder;

mod gzip;
mod seam;

use self::gzip::Gzip;

/// The largest window of a zstd frame that is decoded: 2^27 bytes, as `zstd -d` allows.
const MAX_WINDOW_LOG: u32 = 27;
const BUFFER: usize = 128 << 10;
/// What one thread compresses at a time to zstd, in bytes. Part of what the output depends on.
const ZSTD_JOB: u32 = 4 << 20;

/// How a stream that begins with these bytes is compressed: `None` where it is a plain tar, or
/// anything else. Four bytes suffice.
pub fn detect(head: &[u8]) -> Compression {
    match head {
        [0x1f, 0x8b, ..] => Compression::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Compression::Zstd,
        _ => Compression::None,
    }
}

/// What a [`Decoder`] reads from: the first bytes, which were looked at, and the rest.
type Input<R> = BufReader<io::Chain<io::Cursor<Vec<u8>>, R>>;

/// The uncompressed bytes of a stream. Its errors are [`Error`]s inside [`io::Error`]s; see
/// [`Error::from_io`].
pub struct Decoder<R: Read> {
    inner: Decoding<R>,
    compression: Compression,
}

enum Decoding<R: Read> {
    Plain(Input<R>),
    Gzip(Box<MultiGzDecoder<Input<R>>>),
    Zstd(zstd::Decoder<'static, Input<R>>),
}

impl<R: Read> Decoder<R> {
    /// Reads the first bytes and fails with `Mismatch` where they are not what was declared.
    pub fn new(compression: Compression, mut inner: R) -> Result<Self> {
        let mut head = Vec::with_capacity(4);
        Read::take(&mut inner, 4)
            .read_to_end(&mut head)
            .map_err(|err| Error::from_io(err, || "cannot read the layer".into()))?;
        let found = detect(&head);
        if found != compression {
            return Err(mismatch(compression, found, &head));
        }
        let input = BufReader::with_capacity(BUFFER, io::Cursor::new(head).chain(inner));
        let inner = match compression {
            Compression::None => Decoding::Plain(input),
            Compression::Gzip => Decoding::Gzip(Box::new(MultiGzDecoder::new(input))),
            Compression::Zstd => Decoding::Zstd(zstd_decoder(input)?),
        };
        Ok(Self { inner, compression })
    }
}

fn zstd_decoder<B: BufRead>(input: B) -> Result<zstd::Decoder<'static, B>> {
    let decoder = zstd::Decoder::with_buffer(input).and_then(|mut decoder| {
        decoder.window_log_max(MAX_WINDOW_LOG)?;
        Ok(decoder)
    });
    decoder.map_err(|err| Error::from_io(err, || "cannot start the zstd decoder".into()))
}

impl<R: Read> std::fmt::Debug for Decoder<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Decoder({})", self.compression)
    }
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = match &mut self.inner {
            Decoding::Plain(inner) => return inner.read(buf),
            Decoding::Gzip(inner) => inner.read(buf),
            Decoding::Zstd(inner) => inner.read(buf),
        };
        read.map_err(|err| explain(self.compression, err))
    }
}

fn mismatch(declared: Compression, found: Compression, head: &[u8]) -> Error {
    if head.is_empty() {
        return Error::invalid("layer is empty").expected(format!("a stream of {declared}"));
    }
    let found = match found {
        Compression::None => format!("bytes {}", hex(head)),
        found => found.to_string(),
    };
    Error::new(Kind::Mismatch, "layer is not compressed as its media type says")
        .expected(format!("compression {declared}"))
        .found(found)
}

fn hex(bytes: &[u8]) -> String {
    let digits: Vec<_> = bytes.iter().map(|b| format!("{b:02x}")).collect();
    digits.join(" ")
}

/// Tells faults of the stream from faults of the reader below it.
fn explain(compression: Compression, err: io::Error) -> io::Error {
    let of_reader = err.raw_os_error().is_some()
        || err.kind() == io::ErrorKind::Interrupted
        || err.get_ref().is_some_and(|inner| inner.is::<Error>());
    if of_reader {
        return err;
    }
    let text = err.to_string();
    let error = if text.contains("too much memory") {
        Error::new(Kind::Limit, "zstd window is too large").expected("at most 128 MiB")
    } else if err.kind() == io::ErrorKind::UnexpectedEof {
        Error::invalid(format!("{compression} stream ends too early"))
    } else {
        Error::invalid(format!("corrupt {compression} stream"))
    };
    error.source(err).into()
}

/// How a layer is to be compressed. The same bytes and settings give the same stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The format.
    pub compression: Compression,
    /// The window of zstd as a power of two, 10 to 27, which finds repetitions far apart: `zstd --long`.
    /// Whoever reads it needs that much memory. Without it the level decides.
    pub window: Option<u32>,
    /// How hard to try: gzip 0 to 12 (default 5), zstd 1 to 22 (default 3).
    pub level: Option<u32>,
}

/// Compresses what is written to it.
pub struct Encoder<W: Write>(Encoding<W>);

enum Encoding<W: Write> {
    Plain(W),
    Gzip(Box<Gzip<W>>),
    Zstd(zstd::Encoder<'static, W>),
}

impl<W: Write> Encoder<W> {
    /// Fails for a level that the format does not have.
    pub fn new(settings: Settings, inner: W) -> Result<Self> {
        let level = level(settings)?;
        Ok(Self(match settings.compression {
            Compression::None => Encoding::Plain(inner),
            Compression::Gzip => {
                let encoder = Gzip::new(inner, level, threads());
                let failed = |err| Error::from_io(err, || "cannot write the gzip header".into());
                Encoding::Gzip(Box::new(encoder.map_err(failed)?))
            }
            Compression::Zstd => {
                let encoder = zstd_encoder(inner, level, settings.window, threads());
                let failed = |err| Error::from_io(err, || "cannot start the zstd encoder".into());
                Encoding::Zstd(encoder.map_err(failed)?)
            }
        }))
    }

    /// Writes what is left and returns the stream below.
    pub fn finish(self) -> io::Result<W> {
        match self.0 {
            Encoding::Plain(inner) => Ok(inner),
            Encoding::Gzip(inner) => inner.finish(),
            Encoding::Zstd(inner) => inner.finish(),
        }
    }
}

/// The output does not tell how many threads there were, as long as there is one beside the
/// caller's, and jobs are of one size.
fn zstd_encoder<W: Write>(
    inner: W,
    level: u32,
    window: Option<u32>,
    threads: usize,
) -> io::Result<zstd::Encoder<'static, W>> {
    let mut encoder = zstd::Encoder::new(inner, level as i32)?;
    encoder.include_checksum(true)?;
    if let Some(window) = window {
        encoder.long_distance_matching(true)?;
        encoder.window_log(window)?;
    }
    encoder.multithread(threads as u32)?;
    encoder.set_parameter(zstd::zstd_safe::CParameter::JobSize(ZSTD_JOB))?;
    Ok(encoder)
}

/// As many as there are cores for this program.
fn threads() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

fn level(settings: Settings) -> Result<u32> {
    let (default, range) = match settings.compression {
        Compression::None => return Ok(0),
        Compression::Gzip => (5, 0..=12),
        Compression::Zstd => (3, 1..=22),
    };
    let window = settings.window;
    if window
        .is_some_and(|log| settings.compression != Compression::Zstd || !(10..=27).contains(&log))
    {
        return Err(Error::new(Kind::Usage, "no such window")
            .expected("zstd, and a power of two from 10 to 27")
            .found(window.unwrap_or_default()));
    }
    let level = settings.level.unwrap_or(default);
    if range.contains(&level) {
        return Ok(level);
    }
    let message = format!("no such level of {}", settings.compression);
    Err(Error::new(Kind::Usage, message)
        .expected(format!("{} to {}", range.start(), range.end()))
        .found(level))
}

impl<W: Write> std::fmt::Debug for Encoder<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match &self.0 {
            Encoding::Plain(_) => "Encoder(none)",
            Encoding::Gzip(_) => "Encoder(gzip)",
            Encoding::Zstd(_) => "Encoder(zstd)",
        })
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Encoding::Plain(inner) => inner.write(buf),
            Encoding::Gzip(inner) => inner.take(buf).map(|()| buf.len()),
            Encoding::Zstd(inner) => inner.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.0 {
            Encoding::Plain(inner) => inner.flush(),
            Encoding::Gzip(inner) => inner.flush(),
            Encoding::Zstd(inner) => inner.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Compression; 3] = [Compression::None, Compression::Gzip, Compression::Zstd];

    fn encode(compression: Compression, bytes: &[u8]) -> Vec<u8> {
        let settings = Settings { compression, ..Settings::default() };
        let mut encoder = Encoder::new(settings, Vec::new()).unwrap();
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn decode(compression: Compression, bytes: &[u8]) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        Decoder::new(compression, bytes)?
            .read_to_end(&mut out)
            .map_err(|err| Error::from_io(err, || "read".into()))?;
        Ok(out)
    }

    #[test]
    fn round_trips() {
        let text = b"layer ".repeat(100_000);
        for compression in ALL {
            let packed = encode(compression, &text);
            assert_eq!(detect(&packed), compression);
            assert_eq!(decode(compression, &packed).unwrap(), text);
            assert_eq!(packed, encode(compression, &text), "deterministic");
        }
    }

    #[test]
    fn threads_leave_no_trace_in_zstd() {
        let text: Vec<u8> = (0..20_000_000_u64).map(|at| ((at / 7 * at) >> 9) as u8).collect();
        let packed = [1, 2, 8].map(|threads| {
            let mut encoder = zstd_encoder(Vec::new(), 3, None, threads).unwrap();
            encoder.write_all(&text).unwrap();
            encoder.finish().unwrap()
        });
        assert!(packed[0] == packed[1] && packed[1] == packed[2]);
        assert!(decode(Compression::Zstd, &packed[0]).unwrap() == text);
    }

    #[test]
    fn the_gzip_header_tells_nothing_of_the_machine() {
        assert_eq!(encode(Compression::Gzip, b"x")[..10], [31, 139, 8, 0, 0, 0, 0, 0, 0, 255]);
    }

    /// Rule T5.
    #[test]
    fn members_and_frames_are_joined_and_garbage_is_refused() {
        for compression in [Compression::Gzip, Compression::Zstd] {
            let mut two = encode(compression, b"first ");
            two.extend(encode(compression, b"second"));
            assert_eq!(decode(compression, &two).unwrap(), b"first second");
            for junk in [&b"junk"[..], b"\0", b"\0\0\0\0\0\0\0\0\0\0\0\0", b"\x1f"] {
                let bad = [&two, junk].concat();
                let err = decode(compression, &bad).unwrap_err();
                assert_eq!(err.kind(), Kind::Invalid, "{compression} {junk:?} {err}");
            }
            for cut in 5..two.len() / 2 - 1 {
                assert!(decode(compression, &two[..cut]).is_err(), "{compression} {cut}");
            }
        }
    }

    #[test]
    fn the_media_type_decides() {
        for declared in ALL {
            for found in ALL.into_iter().filter(|&found| found != declared) {
                let err = decode(declared, &encode(found, b"data")).unwrap_err();
                assert_eq!(err.kind(), Kind::Mismatch, "{err}");
            }
        }
        assert!(decode(Compression::Gzip, b"").is_err());
        assert_eq!(decode(Compression::None, b"").unwrap(), b"");
    }

    /// Rule T7.
    #[test]
    fn huge_windows_are_refused() {
        // A frame header alone: no single segment, window descriptor of 2^31.
        let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3, 1, 0, 0];
        let err = decode(Compression::Zstd, &frame).unwrap_err();
        assert_eq!(err.kind(), Kind::Limit, "{err}");
    }

    #[test]
    fn faults_of_the_reader_come_out_whole() {
        struct Failing;
        impl Read for Failing {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(Error::new(Kind::Network, "gone").into())
            }
        }
        let head = encode(Compression::Gzip, b"data")[..10].to_vec();
        let mut decoder =
            Decoder::new(Compression::Gzip, io::Cursor::new(head).chain(Failing)).unwrap();
        let err = decoder.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(Error::from_io(err, String::new).kind(), Kind::Network);
    }

    #[test]
    fn levels_outside_the_format_are_refused() {
        for (compression, level) in [(Compression::Gzip, 13), (Compression::Zstd, 0)] {
            let settings = Settings { compression, level: Some(level), window: None };
            assert!(Encoder::new(settings, Vec::new()).is_err());
        }
    }
}
