//! PromQL evaluation over the series store.
