//! One connection: request after request, each with its answer.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::message::{Body, Head};
use super::{Direction, Fault, Place, State, What, lock};

/// What is moved at once, in bytes.
const PIECE: usize = 16 << 10;

pub(super) fn serve(client: &TcpStream, state: &State) {
    // Nobody is behind the wire: the client's connection ends at once.
    let Ok(server) = TcpStream::connect(&state.target) else { return };
    let number = state.connections.fetch_add(1, Ordering::SeqCst);
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    if let (Ok(near), Ok(far)) = (client.try_clone(), server.try_clone()) {
        lock(&state.live).insert(number, [near, far]);
    }
    let wire = Wire { client, server: &server, state, number };
    let mut requests = BufReader::with_capacity(PIECE, client);
    let mut answers = BufReader::with_capacity(PIECE, &server);
    while let Ok(true) = wire.exchange(&mut requests, &mut answers) {}
    wire.cut();
    lock(&state.live).remove(&number);
}

#[derive(Clone, Copy)]
struct Wire<'a> {
    client: &'a TcpStream,
    server: &'a TcpStream,
    state: &'a State,
    number: u64,
}

impl Wire<'_> {
    /// One request and its answer. Returns whether the connection goes on.
    fn exchange(
        &self,
        requests: &mut impl BufRead,
        answers: &mut impl BufRead,
    ) -> io::Result<bool> {
        let Some(mut head) = Head::read(requests)? else { return Ok(false) };
        let (method, target) = (head.word(0).to_owned(), head.word(1).to_owned());
        let faults = self.state.faults(&method, &target);
        let blobs = target.contains("/blobs/");
        if faults.iter().any(|fault| matches!(fault.what, What::NoRange)) {
            head.remove("range");
            self.state.happened.fetch_add(1, Ordering::SeqCst);
        }
        let body = head.request_body();
        let up =
            Pass { wire: *self, to: self.server, count: blobs.then_some(&self.state.up), rate: 0 };
        let going: Vec<_> = of(&faults, Direction::Up).collect();
        let sent = up.message(&mut head, body, requests, &going);
        match sent {
            // The registry may have answered before it had all.
            Err(err) if err.kind() == ErrorKind::BrokenPipe => {}
            Err(err) if err.kind() == ErrorKind::ConnectionReset => {}
            sent => sent?,
        }
        let Some(mut answer) = Head::read(answers)? else { return Ok(false) };
        sleep(self.state.line.delay);
        let mut body = answer.answer_body(&method);
        let last = body == Body::Open || answer.closes();
        let coming: Vec<_> = of(&faults, Direction::Down).collect();
        for fault in &coming {
            if let What::Answer(text) = &fault.what {
                skip(body, answers)?;
                (answer, body) = (Head::of(text), Body::Length(0));
                answer.set("Content-Length", "0");
                if last {
                    // Nobody would read a next request.
                    answer.set("Connection", "close");
                }
                self.state.happened.fetch_add(1, Ordering::SeqCst);
            }
        }
        let count = (blobs && method == "GET").then_some(&self.state.down);
        let down = Pass { wire: *self, to: self.client, count, rate: self.state.line.rate };
        down.message(&mut answer, body, answers, &coming)?;
        Ok(!last && !answer.closes())
    }

    fn cut(&self) {
        let _ = (self.client.shutdown(Shutdown::Both), self.server.shutdown(Shutdown::Both));
    }
}

/// Passes messages on in one direction.
struct Pass<'a> {
    wire: Wire<'a>,
    to: &'a TcpStream,
    count: Option<&'a AtomicU64>,
    rate: u64,
}

impl Pass<'_> {
    fn message(
        mut self,
        head: &mut Head,
        body: Body,
        from: &mut impl BufRead,
        faults: &[&Fault],
    ) -> io::Result<()> {
        for fault in faults {
            self.lie(&fault.what, head);
        }
        let head = head.bytes();
        let length = head.len() as u64;
        let total = length + if let Body::Length(body) = body { body } else { 0 };
        let mut marks: Vec<_> =
            faults.iter().map(|fault| (offset(fault.place, length, total), *fault)).collect();
        marks.sort_by_key(|(offset, _)| *offset);
        let mut marks = marks.into_iter().peekable();
        let mut at = 0;
        let mut source = Read::chain(head.as_slice(), Framed::new(body, from));
        loop {
            let mut flip = false;
            while let Some((_, fault)) = marks.next_if(|(offset, _)| *offset <= at) {
                flip |= self.act(&fault.what)?;
            }
            let next = marks.peek().map_or(u64::MAX, |(offset, _)| offset - at);
            let most = if flip { 1 } else { PIECE.min(usize::try_from(next).unwrap_or(PIECE)) };
            let mut piece = [0; PIECE];
            let count = source.read(&mut piece[..most])?;
            if count == 0 {
                // What is to happen after a body whose length was not known.
                return marks.try_for_each(|(_, fault)| self.act(&fault.what).map(drop));
            }
            if flip {
                piece[0] ^= 1;
            }
            let started = Instant::now();
            at += count as u64;
            if let Some(counter) = self.count.filter(|_| at > length) {
                counter.fetch_add((count as u64).min(at - length), Ordering::SeqCst);
            }
            self.to.write_all(&piece[..count])?;
            if self.rate > 0 && at > length {
                let due = Duration::from_secs_f64(count as f64 / self.rate as f64);
                sleep(due.saturating_sub(started.elapsed()));
            }
        }
    }

    fn lie(&self, what: &What, head: &mut Head) {
        let moved = |number: &str, by: i64| {
            number.trim().parse::<u64>().unwrap().saturating_add_signed(by).to_string()
        };
        match what {
            What::WrongLength(by) => {
                let Some(length) = head.get("content-length") else { return };
                let length = moved(length, *by);
                head.set("Content-Length", &length);
            }
            What::WrongRange(by) => {
                let Some(range) = head.get("content-range") else { return };
                let (unit, rest) = range.split_once(' ').unwrap_or(("", range));
                let (first, rest) = rest.split_once('-').unwrap();
                let range = format!("{unit} {}-{rest}", moved(first, *by));
                head.set("Content-Range", range.trim());
            }
            _ => return,
        }
        self.wire.state.happened.fetch_add(1, Ordering::SeqCst);
    }

    /// Returns whether the next byte is to be another one.
    fn act(&mut self, what: &What) -> io::Result<bool> {
        let happened = || self.wire.state.happened.fetch_add(1, Ordering::SeqCst);
        match what {
            What::Cut => {
                happened();
                self.wire.cut();
                return Err(ErrorKind::ConnectionAborted.into());
            }
            What::Stall => {
                happened();
                // Until somebody hangs up.
                while lock(&self.wire.state.live).contains_key(&self.wire.number) {
                    sleep(Duration::from_millis(20));
                }
                return Err(ErrorKind::ConnectionAborted.into());
            }
            What::Delay(time) => {
                happened();
                sleep(*time);
            }
            What::Throttle(rate) => {
                happened();
                self.rate = *rate;
            }
            What::Do(work) => {
                happened();
                work();
            }
            What::Flip => {
                happened();
                return Ok(true);
            }
            What::WrongLength(_) | What::WrongRange(_) | What::NoRange | What::Answer(_) => {}
        }
        Ok(false)
    }
}

fn of(faults: &[Fault], direction: Direction) -> impl Iterator<Item = &Fault> {
    faults.iter().filter(move |fault| fault.direction == direction)
}

/// How many bytes of a message pass before something happens.
fn offset(place: Place, head: u64, total: u64) -> u64 {
    match place {
        Place::Before => 0,
        Place::InHead => head / 2,
        Place::FirstByte => head,
        Place::Byte(number) => (head + number).min(total),
        Place::LastByte => total.saturating_sub(1).max(head),
        Place::After => total,
    }
}

/// A body as it is on the wire.
struct Framed<'a, R> {
    body: Body,
    from: &'a mut R,
    /// Chunks are short here, and all read at once.
    chunks: io::Cursor<Vec<u8>>,
    started: bool,
}

impl<'a, R> Framed<'a, R> {
    fn new(body: Body, from: &'a mut R) -> Self {
        Self { body, from, chunks: io::Cursor::default(), started: false }
    }
}

impl<R: BufRead> Read for Framed<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.body {
            Body::Open => self.from.read(buffer),
            Body::Length(0) => Ok(0),
            Body::Length(left) => {
                let most = buffer.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                let count = self.from.read(&mut buffer[..most])?;
                if count == 0 {
                    return Err(ErrorKind::UnexpectedEof.into());
                }
                *left -= count as u64;
                Ok(count)
            }
            Body::Chunked => {
                if !self.started {
                    self.started = true;
                    self.chunks = io::Cursor::new(chunks(self.from)?);
                }
                self.chunks.read(buffer)
            }
        }
    }
}

fn chunks(from: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut whole = Vec::new();
    loop {
        let start = whole.len();
        from.read_until(b'\n', &mut whole)?;
        let line = String::from_utf8_lossy(&whole[start..]).into_owned();
        let size = u64::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
        from.take(size + 2).read_to_end(&mut whole)?;
        if size == 0 {
            return Ok(whole);
        }
    }
}

fn skip(body: Body, from: &mut impl BufRead) -> io::Result<()> {
    io::copy(&mut Framed::new(body, from), &mut io::sink()).map(drop)
}
