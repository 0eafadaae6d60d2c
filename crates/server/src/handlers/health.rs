//! What a load balancer asks before it sends clients here. It tells no more than yes or no.

use http::StatusCode;
use serde_json::json;

use crate::app::{App, Asked};
use crate::failure::Code;
use crate::reply::{Answer, json};

impl App {
    /// `/healthz`: the process answers.
    pub(crate) fn health(&self, asked: &Asked<'_>) -> Answer {
        asked.only_reads()?;
        Ok(json(&json!({ "status": "ok" }), "application/json"))
    }

    /// `/readyz`: requests can be answered here.
    pub(crate) async fn ready(&self, asked: &Asked<'_>) -> Answer {
        asked.only_reads()?;
        self.is_ready()
            .await
            .map_err(|_| Code::Unknown.says("not ready").status(StatusCode::SERVICE_UNAVAILABLE))?;
        Ok(json(&json!({ "status": "ready" }), "application/json"))
    }

    /// Whether requests can be answered, or why not.
    pub(crate) async fn is_ready(&self) -> Result<(), String> {
        if self.stopping() {
            return Err("stopping".into());
        }
        self.storage.check().await.map_err(|err| err.to_string())
    }
}
