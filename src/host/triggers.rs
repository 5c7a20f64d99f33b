//! The trigger table: which function runs what, and how one invocation is run and answered.
//!
//! A run is a task of its own, not part of the request's future. A connection that closes cancels that run's token
//! and nothing else: the run ends where it can do so in order.

use super::{envelope::Envelope, reply::TriggerReply, timer::TimerInvocation};
use axum::{
    body::{Body, to_bytes},
    extract::Request,
    http::{HeaderMap, Method, StatusCode},
    response::{IntoResponse, Response},
};
use futures::future::BoxFuture;
use std::{collections::BTreeMap, fmt, future::Future, sync::Arc};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The largest envelope that is read.
pub const MAX_ENVELOPE_BYTES: usize = 16 * 1024 * 1024;

/// Why a run failed. The host repeats it if the function has a retry policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TriggerError {
    /// A stable code for the log.
    pub code: &'static str,
    /// What happened and what to do next.
    pub message: String,
}

type Run =
    Arc<dyn Fn(TimerInvocation) -> BoxFuture<'static, Result<Vec<String>, TriggerError>> + Send + Sync>;

/// Function name → what it runs.
#[derive(Clone, Default)]
pub struct Triggers {
    runs: BTreeMap<String, Run>,
    drain: CancellationToken,
    running: TaskTracker,
}

impl fmt::Debug for Triggers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Triggers").field("names", &self.runs.keys()).finish_non_exhaustive()
    }
}

impl Triggers {
    /// No triggers. `drain` cancels every run when the process ends.
    pub fn new(drain: CancellationToken) -> Self {
        Self { runs: BTreeMap::new(), drain, running: TaskTracker::new() }
    }

    /// Adds a timer: `run` answers the lines for the invocation's log. `name` is the folder's, letter for letter.
    #[must_use]
    pub fn timer<F, Fut>(mut self, name: &str, run: F) -> Self
    where
        F: Fn(TimerInvocation) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Vec<String>, TriggerError>> + Send + 'static,
    {
        self.runs.insert(name.to_owned(), Arc::new(move |invocation| Box::pin(run(invocation))));
        self
    }

    /// The names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.runs.keys().map(String::as_str)
    }

    /// Waits until no run is left. Runs end early once the drain token is cancelled.
    pub async fn drained(&self) {
        self.running.close();
        self.running.wait().await;
    }

    /// Answers a request that is a trigger of the host, and gives any other back.
    ///
    /// Whoever comes through the host's proxy has an `X-Forwarded-For` that the host set; the host's own calls have
    /// none. An outsider's request is given back, so that it ends as at any unknown route.
    pub(super) async fn answer(&self, request: Request) -> Result<Response, Request> {
        let name = request.uri().path().strip_prefix('/').unwrap_or_default();
        let from_host = !request.headers().contains_key("x-forwarded-for");
        let found = self.runs.get_key_value(name);
        let Some((name, run)) = found.filter(|_| from_host && request.method() == Method::POST) else {
            return Err(request);
        };
        let id = invocation_id(request.headers());
        let reply = match self.invoke(name, Arc::clone(run), &id, request.into_body()).await {
            Ok(logs) => TriggerReply { status: StatusCode::OK, logs },
            Err(error) => {
                // The host drops the body of a reply that is not 2xx: this line is all that remains of the reason.
                tracing::error!(
                    function = name,
                    invocation_id = id,
                    code = error.code,
                    "run failed: {error}"
                );
                TriggerReply { status: StatusCode::INTERNAL_SERVER_ERROR, logs: vec![error.to_string()] }
            }
        };
        Ok(reply.into_response())
    }

    async fn invoke(&self, name: &str, run: Run, id: &str, body: Body) -> Result<Vec<String>, TriggerError> {
        let bytes = to_bytes(body, MAX_ENVELOPE_BYTES).await.map_err(|error| TriggerError {
            code: "envelope_unreadable",
            message: format!("the host's request could not be read: {error}"),
        })?;
        let envelope = Envelope::decode(&bytes).map_err(|error| TriggerError {
            code: "envelope_invalid",
            message: format!("the host's request could not be read: {error}"),
        })?;
        let cancel = self.drain.child_token();
        let invocation = TimerInvocation::read(name, id, &envelope, cancel.clone());
        // Dropped with the request's future, that is when the connection closes; the run itself goes on.
        let _closed = cancel.drop_guard();
        let task = self.running.spawn(run(invocation));
        match task.await {
            Ok(result) => result,
            Err(error) => {
                let message = if error.is_panic() { "the run panicked" } else { "the run was aborted" };
                Err(TriggerError { code: "run_panicked", message: message.to_owned() })
            }
        }
    }
}

/// The host's id, kept to what an id may look like: it goes into the log.
fn invocation_id(headers: &HeaderMap) -> String {
    let value = headers.get("x-azure-functions-invocationid").and_then(|value| value.to_str().ok());
    value.unwrap_or_default().chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(64).collect()
}
