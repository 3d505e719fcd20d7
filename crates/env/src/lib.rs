//! The seam to the world: clock, disk and entropy, real and simulated.
