//! ApiVersions and DescribeCluster: what this is.

use kafka_wire::ErrorCode;
use kafka_wire::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_wire::messages::{
    ApiVersionsRequest, ApiVersionsResponse, DescribeClusterRequest, DescribeClusterResponse,
};
use tracing::debug;

use super::operations;
use crate::context::{Call, text};

/// DescribeCluster can ask about brokers (1) or controllers (2).
const BROKERS: i8 = 1;

/// Serves ApiVersions.
pub(crate) fn api_versions(call: &Call, request: &ApiVersionsRequest) -> ApiVersionsResponse {
    debug!(
        peer = %call.peer.address,
        client = call.header.client_id.as_deref(),
        software = &*request.client_software_name,
        version = &*request.client_software_version,
        "Kafka client introduced itself."
    );
    kafka_wire::versions_answer()
}

/// Serves DescribeCluster.
pub(crate) fn describe_cluster(
    call: &Call,
    request: &DescribeClusterRequest,
) -> DescribeClusterResponse {
    let answer = DescribeClusterResponse::default()
        .with_endpoint_type(BROKERS)
        .with_cluster_id(text(&*call.shared.options.cluster_id));
    if call.version() >= 1 && request.endpoint_type != BROKERS {
        return answer
            .with_error_code(call.refuse(ErrorCode::MismatchedEndpointType))
            .with_error_message(Some(text(
                "this endpoint serves as a broker, not as a controller",
            )));
    }
    let (host, port) = call.endpoint();
    let broker = DescribeClusterBroker::default()
        .with_broker_id(call.node())
        .with_host(host)
        .with_port(port);
    answer
        .with_error_message(None)
        .with_controller_id(call.node())
        .with_cluster_authorized_operations(operations::on_cluster(
            request.include_cluster_authorized_operations,
        ))
        .with_brokers(vec![broker])
}
