//! An emulator of the Azure Functions host for one custom handler: what the host does to the handler, and nothing else.
//!
//! It loads a staged app, starts and restarts the handler by the host's rules, proxies HTTP functions, runs
//! timer functions by JSON envelope, and asks for keys. Its tests replay what the host and its libraries answered.

mod app;
mod auth;
pub mod cli;
mod clock;
mod cron;
mod envelope;
mod error;
mod front;
mod host;
pub mod http1;
mod invoke;
mod log;
pub mod newtonsoft;
mod options;
mod process;
mod proxy;
mod random;
mod records;
mod routes;
mod span;
mod ticks;
mod timer;

pub use app::{
    App, AuthLevel, FunctionError, HostConfig, HttpTrigger, LoadedFunction, RetryPolicy, Settings,
    TimerTrigger, Trigger, read_functions, resolve_settings,
};
pub use auth::{Caller, Keys};
pub use clock::{HostClock, SharedClock, SystemClock, VirtualClock};
pub use cron::{Cron, Schedule, ScheduleError};
pub use envelope::{
    Answer, Invocation, InvocationOutcome, Output, TriggerReply, date_text, envelope, read_answer,
    request_bytes, retry_context,
};
pub use error::HostError;
pub use host::{FunctionsHost, unused_port};
pub use log::{Level, LogLine, Source};
pub use options::HostOptions;
pub use process::State;
pub use records::{Cause, InvocationRecord};
pub use routes::{
    Refused, Route, RouteTable, RouteValues, Target, Template, full_template, order_key, pick_function,
    proxied_path, proxied_query, read_target,
};
pub use ticks::{Parts, Ticks, Zone};
pub use timer::{Fired, Listener, Run, ScheduleStatus, StartCheck, StatusFile, check_at_start, timer_info};
