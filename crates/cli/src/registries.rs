//! What can be typed about registries, and what it means together with the environment.

use std::path::PathBuf;

use clap::Args as ClapArgs;

use conex_client::{Options, Pin, PlainHttp, Proxies, Proxy};

use crate::args::typed;
use crate::environment;

/// What stands for all registries.
const ALL: &str = "*";

/// How registries are reached.
#[derive(Clone, Debug, ClapArgs)]
#[command(next_help_heading = "How registries are reached")]
pub struct Registries {
    /// Speak plain HTTP to this registry, `host` or `host:port`, or without a value to all; else
    /// only this machine's own are spoken to so
    #[arg(long, global = true, value_name = "HOST", num_args = 0..=1, require_equals = true, default_missing_value = ALL)]
    pub plain_http: Vec<String>,
    /// Do not verify this registry's certificate, and speak plain HTTP to it if it knows no TLS
    #[arg(long, global = true, value_name = "HOST")]
    pub insecure: Vec<String>,
    /// A folder of certificates, before those of `certs.d`: `*.crt` to trust, `*.cert` with `*.key`
    /// to show to the registries named, or folders `HOST[:PORT]` of these for one registry
    #[arg(long, global = true, value_name = "DIR")]
    pub cert_dir: Option<PathBuf>,
    /// The file to read instead of registries.conf
    #[arg(long, global = true, value_name = "FILE")]
    pub registries_conf: Option<PathBuf>,
    /// Send all requests through this proxy, those to this machine too; `none`: through none
    #[arg(long, global = true, value_name = "URL")]
    pub proxy: Option<String>,
    /// Where a name is, whatever the name service says: HOST:PORT:ADDRESS[,ADDRESS]…
    #[arg(long, global = true, value_name = "WHERE", value_parser = typed::<Pin>)]
    pub resolve: Vec<Pin>,
    /// Let a token server in another domain see what logs in to a registry: REGISTRY=HOST
    #[arg(long, global = true, value_name = "PAIR", value_parser = token_server)]
    pub token_server: Vec<(String, String)>,
    /// How many requests that read, and how many that write, one host gets at a time
    #[arg(long, global = true, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    pub per_host: u16,
}

impl Registries {
    /// The same options with what is said here and in the environment.
    pub fn apply(&self, options: Options) -> Options {
        Options {
            plain_http: self.plain_http(),
            insecure: self.insecure.clone(),
            certificates: environment::certificates(self.cert_dir.as_deref()),
            registries: environment::registry_files(self.registries_conf.as_deref()),
            proxies: self.proxies(),
            addresses: self.resolve.clone(),
            token_servers: self.token_server.clone(),
            per_host: self.per_host.into(),
            ..options
        }
    }

    fn plain_http(&self) -> PlainHttp {
        match self.plain_http.as_slice() {
            [] => PlainHttp::Loopback,
            hosts if hosts.iter().any(|host| host == ALL) => PlainHttp::Any,
            hosts => PlainHttp::Hosts(hosts.to_vec()),
        }
    }

    fn proxies(&self) -> Proxies {
        match self.proxy.as_deref() {
            None => environment::proxies(),
            Some("none" | "") => Proxies::default(),
            Some(url) => {
                let proxy = Some(Proxy::new(url, "--proxy"));
                Proxies { http: proxy.clone(), https: proxy, direct: String::new(), loopback: true }
            }
        }
    }
}

fn token_server(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((registry, host)) if !registry.is_empty() && !host.is_empty() => {
            Ok((registry.to_ascii_lowercase(), host.to_ascii_lowercase()))
        }
        _ => Err("expected REGISTRY=HOST, as in registry.example:5000=auth.example".into()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::Args;

    fn parse(words: &[&str]) -> Options {
        let words = ["conex", "inspect", "a.example/b"].iter().chain(words);
        Args::try_parse_from(words).unwrap().global.registries.apply(Options::default())
    }

    #[test]
    fn hosts() {
        assert_eq!(parse(&[]).plain_http, PlainHttp::Loopback);
        assert_eq!(parse(&["--plain-http"]).plain_http, PlainHttp::Any);
        let two = parse(&["--plain-http=a.example", "--plain-http=b.example:5000"]);
        let hosts = ["a.example", "b.example:5000"].map(str::to_owned);
        assert_eq!(two.plain_http, PlainHttp::Hosts(hosts.to_vec()));
        let options = parse(&["--insecure", "a.example", "--per-host", "3"]);
        assert_eq!((options.insecure, options.per_host), (vec!["a.example".to_owned()], 3));
        let pair = ("a.example:5000".to_owned(), "auth.example".to_owned());
        assert_eq!(parse(&["--token-server", "a.example:5000=AUTH.example"]).token_servers, [pair]);
        assert!(token_server("a.example").is_err() && token_server("=x").is_err());
        assert_eq!(parse(&["--resolve", "a.example:443:127.0.0.1"]).addresses.len(), 1);
    }

    #[test]
    fn a_proxy_that_is_named_is_for_all() {
        let options = parse(&["--proxy", "http://u:canary@p.example"]);
        assert!(options.proxies.loopback && options.proxies.http.is_some());
        assert!(!format!("{:?}", options.proxies).contains("canary"));
        assert!(parse(&["--proxy=none"]).proxies.https.is_none());
    }
}
