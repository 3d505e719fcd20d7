//! Nothing: the manifest pins packages whose tests are run.
