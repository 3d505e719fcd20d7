//! How pressure reaches HTTP clients: 429 with `Retry-After`.
//!
//! A connection that sends a request has sent it whole, so unlike a Kafka client it cannot be held back while it
//! waits: it waits a moment for its turn, and is then told when to come again.
//! Source: RFC 6585, section 4; RFC 9110, section 10.2.3.

use std::sync::Arc;
use std::time::Duration;

use admission::{Admission, Outcome, Permit, Refused};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

/// How long a write waits for its turn.
const PATIENCE: Duration = Duration::from_millis(500);

/// How long a large body waits for a thread: senders give a request half a minute (Prometheus' `remote_timeout`).
const ASIDE_PATIENCE: Duration = Duration::from_secs(10);

/// What an HTTP client is called in `quotas`: the product that its User-Agent begins with, such as `Prometheus`; empty
/// if it names none.
pub(crate) fn client(headers: &HeaderMap) -> &str {
    let agent = headers.get(header::USER_AGENT);
    let agent = agent
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    agent.split(['/', ' ']).next().unwrap_or_default()
}

/// Asks before the work that goes before a write.
///
/// # Errors
/// The quota of the client or of the topic is used up.
pub(crate) fn check_debt(admission: &Admission, client: &str, topic: &str) -> Result<(), Refused> {
    admission.try_charge(client, topic, 0)
}

/// Leave to write so many bytes into a topic, of which so many will wait for the log.
///
/// # Errors
/// The quota of the client or of the topic is used up, or the log is busy.
pub(crate) async fn admit(
    admission: &Arc<Admission>,
    client: &str,
    topic: &str,
    bytes: usize,
    cost: u64,
) -> Result<Permit, Refused> {
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
    let permit = admission.admit(client, cost, PATIENCE).await?;
    admission.try_charge(client, topic, bytes)?;
    Ok(permit)
}

/// Does work that takes a processor for long where it keeps nobody else waiting.
///
/// # Errors
/// Its turn did not come in time.
pub(crate) async fn aside<T: Send + 'static>(
    admission: &Admission,
    client: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Refused> {
    admission.aside(client, ASIDE_PATIENCE, work).await
}

/// What a write says about how busy the log is.
pub(crate) fn outcome(written: &Result<(), broker::Error>) -> Outcome {
    match written {
        Ok(()) => Outcome::Succeeded,
        Err(error) if error.recovery() == broker::Recovery::Retry => Outcome::Failed,
        Err(_) => Outcome::Ignored,
    }
}

/// The whole seconds after which to come again.
pub(crate) fn retry_after(refused: Refused) -> [(HeaderName, HeaderValue); 1] {
    let seconds = refused.retry_after.as_millis().div_ceil(1_000).max(1);
    let seconds = u64::try_from(seconds).unwrap_or(u64::MAX);
    [(header::RETRY_AFTER, HeaderValue::from(seconds))]
}

/// 429 with the whole seconds after which to come again.
pub(crate) fn answer(refused: Refused) -> Response {
    let told = (StatusCode::TOO_MANY_REQUESTS, refused.to_string());
    (retry_after(refused), told).into_response()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use admission::{ClientQuota, Limit, Options, Quotas};
    use stdx::ByteSize;
    use test_kit::clock::TokioClock;

    use super::*;

    fn retry_after(refused: Refused) -> (StatusCode, String) {
        let response = answer(refused);
        let after = response.headers()[header::RETRY_AFTER]
            .to_str()
            .unwrap()
            .to_owned();
        (response.status(), after)
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_over_its_quota_is_told_when_to_come_again() {
        let quota = ClientQuota {
            producer_byte_rate: Some(ByteSize::from_bytes(1_000)),
            ..ClientQuota::default()
        };
        let quotas = Quotas {
            clients: BTreeMap::from([("Prometheus".to_owned(), quota)]),
            ..Quotas::default()
        };
        let options = Options {
            quotas,
            ..Options::default()
        };
        let admission = Admission::new(options, TokioClock::start());
        let mut headers = HeaderMap::new();
        headers.insert(
            header::USER_AGENT,
            HeaderValue::from_static("Prometheus/3.5.0"),
        );
        let name = client(&headers);
        // More than the quota at once: taken, since nothing was owed.
        drop(
            admit(&admission, name, "lantern.metrics", 3_500, 3_500)
                .await
                .unwrap(),
        );
        let refused = admit(&admission, name, "lantern.metrics", 1, 1)
            .await
            .unwrap_err();
        let (status, after) = retry_after(refused);
        assert_eq!((status.as_u16(), after.as_str()), (429, "3"));
        assert!(
            admit(&admission, "other", "lantern.metrics", 1_000_000, 1_000_000)
                .await
                .is_ok()
        );
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert!(
            admit(&admission, name, "lantern.metrics", 1, 1)
                .await
                .is_ok()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_log_is_waited_for_a_moment() {
        let limit = Limit {
            min: ByteSize::from_kib(64),
            max: ByteSize::from_kib(64),
            ..Limit::default()
        };
        let options = Options {
            limit,
            ..Options::default()
        };
        let admission = Admission::new(options, TokioClock::start());
        let busy = admit(&admission, "one", "lantern.metrics", 60_000, 60_000)
            .await
            .unwrap();
        let begun = tokio::time::Instant::now();
        let refused = admit(&admission, "two", "lantern.metrics", 60_000, 60_000)
            .await
            .unwrap_err();
        assert_eq!(begun.elapsed(), PATIENCE);
        assert_eq!(
            retry_after(refused),
            (StatusCode::TOO_MANY_REQUESTS, "1".to_owned())
        );
        drop(busy);
        assert!(
            admit(&admission, "two", "lantern.metrics", 60_000, 60_000)
                .await
                .is_ok()
        );
    }

    #[test]
    fn a_client_is_its_product() {
        let named = |agent: &'static str| {
            let headers = [(header::USER_AGENT, HeaderValue::from_static(agent))];
            client(&headers.into_iter().collect()).to_owned()
        };
        assert_eq!(named("vmagent"), "vmagent");
        assert_eq!(named("curl/8.5.0 (x86_64)"), "curl");
        assert_eq!(client(&HeaderMap::new()), "");
    }
}
