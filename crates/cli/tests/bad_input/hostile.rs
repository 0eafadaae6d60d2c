//! A registry that may say anything: it serves a layout, and lies where it is told to.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;

use crate::support::layout;

/// How a body is falsified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// One bit of the middle byte is another.
    Flip,
    /// The connection ends after half of what the head promised.
    CutOff,
    /// The head itself promises only half.
    Shorter,
    /// There is more, and the head says so.
    Longer,
}

/// Serves the layout, with the root that is tagged `latest`; returns `127.0.0.1:PORT`.
pub fn serve(dir: &Path, lies: &[(&str, Lie)]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let lies: HashMap<_, _> =
        lies.iter().map(|(digest, lie)| ((*digest).to_owned(), *lie)).collect();
    let shared = Arc::new((dir.to_owned(), lies));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let shared = Arc::clone(&shared);
            // A client that has gone away is no failure.
            std::thread::spawn(move || answer(&stream, &shared.0, &shared.1));
        }
    });
    address
}

fn answer(stream: &TcpStream, dir: &Path, lies: &HashMap<String, Lie>) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let mut words = request.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let name = target.rsplit('/').next().unwrap_or_default();
    let digest = if name == "latest" { layout::tagged(dir, "latest") } else { name.to_owned() };
    let Ok(mut body) = std::fs::read(layout::blob(dir, &digest)) else {
        let found = if target == "/v2/" { "200 OK" } else { "404 Not Found" };
        return write!(
            &mut { stream },
            "HTTP/1.1 {found}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
    };
    let mut promised = body.len();
    match lies.get(&digest) {
        Some(Lie::Flip) => body[promised / 2] ^= 1,
        Some(Lie::CutOff) => body.truncate(promised / 2),
        Some(Lie::Shorter) => {
            body.truncate(promised / 2);
            promised = body.len();
        }
        Some(Lie::Longer) => {
            body.extend([0; 100]);
            promised = body.len();
        }
        None => {}
    }
    let media_type = media_type(&body);
    write!(
        &mut { stream },
        "HTTP/1.1 200 OK\r\nContent-Length: {promised}\r\nContent-Type: {media_type}\r\n\
         Docker-Content-Digest: {digest}\r\nConnection: close\r\n\r\n"
    )?;
    if method == "GET" { (&mut { stream }).write_all(&body) } else { Ok(()) }
}

/// What a manifest says of itself.
fn media_type(body: &[u8]) -> String {
    let document = serde_json::from_slice::<serde_json::Value>(body).unwrap_or_default();
    document["mediaType"].as_str().unwrap_or("application/octet-stream").to_owned()
}
