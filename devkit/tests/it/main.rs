//! The devkit's own tests, as one binary.
mod graph;
