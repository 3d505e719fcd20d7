//! What is known of a group, whichever protocol its members speak.

use std::collections::BTreeMap;

use kafka_client::{Cluster, ErrorCode, GroupListing, MemberDetail};
use model::{GroupId, Offset, TopicPartition};

use crate::error::Error;
use crate::units::counted;

/// A group as it is now.
#[derive(Debug, Clone)]
pub(super) struct GroupState {
    pub(super) state: String,
    pub(super) assignor: String,
    /// None where members speak a protocol (KIP-848) that this client cannot ask about.
    pub(super) members: Option<Vec<MemberDetail>>,
}

impl GroupState {
    /// Whether members may be reading and committing.
    pub(super) fn is_in_use(&self) -> bool {
        !matches!(self.state.as_str(), "Empty" | "Dead")
    }

    pub(super) fn member_count(&self) -> Option<usize> {
        self.members.as_ref().map(Vec::len)
    }

    /// `2 members`, for sentences.
    pub(super) fn members_as_words(&self) -> String {
        match self.member_count() {
            Some(count) => counted(u64::try_from(count).unwrap_or(u64::MAX), "member"),
            None => "members".to_owned(),
        }
    }
}

/// A group, if it is there.
pub(super) async fn ask(cluster: &Cluster, group: &GroupId) -> Result<Option<GroupState>, Error> {
    let failed = |error| Error::failed(format!("ask about group '{group}'"), error);
    let described = cluster.at_coordinator(group, async |admin| admin.describe_group(group).await);
    match described.await {
        Ok(found) if found.state != "Dead" => {
            return Ok(Some(GroupState {
                state: found.state,
                assignor: found.assignor,
                members: Some(found.members),
            }));
        }
        Ok(_) => (),
        Err(error) if error.code() == Some(ErrorCode::GroupIdNotFound) => (),
        Err(error) => return Err(failed(error)),
    }
    let listed = cluster.at_coordinator(group, async |admin| admin.list_groups().await);
    let mut listed = listed.await.map_err(failed)?.into_iter();
    let listed = listed.find(|one| one.group == group.as_str());
    Ok(listed.map(|listed| GroupState {
        state: listed.state.unwrap_or_else(|| "Unknown".to_owned()),
        assignor: String::new(),
        members: None,
    }))
}

/// Where it has committed.
pub(super) async fn committed(
    cluster: &Cluster,
    group: &GroupId,
) -> Result<BTreeMap<TopicPartition, Offset>, Error> {
    let asked = cluster.at_coordinator(group, async |admin| admin.committed(group, None).await);
    asked
        .await
        .map_err(|error| Error::failed(format!("ask how far group '{group}' is"), error))
}

/// All groups, by name.
pub(super) async fn list(cluster: &Cluster) -> Result<Vec<GroupListing>, Error> {
    let listed = cluster.list_groups().await;
    listed.map_err(|error| Error::failed("list groups", error))
}
