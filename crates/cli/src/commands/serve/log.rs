//! The access log of a registry on standard error.

use std::io::Write;
use std::sync::Arc;

use clap::ValueEnum;
use serde::Serialize;

use conex_server::{Access, Log};

use crate::output::escape;

/// How requests are logged.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum LogForm {
    /// A line for each request, for people
    Text,
    /// A JSON object on a line of its own for each request
    Json,
    /// Not at all
    None,
}

impl LogForm {
    pub(super) fn open(self) -> Arc<dyn Log> {
        match self {
            Self::Text => Arc::new(Text),
            Self::Json => Arc::new(Json),
            Self::None => Arc::new(()),
        }
    }
}

struct Text;

impl Log for Text {
    fn access(&self, access: &Access) {
        let fault = access.fault.as_deref().map(|fault| format!("  {}", escape(fault)));
        let user = access.user.as_deref().map_or("-".into(), |user| escape(user).replace(' ', "_"));
        write(&format!(
            "{} {user} {} {} {} in {} out {} {:.1} ms{}",
            access.peer.ip(),
            access.method,
            escape(&access.target),
            access.status,
            access.received,
            access.sent,
            access.duration.as_secs_f64() * 1000.0,
            fault.unwrap_or_default()
        ));
    }

    fn notice(&self, text: &str) {
        write(&format!("- - notice: {}", escape(text)));
    }
}

struct Json;

#[derive(Serialize)]
#[serde(rename_all = "camelCase", tag = "event")]
enum Event<'a> {
    #[serde(rename_all = "camelCase")]
    Request {
        time: String,
        peer: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        user: Option<&'a str>,
        endpoint: &'a str,
        method: &'a str,
        target: &'a str,
        status: u16,
        /// In bytes.
        received: u64,
        /// In bytes.
        sent: u64,
        seconds: f64,
        #[serde(skip_serializing_if = "Option::is_none")]
        fault: Option<&'a str>,
    },
    Notice {
        time: String,
        text: &'a str,
    },
}

impl Log for Json {
    fn access(&self, access: &Access) {
        print(&Event::Request {
            time: now(),
            peer: access.peer.ip().to_string(),
            user: access.user.as_deref(),
            endpoint: access.endpoint,
            method: access.method.as_str(),
            target: &access.target,
            status: access.status,
            received: access.received,
            sent: access.sent,
            seconds: access.duration.as_secs_f64(),
            fault: access.fault.as_deref(),
        });
    }

    fn notice(&self, text: &str) {
        print(&Event::Notice { time: now(), text });
    }
}

fn now() -> String {
    humantime::format_rfc3339_millis(crate::environment::now()).to_string()
}

fn print(event: &Event<'_>) {
    if let Ok(line) = serde_json::to_string(event) {
        write(&line);
    }
}

/// A log that cannot be written must not stop the service.
fn write(line: &str) {
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}
