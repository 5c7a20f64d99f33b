//! The handler's entry point.

fn main() -> std::process::ExitCode {
    annika::entry::main()
}
