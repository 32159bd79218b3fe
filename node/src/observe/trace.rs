//! Spans over OTLP: what each party did for one verification, joined into one trace.
//!
//! Spans are made by hand and not of the structured log: what a span has is written in this crate and nowhere else, so
//! that no dependency's field can carry an identity out. A span has a name of the program's, the peer's party, a count
//! or a code, and its times. A caller joins its trace by W3C `traceparent` (55 characters, of an enrolled peer);
//! `tracestate` and baggage, in which a caller may put anything, are not read and not sent.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry::trace::{SpanKind, Status, TraceContextExt as _, Tracer as _, TracerProvider as _};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};
use windvane_protocols::party::PartyId;

pub use opentelemetry::context::FutureExt;

use crate::error::NodeError;

/// The header that carries a trace to the next party.
pub const TRACEPARENT: &str = "traceparent";

/// Version, trace, span and flags of `traceparent`, version 00.
const TRACEPARENT_BYTES: usize = 55;

/// Name of the instrumentation in what is sent.
const SCOPE: &str = "windvane";

/// How long one batch of spans may take to the collector.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// Sends spans to a collector, in batches, beside the work; what the collector does not take in time is dropped.
#[derive(Debug)]
pub struct Tracing {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

impl Tracing {
    /// Begins to send. Connects when the first spans are sent.
    ///
    /// # Errors
    /// [`NodeError::Given`] when the address cannot be used.
    pub fn start(endpoint: &str, party: &PartyId, share: f64) -> Result<Self, NodeError> {
        let exporter = SpanExporter::builder().with_tonic().with_endpoint(endpoint);
        let exporter = exporter.with_timeout(EXPORT_TIMEOUT).build().map_err(|error| NodeError::Given {
            code: "OTLP_ENDPOINT",
            message: format!("{endpoint}: {error}; correct observability.otlp_endpoint"),
        })?;
        let resource = Resource::builder_empty()
            .with_service_name(SCOPE)
            .with_attribute(KeyValue::new("service.instance.id", party.to_string()))
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(share))))
            .with_resource(resource.build())
            .build();
        Ok(Self { tracer: provider.tracer(SCOPE), provider })
    }

    pub(super) fn work(&self, name: &'static str) -> Work {
        self.begin(name, SpanKind::Internal, &Context::current())
    }

    pub(super) fn asking(&self, name: &'static str) -> Work {
        self.begin(name, SpanKind::Client, &Context::current())
    }

    pub(super) fn serving(&self, name: &'static str, traceparent: Option<&str>) -> Work {
        let caller = traceparent.map_or_else(Context::new, joined);
        self.begin(name, SpanKind::Server, &caller)
    }

    fn begin(&self, name: &'static str, kind: SpanKind, parent: &Context) -> Work {
        let span = self.tracer.span_builder(name).with_kind(kind).start_with_context(&self.tracer, parent);
        Work(Some(Arc::new(Begun(parent.with_span(span)))))
    }

    pub(super) fn flush(&self) {
        // What a collector does not take is lost, as it would be without the flush.
        let _ = self.provider.force_flush();
    }
}

/// The trace that a caller names; none where the header is not exactly what it must be.
fn joined(traceparent: &str) -> Context {
    if traceparent.len() != TRACEPARENT_BYTES || !traceparent.starts_with("00-") {
        return Context::new();
    }
    TraceContextPropagator::new().extract_with_context(&Context::new(), &Named(traceparent))
}

/// One header and nothing else.
struct Named<'a>(&'a str);

impl Extractor for Named<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        (key == TRACEPARENT).then_some(self.0)
    }

    fn keys(&self) -> Vec<&str> {
        vec![TRACEPARENT]
    }
}

/// The span that runs here, as a header for the next party; `None` where there is none.
pub fn traceparent() -> Option<String> {
    let context = Context::current();
    let span = context.span();
    let span = span.span_context();
    span.is_valid()
        .then(|| format!("00-{}-{}-{:02x}", span.trace_id(), span.span_id(), span.trace_flags().to_u8() & 1))
}

/// Puts the span that runs here into a call to a peer.
pub fn carry<T>(request: &mut tonic::Request<T>) {
    if let Some(value) = traceparent().and_then(|text| text.parse().ok()) {
        request.metadata_mut().insert(TRACEPARENT, value);
    }
}

/// A piece of work with its span, which ends when the last handle is dropped; nothing where no spans are wanted.
#[derive(Debug, Clone, Default)]
pub struct Work(Option<Arc<Begun>>);

#[derive(Debug)]
struct Begun(Context);

impl Drop for Begun {
    fn drop(&mut self) {
        self.0.span().end();
    }
}

impl Work {
    pub(super) const fn unseen() -> Self {
        Self(None)
    }

    /// Adds a fact: a party, a count, a code. Never anything about a customer.
    pub(crate) fn tell(&self, key: &'static str, value: impl Into<Value>) {
        if let Some(begun) = &self.0 {
            begun.0.span().set_attribute(KeyValue::new(key, value));
        }
    }

    /// Says with which peer.
    pub(crate) fn with_peer(&self, peer: &str) {
        if self.0.is_some() {
            self.tell("windvane.peer", peer.to_owned());
        }
    }

    /// The work came to nothing.
    pub(crate) fn fail(&self, code: &str) {
        if let Some(begun) = &self.0 {
            begun.0.span().set_attribute(KeyValue::new("windvane.code", code.to_owned()));
            begun.0.span().set_status(Status::error(code.to_owned()));
        }
    }

    /// Does it: work that begins within is below this.
    pub(crate) async fn within<F: Future>(&self, doing: F) -> F::Output {
        match &self.0 {
            Some(begun) => doing.with_context(begun.0.clone()).await,
            None => doing.await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn only_a_whole_traceparent_joins_a_trace() {
        assert_eq!(GOOD.len(), TRACEPARENT_BYTES);
        let span = joined(GOOD).span().span_context().clone();
        assert_eq!(span.trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert!(span.is_sampled() && span.is_remote() && span.trace_state().header().is_empty());
        let zeros = GOOD.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32));
        for bad in [
            "",
            "00",
            &GOOD[..54],
            &format!("{GOOD}0"),
            &GOOD.replacen("00", "01", 1),
            &GOOD.replace("0af7", "0AF7"),
            &GOOD.replace("0af7", "0xf7"),
            &GOOD.replace('-', "_"),
            &zeros,
            "13800138000-13800138000-13800138000-13800138000-1380013",
        ] {
            assert!(!joined(bad).span().span_context().is_valid(), "{bad}");
        }
    }

    #[test]
    fn without_a_span_nothing_is_carried() {
        let mut request = tonic::Request::new(());
        carry(&mut request);
        assert!(request.metadata().is_empty() && traceparent().is_none());
    }
}
