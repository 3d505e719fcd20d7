//! Load generators and comparisons with peers.
