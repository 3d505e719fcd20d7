//! One trace from a producer through a listener to its endpoint, with the spans at a receiver of OTLP.

use std::fmt::Write as _;
use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::body::Bytes;
use axum::http::HeaderMap;
use axum::routing::post;
use e2e::{Lantern, Place, eventually};
use kafka_client::{Admin, Producer};
use model::{PartitionId, Timestamp, TopicName, TopicPartition};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use record::{BatchBuilder, Compression};

const SOON: Duration = Duration::from_secs(30);
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SENDER: &str = "b7ad6b7169203331";

#[derive(Default)]
struct Received {
    /// What the endpoint got as its parent.
    parents: Vec<String>,
    spans: Vec<Span>,
    /// Names of the services that sent spans.
    services: Vec<String>,
}

type Shared = Arc<Mutex<Received>>;

fn look<T>(shared: &Shared, look: impl FnOnce(&mut Received) -> T) -> T {
    look(&mut shared.lock().expect("no test panics while it holds this"))
}

/// An endpoint and a receiver of spans in one.
async fn start() -> Result<(String, Shared)> {
    let shared = Shared::default();
    let (hooks, traces) = (Arc::clone(&shared), Arc::clone(&shared));
    let hook = post(async move |headers: HeaderMap| {
        let parent = headers.get("traceparent");
        let parent = parent.and_then(|value| value.to_str().ok()).unwrap_or("-");
        look(&hooks, |received| received.parents.push(parent.to_owned()));
    });
    let receive = post(async move |body: Bytes| {
        let request = ExportTraceServiceRequest::decode(body).expect("a request of OTLP");
        look(&traces, |received| {
            for of_one in request.resource_spans {
                let attributes = of_one.resource.unwrap_or_default().attributes;
                let name = attributes.iter().find(|one| one.key == "service.name");
                let name = name.and_then(|one| one.value.clone());
                received.services.push(format!("{name:?}"));
                let spans = of_one.scope_spans.into_iter();
                received.spans.extend(spans.flat_map(|scope| scope.spans));
            }
        });
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let router = Router::new()
        .route("/orders", hook)
        .route("/v1/traces", receive);
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok((url, shared))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producers_trace_goes_on_to_the_endpoint_and_its_spans_are_exported() -> Result<()> {
    let (url, received) = start().await?;
    let place = Place::new()?;
    let config = place.path("lantern.yaml");
    fs::write(
        &config,
        format!("tracing: {{endpoint: '{url}', sample: 0}}\n"),
    )?;
    let config = config.to_str().context("the place has a name in UTF-8")?;
    let lantern = Lantern::start(&place, &["--no-agent", "--config", config])?;
    let topic: TopicName = "orders".parse()?;
    Admin::connect(&lantern.kafka)
        .await?
        .create_topic(&topic, 1)
        .await?;
    fs::write(
        place.path("conf.d/billing.yaml"),
        format!(
            "apiVersion: lantern/v1\nkind: Listener\nmetadata: {{name: billing}}\nspec:\n  topics: orders\n  \
             from: earliest\n  webhook: {{url: '{url}/orders'}}\n"
        ),
    )?;
    let traceparent = format!("00-{TRACE}-{SENDER}-01");
    let mut builder = BatchBuilder::new(Compression::None);
    for headers in [
        &[("traceparent", Some(traceparent.as_bytes()))][..],
        // Nobody asks for this one, and of those none is sampled.
        &[],
    ] {
        builder.push(Timestamp::from_millis(1), None, Some(b"{}"), headers);
    }
    let to = TopicPartition::new(topic, PartitionId::new(0));
    let producer = Producer::connect(&lantern.kafka).await?;
    producer.send(&to, builder.build()).await?;
    eventually("both are delivered", SOON, async || {
        Ok((look(&received, |received| received.parents.len()) == 2).then_some(()))
    })
    .await?;
    eventually("a slow call would name the trace", SOON, async || {
        let metrics = reqwest::get(lantern.url("/metrics")).await?.text().await?;
        let exemplar = format!("# {{trace_id=\"{TRACE}\"}}");
        let named = |line: &str| {
            line.starts_with("lantern_dispatch_attempt_seconds_bucket") && line.contains(&exemplar)
        };
        Ok(metrics.lines().any(named).then_some(()))
    })
    .await?;
    // What has not left yet leaves at the end.
    lantern.stop()?;
    look(&received, |received| {
        let find = |name: &str| received.spans.iter().find(|span| span.name == name);
        let (process, client) = (find("process orders"), find("POST"));
        let (process, client) = process.zip(client).context("both spans came")?;
        assert_eq!(received.spans.len(), 2);
        assert_eq!(
            (hex(&process.trace_id), hex(&process.parent_span_id)),
            (TRACE.to_owned(), SENDER.to_owned())
        );
        assert_eq!(client.parent_span_id, process.span_id);
        assert!(client.start_time_unix_nano >= process.start_time_unix_nano);
        assert!(client.end_time_unix_nano <= process.end_time_unix_nano);
        let told = format!("00-{TRACE}-{}-01", hex(&client.span_id));
        assert!(received.parents.contains(&told), "{:?}", received.parents);
        assert!(
            received
                .services
                .iter()
                .all(|name| name.contains("lantern"))
        );
        Ok(())
    })
}
