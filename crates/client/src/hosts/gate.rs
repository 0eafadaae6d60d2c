//! How many requests one host gets at a time.
//!
//! Requests that read and requests that write are counted apart: a copy within one host reads a
//! blob while it writes it, and would wait for itself otherwise. A place is held until the content that
//! was asked for is read or dropped. Any other answer gives it back with its head: what follows from
//! it is often the next request, and if all places were held by those who want a second one, nobody
//! would ever get it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use conex_spec::Result;
use http::Method;
use reqwest::{Response, Url};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::origin::Origin;

#[derive(Debug, Default)]
pub(crate) struct Gates {
    open: Mutex<HashMap<(Origin, bool), Arc<Semaphore>>>,
}

/// A place among the requests of a host.
pub(crate) struct Pass(Option<OwnedSemaphorePermit>);

impl Gates {
    /// Waits until the host of a URL has fewer than `limit` requests.
    pub(crate) async fn enter(&self, limit: usize, url: &Url, reads: bool) -> Result<Pass> {
        let key = (Origin::of(url)?, reads);
        let gate = {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            let new = || Arc::new(Semaphore::new(limit.clamp(1, Semaphore::MAX_PERMITS)));
            open.entry(key).or_insert_with(new).clone()
        };
        Ok(Pass(gate.acquire_owned().await.ok()))
    }
}

impl Pass {
    /// Gives the place back when the answer is dropped, if it brings content; else now.
    pub(crate) fn until_read(self, method: &Method, response: &mut Response) {
        let brings_content = *method == Method::GET && response.status().is_success();
        if let Some(permit) = self.0.filter(|_| brings_content) {
            response.extensions_mut().insert(Arc::new(permit));
        }
    }
}
