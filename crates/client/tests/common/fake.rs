//! A server that answers with whatever bytes a test wants, and remembers what it was sent.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What came in.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub target: String,
    /// The header lines, as they came.
    pub head: String,
    pub body: Vec<u8>,
    /// The number of requests before this one.
    pub count: usize,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub fn is(&self, method: &str, target: &str) -> bool {
        self.method == method && self.target == target
    }

    /// The first byte of `Range: bytes=FIRST-LAST`.
    pub fn range(&self) -> Option<(usize, usize)> {
        let (first, last) = self.header("range")?.strip_prefix("bytes=")?.split_once('-')?;
        Some((first.parse().unwrap(), last.parse().unwrap()))
    }
}

/// What goes out.
#[derive(Clone, Debug)]
pub enum Step {
    Send(Vec<u8>),
    Wait(Duration),
    /// Ends the connection in an orderly way.
    Close,
    /// Ends the connection with RST.
    Reset,
}

pub type Reply = Vec<Step>;

/// A whole answer with a body of known length.
pub fn reply(status: u16, headers: &[&str], body: impl AsRef<[u8]>) -> Reply {
    let length = format!("Content-Length: {}", body.as_ref().len());
    let headers: Vec<&str> = headers.iter().copied().chain([length.as_str()]).collect();
    vec![Step::Send(head(status, &headers)), Step::Send(body.as_ref().to_vec())]
}

/// An answer to HEAD, or one whose length is told by the headers.
pub fn bare(status: u16, headers: &[&str]) -> Reply {
    vec![Step::Send(head(status, headers))]
}

pub fn head(status: u16, headers: &[&str]) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {status} Status\r\n");
    for header in headers {
        text += header;
        text += "\r\n";
    }
    text += "\r\n";
    text.into_bytes()
}

type Handler = dyn Fn(&Request) -> Reply + Send + Sync;

/// A server, which serves as long as its test runs.
pub struct Fake {
    pub address: String,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Fake {
    pub async fn start(handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_at("127.0.0.1", handler).await
    }

    pub async fn start_at(
        ip: &str,
        handler: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((ip, 0)).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let seen: Arc<Mutex<Vec<Request>>> = Arc::default();
        let handler: Arc<Handler> = Arc::new(handler);
        let log = seen.clone();
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(serve(connection, handler.clone(), log.clone()));
            }
        });
        Self { address, seen }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn reference(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }

    /// All requests so far, without those that ask what is spoken here.
    pub fn seen(&self) -> Vec<Request> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|request| request.target != "/v2/").cloned().collect()
    }

    /// The requests so far as `METHOD target`.
    pub fn lines(&self) -> Vec<String> {
        self.seen().iter().map(|request| format!("{} {}", request.method, request.target)).collect()
    }

    /// How often a text came in, anywhere.
    pub fn count(&self, text: &str) -> usize {
        let seen = self.seen.lock().unwrap();
        let whole = |request: &Request| {
            let body = String::from_utf8_lossy(&request.body).into_owned();
            format!("{}\n{}\n{body}", request.target, request.head)
        };
        seen.iter().map(|request| whole(request).matches(text).count()).sum()
    }
}

async fn serve(mut connection: TcpStream, handler: Arc<Handler>, log: Arc<Mutex<Vec<Request>>>) {
    let mut buffer = Vec::new();
    while let Some(mut request) = read_request(&mut connection, &mut buffer).await {
        request.count = {
            let mut log = log.lock().unwrap();
            let count = log.iter().filter(|request| request.target != "/v2/").count();
            log.push(request.clone());
            count
        };
        let steps = if request.target == "/v2/" {
            handler_of_root(&*handler, &request)
        } else {
            handler(&request)
        };
        for step in steps {
            match step {
                Step::Send(bytes) => {
                    if connection.write_all(&bytes).await.is_err() {
                        return;
                    }
                }
                Step::Wait(pause) => tokio::time::sleep(pause).await,
                Step::Close => {
                    let _ = connection.shutdown().await;
                    return;
                }
                Step::Reset => {
                    connection.set_zero_linger().unwrap();
                    return;
                }
            }
        }
    }
}

/// The root answers 200, unless the handler has an answer of its own for it.
fn handler_of_root(handler: &Handler, request: &Request) -> Reply {
    let own = handler(request);
    if own.is_empty() { reply(200, &[], "{}") } else { own }
}

async fn read_request(connection: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Request> {
    let end = loop {
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        if connection.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
    buffer.drain(..end);
    let (line, head) = head.split_once("\r\n")?;
    let mut words = line.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut request = Request { method, target, head: head.to_owned(), body: Vec::new(), count: 0 };
    let length: usize =
        request.header("content-length").map_or(0, |length| length.parse().unwrap());
    while buffer.len() < length {
        if connection.read_buf(buffer).await.ok()? == 0 {
            // What came of a broken body is kept, marked by its shortness.
            break;
        }
    }
    request.body = buffer.drain(..length.min(buffer.len())).collect();
    Some(request)
}
