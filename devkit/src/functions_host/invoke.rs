//! Runs triggers: the POST to the handler, its answer, redirects, time-out and retries.

use super::{
    app::LoadedFunction,
    clock::pause,
    envelope::{Invocation, InvocationOutcome, TriggerReply, envelope, request_bytes, retry_context},
    error::HostError,
    host::Inner,
    http1::{WireError, client::ResponseHead},
    log::Level,
    process::State,
    random,
    records::Cause,
};
use std::time::Duration;

/// Most redirects that the host's client follows.
const REDIRECTS: usize = 50;

/// A trigger that is to run.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) function: LoadedFunction,
    /// The trigger object, as JSON text.
    pub(super) data: String,
    pub(super) cause: Cause,
    pub(super) input: Option<String>,
}

impl Inner {
    /// Waits until the handler takes requests.
    pub(super) async fn until_serving(&self) -> Result<(), HostError> {
        let mut state = self.handler.state();
        // The host waits for three restarts and the first start.
        let limit = self.app.config.initialization_timeout.saturating_mul(4);
        let settled = async {
            loop {
                let now = state.borrow_and_update().clone();
                match now {
                    State::Ready | State::Ended => return Ok(()),
                    State::Stopped(reason) | State::Unstartable(reason) => {
                        return Err(HostError::Stopped { reason });
                    }
                    State::Starting => {}
                }
                if state.changed().await.is_err() {
                    return Err(HostError::Stopped { reason: "the host was dropped".to_owned() });
                }
            }
        };
        tokio::select! {
            settled = settled => settled,
            () = pause(limit) => Err(HostError::Stopped { reason: "Initialization timed out and host is shutting down".to_owned() }),
        }
    }

    /// Runs a trigger to its end, retries included.
    pub(super) async fn run_trigger(&self, job: &Job) -> Result<InvocationOutcome, HostError> {
        let mut retry = 0_u32;
        let mut failed: Option<(String, String)> = None;
        loop {
            self.until_serving().await?;
            let id = random::id();
            let context = job.function.retry.map(|policy| {
                let before = failed.as_ref().map(|(id, why)| (id.as_str(), why.as_str()));
                retry_context(&job.function.name, retry, policy.max_retry_count, before)
            });
            let random = random::id();
            let body = envelope(&Invocation {
                function: &job.function.name,
                binding: &job.function.binding,
                data: &job.data,
                id: &id,
                random: &random,
                now: self.clock.now(),
                input: job.input.as_deref(),
                retry: context.as_deref(),
            });
            self.records.begin(&id, &job.function.name, job.cause.clone(), retry, self.clock.now());
            let outcome = self.attempt(&job.function.name, &id, &body).await;
            self.records.end(&id, self.clock.now(), &outcome);
            let why = match &outcome {
                InvocationOutcome::Succeeded { logs } => {
                    let name = &job.function.name;
                    for line in logs {
                        self.log.host(Level::Information, format!("Functions.{name}: {line}"));
                    }
                    self.log.host(
                        Level::Information,
                        format!("Executed 'Functions.{name}' (Succeeded, Id={id})"),
                    );
                    return Ok(outcome);
                }
                InvocationOutcome::Failed { error } => error.clone(),
                InvocationOutcome::NeverCompleted { why } => why.clone(),
            };
            self.log.host(
                Level::Error,
                format!("Executed 'Functions.{}' (Failed, Id={id}): {why}", job.function.name),
            );
            let Some(policy) = job.function.retry else { return Ok(outcome) };
            if policy.max_retry_count >= 0 && i64::from(retry) >= policy.max_retry_count {
                return Ok(outcome);
            }
            retry += 1;
            failed = Some((id, why));
            let wait = i64::try_from(policy.delay(retry).as_nanos() / 100).unwrap_or(i64::MAX / 2);
            self.clock.sleep_until(super::ticks::Ticks(self.clock.now().0.saturating_add(wait))).await;
        }
    }

    async fn attempt(&self, function: &str, id: &str, body: &str) -> InvocationOutcome {
        let answered = async {
            let outcome = match self.post(function, id, body).await {
                Ok(reply) => reply.outcome(),
                Err(why) => InvocationOutcome::Failed {
                    error: format!("An error occurred while sending the request. {why}"),
                },
            };
            if self.hang_never_completed && matches!(outcome, InvocationOutcome::NeverCompleted { .. }) {
                std::future::pending::<()>().await;
            }
            outcome
        };
        tokio::select! {
            outcome = answered => outcome,
            limit = after(self.app.config.function_timeout) => {
                self.handler.timed_out();
                let shown = super::span::format_time_span(super::ticks::Ticks(
                    i64::try_from(limit.as_nanos() / 100).unwrap_or(i64::MAX),
                ));
                InvocationOutcome::Failed {
                    error: format!("Timeout value of {shown} exceeded by function 'Functions.{function}' (Id: '{id}'). Initiating cancellation."),
                }
            }
        }
    }

    async fn post(&self, function: &str, id: &str, body: &str) -> Result<TriggerReply, WireError> {
        let port = self.pool.port();
        let original = request_bytes(function, port, id, body);
        let (mut reply, mut location) = self.exchange("POST", &original).await?;
        for _redirect in 0..REDIRECTS {
            let Some(to) = location.filter(|_| matches!(reply.status, 301 | 302 | 303 | 307 | 308)) else {
                break;
            };
            let own = format!("http://127.0.0.1:{port}");
            let path = to.strip_prefix(&own).unwrap_or(&to).to_owned();
            if !path.starts_with('/') {
                break;
            }
            let keeps_method = matches!(reply.status, 307 | 308);
            let request = if keeps_method {
                request_bytes(path.trim_start_matches('/'), port, id, body)
            } else {
                format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n").into_bytes()
            };
            (reply, location) = self.exchange(if keeps_method { "POST" } else { "GET" }, &request).await?;
        }
        Ok(reply)
    }

    async fn exchange(
        &self,
        method: &str,
        request: &[u8],
    ) -> Result<(TriggerReply, Option<String>), WireError> {
        let mut connection = self.pool.take().await?;
        connection.send(request).await?;
        let head: ResponseHead = connection.read_response_head().await?;
        let mut framing = head.framing(method)?;
        let reusable = head.keeps_alive(framing);
        let mut body = Vec::new();
        while let Some(piece) = connection.body_piece(&mut framing).await? {
            body.extend_from_slice(&piece);
        }
        if reusable {
            self.pool.give(connection);
        }
        let reply = TriggerReply {
            status: head.status,
            reason: head.reason.clone(),
            content_type: head.headers.first("content-type"),
            body,
        };
        Ok((reply, head.headers.first("location")))
    }
}

/// Completes when the limit is over; never where there is none.
pub(super) async fn after(limit: Option<Duration>) -> Duration {
    match limit {
        Some(limit) => {
            pause(limit).await;
            limit
        }
        None => std::future::pending().await,
    }
}
