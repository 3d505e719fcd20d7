//! DescribeGroups, ListGroups and DeleteGroups: groups as administrators see them.

use broker::coordinator::GroupError;
use groups::{GroupDescription, GroupState};
use kafka_wire::ErrorCode;
use kafka_wire::messages::delete_groups_response::DeletableGroupResult;
use kafka_wire::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_wire::messages::list_groups_response::ListedGroup;
use kafka_wire::messages::{
    DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse,
    GroupId as WireGroup, ListGroupsRequest, ListGroupsResponse,
};

use super::membership::group_id;
use super::operations;
use crate::codes::Coded;
use crate::context::{Call, text};

/// Serves DescribeGroups. A group that does not exist is `Dead`, which is no error until version 6.
pub(crate) async fn describe_groups(
    call: &Call,
    request: DescribeGroupsRequest,
) -> DescribeGroupsResponse {
    let asked = request.include_authorized_operations;
    let mut groups = Vec::with_capacity(request.groups.len());
    for id in request.groups {
        let asked_for = match group_id(&id) {
            Ok(group) => group,
            Err(code) => {
                groups.push(refused(call, id, code));
                continue;
            }
        };
        let described = call.shared.groups.describe(&asked_for).await;
        let operations = operations::on_group(asked, asked_for.is_internal());
        groups.push(match described {
            Ok(description) => group(id, description).with_authorized_operations(operations),
            Err(GroupError::Refused(groups::Error::UnknownGroup { .. })) => {
                DescribedGroup::default()
                    .with_group_id(id)
                    .with_group_state(text(GroupState::Dead.as_str()))
                    .with_authorized_operations(operations)
            }
            Err(error) => refused(call, id, error.kafka_code()),
        });
    }
    DescribeGroupsResponse::default().with_groups(groups)
}

fn refused(call: &Call, id: WireGroup, code: ErrorCode) -> DescribedGroup {
    DescribedGroup::default()
        .with_group_id(id)
        .with_error_code(call.refuse(code))
}

fn group(id: WireGroup, description: GroupDescription) -> DescribedGroup {
    let members = description.members.into_iter().map(|member| {
        DescribedGroupMember::default()
            .with_member_id(text(member.member.as_str()))
            .with_group_instance_id(member.instance.map(|id| text(id.as_str())))
            .with_client_id(text(&*member.client_id))
            .with_client_host(text(&*member.client_host))
            .with_member_metadata(member.metadata)
            .with_member_assignment(member.assignment)
    });
    DescribedGroup::default()
        .with_group_id(id)
        .with_group_state(text(description.state.as_str()))
        .with_protocol_type(text(&*description.protocol_type))
        .with_protocol_data(text(&*description.protocol))
        .with_members(members.collect())
}

/// Serves ListGroups, filtered by state (version 4) and type (version 5).
pub(crate) async fn list_groups(call: &Call, request: ListGroupsRequest) -> ListGroupsResponse {
    let any_of = |filter: &[kafka_wire::StrBytes], name: &str| {
        filter.is_empty()
            || filter
                .iter()
                .any(|wanted| wanted.eq_ignore_ascii_case(name))
    };
    let listed = match call.shared.groups.list().await {
        Ok(listed) => listed,
        Err(error) => return ListGroupsResponse::default().with_error_code(call.code(&error)),
    };
    let groups = listed
        .into_iter()
        .filter(|group| any_of(&request.states_filter, group.state.as_str()))
        .filter(|group| any_of(&request.types_filter, group.state.protocol()))
        .map(|group| {
            ListedGroup::default()
                .with_group_id(WireGroup(text(group.group.as_str())))
                .with_protocol_type(text(&*group.protocol_type))
                .with_group_state(text(group.state.as_str()))
                .with_group_type(text(group.state.protocol()))
        });
    ListGroupsResponse::default().with_groups(groups.collect())
}

/// Serves DeleteGroups.
pub(crate) async fn delete_groups(
    call: &Call,
    request: DeleteGroupsRequest,
) -> DeleteGroupsResponse {
    let mut results = Vec::with_capacity(request.groups_names.len());
    for id in request.groups_names {
        let deleted = match group_id(&id) {
            Ok(group) => {
                let deleted = call.shared.groups.delete(&group).await;
                deleted.map_err(|error| error.kafka_code())
            }
            Err(code) => Err(code),
        };
        let code = deleted.map_or_else(|code| call.refuse(code), |()| 0);
        results.push(
            DeletableGroupResult::default()
                .with_group_id(id)
                .with_error_code(code),
        );
    }
    DeleteGroupsResponse::default().with_results(results)
}
