//! The devkit's own tests, as one binary.

#[cfg(test)]
mod functions_host;
