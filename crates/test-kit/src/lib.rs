//! Suites and fixtures shared by tests: broker conformance, temporary places.
