//! How much of requests that write may be in memory at once, and for how long.
//!
//! A body is held whole until its record is durable. Each request takes as much room as its body may need before any of
//! it is read, all at once, so that requests that wait for room hold none; one that gets none in time hears 429. A body that
//! does not come whole in time gives its room back, so senders that are slow on purpose keep nobody out for long.

use std::sync::Arc;
use std::time::Duration;

use admission::{Reason, Refused};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::Semaphore;

use crate::pressure;

/// Bodies held at once, all together.
const HELD_KIB: u32 = 256 << 10;
/// How long a request waits for room.
const PATIENCE: Duration = Duration::from_millis(500);
/// When a request without room is told to come again.
const COME_AGAIN: Duration = Duration::from_secs(1);
/// How long a request may take, from its head to its answer.
const REQUEST_TIMEOUT: Duration = Duration::from_mins(1);

/// Room for bodies of up to so many bytes each.
#[derive(Debug, Clone)]
pub(crate) struct Bodies {
    room: Arc<Semaphore>,
    most: usize,
}

impl Bodies {
    pub(crate) fn new(most: usize) -> Self {
        let room = usize::try_from(HELD_KIB).unwrap_or(usize::MAX);
        let room = Arc::new(Semaphore::new(room));
        Self { room, most }
    }

    /// The same room, for bodies of another size.
    pub(crate) fn up_to(&self, most: usize) -> Self {
        let room = Arc::clone(&self.room);
        Self { room, most }
    }

    fn room_for(&self, request: &Request) -> u32 {
        let length = request.headers().get(header::CONTENT_LENGTH);
        let length = length
            .and_then(|value| value.to_str().ok())
            .and_then(|text| text.parse::<usize>().ok());
        // What is longer than allowed is refused by whoever reads it.
        let bytes = length.unwrap_or(self.most).min(self.most);
        u32::try_from(bytes.div_ceil(1_024)).map_or(HELD_KIB, |kib| kib.clamp(1, HELD_KIB))
    }
}

/// Lets a request in when there is room for its body.
pub(crate) async fn hold(State(bodies): State<Bodies>, request: Request, next: Next) -> Response {
    let room = bodies.room.acquire_many(bodies.room_for(&request));
    let Ok(Ok(_room)) = tokio::time::timeout(PATIENCE, room).await else {
        return pressure::answer(Refused {
            reason: Reason::Crowded,
            retry_after: COME_AGAIN,
        });
    };
    let answer = tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await;
    answer.unwrap_or_else(|_| {
        let seconds = REQUEST_TIMEOUT.as_secs();
        let text = format!("the request was not whole and written after {seconds} s");
        (StatusCode::REQUEST_TIMEOUT, text).into_response()
    })
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::{Body, Bytes};
    use axum::middleware::from_fn_with_state;
    use axum::routing::post;
    use futures_util::stream;
    use tokio::task::JoinHandle;
    use tokio::time::Instant;
    use tower::ServiceExt as _;

    use super::*;

    const MOST: usize = 32 << 20;

    fn router(bodies: &Bodies) -> Router {
        let write = post(|body: Bytes| async move { body.len().to_string() });
        Router::new()
            .route("/", write)
            .layer(from_fn_with_state(bodies.clone(), hold))
    }

    /// A request whose body never comes.
    fn stalled(router: &Router, length: Option<usize>) -> JoinHandle<StatusCode> {
        let body = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        let mut request = Request::post("/");
        if let Some(length) = length {
            request = request.header(header::CONTENT_LENGTH, length);
        }
        let answer = router.clone().oneshot(request.body(body).unwrap());
        tokio::spawn(async { answer.await.unwrap().status() })
    }

    async fn small(router: &Router) -> StatusCode {
        let request = Request::post("/").header(header::CONTENT_LENGTH, 5);
        let request = request.body(Body::from("small")).unwrap();
        router.clone().oneshot(request).await.unwrap().status()
    }

    #[tokio::test(start_paused = true)]
    async fn stalled_bodies_fill_the_room_for_a_minute_and_no_longer() {
        let bodies = Bodies::new(MOST);
        let router = router(&bodies);
        // Six that tell no length, one that tells it, and one that tells more than is allowed, which counts as the most.
        let mut waiting: Vec<_> = (0..6).map(|_| stalled(&router, None)).collect();
        waiting.push(stalled(&router, Some(MOST)));
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(small(&router).await, StatusCode::OK);
        waiting.push(stalled(&router, Some(usize::MAX)));
        tokio::time::sleep(Duration::from_millis(1)).await;
        let begun = Instant::now();
        assert_eq!(small(&router).await, StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(begun.elapsed(), PATIENCE);
        for stalled in waiting {
            assert_eq!(stalled.await.unwrap(), StatusCode::REQUEST_TIMEOUT);
        }
        assert!(begun.elapsed() <= REQUEST_TIMEOUT);
        assert_eq!(small(&router).await, StatusCode::OK);
    }

    #[tokio::test(start_paused = true)]
    async fn who_goes_away_gives_the_room_back() {
        let bodies = Bodies::new(MOST);
        let router = router(&bodies);
        let waiting: Vec<_> = (0..8).map(|_| stalled(&router, None)).collect();
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(small(&router).await, StatusCode::TOO_MANY_REQUESTS);
        for stalled in waiting {
            stalled.abort();
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(small(&router).await, StatusCode::OK);
        assert_eq!(bodies.room.available_permits(), 256 << 10);
    }
}
