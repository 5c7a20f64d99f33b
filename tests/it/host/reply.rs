//! Triggers over real HTTP: replies that are never empty, doors closed to outsiders, runs that outlive a request.

use annika::{
    error::Problem,
    host::{self, TriggerError, Triggers},
    telemetry,
};
use axum::{Router, http::StatusCode, response::IntoResponse, routing::get};
use serde_json::{Value, json};
use std::{
    io::Write,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{Notify, mpsc},
};
use tokio_util::sync::CancellationToken;

const DEADLINE: Duration = Duration::from_secs(10);

/// A handler with the timers `ok`, `quiet`, `fails`, `panics` and `waits`.
struct Handler {
    url: String,
    /// What `waits` says: begun, cancelled.
    said: mpsc::UnboundedReceiver<&'static str>,
    triggers: Triggers,
    stop: CancellationToken,
    /// Lets one run of `waits` end.
    release: Arc<Notify>,
}

async fn start() -> Handler {
    let stop = CancellationToken::new();
    let (say, said) = mpsc::unbounded_channel();
    let release = Arc::new(Notify::new());
    let may_end = Arc::clone(&release);
    let triggers = Triggers::new(stop.clone())
        .timer("ok", async |run| Ok(vec![format!("past due: {}", run.is_past_due)]))
        .timer("quiet", async |_| Ok(Vec::new()))
        .timer("fails", async |_| {
            Err(TriggerError { code: "redis_down", message: "Redis did not answer".to_owned() })
        })
        .timer("panics", async |_| panic!("a run that panics"))
        .timer("waits", move |run| {
            let (say, may_end) = (say.clone(), Arc::clone(&may_end));
            async move {
                say.send("begun").unwrap();
                run.cancel.cancelled().await;
                say.send("cancelled").unwrap();
                may_end.notified().await;
                Ok(vec!["ended in order".to_owned()])
            }
        });
    let routes = Router::new()
        .route("/api/boom", get(async || -> &'static str { panic!("a handler that panics") }))
        .route("/api/fine", get(async || "fine"))
        .fallback(async || Problem::no_route());
    let listener = host::listen(0).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(host::serve(listener, host::router(routes, triggers.clone()), stop.clone()));
    Handler { url, said, triggers, stop, release }
}

fn client() -> reqwest::Client {
    annika::app::http_client().unwrap()
}

async fn fire(handler: &Handler, name: &str, body: impl Into<reqwest::Body>) -> (u16, String, Value) {
    let request = client()
        .post(format!("{}/{name}", handler.url))
        .header("content-type", "application/json")
        .body(body);
    let reply = request.send().await.unwrap();
    let kind = reply.headers().get("content-type").unwrap().to_str().unwrap().to_owned();
    let status = reply.status().as_u16();
    let text = reply.text().await.unwrap();
    assert!(!text.is_empty(), "an empty reply hangs the invocation");
    (status, kind, serde_json::from_str(&text).unwrap())
}

#[tokio::test]
async fn a_reply_is_never_empty_and_always_json() {
    let handler = start().await;
    let body = || json!({"Data": {"t": {"IsPastDue": true}}}).to_string();
    for (name, status, logs) in [
        ("ok", 200, json!(["past due: true"])),
        ("quiet", 200, json!([])),
        ("fails", 500, json!(["Redis did not answer"])),
        ("panics", 500, json!(["the run panicked"])),
    ] {
        let expected = json!({"Outputs": {}, "Logs": logs, "ReturnValue": null});
        assert_eq!(
            fire(&handler, name, body()).await,
            (status, "application/json".to_owned(), expected),
            "{name}"
        );
    }
    let (status, _, reply) = fire(&handler, "ok", "{not json").await;
    assert_eq!((status, reply["Logs"][0].as_str().unwrap().contains("not JSON")), (500, true));
}

/// A real host took this very form for a success and showed its log lines.
#[test]
fn a_real_host_took_our_form_of_reply() {
    let Some(oracles) = annika_devkit::oracle::path("a_real_host_took_our_form_of_reply") else { return };
    let text = std::fs::read(oracles.join("golden/real-host/trigger-replies.json")).unwrap();
    let recorded: Value = serde_json::from_slice(&text).unwrap();
    let ours = |status, logs: &[&str]| {
        let logs = logs.iter().map(|line| (*line).to_owned()).collect();
        let response = host::TriggerReply { status, logs }.into_response();
        let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
        let body =
            futures::executor::block_on(axum::body::to_bytes(response.into_body(), usize::MAX)).unwrap();
        (kind, String::from_utf8(body.to_vec()).unwrap())
    };
    let (kind, body) = ours(StatusCode::OK, &["line one", "line two"]);
    let same = |row: &&Value| {
        let reply = &row["reply"];
        reply["status"] == 200
            && reply["headers"] == json!([["Content-Type", kind]])
            && reply["body"].as_str().and_then(|text| serde_json::from_str::<Value>(text).ok())
                == Some(serde_json::from_str(&body).unwrap())
    };
    let row = recorded["rows"].as_array().unwrap().iter().find(same).expect("a recorded reply of our form");
    assert_eq!((&row["outcome"], &row["user_logs"]), (&json!("succeeded"), &json!(["line one", "line two"])));
}

#[tokio::test]
async fn chunked_empty_and_large_envelopes_are_taken() {
    let handler = start().await;
    let large = json!({"Data": {"t": {"IsPastDue": false, "Filling": "x".repeat(2 << 20)}}}).to_string();
    for body in [String::new(), large] {
        let pieces = body
            .into_bytes()
            .chunks(100_000)
            .map(|piece| Ok::<_, std::io::Error>(piece.to_vec()))
            .collect::<Vec<_>>();
        let chunked = reqwest::Body::wrap_stream(futures::stream::iter(pieces));
        let (status, _, reply) = fire(&handler, "ok", chunked).await;
        assert_eq!((status, &reply["Logs"][0]), (200, &json!("past due: false")));
    }
}

#[tokio::test]
async fn triggers_are_closed_to_outsiders() {
    let handler = start().await;
    let client = client();
    let post = |path: &str| client.post(format!("{}{path}", handler.url));
    let unknown = post("/nothing-here").send().await.unwrap();
    assert_eq!(unknown.status(), 404);
    let unknown = unknown.text().await.unwrap();
    assert_eq!(serde_json::from_str::<Value>(&unknown).unwrap()["status"], 404);

    let outsiders = [
        post("/ok").header("X-Forwarded-For", "203.0.113.7"),
        post("/ok").header("x-forwarded-for", ""),
        client.get(format!("{}/ok", handler.url)),
        client.put(format!("{}/ok", handler.url)),
        post("/OK"),
        post("/ok/"),
        post("//ok"),
        post("/api/../ok/x"),
        post("/%6Fk"),
        post("/x/..%5Cok"),
    ];
    for request in outsiders {
        let request = request.body("{}").build().unwrap();
        let told = format!("{} {}", request.method(), request.url());
        let reply = client.execute(request).await.unwrap();
        assert_eq!(reply.status(), 404, "{told}");
        assert_eq!(reply.headers()["content-type"], "application/problem+json");
        assert_eq!(reply.text().await.unwrap(), unknown, "{told}: no word more than for an unknown route");
    }
}

#[tokio::test]
async fn a_panic_is_answered_and_the_next_request_is_served() {
    let handler = start().await;
    let client = client();
    for _ in 0..3 {
        let reply = client.get(format!("{}/api/boom", handler.url)).send().await.unwrap();
        assert_eq!(reply.status(), 500);
        assert_eq!(reply.json::<Value>().await.unwrap()["status"], 500);
    }
    for path in ["/api/fine", "/"] {
        assert_eq!(client.get(format!("{}{path}", handler.url)).send().await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn a_closed_connection_ends_that_run_only_and_in_order() {
    let mut handler = start().await;
    let address = handler.url.strip_prefix("http://").unwrap().to_owned();
    let request = format!("POST /waits HTTP/1.1\r\nHost: {address}\r\nContent-Length: 2\r\n\r\n{{}}");
    let mut first = TcpStream::connect(&address).await.unwrap();
    let mut second = TcpStream::connect(&address).await.unwrap();
    first.write_all(request.as_bytes()).await.unwrap();
    assert_eq!(next(&mut handler).await, "begun");
    second.write_all(request.as_bytes()).await.unwrap();
    assert_eq!(next(&mut handler).await, "begun");
    drop(first);
    assert_eq!(next(&mut handler).await, "cancelled");
    assert!(handler.said.try_recv().is_err(), "the other run goes on");
    assert_eq!(client().get(format!("{}/", handler.url)).send().await.unwrap().status(), 200);

    // The process drains: the run ends in order and its caller still gets the reply.
    handler.stop.cancel();
    assert_eq!(next(&mut handler).await, "cancelled");
    handler.release.notify_one();
    let mut drained = Box::pin(handler.triggers.drained());
    assert!(futures::poll!(&mut drained).is_pending(), "a run whose caller has left is waited for");
    handler.release.notify_one();
    tokio::time::timeout(DEADLINE, drained).await.unwrap();
    let mut reply = String::new();
    tokio::time::timeout(DEADLINE, second.read_to_string(&mut reply)).await.unwrap().unwrap();
    assert!(reply.starts_with("HTTP/1.1 200") && reply.contains("ended in order"), "{reply}");
}

async fn next(handler: &mut Handler) -> &'static str {
    tokio::time::timeout(DEADLINE, handler.said.recv()).await.expect("in time").expect("a word")
}

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Write::write(&mut *self.0.lock().unwrap(), bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The host drops what a failed reply says, so the log has to: with the invocation's id, which is kept to one line.
#[test]
fn a_failure_is_logged_with_its_invocation_id() {
    let sink = Sink::default();
    let output = sink.clone();
    let settings = annika::config::TelemetrySettings { filter: "info".into() };
    let subscriber = telemetry::subscriber(&settings, telemetry::MaskedLines::new(move || output.clone()));
    tracing::subscriber::with_default(subscriber, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let handler = start().await;
            let request = client().post(format!("{}/fails", handler.url)).body("{}");
            request.header("X-Azure-Functions-InvocationId", "0c5f8b1e-1111;?code=x").send().await.unwrap();
        });
    });
    let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let failed: Vec<_> = lines.iter().filter(|line| line["level"] == "ERROR").collect();
    assert_eq!(failed.len(), 1, "{text}");
    assert_eq!(failed[0]["invocation_id"], "0c5f8b1e-1111codex");
    assert_eq!((&failed[0]["function"], &failed[0]["code"]), (&json!("fails"), &json!("redis_down")));
    assert!(failed[0]["message"].as_str().unwrap().contains("Redis did not answer"));
}
