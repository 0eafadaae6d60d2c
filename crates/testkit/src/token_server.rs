//! A token server for registries: "Token Authentication Specification", "Token Authentication
//! Implementation" and "OAuth2 Token Authentication" of the CNCF Distribution project.
//!
//! It signs real tokens (RFC 7515, ES256) that a registry checks with [`CERTIFICATE`], and keeps
//! what it was asked. It lets in whom it was told of, and grants them whatever they ask for.
#![allow(clippy::disallowed_methods, reason = "a token says when it ends")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::json;

/// What a registry trusts, in PEM.
pub const CERTIFICATE: &str = include_str!("token_server/certificate.pem");
/// Who issues the tokens.
pub const ISSUER: &str = "conex tests";
/// What the tokens are for.
pub const SERVICE: &str = "registry.test";
/// For tests alone, as the certificate is.
const KEY: &[u8] = include_bytes!("token_server/key.pk8");

/// A token server on a port of this machine, for as long as the process runs.
pub struct TokenServer {
    /// `127.0.0.1:PORT`
    pub address: String,
    state: Arc<Mutex<State>>,
}

/// How it behaves.
#[derive(Clone, Debug)]
pub struct Manners {
    /// What it says of the life of a token, in seconds.
    pub life: u64,
    /// How many of the next tokens have ended long before, whatever is said of their life.
    pub ended: usize,
    /// Whether it takes forms (`POST`).
    pub takes_forms: bool,
    /// Whether it gives identity tokens to those who ask for one.
    pub gives_identity: bool,
    /// Whether an identity token serves once, and is answered with the next one.
    pub rotates: bool,
    /// Gives nothing to who asks for more repositories than this.
    pub most_scopes: usize,
}

impl Default for Manners {
    fn default() -> Self {
        Self {
            life: 300,
            ended: 0,
            takes_forms: true,
            gives_identity: true,
            rotates: false,
            most_scopes: usize::MAX,
        }
    }
}

/// What it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// `GET` or `POST`.
    pub method: String,
    /// Who asked; nothing for who did not say.
    pub user: Option<String>,
    /// `repository:a:pull`, in the order of asking.
    pub scopes: Vec<String>,
    /// Whether it was answered with a token.
    pub granted: bool,
}

#[derive(Default)]
struct State {
    users: Vec<(String, String)>,
    manners: Manners,
    asked: Vec<Question>,
    identities: Vec<(String, String)>,
    given: usize,
}

impl TokenServer {
    /// Starts one that lets these users in.
    pub fn start(users: &[(&str, &str)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let users = users.iter().map(|(user, word)| ((*user).to_owned(), (*word).to_owned()));
        let state = State { users: users.collect(), ..State::default() };
        let state = Arc::new(Mutex::new(state));
        let shared = state.clone();
        std::thread::spawn(move || {
            for connection in listener.incoming().map_while(Result::ok) {
                let state = shared.clone();
                std::thread::spawn(move || serve(&connection, &state));
            }
        });
        Self { address, state }
    }

    /// Its URL, for a registry's configuration.
    pub fn realm(&self) -> String {
        format!("http://{}/token", self.address)
    }

    /// The `auth` of docker-registry's configuration; `certificate` is the path of a file with
    /// [`CERTIFICATE`].
    pub fn docker_config(&self, certificate: &std::path::Path) -> String {
        format!(
            "auth: {{token: {{realm: \"{}\", service: {SERVICE}, issuer: {ISSUER}, rootcertbundle: {certificate:?}}}}}\n",
            self.realm()
        )
    }

    /// Changes how it behaves.
    pub fn behave(&self, change: impl FnOnce(&mut Manners)) {
        change(&mut self.state().manners);
    }

    /// What it was asked since the last call.
    pub fn asked(&self) -> Vec<Question> {
        std::mem::take(&mut self.state().asked)
    }

    /// An identity token for a user.
    pub fn identity(&self, user: &str) -> String {
        self.state().new_identity(user)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

fn serve(connection: &TcpStream, state: &Mutex<State>) {
    let mut input = BufReader::new(connection);
    while let Some(request) = Request::read(&mut input) {
        let (status, body) = state.lock().unwrap().answer(&request);
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        );
        let mut output = connection;
        if output.write_all((head + &body).as_bytes()).is_err() {
            return;
        }
    }
}

struct Request {
    method: String,
    authorization: Option<String>,
    /// Of the query and of the form.
    fields: Vec<(String, String)>,
}

impl Request {
    fn read(input: &mut BufReader<&TcpStream>) -> Option<Self> {
        let mut line = String::new();
        input.read_line(&mut line).ok().filter(|length| *length > 0)?;
        let mut words = line.split(' ');
        let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
        let (mut authorization, mut length) = (None, 0);
        loop {
            let mut line = String::new();
            input.read_line(&mut line).ok().filter(|length| *length > 0)?;
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            match name.to_ascii_lowercase().as_str() {
                "authorization" => authorization = Some(value.to_owned()),
                "content-length" => length = value.parse().ok()?,
                _ => {}
            }
        }
        let mut form = vec![0; length];
        input.read_exact(&mut form).ok()?;
        let query = target.split_once('?').map_or("", |(_, query)| query).to_owned();
        let fields = [query, String::from_utf8(form).ok()?].join("&");
        let field = |field: &str| field.split_once('=').map(|(a, b)| (plain(a), plain(b)));
        Some(Self { method, authorization, fields: fields.split('&').filter_map(field).collect() })
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn scopes(&self) -> Vec<String> {
        let scopes = self.fields.iter().filter(|(name, _)| name == "scope");
        scopes.flat_map(|(_, value)| value.split(' ')).map(str::to_owned).collect()
    }

    /// User and password of RFC 7617.
    fn basic(&self) -> Option<(String, String)> {
        let text = STANDARD.decode(self.authorization.as_ref()?.strip_prefix("Basic ")?).ok()?;
        let text = String::from_utf8(text).ok()?;
        text.split_once(':').map(|(user, word)| (user.to_owned(), word.to_owned()))
    }
}

/// Without the escapes of forms.
fn plain(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [rest.next().unwrap(), rest.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).unwrap()
}

/// Who asks: nobody, a user, or someone who is not let in.
enum Who {
    Nobody,
    User(String),
    Stranger(String),
}

impl State {
    fn answer(&mut self, request: &Request) -> (&'static str, String) {
        if request.method == "POST" && !self.manners.takes_forms {
            self.note(request, None, false);
            return ("404 Not Found", String::new());
        }
        let user = match self.who(request) {
            Who::Stranger(user) => {
                self.note(request, Some(user), false);
                return ("401 Unauthorized", json!({"error": "invalid_grant"}).to_string());
            }
            Who::Nobody => None,
            Who::User(user) => Some(user),
        };
        let scopes = request.scopes();
        let too_many = scopes.len() > self.manners.most_scopes;
        self.note(request, user.clone(), !too_many);
        if too_many {
            return ("403 Forbidden", String::new());
        }
        // Who does not say who it is may do nothing.
        let granted = if user.is_some() { &scopes[..] } else { &[] };
        let mut body = json!({"expires_in": self.manners.life});
        let token = self.token(user.as_deref().unwrap_or_default(), granted);
        body[if request.method == "POST" { "access_token" } else { "token" }] = token.into();
        if let Some(user) = &user {
            let offline = request.field("offline_token") == Some("true");
            let turns = request.method == "POST" && self.manners.rotates;
            if turns || (offline && self.manners.gives_identity) {
                body["refresh_token"] = self.new_identity(user).into();
            }
        }
        ("200 OK", body.to_string())
    }

    fn who(&mut self, request: &Request) -> Who {
        if let Some(token) = request.field("refresh_token") {
            return self.owner(token);
        }
        let Some((user, word)) = request.basic() else { return Who::Nobody };
        if self.users.contains(&(user.clone(), word.clone())) {
            return Who::User(user);
        }
        // Without forms, an identity token stands in the place of the password.
        match self.owner(&word) {
            Who::User(owner) if !self.manners.takes_forms => Who::User(owner),
            _ => Who::Stranger(user),
        }
    }

    fn owner(&mut self, identity: &str) -> Who {
        let Some(at) = self.identities.iter().position(|(token, _)| token == identity) else {
            return Who::Stranger("an unknown identity token".into());
        };
        let owner = self.identities[at].1.clone();
        if self.manners.rotates {
            self.identities.remove(at);
        }
        Who::User(owner)
    }

    fn note(&mut self, request: &Request, user: Option<String>, granted: bool) {
        let (method, scopes) = (request.method.clone(), request.scopes());
        self.asked.push(Question { method, user, scopes, granted });
    }

    fn new_identity(&mut self, user: &str) -> String {
        self.given += 1;
        let token = format!("canary-identity-{}", self.given);
        self.identities.push((token.clone(), user.to_owned()));
        token
    }

    /// A token as docker-registry reads it.
    fn token(&mut self, user: &str, scopes: &[String]) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let mut end = now + self.manners.life;
        if self.manners.ended > 0 {
            self.manners.ended -= 1;
            end = now - 3600;
        }
        self.given += 1;
        let access: Vec<_> = scopes
            .iter()
            .filter_map(|scope| {
                let (kind, rest) = scope.split_once(':')?;
                let (name, actions) = rest.rsplit_once(':')?;
                let actions: Vec<_> = actions.split(',').collect();
                Some(json!({"type": kind, "name": name, "actions": actions}))
            })
            .collect();
        let certificate: String =
            CERTIFICATE.lines().filter(|line| !line.starts_with("-----")).collect();
        let header = json!({"typ": "JWT", "alg": "ES256", "x5c": [certificate]});
        let claims = json!({
            "iss": ISSUER, "sub": user, "aud": SERVICE, "exp": end, "nbf": now - 7200,
            "iat": now - 7200, "jti": self.given.to_string(), "access": access,
        });
        sign(&header.to_string(), &claims.to_string())
    }
}

/// RFC 7515, 7.1.
fn sign(header: &str, claims: &str) -> String {
    let random = SystemRandom::new();
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, KEY, &random).unwrap();
    let text = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = key.sign(&random, text.as_bytes()).unwrap();
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
}
