//! Runs Prometheus rule groups, owns alert states, sends notifications.
