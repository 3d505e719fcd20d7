//! Letting partitions, and the progress of groups, into a transaction: the first step of each.

use std::sync::Arc;

use model::{GroupId, Producer, TopicPartition};
use transactions::TransactionalId;

use super::{TransactionCoordinator, TransactionError, whole};

impl TransactionCoordinator {
    /// Lets `partitions`, which exist, into the transaction of `by`; durable when ready.
    ///
    /// # Errors
    /// [`TransactionError::Refused`] by the rules of [`transactions::Transaction::add_partitions`].
    pub async fn add_partitions(
        self: &Arc<Self>,
        id: &TransactionalId,
        by: Producer,
        partitions: Vec<TopicPartition>,
    ) -> Result<(), TransactionError> {
        self.let_in(id, by, partitions, None).await
    }

    /// Lets offsets of `group` into the transaction of `by`; durable when ready.
    ///
    /// # Errors
    /// [`TransactionError::Refused`] by the rules of [`transactions::Transaction::add_group`].
    pub async fn add_group(
        self: &Arc<Self>,
        id: &TransactionalId,
        by: Producer,
        group: GroupId,
    ) -> Result<(), TransactionError> {
        self.let_in(id, by, Vec::new(), Some(group)).await
    }

    /// Lets `partitions` and offsets of `group` in together, by one record.
    ///
    /// # Errors
    /// As [`Self::add_partitions`] and [`Self::add_group`].
    pub async fn let_in(
        self: &Arc<Self>,
        id: &TransactionalId,
        by: Producer,
        partitions: Vec<TopicPartition>,
        group: Option<GroupId>,
    ) -> Result<(), TransactionError> {
        let (this, id) = (Arc::clone(self), id.clone());
        whole(async move {
            let mut held = this.known(&id, by).await?;
            let (now, current) = (this.clock.now(), held.known(by)?);
            let mut next = current.add_partitions(now, by, partitions.clone())?;
            if let Some(group) = group {
                let with_group = next.as_ref().unwrap_or(current).add_group(now, by, group)?;
                next = with_group.or(next);
            }
            if let Some(next) = next {
                this.store(&mut held, next).await?;
            }
            this.enlist(by, &partitions)
        })
        .await
    }
}
