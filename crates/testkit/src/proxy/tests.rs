use std::io::{Read, Write};

use super::*;

/// Answers every request with the same body, and keeps what it was sent.
fn server(body: &'static [u8]) -> (String, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let seen: Arc<Mutex<Vec<u8>>> = Arc::default();
    let log = Arc::clone(&seen);
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = client.read(&mut buffer) {
                log.lock().unwrap().extend_from_slice(&buffer[..count]);
                if log.lock().unwrap().ends_with(b"\r\n\r\n") || buffer[..count].ends_with(b"end") {
                    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                    client.write_all(&[head.as_bytes(), body].concat()).unwrap();
                }
            }
        }
    });
    (address, seen)
}

fn get(proxy: &Proxy) -> Vec<u8> {
    let mut connection = TcpStream::connect(&proxy.address).unwrap();
    let request =
        "GET /v2/a/blobs/sha256:0 HTTP/1.1\r\nRange: bytes=1-\r\nConnection: close\r\n\r\n";
    connection.write_all(request.as_bytes()).unwrap();
    connection.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut answer = Vec::new();
    let _ = connection.read_to_end(&mut answer);
    answer
}

const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n";

#[test]
fn cuts_fall_where_they_should() {
    let (address, _) = server(b"contents");
    let proxy = Proxy::start(&address);
    for (place, passed) in [
        (Place::Before, 0),
        (Place::InHead, HEAD.len() / 2),
        (Place::FirstByte, HEAD.len()),
        (Place::Byte(3), HEAD.len() + 3),
        (Place::LastByte, HEAD.len() + 7),
        (Place::After, HEAD.len() + 8),
    ] {
        proxy.add(Fault::down(place, What::Cut));
        let before = proxy.down();
        assert_eq!(get(&proxy).len(), passed, "{place:?}");
        assert_eq!(proxy.down() - before, passed.saturating_sub(HEAD.len()) as u64);
    }
    assert_eq!(proxy.happened(), 6);
    assert_eq!(get(&proxy), [HEAD.as_bytes(), b"contents"].concat(), "and then it is over");
}

#[test]
fn lies_are_told() {
    let (address, seen) = server(b"contents");
    let proxy = Proxy::start(&address);
    let text = |what| {
        proxy.add(Fault::down(Place::Byte(2), what));
        String::from_utf8(get(&proxy)).unwrap()
    };
    assert!(text(What::Flip).ends_with("cootents"));
    assert!(text(What::WrongLength(-3)).contains("Content-Length: 5"));
    assert!(text(What::Answer("HTTP/1.1 503 Busy\r\nRetry-After: 1".into())).contains("503"));
    assert!(text(What::Stall).ends_with("co"));
    seen.lock().unwrap().clear();
    text(What::NoRange);
    assert!(!String::from_utf8_lossy(&seen.lock().unwrap()).contains("Range"));
}

#[test]
fn uploads_are_counted_and_cut() {
    let (address, seen) = server(b"");
    let proxy = Proxy::start(&address);
    let request = "PUT /v2/a/blobs/uploads/1 HTTP/1.1\r\nContent-Length: 9\r\n\r\ncontenend";
    for (fault, passed) in [(None, 9), (Some(Place::Byte(4)), 4), (Some(Place::FirstByte), 0)] {
        seen.lock().unwrap().clear();
        let before = proxy.up();
        if let Some(place) = fault {
            proxy.add(Fault::up("PUT", place, What::Cut));
        }
        let mut connection = TcpStream::connect(&proxy.address).unwrap();
        connection.write_all(request.as_bytes()).unwrap();
        let mut answer = [0; 12];
        assert_eq!(connection.read_exact(&mut answer).is_ok(), fault.is_none());
        assert_eq!(proxy.up() - before, passed);
    }
}

/// A connection that is over holds no file, and one that stalls ends when somebody hangs up.
#[test]
fn nothing_is_held_of_connections_that_are_over() {
    let (address, _) = server(b"contents");
    let proxy = Proxy::start(&address);
    let held = || lock(&proxy.state.live).len();
    let wait = |expected| {
        for _ in 0..500 {
            if held() == expected {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{} connections are held", held());
    };
    for _ in 0..5 {
        get(&proxy);
    }
    wait(0);
    proxy.add(Fault::down(Place::FirstByte, What::Stall));
    get(&proxy);
    proxy.wait(1);
    wait(1);
    proxy.hang_up();
    wait(0);
}

/// A registry that ends each connection reads no second request on it, whatever the client is told.
#[test]
fn another_answer_ends_the_connection_too() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = Proxy::start(&listener.local_addr().unwrap().to_string());
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for mut client in listener.incoming().flatten() {
            let _ = client.read(&mut [0; 4096]);
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: Close\r\n\r\nok";
            client.write_all(answer).unwrap();
            kept.push(client);
        }
    });
    let answer = What::Answer("HTTP/1.1 503 Slow Down".into());
    for what in [Some(answer), None] {
        if let Some(what) = what {
            proxy.add(Fault::down(Place::Before, what));
        }
        let mut connection = TcpStream::connect(&proxy.address).unwrap();
        connection.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        connection.write_all(b"GET /v2/a/blobs/sha256:0 HTTP/1.1\r\n\r\n").unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).expect("the end of the connection");
        assert!(answer.to_ascii_lowercase().contains("connection: close"), "{answer}");
    }
}
