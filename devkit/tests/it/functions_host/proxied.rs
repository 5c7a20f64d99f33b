//! Proxying end to end over sockets: the recorded exchanges of the real proxy.

use super::{
    golden::{Tally, expand_runs, latin1, load, vectors},
    staged::Staged,
    wire::{Message, RawClient, RawHandler, Reply, ask, attached, eventually, parse},
};
use annika_devkit::functions_host::{FunctionsHost, HostOptions, InvocationOutcome};
use serde_json::{Value, json};
use std::time::Duration;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn catch_all() -> Staged {
    let staged = Staged::new();
    staged.http("web", "{*path}", &[], "anonymous");
    staged
}

#[tokio::test]
async fn mode_c_paths() {
    let name = "real-host/paths.json";
    let Some(file) = load(name) else { return };
    let handler = RawHandler::start(|_, _| Reply::Bytes(OK.to_vec())).await;
    let staged = Staged::new();
    staged.host_json(&json!({"extensions": {"http": {"routePrefix": "api"}}}));
    staged.http("hello", "", &[], "anonymous").http("x", "x/{p}", &[], "anonymous");
    staged.http("cat", "c/{*rest}", &[], "anonymous").http("items", "items/{id:int?}", &[], "anonymous");
    staged.timer("tick", "0 0 0 1 1 *");
    // The recording host ran on .NET 10, which takes a raw '#'.
    let options = HostOptions { accept_hash: true, ..attached(staged.options(), handler.port) };
    let host = FunctionsHost::start(options).await.unwrap();
    let mut tally = Tally::new(&format!("{name}, mode C column"));
    for row in vectors(&file) {
        let target = row["client_target"].as_str().unwrap();
        let before = handler.requests().len();
        let answer = ask(&host, &format!("GET {target} HTTP/1.1\r\nHost: app.example.net\r\n\r\n")).await;
        let received: Vec<Value> = handler.requests()[before..]
            .iter()
            .map(|raw| {
                let line = parse(raw, false, true).unwrap().0.start;
                json!(line.split(' ').nth(1))
            })
            .collect();
        let function = host.invocations().last().map(|record| record.function.clone());
        let (got_function, expected_function) = match row["A_function"].as_str() {
            Some(path) if !received.is_empty() => (function, Some(path.trim_start_matches('/').to_owned())),
            _ => (None, None),
        };
        let got = json!([answer.status(), received.first(), received.len(), got_function]);
        let arrived = usize::from(!row["handler_target_C"].is_null());
        let target_c = Some(&row["handler_target_C"]).filter(|target| !target.is_null());
        let expected = json!([row["client_status_C"], target_c, arrived, expected_function]);
        tally.check(target, &got, &expected);
    }
    tally.finish();
    host.stop().await;
}

#[tokio::test]
async fn trigger_replies() {
    let name = "real-host/trigger-replies.json";
    let Some(file) = load(name) else { return };
    let mut tally = Tally::new(name);
    for row in vectors(&file) {
        let reply = row["reply"].clone();
        let handler = RawHandler::start(move |request, before| {
            if before == 1 {
                assert!(request.starts_with(b"GET /elsewhere2 HTTP/1.1\r\n"));
                let body = "{\"Logs\":[\"after redirect\"]}";
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                );
                return Reply::Bytes(head.into_bytes());
            }
            if reply["closeconn"] == true {
                return Reply::Close;
            }
            if let Some(raw) = reply["raw"].as_str() {
                return Reply::Bytes(latin1(raw));
            }
            let body = reply["body"].as_str().unwrap();
            let mut head =
                format!("HTTP/1.1 {} {}\r\n", reply["status"], reply["reason"].as_str().unwrap_or("X"));
            for header in reply["headers"].as_array().unwrap() {
                head += &format!("{}: {}\r\n", header[0].as_str().unwrap(), header[1].as_str().unwrap());
            }
            Reply::Bytes(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes())
        })
        .await;
        let staged = Staged::new();
        staged.timer("tick", "0 0 0 1 1 *");
        let host = FunctionsHost::start(attached(staged.options(), handler.port)).await.unwrap();
        let outcome = host.fire("tick").await.unwrap();
        let got = match outcome {
            InvocationOutcome::Succeeded { logs } => json!(["succeeded", logs, ""]),
            InvocationOutcome::Failed { error } => json!(["failed", [], error.split(':').next().unwrap()]),
            InvocationOutcome::NeverCompleted { .. } => {
                json!(["hangs until functionTimeout, then failed", [], ""])
            }
        };
        // The host's text begins with the exception's type and goes on with a stack trace.
        let error = row["error"].as_str().unwrap_or("").split_once(": ").map_or("", |(_, text)| text);
        let error = error.split(':').next().unwrap().split(" --->").next().unwrap();
        let got_error = got[2].as_str().unwrap().to_owned();
        let same_error =
            if error.starts_with("An error") { got_error.starts_with(error) } else { got_error == error };
        tally.check(
            &row["reply"].to_string(),
            &json!([got[0], got[1], same_error]),
            &json!([row["outcome"], row["user_logs"], true]),
        );
        host.stop().await;
    }
    tally.finish();
}

const ID: &str = "0c5f8b1e-3d0a-4a6f-9d57-2f1f6c3a9b10";

/// A message with what differs from run to run taken out; header names in lower case, in sorted order.
pub(super) fn masked(message: &Message) -> Value {
    let headers = message.headers.iter().filter(|(name, _)| name != "traceparent").map(|(name, value)| {
        let value = match name.as_str() {
            "x-azure-functions-invocationid" | "x-ms-invocation-id" if value.len() == ID.len() => "{id}",
            "date" if value.ends_with("GMT") && !value.contains("2024") || value == "{date}" => "{date}",
            "host" if value.starts_with("127.0.0.1:") => "127.0.0.1:{handler port}",
            _ => value.as_str(),
        };
        format!("{name}: {value}")
    });
    let headers: Vec<String> = headers.collect();
    let body = String::from_utf8_lossy(&message.body).into_owned();
    let body = if body.len() > 200 { format!("{} bytes", body.len()) } else { body };
    json!({"start": message.start, "headers": headers, "body": body})
}

fn all_messages(text: &str, head_only: bool) -> Vec<Message> {
    let bytes = latin1(&expand_runs(text));
    let mut messages = Vec::new();
    let mut at = 0;
    while let Some((message, length, _)) = parse(&bytes[at..], head_only, true) {
        messages.push(message);
        at += length;
    }
    messages
}

fn shown(messages: &[Message]) -> Vec<Value> {
    messages.iter().map(masked).collect()
}

/// Why a vector is not replayed; `None` for those in scope.
fn out_of_scope(row: &Value) -> Option<&'static str> {
    let case = row["case"].as_str().unwrap();
    let request = row["request_in"].as_str().unwrap().to_ascii_lowercase();
    if request.contains("websocket")
        || case.contains("101")
        || case.contains("upgrade") && !case.contains("hop")
    {
        return Some("WebSockets, which Functions does not support");
    }
    if case.contains("activity timeout") || case.contains("waits 3 s") {
        return Some("long silences");
    }
    if case.contains("client leaves") || case.contains("half-closes") || case.contains("client closes") {
        return Some("a client that leaves: has tests of its own");
    }
    if case.contains("client waits") || case.contains("refuses without reading") {
        return Some("pauses between the pieces of a request");
    }
    None
}

struct Replayed {
    requests: Vec<Message>,
    connections: usize,
    responses: Vec<Message>,
    complete: bool,
    closed: bool,
}

async fn replay(row: Value, reply: Option<Reply>, answer_from: usize) -> Replayed {
    let handler = match reply {
        Some(reply) => Some(
            RawHandler::start(
                move |_, before| {
                    if before < answer_from { Reply::Close } else { reply.clone() }
                },
            )
            .await,
        ),
        None => None,
    };
    // Nobody listens on port 1.
    let port = handler.as_ref().map_or(1, |handler| handler.port);
    let staged = catch_all();
    let host = FunctionsHost::start(attached(staged.options(), port)).await.unwrap();
    let mut client = RawClient::connect(&host).await;
    let text = expand_runs(row["request_in"].as_str().unwrap());
    let method = text.split(' ').next().unwrap().to_owned();
    client.send(&latin1(&text)).await;
    let expected = all_messages(row["response_out"].as_str().unwrap_or(""), method == "HEAD").len().max(1);
    let then = row["then_sent"].as_array().cloned().unwrap_or_default();
    let next_request = then.iter().any(|piece| piece["bytes"].as_str().unwrap().contains("HTTP/1.1\r\n"));
    let (mut responses, mut complete) = (Vec::new(), true);
    if next_request {
        (responses, complete) = client.read(1, &method).await;
    }
    for piece in &then {
        client.send(&latin1(&expand_runs(piece["bytes"].as_str().unwrap()))).await;
    }
    let rest = client.read(expected - responses.len(), &method);
    let (more, all) = tokio::time::timeout(Duration::from_secs(20), rest).await.unwrap_or_default();
    responses.extend(more);
    complete &= all;
    let closes = row["client_connection"] != "still open";
    let closed = closes && client.is_closed().await;
    let requests = handler.as_ref().map(RawHandler::requests).unwrap_or_default();
    let requests =
        requests.iter().map(|raw| parse(raw, false, true).map(|(message, _, _)| message).unwrap_or_default());
    let replayed = Replayed {
        requests: requests.collect(),
        connections: handler.as_ref().map_or(0, RawHandler::connections),
        responses,
        complete,
        closed,
    };
    host.stop().await;
    replayed
}

/// The one row that describes its bytes instead of holding them.
fn write_out_headers(row: &mut Value) {
    let many: String = (1..=99).map(|number| format!("X-{number}: v\r\n")).collect();
    let own = format!(
        "X-Azure-Functions-HostVersion: 4.1037.0.0\r\nX-Azure-Functions-InvocationId: {ID}\r\nx-ms-invocation-id: {ID}\r\n"
    );
    let forwarded =
        "X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Host: localhost\r\nX-Forwarded-Proto: http\r\n";
    row["request_in"] = json!(format!("GET /x HTTP/1.1\r\nHost: localhost\r\n{many}\r\n"));
    row["request_out"] = json!(format!("GET /x HTTP/1.1\r\nHost: 127.0.0.1:1\r\n{many}{own}{forwarded}\r\n"));
}

#[tokio::test]
async fn proxied_requests() {
    let name = "proxied-requests.json";
    let Some(file) = load(name) else { return };
    let mut tally = Tally::new(name);
    let mut running = Vec::new();
    for mut row in vectors(&file) {
        let reply = match row["case"].as_str().unwrap() {
            // The recording's handler answers this one in its own way.
            "method HEAD" => b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\nX-A: b\r\n\r\n".to_vec(),
            "100 headers" => {
                write_out_headers(&mut row);
                OK.to_vec()
            }
            _ => OK.to_vec(),
        };
        match out_of_scope(&row) {
            Some(reason) => tally.skip(reason),
            None => running.push((row.clone(), tokio::spawn(replay(row, Some(Reply::Bytes(reply)), 0)))),
        }
    }
    for (row, run) in running {
        let replayed = run.await.unwrap();
        let case = row["case"].as_str().unwrap();
        let head_only = row["request_in"].as_str().unwrap().starts_with("HEAD");
        let expected = json!({
            "request": shown(&all_messages(row["request_out"].as_str().unwrap_or(""), false)),
            "response": shown(&all_messages(row["response_out"].as_str().unwrap(), head_only)),
            "closed": row["client_connection"] != "still open",
        });
        let got = json!({
            "request": shown(&replayed.requests),
            "response": shown(&replayed.responses),
            "closed": replayed.closed,
        });
        tally.check(case, &got, &expected);
    }
    tally.finish();
}

#[tokio::test]
async fn proxied_responses() {
    let name = "proxied-responses.json";
    let Some(file) = load(name) else { return };
    let mut tally = Tally::new(name);
    let mut running = Vec::new();
    for row in vectors(&file) {
        let case = row["case"].as_str().unwrap().to_owned();
        if comes_back(&case) {
            tally.skip("the handler comes back: counted apart");
            continue;
        }
        if let Some(reason) = out_of_scope(&row) {
            tally.skip(reason);
            continue;
        }
        let mut answer_from = 0;
        let reply = match row["handler_response"].as_str() {
            Some(text) => Some(match text.strip_suffix("(then closes)") {
                Some(text) => Reply::BytesThenClose(latin1(&expand_runs(text))),
                None => Reply::Bytes(latin1(&expand_runs(text))),
            }),
            None if case.contains("closes without an answer") => Some(Reply::Close),
            None if case.contains(", then resets") => Some(Reply::Reset),
            None if case.contains("connection refused") => None,
            None if case.contains("drops the first two") => {
                answer_from = 2;
                Some(Reply::Bytes(OK.to_vec()))
            }
            None if case.contains("second request reuses") => Some(Reply::Bytes(OK.to_vec())),
            None => {
                tally.skip("a handler that acts in the middle of a message");
                continue;
            }
        };
        running.push((row.clone(), tokio::spawn(replay(row, reply, answer_from))));
    }
    for (row, run) in running {
        let replayed = run.await.unwrap();
        let case = row["case"].as_str().unwrap();
        let head_only = row["request_in"].as_str().unwrap().starts_with("HEAD");
        let is_cut = row["client_connection"] == "reset";
        let reuse = case.contains("second request reuses");
        let refused = case.contains("connection refused");
        let times = match row["request_out_times"].as_u64() {
            Some(times) => times,
            None if refused => 0,
            None if reuse => 2,
            None => 1,
        };
        let expected = if is_cut {
            // How much of a cut answer arrives before the reset is chance.
            json!({"times": times, "complete": false})
        } else {
            json!({
                "times": times,
                "response": shown(&all_messages(row["response_out"].as_str().unwrap(), head_only)),
                "connections": reuse.then_some(1),
            })
        };
        let got = if is_cut {
            json!({"times": replayed.requests.len(), "complete": replayed.complete})
        } else {
            json!({
                "times": replayed.requests.len(),
                "response": shown(&replayed.responses),
                "connections": reuse.then_some(replayed.connections),
            })
        };
        tally.check(case, &got, &expected);
    }
    tally.finish();
}

fn comes_back(case: &str) -> bool {
    case.contains("then up: ") || case.contains("listens again on the same port")
}

/// The handler listens late, or dies with the request in its hands and listens again on the same port.
#[tokio::test]
async fn a_handler_that_comes_back() {
    let name = "proxied-responses.json";
    let Some(file) = load(name) else { return };
    let mut tally = Tally::new(&format!("{name}, the handler comes back"));
    for row in vectors(&file) {
        let case = row["case"].as_str().unwrap();
        if !comes_back(case) {
            tally.skip("counted apart");
            continue;
        }
        let mut first = RawHandler::start(|_, _| Reply::Close).await;
        let staged = catch_all();
        let host = FunctionsHost::start(attached(staged.options(), first.port)).await.unwrap();
        let dies = case.contains("dies");
        if !dies {
            first.stop().await;
        }
        let mut client = RawClient::connect(&host).await;
        let text = row["request_in"].as_str().unwrap();
        client.send(&latin1(text)).await;
        if dies {
            eventually("the request arrives", || (!first.requests().is_empty()).then_some(())).await;
            first.stop().await;
        } else {
            eventually("the request is on its way", || host.invocations().pop()).await;
        }
        let second = RawHandler::listen(first.port, |_, _| Reply::Bytes(OK.to_vec())).await;
        let (responses, _) = client.read(1, "GET").await;
        let expected_out = all_messages(row["response_out"].as_str().unwrap(), false);
        let by_new = row["requests_seen_by_the_new_process"].as_u64().unwrap_or(1);
        tally.check(
            case,
            &json!([shown(&responses), second.requests().len()]),
            &json!([shown(&expected_out), by_new]),
        );
        host.stop().await;
    }
    tally.finish();
}

#[tokio::test]
async fn a_client_that_leaves_closes_the_request() {
    // No answer ever comes: only the client's leaving can end the exchange.
    let handler = RawHandler::start(|_, _| Reply::Bytes(Vec::new())).await;
    let staged = catch_all();
    let host = FunctionsHost::start(attached(staged.options(), handler.port)).await.unwrap();
    for half in [false, true] {
        let mut client = RawClient::connect(&host).await;
        client.send(b"GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        let sent = usize::from(half) + 1;
        eventually("the request arrives", || (handler.requests().len() == sent).then_some(())).await;
        if half {
            client.half_close().await;
        } else {
            drop(client);
        }
        let record = eventually("the exchange ends", || {
            host.invocations().pop().filter(|record| record.ended.is_some())
        })
        .await;
        assert_eq!((record.status, record.sent), (None, 1));
    }
    host.stop().await;
}
