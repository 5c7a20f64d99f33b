//! The integration tests of the sync crate: one binary.

#![allow(clippy::expect_used, reason = "a test that cannot go on fails")]

mod lens;
mod plan;
