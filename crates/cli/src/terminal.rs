//! What is asked of a person: prompts go to standard error, answers come from standard input.

use std::io::{self, BufRead, IsTerminal, Read, Write, stderr, stdin};
use std::thread;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::sync::oneshot;

use conex_spec::{Error, Kind, Result};

/// The longest answer, in bytes.
const MAX_ANSWER: u64 = 64 << 10;

/// Whether there is someone to ask.
pub fn is_there() -> bool {
    stdin().is_terminal() && stderr().is_terminal()
}

/// Asks for one line.
pub async fn ask(prompt: &str) -> Result<String> {
    tell(prompt);
    read(|mut input, text| input.read_line(text).map(drop)).await
}

/// Asks for one line that the terminal does not show.
pub async fn ask_hidden(prompt: &str) -> Result<String> {
    // Whatever ends this, an interruption too, the terminal is as it was.
    let _hidden = Hidden::new()?;
    tell(prompt);
    let answer = read(|mut input, text| input.read_line(text).map(drop)).await;
    tell("\n");
    answer
}

/// All of standard input, without the new line at its end.
pub async fn read_input() -> Result<String> {
    read(|mut input, text| input.read_to_string(text).map(drop)).await
}

fn tell(text: &str) {
    // Nobody is left to ask if standard error is gone; the answer then is the end of the input.
    let _ = stderr().write_all(text.as_bytes()).and_then(|()| stderr().flush());
}

/// Reads on a thread that nobody waits for, so that an interruption ends the program at once.
async fn read(
    how: impl FnOnce(io::Take<io::StdinLock<'static>>, &mut String) -> io::Result<()> + Send + 'static,
) -> Result<String> {
    let (sender, receiver) = oneshot::channel();
    thread::spawn(move || {
        let mut text = String::new();
        let read = how(stdin().lock().take(MAX_ANSWER), &mut text);
        sender.send(read.map(|()| text))
    });
    let fault = || "cannot read standard input".to_owned();
    let read = receiver.await.map_err(|err| Error::new(Kind::Io, fault()).source(err))?;
    let text = read.map_err(|err| Error::from_io(err, fault))?;
    if text.len() as u64 >= MAX_ANSWER {
        return Err(Error::new(Kind::Limit, "standard input holds no answer of this length")
            .expected(format!("less than {MAX_ANSWER} bytes")));
    }
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// The terminal while it shows nothing.
struct Hidden(Termios);

impl Hidden {
    fn new() -> Result<Self> {
        let fault = |err: rustix::io::Errno| {
            Error::from_io(err.into(), || "cannot hide what is typed".into())
        };
        let before = tcgetattr(stdin()).map_err(fault)?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        hidden.local_modes.insert(LocalModes::ICANON | LocalModes::ISIG);
        tcsetattr(stdin(), OptionalActions::Flush, &hidden).map_err(fault)?;
        Ok(Self(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // Nothing better can be done for a terminal that is gone.
        let _ = tcsetattr(stdin(), OptionalActions::Flush, &self.0);
    }
}
