//! Deliveries as spans: who is whose parent, what goes out, what is left alone.

use dispatch::Tracing;
use opentelemetry::Value;
use opentelemetry::global::BoxedTracer;
use opentelemetry::trace::{SpanKind, Status, TracerProvider};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{InMemorySpanExporter, Sampler, SdkTracerProvider, SpanData};
use prometheus_client::registry::Registry;

use crate::rig::{Given, Rig};
use crate::webhooks::Endpoint;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// A house whose spans are kept, beginning traces of its own for that share of the records.
fn traced(share: f64) -> (Rig, InMemorySpanExporter) {
    let kept = InMemorySpanExporter::default();
    let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(share)));
    let provider = SdkTracerProvider::builder()
        .with_simple_exporter(kept.clone())
        .with_sampler(sampler)
        .build();
    let tracer = BoxedTracer::new(Box::new(provider.tracer("dispatch")));
    let tracing = Tracing::new(tracer, TraceContextPropagator::new());
    (Rig::traced(tracing), kept)
}

fn parent(trace: &str, span: &str, flags: &str) -> String {
    format!("00-{trace}-{span}-{flags}")
}

fn is(span: &SpanData, key: &str) -> String {
    let found = span.attributes.iter().find(|one| one.key.as_str() == key);
    found.map_or_else(String::new, |one| match &one.value {
        Value::String(text) => text.to_string(),
        other => other.to_string(),
    })
}

async fn webhook(rig: &Rig, endpoint: &Endpoint, more: &str) {
    rig.topic("orders", 1).await;
    let url = &endpoint.url;
    rig.listener(&format!(
        "{{topics: orders, webhook: {{url: '{url}'}}{more}}}"
    ))
    .await;
}

#[tokio::test]
async fn a_trace_goes_on_from_the_record_through_the_call_to_the_endpoint() {
    let mut endpoint = Endpoint::start(&[(503, None)]).await;
    let (rig, kept) = traced(0.0);
    webhook(&rig, &endpoint, ", retry: {initial: 1ms}").await;
    let sender = parent(TRACE, "b7ad6b7169203331", "01");
    let headers = [("traceparent", sender.as_str()), ("tracestate", "shop=1")];
    rig.produce("orders", 0, &[("o-1", "{}", &headers[..])])
        .await;
    let requests = [endpoint.next().await, endpoint.next().await];
    rig.until_finished().await;
    let spans = kept.get_finished_spans().unwrap();
    assert_eq!(spans.len(), 4, "two attempts of two spans");
    for (attempt, request) in requests.iter().enumerate() {
        let [client, process] = &spans[attempt * 2..attempt * 2 + 2] else {
            unreachable!();
        };
        assert_eq!(process.name, "process orders");
        assert_eq!(process.span_kind, SpanKind::Consumer);
        assert_eq!(process.span_context.trace_id().to_string(), TRACE);
        assert_eq!(process.parent_span_id.to_string(), "b7ad6b7169203331");
        assert_eq!(is(process, "messaging.consumer.group.name"), "l");
        assert_eq!(is(process, "messaging.kafka.offset"), "0");
        assert_eq!(is(process, "lantern.attempt"), (attempt + 1).to_string());
        assert_eq!(client.span_kind, SpanKind::Client);
        assert_eq!(client.parent_span_id, process.span_context.span_id());
        assert!(is(client, "url.full").ends_with("/hook"), "no secrets");
        let out = parent(TRACE, &client.span_context.span_id().to_string(), "01");
        assert_eq!(request.header("traceparent"), out);
        assert_eq!(request.header("tracestate"), "shop=1");
    }
    assert_eq!(is(&spans[0], "http.response.status_code"), "503");
    assert!(matches!(spans[1].status, Status::Error { .. }));
    assert_eq!(is(&spans[2], "http.request.resend_count"), "1");
    assert_eq!(spans[3].status, Status::Unset);
}

#[tokio::test]
async fn what_its_sender_does_not_trace_goes_on_as_it_is() {
    let mut endpoint = Endpoint::start(&[]).await;
    let (rig, kept) = traced(1.0);
    webhook(&rig, &endpoint, "").await;
    let sender = parent(TRACE, "b7ad6b7169203331", "00");
    let not_sampled = [("traceparent", sender.as_str())];
    rig.produce("orders", 0, &[("o-1", "{}", &not_sampled[..])])
        .await;
    assert_eq!(endpoint.next().await.header("traceparent"), sender);
    // One that nobody decided about, and one that is none.
    let broken = [("traceparent", "00-nonsense")];
    let records: [Given<'_>; 2] = [("o-2", "{}", &[]), ("o-3", "{}", &broken[..])];
    rig.produce("orders", 0, &records).await;
    for _ in 0..2 {
        let request = endpoint.next().await;
        let begun = request.header("traceparent");
        assert!(begun.len() == 55 && begun.ends_with("-01"), "{begun}");
        assert!(!begun.contains(TRACE));
    }
    rig.until_finished().await;
    assert_eq!(kept.get_finished_spans().unwrap().len(), 4);
}

#[tokio::test]
async fn a_batch_goes_on_from_one_and_links_to_the_others() {
    let mut endpoint = Endpoint::start(&[]).await;
    let (rig, kept) = traced(0.0);
    webhook(&rig, &endpoint, ", batch: 10, ordering: partition").await;
    let senders = [
        parent(TRACE, "1111111111111111", "00"),
        parent(TRACE, "2222222222222222", "01"),
        parent(TRACE, "3333333333333333", "01"),
    ];
    let headers: Vec<[(&str, &str); 1]> = senders
        .iter()
        .map(|one| [("traceparent", one.as_str())])
        .collect();
    let records: Vec<Given<'_>> = headers
        .iter()
        .map(|headers| ("", "{}", &headers[..]))
        .collect();
    rig.produce("orders", 0, &records).await;
    endpoint.next().await;
    rig.until_finished().await;
    let spans = kept.get_finished_spans().unwrap();
    let process = spans
        .iter()
        .find(|span| span.span_kind == SpanKind::Consumer)
        .unwrap();
    assert_eq!(process.parent_span_id.to_string(), "2222222222222222");
    assert_eq!(is(process, "messaging.batch.message_count"), "3");
    let links = process.links.iter();
    let links: Vec<String> = links
        .map(|link| link.span_context.span_id().to_string())
        .collect();
    assert_eq!(links, ["1111111111111111", "3333333333333333"]);
}

#[tokio::test]
async fn slow_calls_name_a_trace_to_look_at() {
    let mut endpoint = Endpoint::start(&[]).await;
    let (rig, _kept) = traced(0.0);
    let mut registry = Registry::default();
    rig.handle.register(&mut registry);
    webhook(&rig, &endpoint, "").await;
    let sender = parent(TRACE, "b7ad6b7169203331", "01");
    let headers = [("traceparent", sender.as_str())];
    rig.produce("orders", 0, &[("o-1", "{}", &headers[..])])
        .await;
    endpoint.next().await;
    rig.until_finished().await;
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    for name in [
        "lantern_dispatch_attempt_seconds",
        "lantern_dispatch_delay_seconds",
    ] {
        let exemplar = format!("# {{trace_id=\"{TRACE}\"}}");
        let found = text
            .lines()
            .any(|line| line.starts_with(name) && line.contains(&exemplar));
        assert!(found, "{name}: {text}");
    }
}
