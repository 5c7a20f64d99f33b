//! `annika-dev`: the development tools as one command.
fn main() {}
