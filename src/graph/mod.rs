//! The client of Microsoft Graph: one answer, one doubt or one "not sent" for each request, and never a guess.
//!
//! Writes are never repeated here: whether a write happened is for the sync engine to find out. Reads are, in
//! [`crate::retry`]. The access token goes to the configured origin only: redirects are not followed, and a next
//! link to another scheme, host or port ends a list as incomplete. Where Graph sends an error, the status decides;
//! its `code` may be an empty string.

mod batch;
mod client;
pub mod directory;
mod list;
pub mod planner;
mod request;
mod wire;

pub use batch::MAX_BATCH;
pub use client::{Counters, GraphClient};
pub use list::{Incomplete, ListOutcome, MAX_PAGES, Turn};
pub use request::{Answer, Method, NotSent, Outcome, Request, Unknown};
