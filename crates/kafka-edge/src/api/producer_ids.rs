//! InitProducerId: identities for idempotent and for transactional producers.

use std::time::Duration;

use broker::transaction_coordinator::Init;
use kafka_wire::ErrorCode;
use kafka_wire::messages::{InitProducerIdRequest, InitProducerIdResponse, ProducerId};
use model::Producer;

use super::transactions::{fenced_since, transactional_id};
use crate::codes::Coded;
use crate::context::Call;

/// The first version whose clients know PRODUCER_FENCED.
const FENCED_SINCE: i16 = 4;

/// Serves InitProducerId. Every asker without a transactional id gets a new id in epoch 0, also one
/// that brings its old one: a new identity is as good as a new epoch, and what was acknowledged stays
/// so. With a transactional id the producer gets the next epoch, and those before are fenced.
pub(crate) async fn init_producer_id(
    call: &Call,
    request: InitProducerIdRequest,
) -> InitProducerIdResponse {
    let begun = if let Some(id) = &request.transactional_id {
        begin(call, id, &request).await
    } else {
        let id = call.broker().new_producer_id().await;
        id.map(|id| Producer::new(id, 0))
            .map_err(|error| error.kafka_code())
    };
    match begun {
        Ok(producer) => InitProducerIdResponse::default()
            .with_producer_id(ProducerId(producer.id))
            .with_producer_epoch(producer.epoch),
        Err(code) => InitProducerIdResponse::default()
            .with_error_code(call.refuse(code))
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1),
    }
}

async fn begin(
    call: &Call,
    id: &str,
    request: &InitProducerIdRequest,
) -> Result<Producer, ErrorCode> {
    let transactions = call.transactions()?;
    let id = transactional_id(id)?;
    let timeout = u64::try_from(request.transaction_timeout_ms)
        .map_err(|_| ErrorCode::InvalidTransactionTimeout)?;
    let expected = match (request.producer_id.0, request.producer_epoch) {
        (-1, -1) => None,
        (id, epoch) if id >= 0 && epoch >= 0 => Some(Producer::new(id, epoch)),
        _ => return Err(ErrorCode::InvalidRequest),
    };
    let ask = Init {
        timeout: Duration::from_millis(timeout),
        expected,
    };
    let begun = transactions.init(&id, ask).await;
    begun.map_err(|error| fenced_since(FENCED_SINCE, call.version(), error.kafka_code()))
}
