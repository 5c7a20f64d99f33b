//! The Functions-host emulator against the recorded answers, and with real processes.

mod envelopes;
mod golden;
mod processes;
mod proxied;
mod routing;
mod schedules;
mod staged;
mod timers;
mod wire;
