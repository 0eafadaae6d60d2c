//! A wire before any registry, on which things happen: it cuts, stalls, delays, throttles and lies,
//! at any byte of any message.
//!
//! ```text
//! client ── request ──▶ proxy ──▶ registry        Direction::Up
//! client ◀── answer ─── proxy ◀── registry        Direction::Down
//!
//! Place:  Before  InHead  FirstByte  Byte(n)  LastByte  After
//!         │ HTTP/1.1 200 OK…\r\n\r\n │ body …           │
//! ```
//! Each [`Fault`] waits for the messages that it is meant for. What passes of bodies is counted, so
//! that a test can tell how much went twice.

mod message;
mod wire;

use std::collections::HashMap;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Which way a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// A request.
    Up,
    /// An answer.
    Down,
}

/// Where in a message something happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Before its first byte.
    Before,
    /// In the middle of its head.
    InHead,
    /// Between the head and the first byte of the body.
    FirstByte,
    /// After so many bytes of the body, or at its end.
    Byte(u64),
    /// Before the last byte of the body.
    LastByte,
    /// After the last byte.
    After,
}

impl Place {
    /// One of every class, for a body of so many bytes.
    pub fn all(length: u64) -> [Self; 6] {
        [
            Self::Before,
            Self::InHead,
            Self::FirstByte,
            Self::Byte(length / 2),
            Self::LastByte,
            Self::After,
        ]
    }
}

/// What happens.
#[derive(Clone)]
pub enum What {
    /// Both connections end.
    Cut,
    /// Nothing passes any more, and both connections stay.
    Stall,
    /// The rest waits for a while.
    Delay(Duration),
    /// From here on so many bytes pass in a second.
    Throttle(u64),
    /// The next byte is another one.
    Flip,
    /// `Content-Length` differs by this.
    WrongLength(i64),
    /// `Content-Range` begins elsewhere by this.
    WrongRange(i64),
    /// The range that the request asks for is forgotten, so that all is answered.
    NoRange,
    /// The answer of the registry is this one instead: status and header lines, without a body.
    Answer(String),
    /// The test does something.
    Do(Arc<dyn Fn() + Send + Sync>),
}

impl std::fmt::Debug for What {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = match self {
            Self::Cut => "Cut",
            Self::Stall => "Stall",
            Self::Delay(_) => "Delay",
            Self::Throttle(_) => "Throttle",
            Self::Flip => "Flip",
            Self::WrongLength(by) => return write!(f, "WrongLength({by})"),
            Self::WrongRange(by) => return write!(f, "WrongRange({by})"),
            Self::NoRange => "NoRange",
            Self::Answer(answer) => return write!(f, "Answer({answer:?})"),
            Self::Do(_) => "Do",
        };
        f.write_str(name)
    }
}

/// Something that happens to some messages.
#[derive(Clone, Debug)]
pub struct Fault {
    /// The method of the request.
    pub method: &'static str,
    /// What its target contains.
    pub target: String,
    /// Whether it happens to the request or to its answer.
    pub direction: Direction,
    /// Where.
    pub place: Place,
    /// What.
    pub what: What,
    /// How often.
    pub times: u64,
}

impl Fault {
    /// Happens once to a download of a blob.
    pub fn down(place: Place, what: What) -> Self {
        let target = "/blobs/sha256:".to_owned();
        Self { method: "GET", target, direction: Direction::Down, place, what, times: 1 }
    }

    /// Happens once to a request that uploads.
    pub fn up(method: &'static str, place: Place, what: What) -> Self {
        let target = "/blobs/uploads/".to_owned();
        Self { method, target, direction: Direction::Up, place, what, times: 1 }
    }

    /// The same, but to the answer instead of the request, or the other way round.
    #[must_use]
    pub fn towards(mut self, direction: Direction) -> Self {
        self.direction = direction;
        self
    }

    /// The same, so many times.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = times;
        self
    }

    /// The same, for targets that contain something.
    #[must_use]
    pub fn at(mut self, target: &str) -> Self {
        target.clone_into(&mut self.target);
        self
    }
}

/// The line between a client and a registry.
#[derive(Clone, Copy, Debug, Default)]
pub struct Line {
    /// What each answer waits before it comes.
    pub delay: Duration,
    /// How many bytes of a body pass in a second on each connection; all where it is 0.
    pub rate: u64,
}

/// See the module. Serves as long as its test runs.
#[derive(Clone, Debug)]
pub struct Proxy {
    /// `127.0.0.1:PORT`
    pub address: String,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    target: String,
    line: Line,
    faults: Mutex<Vec<Fault>>,
    happened: AtomicU64,
    up: AtomicU64,
    down: AtomicU64,
    log: Mutex<Vec<String>>,
    /// Both ends of each connection that is open, by its number.
    live: Mutex<HashMap<u64, [TcpStream; 2]>>,
    /// How many connections there were.
    connections: AtomicU64,
}

impl Proxy {
    /// A wire to `host:port`.
    pub fn start(target: &str) -> Self {
        Self::start_with(target, Line::default())
    }

    /// The same of some length and width.
    pub fn start_with(target: &str, line: Line) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = Arc::new(State {
            target: target.to_owned(),
            line,
            faults: Mutex::default(),
            happened: AtomicU64::new(0),
            up: AtomicU64::new(0),
            down: AtomicU64::new(0),
            log: Mutex::default(),
            live: Mutex::default(),
            connections: AtomicU64::new(0),
        });
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                std::thread::spawn(move || wire::serve(&client, &state));
            }
        });
        Self { address, state }
    }

    /// An image's name at this end of the wire.
    pub fn image(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }

    /// Lets something happen.
    pub fn add(&self, fault: Fault) {
        lock(&self.state.faults).push(fault);
    }

    /// Lets nothing more happen.
    pub fn clear(&self) {
        lock(&self.state.faults).clear();
    }

    /// Ends all connections, stalled ones too, as they end with the process behind one of them.
    pub fn hang_up(&self) {
        for (_, ends) in lock(&self.state.live).drain() {
            for end in ends {
                let _ = end.shutdown(Shutdown::Both);
            }
        }
    }

    /// How often something happened.
    pub fn happened(&self) -> u64 {
        self.state.happened.load(Ordering::SeqCst)
    }

    /// Waits until something has happened so many times.
    pub fn wait(&self, times: u64) {
        let start = Instant::now();
        while self.happened() < times {
            assert!(start.elapsed() < Duration::from_secs(60), "{:?}", self.state);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// How many bytes of blobs went up so far, those that went twice counted twice.
    pub fn up(&self) -> u64 {
        self.state.up.load(Ordering::SeqCst)
    }

    /// How many bytes of blobs came down so far.
    pub fn down(&self) -> u64 {
        self.state.down.load(Ordering::SeqCst)
    }

    /// The requests so far, as `METHOD target`.
    pub fn requests(&self) -> Vec<String> {
        lock(&self.state.log).clone()
    }
}

impl State {
    /// What is to happen to a request and to its answer; each counts as happened from here on.
    fn faults(&self, method: &str, target: &str) -> Vec<Fault> {
        lock(&self.log).push(format!("{method} {target}"));
        let mut faults = lock(&self.faults);
        let mut found = Vec::new();
        for fault in faults.iter_mut() {
            if fault.method == method && target.contains(&fault.target) && fault.times > 0 {
                fault.times -= 1;
                found.push(fault.clone());
            }
        }
        found
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
