//! One partition's log: segments of verbatim batches, group commit, recovery.
