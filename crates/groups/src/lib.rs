//! Consumer group membership as a state machine that is told the time.
