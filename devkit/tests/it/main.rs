//! The devkit's own tests, as one binary.

mod functions_host;
