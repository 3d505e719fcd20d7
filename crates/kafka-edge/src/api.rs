//! One file per family of requests. Each handler takes the decoded request and answers the body of
//! the response; errors of single topics and partitions are in it.

pub(crate) mod cluster;
pub(crate) mod configs;
pub(crate) mod consumer_groups;
pub(crate) mod coordinator;
pub(crate) mod epochs;
pub(crate) mod fetch;
pub(crate) mod group_admin;
pub(crate) mod group_offsets;
pub(crate) mod list_offsets;
pub(crate) mod log_dirs;
pub(crate) mod membership;
pub(crate) mod metadata;
mod operations;
pub(crate) mod partitions;
pub(crate) mod produce;
pub(crate) mod producer_ids;
pub(crate) mod records;
mod settled;
pub(crate) mod topics;
pub(crate) mod transactions;
pub(crate) mod txn_admin;
pub(crate) mod txn_offsets;
