//! Numbers for Prometheus, in the OpenMetrics text format. They are served at an address of their
//! own, so that nobody who reaches the registry sees them.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::log::{Access, Log};

/// The content type of [`Metrics::text`].
pub(crate) const TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The upper bounds of how long requests take, in seconds.
const TIMES: [f64; 12] =
    [0.000_25, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 5.0, 30.0, 300.0];

/// See the module. A log that counts what it is told before it passes it on.
pub(crate) struct Metrics {
    next: Arc<dyn Log>,
    registry: Registry,
    requests: Family<Request, Counter>,
    seconds: Family<Endpoint, Histogram>,
    received: Counter,
    sent: Counter,
    faults: Counter,
    /// Connections that are open.
    pub(crate) connections: Gauge,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Request {
    endpoint: &'static str,
    method: &'static str,
    status: u32,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Endpoint {
    endpoint: &'static str,
}

impl Metrics {
    pub(crate) fn new(next: Arc<dyn Log>) -> Self {
        let mut metrics = Self {
            next,
            registry: Registry::default(),
            requests: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(TIMES)),
            received: Counter::default(),
            sent: Counter::default(),
            faults: Counter::default(),
            connections: Gauge::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        self.registry.register_collector(Box::new(Process));
        let registry = self.registry.sub_registry_with_prefix("conex");
        registry.register("requests", "Requests that were answered", self.requests.clone());
        registry.register_with_unit(
            "request_duration",
            "From the head of a request to the last byte of its answer",
            Unit::Seconds,
            self.seconds.clone(),
        );
        let bytes = Unit::Bytes;
        registry.register_with_unit(
            "received",
            "What the bodies of requests brought",
            bytes.clone(),
            self.received.clone(),
        );
        registry.register_with_unit(
            "sent",
            "What the bodies of answers took",
            bytes,
            self.sent.clone(),
        );
        let help = "Requests that failed for a reason of the registry's own";
        registry.register("faults", help, self.faults.clone());
        registry.register("connections", "Connections that are open", self.connections.clone());
    }

    /// All numbers as they stand now.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        // Nothing fails while a text is written into memory.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

impl Log for Metrics {
    fn access(&self, access: &Access) {
        let endpoint = access.endpoint;
        let method = method(&access.method);
        let request = Request { endpoint, method, status: access.status.into() };
        self.requests.get_or_create(&request).inc();
        self.seconds.get_or_create(&Endpoint { endpoint }).observe(access.duration.as_secs_f64());
        self.received.inc_by(access.received);
        self.sent.inc_by(access.sent);
        if access.fault.is_some() {
            self.faults.inc();
        }
        self.next.access(access);
    }

    fn notice(&self, text: &str) {
        self.next.notice(text);
    }
}

/// Any word can be sent as a method; each would be numbers of its own for ever.
fn method(method: &http::Method) -> &'static str {
    let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    known.into_iter().find(|known| method == known).unwrap_or("other")
}

/// What the system says of this process, under the names that Prometheus has for it.
#[derive(Debug)]
struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // The name of the program stands in brackets and may hold anything.
        let fields: Vec<&str> =
            stat.rsplit(") ").next().unwrap_or_default().split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number).and_then(|text| text.parse::<u64>().ok());
        // proc_pid_stat(5): fields 14, 15 and 24, where the first one here is the third.
        let ticks = field(11).unwrap_or_default() + field(12).unwrap_or_default();
        let cpu = ticks as f64 / rustix::param::clock_ticks_per_second() as f64;
        let memory = field(21).unwrap_or_default() * rustix::param::page_size() as u64;
        let memory = i64::try_from(memory).unwrap_or(i64::MAX);
        let files = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        let files = i64::try_from(files).unwrap_or(i64::MAX);
        let (seconds, bytes) = (Some(&Unit::Seconds), Some(&Unit::Bytes));
        let encoder = &mut encoder;
        put(encoder, "process_cpu", "Time of processors used", seconds, &ConstCounter::new(cpu))?;
        let help = "Memory in use";
        put(encoder, "process_resident_memory", help, bytes, &ConstGauge::new(memory))?;
        put(encoder, "process_open_fds", "Files that are open", None, &ConstGauge::new(files))
    }
}

fn put(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    metric: &impl EncodeMetric,
) -> fmt::Result {
    metric.encode(encoder.encode_descriptor(name, help, unit, metric.metric_type())?)
}
