//! The Functions-host emulator against the recorded answers, and with real processes.

mod envelopes;
pub mod golden;
mod processes;
mod proxied;
mod recorded;
mod routing;
mod schedules;
mod staged;
mod timers;
mod wire;
