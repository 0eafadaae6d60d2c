//! One request on its way: through which proxy, with which certificates, and how many at a time.

use std::time::{Duration, Instant};

use conex_spec::{Error, Result};
use conex_store::Event;
use http::Method;
use reqwest::{Client, Request, Response, Url};

use crate::hosts::failure;
use crate::hosts::gate::Pass;
use crate::origin::{Reach, may_see_secrets, shown};
use crate::registry::{Registry, no_answer};
use crate::transport::To;

/// Everything that one request needs.
pub(crate) struct Line {
    pub(crate) pool: Client,
    /// To be kept with the answer.
    pub(crate) pass: Pass,
}

impl Registry {
    /// Sends a request and waits for the head of its answer; redirects are not followed.
    ///
    /// `ceiling` is the nearest address that may answer. `own` says that the URL is no stranger's
    /// word, so that its host may see this client's certificate for it.
    pub(crate) async fn dispatch(
        &self,
        request: Request,
        wait: Duration,
        ceiling: Reach,
        own: bool,
    ) -> Result<Response> {
        let (url, method) = (request.url().clone(), request.method().clone());
        let line = self.line(&request, ceiling, own).await?;
        let answer = tokio::time::timeout(wait, self.execute_in(&line.pool, request)).await;
        let answer = answer.map_err(|_| no_answer(&url, wait))?;
        let mut response = answer.map_err(|err| self.unanswered(err, &url))?;
        line.pass.until_read(&method, &mut response);
        Ok(response)
    }

    /// Sends a request, and tells of it.
    pub(crate) async fn execute_in(
        &self,
        pool: &Client,
        request: Request,
    ) -> reqwest::Result<Response> {
        let (method, url) = (request.method().clone(), shown(request.url()));
        let began = Instant::now();
        let answer = pool.execute(request).await;
        self.options().observer.event(Event::Answered {
            method: method.as_str(),
            url: &url,
            status: answer.as_ref().ok().map(|answer| answer.status().as_u16()),
            after: began.elapsed(),
        });
        answer
    }

    /// Waits until a request may be sent.
    pub(crate) async fn line(&self, request: &Request, ceiling: Reach, own: bool) -> Result<Line> {
        let url = request.url();
        let transport = &self.shared.transport;
        let insecure = own && self.is_insecure();
        let to = To { url, ceiling, own, insecure };
        let pool = transport.pool(self.options(), to)?;
        transport.judge(self.options(), to).await?;
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        let pass = transport.gates.enter(self.options().per_host, url, reads).await?;
        Ok(Line { pool, pass })
    }

    /// The fault of a request that got no answer: what was tried, which way, and who said so.
    pub(crate) fn unanswered(&self, err: reqwest::Error, url: &Url) -> Error {
        let via = self.options().proxies.choose(url).ok().flatten();
        let fault = failure::fault_through(err, url, via.as_ref());
        match self.role() {
            Some(role) if self.known_origin().is_none_or(|own| may_see_secrets(own, url)) => {
                fault.context(role)
            }
            _ => fault,
        }
    }
}
