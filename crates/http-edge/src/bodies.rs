//! Reading request bodies: how much of them may be in memory at once, and how slowly they may come.
//!
//! A body is held whole until its record is durable. Room is taken for each piece as it comes, so who sends nothing holds nothing; a body
//! for which there is none waits a moment and is given up with what it held, so two that wait cannot hold each other up for
//! longer. One that stops in the middle is given up too. What is compressed counts as it came: it is inflated where one
//! body is looked at at a time ([`pressure::aside`](crate::pressure::aside)).

use std::time::Duration;

use admission::{Admission, Reason, Refused};
use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bytes::BytesMut;
use futures_util::StreamExt;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::pressure;

/// Bodies held at once, all together.
const HELD_BYTES_MAX: usize = 256 << 20;
/// How long a body waits for room.
const PATIENCE: Duration = Duration::from_millis(500);
/// When one that found no room is told to come again.
const COME_AGAIN: Duration = Duration::from_secs(1);
/// How long a body may pause.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// What comes of a body in a second, at least, from its beginning and a pause on: room is not for who sends a byte now and then.
const RATE_MIN: usize = 64 << 10;

/// Room for the bodies of all requests that write.
#[derive(Debug)]
pub struct Bodies(Semaphore);

impl Default for Bodies {
    fn default() -> Self {
        Self(Semaphore::new(HELD_BYTES_MAX))
    }
}

/// A body, and its room until this is dropped.
#[derive(Debug)]
pub(crate) struct Held<'a> {
    pub(crate) bytes: Bytes,
    _room: Option<SemaphorePermit<'a>>,
}

/// Why a body was not read.
#[derive(Debug)]
pub(crate) enum Unread {
    /// It is longer than so many bytes.
    TooLarge(usize),
    /// There was no room for it.
    Crowded(Refused),
    /// It stopped coming.
    Stalled,
    /// The connection or the encoding of the transfer broke.
    Broken(String),
}

impl Bodies {
    /// Reads a body of at most `most` bytes.
    pub(crate) async fn read(
        &self,
        body: Body,
        most: usize,
        admission: &Admission,
        client: &str,
    ) -> Result<Held<'_>, Unread> {
        let mut pieces = body.into_data_stream();
        let mut bytes = BytesMut::new();
        let mut room: Option<SemaphorePermit<'_>> = None;
        let begun = Instant::now();
        loop {
            let earned =
                Duration::from_secs(u64::try_from(bytes.len() / RATE_MIN).unwrap_or_default());
            let latest = (begun + PAUSE_MAX + earned).min(Instant::now() + PAUSE_MAX);
            let piece = tokio::time::timeout_at(latest, pieces.next()).await;
            let Some(piece) = piece.map_err(|_| Unread::Stalled)? else {
                break;
            };
            let piece = piece.map_err(|error| Unread::Broken(error.to_string()))?;
            if bytes.len() + piece.len() > most {
                return Err(Unread::TooLarge(most));
            }
            let count = u32::try_from(piece.len()).unwrap_or(u32::MAX);
            let more = tokio::time::timeout(PATIENCE, self.0.acquire_many(count)).await;
            let Ok(Ok(more)) = more else {
                let refused = Refused {
                    reason: Reason::Bodies,
                    retry_after: COME_AGAIN,
                };
                return Err(Unread::Crowded(admission.turned_away(client, refused)));
            };
            match &mut room {
                Some(room) => room.merge(more),
                None => room = Some(more),
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(Held {
            bytes: bytes.freeze(),
            _room: room,
        })
    }
}

impl Unread {
    /// What it is in HTTP, and in words.
    pub(crate) fn told(&self) -> (StatusCode, String) {
        match self {
            Self::TooLarge(most) => (
                StatusCode::PAYLOAD_TOO_LARGE,
                format!(
                    "the body has more than {} MiB: send it in parts",
                    most >> 20
                ),
            ),
            Self::Crowded(refused) => (StatusCode::TOO_MANY_REQUESTS, refused.to_string()),
            Self::Stalled => (
                // Not 408, which senders of samples take for final.
                StatusCode::SERVICE_UNAVAILABLE,
                format!(
                    "the body stopped for {} s, or came at less than {} KiB/s",
                    PAUSE_MAX.as_secs(),
                    RATE_MIN >> 10
                ),
            ),
            Self::Broken(error) => (
                StatusCode::BAD_REQUEST,
                format!("the body cannot be read: {error}"),
            ),
        }
    }
}

impl IntoResponse for Unread {
    fn into_response(self) -> Response {
        match self {
            Self::Crowded(refused) => pressure::answer(refused),
            other => other.told().into_response(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use admission::Options;
    use futures_util::stream;
    use test_kit::clock::TokioClock;
    use tokio::task::JoinHandle;

    use super::*;

    const MOST: usize = 32 << 20;

    struct World {
        bodies: Bodies,
        admission: Arc<Admission>,
    }

    impl World {
        fn new() -> Arc<Self> {
            Arc::new(Self {
                bodies: Bodies::default(),
                admission: Admission::new(Options::default(), TokioClock::start()),
            })
        }

        async fn read(&self, body: Body) -> Result<usize, Unread> {
            let read = self.bodies.read(body, MOST, &self.admission, "tests");
            read.await.map(|held| held.bytes.len())
        }

        /// A body that sends so many MiB, and then nothing.
        fn stalled(self: &Arc<Self>, mib: usize) -> JoinHandle<Result<usize, Unread>> {
            let piece = Ok::<_, std::io::Error>(Bytes::from(vec![0; 1 << 20]));
            let pieces = stream::repeat_with(move || Ok(piece.as_ref().unwrap().clone()));
            let body = pieces
                .take(mib)
                .chain(stream::pending::<Result<Bytes, std::io::Error>>());
            let world = Arc::clone(self);
            tokio::spawn(async move { world.read(Body::from_stream(body)).await })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn bodies_that_stall_fill_the_room_for_seconds_and_those_that_send_nothing_never() {
        let world = World::new();
        let silent: Vec<_> = (0..1_000).map(|_| world.stalled(0)).collect();
        let waiting: Vec<_> = (0..8).map(|_| world.stalled(32)).collect();
        tokio::time::sleep(Duration::from_millis(1)).await;
        let begun = Instant::now();
        let small = || world.read(Body::from("small"));
        let refused = small().await.unwrap_err();
        assert!(matches!(refused, Unread::Crowded(_)), "{refused:?}");
        assert_eq!(begun.elapsed(), PATIENCE);
        for stalled in silent.into_iter().chain(waiting) {
            assert!(matches!(stalled.await.unwrap(), Err(Unread::Stalled)));
        }
        assert!(begun.elapsed() <= PAUSE_MAX);
        assert_eq!(small().await.unwrap(), 5);
        assert_eq!(world.bodies.0.available_permits(), HELD_BYTES_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn who_drips_is_given_up_and_who_is_slow_is_not() {
        let world = World::new();
        let every = |bytes: usize, pause: Duration| {
            let pieces = stream::unfold(32_usize, move |left| async move {
                tokio::time::sleep(pause).await;
                let piece = Ok::<_, std::io::Error>(vec![0; bytes]);
                left.checked_sub(1).map(|left| (piece, left))
            });
            Body::from_stream(pieces)
        };
        let begun = Instant::now();
        let given_up = world.read(every(1, PAUSE_MAX * 9 / 10)).await;
        assert!(matches!(given_up, Err(Unread::Stalled)), "{given_up:?}");
        assert!(begun.elapsed() <= PAUSE_MAX);
        let second = Duration::from_secs(1);
        let slow = world.read(every(RATE_MIN, second)).await;
        assert_eq!(slow.unwrap(), 32 * RATE_MIN);
    }

    #[tokio::test(start_paused = true)]
    async fn who_goes_away_gives_the_room_back() {
        let world = World::new();
        let waiting: Vec<_> = (0..8).map(|_| world.stalled(32)).collect();
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(world.bodies.0.available_permits(), 0);
        waiting.iter().for_each(JoinHandle::abort);
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(world.bodies.0.available_permits(), HELD_BYTES_MAX);
    }

    #[tokio::test]
    async fn a_body_has_its_limit_to_the_byte() {
        let world = World::new();
        let body = |bytes| Body::from(vec![0; bytes]);
        assert_eq!(world.read(body(MOST)).await.unwrap(), MOST);
        let refused = world.read(body(MOST + 1)).await.unwrap_err();
        assert!(refused.told().1.contains("32 MiB"), "{refused:?}");
    }
}
