//! The host's front end: accepts clients, finds the function, asks for the key, hands the request to the proxy.

use super::{
    auth::Caller,
    error::HostError,
    host::Inner,
    http1::{
        Connection, Framing,
        server::{RequestHead, Unread, response_head},
    },
    invoke::{Job, after},
    log::Level,
    process::State,
    proxy::{Limits, Proxied, empty_response},
    random,
    records::Cause,
    routes::{Target, read_target},
};
use std::sync::Arc;
use tokio::{net::TcpListener, task::JoinSet};

/// Serves until the host shuts down.
pub(super) async fn serve(listener: TcpListener, inner: Arc<Inner>) {
    let mut state = inner.handler.state();
    let mut clients = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let inner = inner.clone();
                    clients.spawn(async move { client(Connection::new(stream), peer.ip().to_string(), inner).await });
                }
                Err(why) => inner.log.host(Level::Error, format!("accepting a client: {why}")),
            },
            Some(_ended) = clients.join_next() => {}
            Ok(_) = state.wait_for(|state| matches!(state, State::Stopped(_))) => return,
        }
    }
}

async fn client(mut connection: Connection, peer: String, inner: Arc<Inner>) {
    loop {
        let head = match connection.read_request_head().await {
            Ok(head) => head,
            Err(Unread::Gone) => return,
            Err(Unread::Refused(status)) => {
                let answer = empty_response(status, false, false, &inner.http_date());
                // A client that is gone needs no answer.
                let _gone = connection.send(&answer).await;
                return;
            }
        };
        let next = inner.answer(&mut connection, &head, &peer).await;
        match next {
            Next::Keep => {}
            Next::Close => return,
            Next::Reset => {
                connection.reset();
                return;
            }
        }
    }
}

enum Next {
    Keep,
    Close,
    Reset,
}

/// An answer of the host's own.
struct Own {
    status: u16,
    kind: Option<&'static str>,
    body: String,
    allow: Option<&'static str>,
}

impl Own {
    fn empty(status: u16) -> Self {
        Self { status, kind: None, body: String::new(), allow: None }
    }

    fn text(status: u16, kind: &'static str, body: impl Into<String>) -> Self {
        Self { status, kind: Some(kind), body: body.into(), allow: None }
    }
}

impl Inner {
    async fn answer(&self, client: &mut Connection, head: &RequestHead, peer: &str) -> Next {
        let host = head.host();
        let target = match read_target(&head.method, &head.target, Some(&host), self.accept_hash) {
            Ok(target) => target,
            Err(refused) => {
                let allow = (refused.status == 405).then_some("OPTIONS");
                return self.own(client, head, Own { allow, ..Own::empty(refused.status) }, false).await;
            }
        };
        if self.until_serving().await.is_err() {
            return self
                .own(client, head, Own::text(503, "text/plain", "Function host is not running."), false)
                .await;
        }
        let admin = target.path.to_ascii_lowercase();
        if admin == "/admin" || admin.starts_with("/admin/") || admin.starts_with("/runtime/") {
            return self.admin(client, head, &target).await;
        }
        let Some((name, _values)) = self.table.pick(&head.method, &target.path) else {
            let own = if target.path == "/" {
                Own::text(
                    200,
                    "text/html",
                    "<!DOCTYPE html><title>Functions host emulator</title><p>Your functions app is up and running.</p>",
                )
            } else {
                Own::empty(404)
            };
            return self.own(client, head, own, true).await;
        };
        let Some(function) = self.app.function(name) else {
            return self.own(client, head, Own::empty(404), true).await;
        };
        let Some(http) = function.http().filter(|_| !function.disabled) else {
            return self.own(client, head, Own::empty(404), true).await;
        };
        let caller =
            self.keys.caller(Some(name), head.headers.first("x-functions-key").as_deref(), &target.query);
        if !self.keys.allows(http.auth_level, caller) {
            return self.own(client, head, Own::empty(401), true).await;
        }
        let id = random::id();
        let cause = Cause::Http { method: head.method.clone(), path: target.path.clone() };
        self.records.begin(&id, name, cause, 0, self.clock.now());
        let date = self.http_date();
        let limits = Limits { front_end: self.front_end_timeout, activity: self.activity_timeout };
        let proxied = Proxied { head, target: &target, id: &id, peer, date: &date, limits };
        let outcome = tokio::select! {
            outcome = proxied.run(client, &self.pool) => Some(outcome),
            _limit = after(self.app.config.function_timeout) => None,
        };
        match outcome {
            Some(exchange) => {
                if let Some(why) = &exchange.error {
                    self.log.host(Level::Warning, format!("Executed 'Functions.{name}' (Id={id}): {why}"));
                }
                self.records.end_http(&id, self.clock.now(), exchange.status, exchange.sent, exchange.error);
                match (exchange.reset, exchange.keep) {
                    (true, _) => Next::Reset,
                    (false, true) => Next::Keep,
                    (false, false) => Next::Close,
                }
            }
            None => {
                self.handler.timed_out();
                let why = format!("Timeout value exceeded by function 'Functions.{name}' (Id: '{id}')");
                self.log.host(Level::Error, why.clone());
                self.records.end_http(&id, self.clock.now(), Some(500), 1, Some(why));
                self.own(client, head, Own::empty(500), false).await
            }
        }
    }

    async fn own(&self, client: &mut Connection, head: &RequestHead, own: Own, keep: bool) -> Next {
        self.own_after(client, head, own, keep, &mut head.framing.clone()).await
    }

    /// Like `own`, where some of the body was read already.
    async fn own_after(
        &self,
        client: &mut Connection,
        head: &RequestHead,
        own: Own,
        keep: bool,
        framing: &mut Framing,
    ) -> Next {
        let keep = keep && head.keep_alive;
        let mut headers = vec![("Content-Length".to_owned(), own.body.len().to_string().into_bytes())];
        if let Some(kind) = own.kind {
            headers.push(("Content-Type".to_owned(), kind.as_bytes().to_vec()));
        }
        if let Some(allow) = own.allow {
            headers.push(("Allow".to_owned(), allow.as_bytes().to_vec()));
        }
        if !keep {
            headers.push(("Connection".to_owned(), b"close".to_vec()));
        }
        let mut answer = response_head(own.status, "", &headers, &self.http_date());
        if head.method != "HEAD" {
            answer.extend_from_slice(own.body.as_bytes());
        }
        if client.send(&answer).await.is_err() || !keep {
            return Next::Close;
        }
        // A body that nobody read would be taken for the next request.
        if client.drain(framing).await { Next::Keep } else { Next::Close }
    }

    /// The admin API: status, ping, and firing a trigger.
    async fn admin(&self, client: &mut Connection, head: &RequestHead, target: &Target) -> Next {
        let path = target.path.trim_end_matches('/').to_ascii_lowercase();
        let caller = self.keys.caller(None, head.headers.first("x-functions-key").as_deref(), &target.query);
        if path == "/admin/host/ping" && matches!(head.method.as_str(), "GET" | "POST") {
            return self.own(client, head, Own::empty(200), true).await;
        }
        let known = path == "/admin/host/status" && head.method == "GET";
        let function = path.strip_prefix("/admin/functions/").filter(|_| head.method == "POST");
        if !known && function.is_none() {
            return self.own(client, head, Own::empty(404), true).await;
        }
        let refused = match caller {
            Caller::Master => None,
            _ if !self.keys.enforced => None,
            Caller::Function => Some(403),
            Caller::Unknown => Some(401),
        };
        if let Some(status) = refused {
            return self.own(client, head, Own::empty(status), true).await;
        }
        let Some(name) = function else {
            let status =
                format!("{{\"state\":\"Running\",\"version\":\"{}\"}}", super::envelope::HOST_VERSION);
            return self.own(client, head, Own::text(200, "application/json", status), true).await;
        };
        let kind = head.headers.first("content-type").unwrap_or_default().to_ascii_lowercase();
        if kind.split(';').next().map(str::trim) != Some("application/json") {
            return self.own(client, head, Own::empty(415), true).await;
        }
        let mut framing = head.framing;
        let mut body = Vec::new();
        loop {
            match client.body_piece(&mut framing).await {
                Ok(Some(piece)) => body.extend_from_slice(&piece),
                Ok(None) => break,
                Err(_) => return Next::Close,
            }
        }
        let Ok(serde_json::Value::Object(fields)) = serde_json::from_slice(&body) else {
            return self.own_after(client, head, Own::empty(400), true, &mut framing).await;
        };
        let input = fields.iter().find(|(name, _)| name.eq_ignore_ascii_case("input"));
        let input = match input {
            Some((_, serde_json::Value::String(text))) => Some(text.clone()),
            Some((_, serde_json::Value::Null)) | None => None,
            Some(_) => return self.own_after(client, head, Own::empty(400), true, &mut framing).await,
        };
        let status = match self.manual_job(name, input) {
            Ok(job) => {
                self.spawn_job(job);
                202
            }
            // Accepted too, but such a run without a request never reaches the handler.
            Err(HostError::NotATrigger { .. }) => 202,
            Err(_) => 404,
        };
        self.own_after(client, head, Own::empty(status), true, &mut framing).await
    }

    /// Runs a trigger in the background; it is in the records and in the log.
    pub(super) fn spawn_job(&self, job: Job) {
        let Some(inner) = self.me.upgrade() else { return };
        tokio::spawn(async move {
            if let Err(why) = inner.run_trigger(&job).await {
                inner.log.host(Level::Error, format!("Functions.{}: {why}", job.function.name));
            }
        });
    }
}
