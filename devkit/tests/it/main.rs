//! The devkit's own tests, as one binary.
