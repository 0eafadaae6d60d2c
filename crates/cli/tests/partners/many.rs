//! Many at once.

use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::support::daemon::Registry;
use crate::support::layout::{self, Handmade};
use crate::support::program::{CONEX, Conex, Run};
use crate::support::scratch::Scratch;

const MANY: usize = 16;

/// Every tool of the field loses tags here.
pub fn sixteen_copies_into_one_layout() {
    let scratch = Scratch::new("layout");
    let conex = Conex::new(&scratch);
    let images = images(&scratch);
    let to = scratch.arg("layout");
    all_at_once(&conex, |number| {
        vec!["copy".into(), images[number].clone(), format!("oci:{to}:tag-{number:02}")]
    });
    let expected: Vec<_> = (0..MANY).map(|number| format!("tag-{number:02}")).collect();
    assert_eq!(layout::tags(to.as_ref()), expected);
    for tag in expected {
        let report = conex.json(&["validate", &format!("oci:{to}:{tag}")]);
        assert_eq!(report["errors"], 0, "{report}");
    }
}

pub fn sixteen_pulls_into_one_store() {
    let scratch = Scratch::new("store");
    let conex = Conex::new(&scratch);
    let registry = Registry::start(&scratch);
    let images = images(&scratch);
    for (number, image) in images.iter().enumerate() {
        conex.ok(&["push", &registry.image(&format!("many:{number}")), "--from", image]);
    }
    all_at_once(&conex, |number| vec!["pull".into(), registry.image(&format!("many:{number}"))]);
    let listed = conex.json(&["images"]);
    assert_eq!(listed.as_array().unwrap().len(), MANY);
    for number in 0..MANY {
        let stored = format!("store:{}", registry.image(&format!("many:{number}")));
        assert_eq!(conex.json(&["validate", &stored])["findings"], serde_json::json!([]));
    }
    // The same image by all, into a store that is not there yet.
    let fresh = conex.with_store(scratch.join("fresh"));
    all_at_once(&fresh, |_| vec!["pull".into(), registry.image("many:0")]);
    assert_eq!(fresh.json(&["images"]).as_array().unwrap().len(), 1);
}

/// Rule R10: connections that say nothing, or a byte now and then, are in nobody's way, and cost
/// little memory.
pub fn two_thousand_slow_clients() {
    use std::io::Write;
    use std::net::TcpStream;
    let scratch = Scratch::new("slow");
    let conex = Conex::new(&scratch);
    let made = Handmade::new(scratch.join("image"));
    let noise = conex_testkit::images::noise(3, 8 << 20);
    let image = made.finish(&made.image(&[&noise]));
    let registry = Registry::of(&scratch, &mut from_a_shell(&scratch.arg("registry")));
    conex.ok(&["push", &registry.image("busy:1"), "--from", &image]);
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let slow: Vec<_> = (0..2000)
        .map(|number| {
            let mut stream = TcpStream::connect(&registry.address).unwrap();
            let begun: &[u8] = match number % 4 {
                0 => b"",
                1 => b"GET /v2/ HTTP/1.1\r\nHo",
                2 => b"PUT /v2/busy/manifests/2 HTTP/1.1\r\nContent-Length: 1000\r\n\r\n{",
                _ => b"POST /v2/busy/blobs/uploads/?digest=sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a HTTP/1.1\r\nContent-Length: 1000000\r\n\r\nx",
            };
            let _ = stream.write_all(begun);
            stream
        })
        .collect();
    for number in 0..8 {
        let to = format!("oci:{}:1", scratch.arg(&format!("copy-{number}")));
        conex.ok(&["copy", &registry.image("busy:1"), &to]);
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", registry.pid())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak <= 128 << 10, "{peak} KiB of memory");
    drop(slow);
    conex.ok(&["copy", &registry.image("busy:1"), &format!("oci:{}:1", scratch.arg("after"))]);
}

/// A server that may open 1024 files, unless it asks for more.
fn from_a_shell(root: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -S -n 1024; exec \"$0\" \"$@\"", CONEX, "serve", "--root", root]);
    shell.args(["--listen", "127.0.0.1:0"]);
    shell
}

/// Images of two layers: one that all share, and one of their own.
fn images(scratch: &Scratch) -> Vec<String> {
    let shared = vec![7; 4 << 20];
    let image = |number: usize| {
        let made = Handmade::new(scratch.join(&format!("image-{number}")));
        let own = conex_testkit::images::noise(number as u64, 1 << 20);
        made.finish(&made.image(&[&shared, &own]))
    };
    (0..MANY).map(image).collect()
}

fn all_at_once(conex: &Conex, args: impl Fn(usize) -> Vec<String>) {
    let start = |number: usize| -> Child {
        let args = args(number);
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        conex.command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let children: Vec<_> = (0..MANY).map(start).collect();
    let outputs: Vec<Output> =
        children.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
    for (number, output) in outputs.iter().enumerate() {
        Run::of(&[&format!("number {number}")], output).ok();
    }
}
