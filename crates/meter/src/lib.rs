//! Turns the events of a topic into series: counters, gauges and histograms by declared fields.
