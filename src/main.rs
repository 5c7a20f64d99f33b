//! The handler's entry point.
fn main() {}
