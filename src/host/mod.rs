//! What the Functions host says to the handler, and what the handler answers.
//!
//! The host calls a trigger by `POST /{name}` with a JSON envelope and waits for a JSON reply that must never be
//! empty; it passes HTTP functions through as they are. It sends no signal when it stops, so the handler watches
//! its parent. Sources: azure-functions-host, `DefaultHttpWorkerService`, `HttpWorkerProcess`, and what a real
//! host was seen to do.

mod envelope;
mod lifecycle;
mod reply;
mod server;
mod timer;
mod triggers;

pub use envelope::{Envelope, EnvelopeError};
pub use lifecycle::{DRAIN, Ending, ending};
pub use reply::TriggerReply;
pub use server::{listen, router, serve};
pub use timer::{RetryContext, ScheduleStatus, TimerInvocation};
pub use triggers::{MAX_ENVELOPE_BYTES, TriggerError, Triggers};
