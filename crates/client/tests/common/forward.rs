//! A forward proxy, as `HTTPS_PROXY` and `HTTP_PROXY` name one: tunnels by CONNECT, and absolute
//! request targets. It notes every head that it sees.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

/// A proxy, which serves as long as its test runs.
pub struct Forward {
    pub address: String,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    heads: Mutex<Vec<String>>,
    /// What the proxy's own name service says.
    names: HashMap<String, String>,
    /// The value of `Proxy-Authorization` that it wants.
    wants: Option<String>,
}

impl Forward {
    /// A proxy that knows where these names with their ports are.
    pub async fn start(names: &[(&str, &str)]) -> Self {
        Self::wanting(names, None).await
    }

    /// The same, which wants to see a login.
    pub async fn wanting(names: &[(&str, &str)], wants: Option<&str>) -> Self {
        let names = names.iter().map(|(name, at)| ((*name).into(), (*at).into())).collect();
        let state = State { names, wants: wants.map(str::to_owned), ..State::default() };
        let state = Arc::new(state);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let shared = state.clone();
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(serve(connection, shared.clone()));
            }
        });
        Self { address, state }
    }

    /// All heads so far, each with its first line.
    pub fn heads(&self) -> Vec<String> {
        self.state.heads.lock().unwrap().clone()
    }

    /// The targets of all CONNECT requests.
    pub fn connects(&self) -> Vec<String> {
        let heads = self.heads();
        let target = |head: &String| Some(head.strip_prefix("CONNECT ")?.split(' ').next()?.into());
        heads.iter().filter_map(target).collect()
    }

    /// How often a text came by where the proxy could read it.
    pub fn count(&self, text: &str) -> usize {
        self.heads().iter().map(|head| head.matches(text).count()).sum()
    }
}

async fn serve(mut client: TcpStream, state: Arc<State>) -> Option<()> {
    let mut buffer = Vec::new();
    loop {
        let head = read_head(&mut client, &mut buffer).await?;
        state.heads.lock().unwrap().push(head.clone());
        if let Some(wants) = &state.wants
            && header(&head, "proxy-authorization") != Some(wants)
        {
            let refusal = "HTTP/1.1 407 Login\r\nProxy-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n\r\n";
            client.write_all(refusal.as_bytes()).await.ok()?;
            continue;
        }
        let mut words = head.split(' ');
        let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
        if method == "CONNECT" {
            let mut server = state.connect(&target).await?;
            client.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").await.ok()?;
            copy_bidirectional(&mut client, &mut server).await.ok()?;
            return Some(());
        }
        let rest = target.strip_prefix("http://")?;
        let (host, path) = rest.split_once('/')?;
        let named = if host.contains(':') { host.to_owned() } else { format!("{host}:80") };
        let mut server = state.connect(&named).await?;
        let own: Vec<&str> = head
            .lines()
            .skip(1)
            .filter(|line| !line.to_lowercase().starts_with("proxy-") && !line.is_empty())
            .collect();
        let sent = format!("{method} /{path} HTTP/1.1\r\n{}\r\n\r\n", own.join("\r\n"));
        server.write_all(sent.as_bytes()).await.ok()?;
        let length = length(&head);
        while buffer.len() < length {
            client.read_buf(&mut buffer).await.ok().filter(|read| *read > 0)?;
        }
        server.write_all(&buffer[..length]).await.ok()?;
        buffer.drain(..length);
        relay(&mut server, &mut client, method == "HEAD").await?;
    }
}

/// One answer of known length.
async fn relay(server: &mut TcpStream, client: &mut TcpStream, bare: bool) -> Option<()> {
    let mut buffer = Vec::new();
    let head = read_head(server, &mut buffer).await?;
    client.write_all(head.as_bytes()).await.ok()?;
    let length = if bare { 0 } else { length(&head) };
    while buffer.len() < length {
        server.read_buf(&mut buffer).await.ok().filter(|read| *read > 0)?;
    }
    client.write_all(&buffer[..length]).await.ok()
}

impl State {
    async fn connect(&self, target: &str) -> Option<TcpStream> {
        let at = self.names.get(target).map_or(target, String::as_str);
        TcpStream::connect(at).await.ok()
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

fn length(head: &str) -> usize {
    header(head, "content-length").map_or(0, |length| length.parse().unwrap())
}

async fn read_head(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<String> {
    loop {
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end + 4]).into_owned();
            buffer.drain(..end + 4);
            return Some(head);
        }
        stream.read_buf(buffer).await.ok().filter(|read| *read > 0)?;
    }
}
