//! Reads lantern.metrics into the series store and says which selectors were touched.
