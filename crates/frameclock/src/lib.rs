//! The beat of the boards: ticks, jitter, drift and phase.
