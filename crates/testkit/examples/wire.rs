//! A wire to a registry whose every answer waits: `wire HOST:PORT MILLISECONDS [RATE]` prints the address
//! of its near end, and serves until it is killed. RATE is how many bytes pass in a second on each
//! connection.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program for benchmarks, which stops at the first surprise"
)]

use std::time::Duration;

use conex_testkit::proxy::{Line, Proxy};

fn main() {
    let mut args = std::env::args().skip(1);
    let target = args.next().unwrap();
    let delay = Duration::from_millis(args.next().unwrap().parse().unwrap());
    let rate = args.next().map_or(0, |rate| rate.parse().unwrap());
    println!("{}", Proxy::start_with(&target, Line { delay, rate }).address);
    loop {
        std::thread::park();
    }
}
