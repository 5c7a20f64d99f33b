//! The integration tests of the sync crate: one binary.

mod lens;
