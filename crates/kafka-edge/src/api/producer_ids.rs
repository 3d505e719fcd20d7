//! InitProducerId: identities for idempotent producers.

use kafka_wire::ErrorCode;
use kafka_wire::messages::{InitProducerIdRequest, InitProducerIdResponse, ProducerId};

use crate::context::Call;

/// Serves InitProducerId. Every asker gets a new id in epoch 0, also one that brings its old one: a
/// new identity is as good as a new epoch, and what was acknowledged stays so.
pub(crate) async fn init_producer_id(
    call: &Call,
    request: InitProducerIdRequest,
) -> InitProducerIdResponse {
    let refused = |code| {
        InitProducerIdResponse::default()
            .with_error_code(code)
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1)
    };
    if let Some(id) = request.transactional_id {
        let code = if id.is_empty() {
            ErrorCode::InvalidRequest
        } else {
            // Transactions are not served. This is the code clients do not retry.
            ErrorCode::TransactionalIdAuthorizationFailed
        };
        return refused(call.refuse(code));
    }
    match call.broker().new_producer_id().await {
        Ok(id) => InitProducerIdResponse::default()
            .with_producer_id(ProducerId(id))
            .with_producer_epoch(0),
        Err(error) => refused(call.code(&error)),
    }
}
