//! FindCoordinator: this node coordinates every group and every transaction.

use kafka_wire::ErrorCode;
use kafka_wire::messages::find_coordinator_response::Coordinator;
use kafka_wire::messages::{BrokerId, FindCoordinatorRequest, FindCoordinatorResponse};
use model::GroupId;
use transactions::TransactionalId;

use crate::context::{Call, text};

/// What a key names.
const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;

/// The first version that asks about several keys at once.
const SEVERAL_SINCE: i16 = 4;

/// Serves FindCoordinator.
pub(crate) fn find_coordinator(
    call: &Call,
    request: FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    let (host, port) = call.endpoint();
    if call.version() >= SEVERAL_SINCE {
        let answers = request.coordinator_keys.into_iter().map(|key| {
            let refusal = check(call, request.key_type, &key);
            let answer = Coordinator::default().with_key(key);
            match refusal {
                None => answer
                    .with_node_id(call.node())
                    .with_host(host.clone())
                    .with_port(port)
                    .with_error_message(None),
                Some((code, reason)) => answer
                    .with_node_id(BrokerId(-1))
                    .with_port(-1)
                    .with_error_code(call.refuse(code))
                    .with_error_message(Some(text(reason))),
            }
        });
        return FindCoordinatorResponse::default().with_coordinators(answers.collect());
    }
    match check(call, request.key_type, &request.key) {
        None => FindCoordinatorResponse::default()
            .with_node_id(call.node())
            .with_host(host)
            .with_port(port)
            .with_error_message(None),
        Some((code, reason)) => FindCoordinatorResponse::default()
            .with_node_id(BrokerId(-1))
            .with_port(-1)
            .with_error_code(call.refuse(code))
            .with_error_message(Some(text(reason))),
    }
}

fn check(call: &Call, key_type: i8, key: &str) -> Option<(ErrorCode, &'static str)> {
    match key_type {
        GROUP => (),
        TRANSACTION => {
            if let Err(code) = call.transactions() {
                return Some((code, "transactions are not served"));
            }
            let refused = TransactionalId::new(key).err();
            return refused.map(|_| {
                let reason = "a transactional id has 1 to 255 bytes";
                (ErrorCode::InvalidRequest, reason)
            });
        }
        _ => {
            return Some((
                ErrorCode::InvalidRequest,
                "only groups and transactions have coordinators here",
            ));
        }
    }
    if GroupId::new(key).is_err() {
        return Some((ErrorCode::InvalidGroupId, "a group id has 1 to 255 bytes"));
    }
    None
}
