//! Compressed batches that take long to check: on threads that serve nobody, before anything of their request is begun.
//!
//! Problem: a batch is checked down to its last record, and a few KiB may inflate to 128 MiB. In a connection's task that
//! keeps a thread for a tenth of a second from all others; several such clients keep all threads.
//!
//! Answer: what is not compressed, and what inflates to little, is checked on the spot. The rest waits for one of few
//! threads (`admission`), batch by batch, so that a request full of bombs stands in line anew for each of them. Its
//! connection reads nothing meanwhile, which keeps the order of requests and bounds what waits: one request a connection, whose
//! memory is charged already. What inflates is in memory for one batch a thread.
//!
//! Not here: what is checked (`record`), who does not get a turn in time (`pressure`).

use std::time::Duration;

use admission::Refused;
use record::{CheckedBatch, Compression, Error};
use tokio::time::Instant;

use crate::api::produce::{Parts, Prepared};
use crate::context::Call;
use crate::pressure;

/// Bytes of a request, or of those taken with it, that are inflated on a thread that serves others: about a millisecond of
/// gzip. Larger than what producers send that do not linger. A request that is left behind by those before it is tried once more.
pub(crate) const INFLATED_HERE: usize = 256 << 10;

/// Time to wait for a thread that a client gets who gives none.
const PATIENCE_MIN: Duration = Duration::from_secs(1);

/// A batch that was not checked on the spot: its partition's place in the request, and its place there.
pub(crate) struct Heavy {
    pub(crate) part: usize,
    pub(crate) batch: usize,
}

/// Checks a batch if that is quick, and takes what it inflates to from `here`; whether it did.
///
/// # Errors
/// As [`CheckedBatch::validated`].
pub(crate) fn check_here(
    batch: CheckedBatch,
    here: &mut usize,
) -> Result<(CheckedBatch, bool), Error> {
    if batch.compression() == Compression::None {
        return Ok((batch.validated()?, true));
    }
    // What is large already inflates to more.
    if batch.size() <= *here {
        match batch.clone().validated_within(*here) {
            Ok((batch, inflated)) => {
                *here -= inflated.min(*here);
                return Ok((batch, true));
            }
            Err(Error::Inflated { .. }) => (),
            Err(error) => return Err(error),
        }
    }
    // No second attempt in this run: each costs as much.
    *here = 0;
    Ok((batch, false))
}

/// Checks `heavy` batches of `parts`, and refuses the partitions of those that are bad.
///
/// # Errors
/// The client would hear of its request too late.
pub(crate) async fn check(
    call: &Call,
    timeout_ms: i32,
    heavy: Vec<Heavy>,
    parts: &mut Parts<Prepared>,
) -> Result<(), Refused> {
    let until = Instant::now() + pressure::patience(timeout_ms).max(PATIENCE_MIN);
    for Heavy { part, batch } in heavy {
        let Some((_, to)) = parts.get_mut(part) else {
            continue;
        };
        let found = to.as_mut().map(|to| to.batches.get_mut(batch));
        let Ok(Some(place)) = found else {
            // Refused for another batch of it.
            continue;
        };
        let unchecked = place.clone();
        let patience = until.saturating_duration_since(Instant::now());
        let check = move || unchecked.validated();
        let admission = &call.shared.admission;
        match admission.aside(call.client(), patience, check).await? {
            Ok(checked) => *place = checked,
            Err(error) => *to = Err(error.into()),
        }
    }
    Ok(())
}
