//! Modules and components of WebAssembly: which of both one is, what a component asks for and offers, and
//! their config as the CNCF lays it out (TAG Runtime, "Wasm OCI Artifact layout").

use std::io::{self, BufRead, BufReader, Read};

use bytes::Bytes;
use serde::Serialize;
use serde_json::json;

use conex_spec::annotations::CREATED;
use conex_spec::{Descriptor, Error, Result};

use super::draft::Draft;
use super::kinds::printed;

/// What a module or a component begins with.
pub(super) const MAGIC: &[u8] = b"\0asm";
/// The version of a component, and that it is one (WebAssembly/component-model, Binary.md).
const COMPONENT: [u8; 4] = [0x0d, 0, 1, 0];
/// The sections of a component that say what it asks for and offers.
const IMPORTS: u8 = 10;
const EXPORTS: u8 = 11;
/// The most bytes of such sections, of which there may be several.
const MAX_NAMED: u64 = 4 << 20;
/// How many names there may be.
const MAX_NAMES: usize = 10_000;
/// When something was made of which nobody says it, so that the same files are the same artifact; other
/// tools refuse a config without it.
const UNDATED: &str = "1970-01-01T00:00:00Z";

/// What a component asks for and offers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct World {
    /// The interfaces and functions that it offers.
    pub exports: Vec<String>,
    /// Those that it asks for.
    pub imports: Vec<String>,
}

/// Reads what a component asks for and offers; nothing of a module, which has other names.
///
/// # Errors
/// `Invalid` for what breaks off or breaks the rules of a component.
pub fn read(from: impl Read) -> Result<Option<World>> {
    let mut from = BufReader::new(from);
    sections(&mut from).map_err(|err| match err.kind() {
        io::ErrorKind::InvalidData => Error::invalid(err.to_string()),
        io::ErrorKind::UnexpectedEof => Error::invalid("breaks off"),
        _ => Error::from_io(err, || "cannot be read".into()),
    })
}

fn sections(from: &mut impl BufRead) -> io::Result<Option<World>> {
    let mut head = [0; 8];
    from.read_exact(&mut head)?;
    // The second half of the version is the layer: 0 is a module, 1 a component.
    if head[6..] == [0, 0] {
        return Ok(None);
    }
    if head[4..] != COMPONENT {
        return Err(bad("is of a version of WebAssembly that is not known"));
    }
    let (mut world, mut room) = (World::default(), MAX_NAMED);
    while !from.fill_buf()?.is_empty() {
        let (id, length) = (byte(from)?, u64::from(number(from)?));
        let mut section = Read::take(&mut *from, length);
        if [IMPORTS, EXPORTS].contains(&id) {
            room = room.checked_sub(length).ok_or_else(|| bad("has too many names"))?;
        }
        match id {
            IMPORTS => names(&mut section, &mut world.imports, external)?,
            EXPORTS => names(&mut section, &mut world.exports, exported)?,
            _ => {
                io::copy(&mut section, &mut io::sink())?;
            }
        }
        if section.limit() > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(Some(world))
}

/// The names of a section, each with what it stands for behind it.
fn names<R: Read>(
    section: &mut R,
    names: &mut Vec<String>,
    rest: fn(&mut R) -> io::Result<()>,
) -> io::Result<()> {
    for _ in 0..number(section)? {
        if names.len() == MAX_NAMES {
            return Err(bad("has too many names"));
        }
        let sort = byte(section)?;
        names.push(text(section)?);
        match sort {
            0 | 1 => {}
            // The version apart from the name.
            2 => drop(text(section)?),
            _ => return Err(bad("has a name of an unknown sort")),
        }
        rest(section)?;
    }
    Ok(())
}

/// `externdesc`: the type of what is asked for.
fn external(section: &mut impl Read) -> io::Result<()> {
    match byte(section)? {
        // A core module, or a value, which has a bound before its type.
        0 | 2 => {
            byte(section)?;
        }
        // A type that is another one, or one that nothing more is said of.
        3 if byte(section)? != 0 => return Ok(()),
        1..=5 => {}
        _ => return Err(bad("asks for something of an unknown sort")),
    }
    number(section).map(drop)
}

/// What is offered, and maybe its type.
fn exported(section: &mut impl Read) -> io::Result<()> {
    if byte(section)? == 0 {
        byte(section)?;
    }
    number(section)?;
    match byte(section)? {
        0 => Ok(()),
        _ => external(section),
    }
}

fn byte(from: &mut impl Read) -> io::Result<u8> {
    let mut byte = [0];
    from.read_exact(&mut byte)?;
    Ok(byte[0])
}

/// LEB128, of at most 32 bits.
fn number(from: &mut impl Read) -> io::Result<u32> {
    let mut value = 0_u64;
    for shift in (0..35).step_by(7) {
        let byte = byte(from)?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return u32::try_from(value).map_err(|_| bad("has a number that is too large"));
        }
    }
    Err(bad("has a number that is too large"))
}

fn text(from: &mut impl Read) -> io::Result<String> {
    let length = u64::from(number(from)?);
    let mut bytes = Vec::new();
    if Read::take(&mut *from, length).read_to_end(&mut bytes)? as u64 != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    String::from_utf8(bytes).map_err(|_| bad("has a name that is not UTF-8"))
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// The config of a module, or of a component with its world.
pub(super) fn config(draft: &Draft, layers: &[Descriptor], world: Option<&World>) -> Result<Bytes> {
    let digests: Vec<_> = layers.iter().map(|layer| &layer.digest).collect();
    let mut config = json!({
        "created": draft.annotations.get(CREATED).map_or(UNDATED, String::as_str),
        "architecture": "wasm",
        "os": if world.is_some() { "wasip2" } else { "wasip1" },
        "layerDigests": digests,
    });
    if let Some(world) = world {
        config["component"] = json!(world);
    }
    printed(&config)
}

/// An error of a file that begins as WebAssembly does.
pub(super) fn told(name: impl std::fmt::Display, err: &Error) -> Error {
    let what = format!("{name} is no sound component of WebAssembly: it {}", err.message());
    Error::new(err.kind(), what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use conex_spec::Kind;

    /// A component of these sections.
    fn component(sections: &[(u8, &[u8])]) -> Vec<u8> {
        let mut bytes = [MAGIC, &COMPONENT].concat();
        for (id, section) in sections {
            bytes.extend([*id, section.len() as u8]);
            bytes.extend_from_slice(section);
        }
        bytes
    }

    fn name(sort: u8, text: &str) -> Vec<u8> {
        [&[sort, text.len() as u8], text.as_bytes()].concat()
    }

    #[test]
    fn a_component_says_what_it_asks_for_and_offers() {
        let imports = [
            &[6][..],
            &name(0, "wasi:cli/environment@0.2.0"),
            &[5, 0],
            &name(1, "f"),
            &[1, 3],
            &name(0, "t"),
            &[3, 1],
            &name(0, "u"),
            &[3, 0, 2],
            &name(0, "m"),
            &[0, 0x11, 1],
            &name(2, "v"),
            &[1, b'1', 2, 1, 0x7f],
        ]
        .concat();
        let exports = [
            &[2][..],
            &name(0, "wasi:http/incoming-handler@0.2.0"),
            &[5, 1, 0],
            &name(0, "run"),
            &[0, 0x11, 1, 1, 1, 4],
        ]
        .concat();
        let bytes = component(&[(0, b"custom"), (10, &imports), (4, b"inner"), (11, &exports)]);
        let world = read(bytes.as_slice()).unwrap().unwrap();
        assert_eq!(world.imports, ["wasi:cli/environment@0.2.0", "f", "t", "u", "m", "v"]);
        assert_eq!(world.exports, ["wasi:http/incoming-handler@0.2.0", "run"]);
        assert_eq!(read(&b"\0asm\x01\0\0\0whatever"[..]).unwrap(), None);
        for length in 9..bytes.len() {
            // It may break off between sections, which nobody can tell.
            if let Ok(world) = read(&bytes[..length]) {
                assert!(world.is_some_and(|world| world.exports.is_empty()), "{length}");
            }
        }
    }

    #[test]
    fn what_is_no_component_is_told() {
        let huge = [&[1, 0][..], &[0xff; 5]].concat();
        // A section of a MiB with one name, again and again.
        let text = vec![b'x'; (1 << 20) - 7];
        let section = [&[1, 0, 0xf9, 0xff, 0x3f][..], &text, &[5, 0]].concat();
        let section = [&[10, 0x80, 0x80, 0x40][..], &section].concat();
        let many = [MAGIC, &COMPONENT, &section.repeat(5)].concat();
        for (bytes, said) in [
            (b"\0asm".to_vec(), "breaks off"),
            (b"\0asm\x0a\0\x01\0".to_vec(), "version of WebAssembly"),
            (component(&[(10, &[1, 9, 1, b'x', 5, 0])]), "unknown sort"),
            (component(&[(10, &[1, 0, 1, 0xff, 5, 0])]), "UTF-8"),
            (component(&[(10, &[1, 0, 1, b'x', 9, 0])]), "unknown sort"),
            (component(&[(10, &huge)]), "too large"),
            (component(&[(10, &[5])]), "breaks off"),
            (component(&[(10, &[0, 0])]), "breaks off"),
            ([MAGIC, &COMPONENT, &[0, 9]].concat(), "breaks off"),
            (many, "too many names"),
        ] {
            let err = read(bytes.as_slice()).unwrap_err();
            assert_eq!(err.kind(), Kind::Invalid);
            assert!(err.message().contains(said), "{said}: {err}");
        }
    }
}
