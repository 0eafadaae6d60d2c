//! A wire that something happens on when so many bytes have passed.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// What happens.
#[derive(Clone, Copy, Debug)]
pub enum Then {
    /// The process behind the wire is killed.
    Kill(u32),
    /// Nothing passes any more.
    Stall,
}

/// Forwards to a registry.
#[derive(Debug)]
pub struct Proxy {
    /// `127.0.0.1:PORT`
    pub address: String,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    target: String,
    limit: u64,
    then: Then,
    passed: AtomicU64,
    happened: AtomicBool,
}

impl Proxy {
    /// Both directions count.
    pub fn start(target: &str, limit: u64, then: Then) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state =
            State { target: target.into(), limit, then, passed: 0.into(), happened: false.into() };
        let state = Arc::new(state);
        let proxy = Self { address, state: Arc::clone(&state) };
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // Nobody is behind the wire any more: the client's connection ends at once.
                let Ok(server) = TcpStream::connect(&state.target) else { continue };
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (from, to, state) =
                        (from.try_clone().unwrap(), to.try_clone().unwrap(), Arc::clone(&state));
                    std::thread::spawn(move || pump(&from, &to, &state));
                }
            }
        });
        proxy
    }

    pub fn image(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }

    /// Whether it happened.
    pub fn happened(&self) -> bool {
        self.state.happened.load(Ordering::SeqCst)
    }

    /// Waits until it has happened.
    pub fn wait(&self) {
        let start = Instant::now();
        while !self.happened() {
            assert!(
                start.elapsed() < Duration::from_secs(60),
                "only {:?} passed",
                self.state.passed
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn pump(mut from: &TcpStream, mut to: &TcpStream, state: &State) {
    let mut buffer = [0; 16 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let passed = state.passed.fetch_add(count as u64, Ordering::SeqCst) + count as u64;
        if passed > state.limit {
            act(state);
        }
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

fn act(state: &State) {
    match state.then {
        Then::Kill(pid) => {
            if !state.happened.swap(true, Ordering::SeqCst) {
                kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::KILL).unwrap();
            }
        }
        Then::Stall => {
            state.happened.store(true, Ordering::SeqCst);
            loop {
                std::thread::park();
            }
        }
    }
}
