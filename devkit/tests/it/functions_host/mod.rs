//! The Functions-host emulator against the recorded answers, and with real processes.

mod processes;
mod staged;
