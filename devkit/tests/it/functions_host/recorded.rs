//! The exchanges that a real host proxied (mode C), replayed through the emulator.

use super::{
    golden::{Tally, latin1, text},
    proxied::masked,
    staged::Staged,
    wire::{Message, RawClient, RawHandler, Reply, attached, parse},
};
use annika_devkit::functions_host::FunctionsHost;
use serde_json::{Value, json};

/// The handler's answer where the recording does not say another.
const ANSWER: &str = "HTTP/1.1 200 X\r\nContent-Type: application/json\r\nContent-Length: 43\r\n\r\n\
                      {\"Outputs\":{},\"Logs\":[],\"ReturnValue\":null}";

fn app() -> Staged {
    let staged = Staged::new();
    staged.host_json(&json!({"extensions": {"http": {"routePrefix": "api"}}}));
    staged.http("hello", "", &[], "anonymous").http("x", "x/{p}", &[], "anonymous");
    staged.http("keyed", "", &[], "function");
    staged
}

/// The part of a recording under a marker. Bytes that are no text were written as `\xNN`.
fn part(recording: &str, marker: &str) -> Vec<u8> {
    let (_, after) = recording.split_once(&format!("{marker}\n")).unwrap();
    let end = ["\n>>> ", "\n--- "].iter().filter_map(|next| after.find(next)).min();
    let mut text = end.map_or(after.strip_suffix('\n').unwrap_or(after), |end| &after[..end]);
    let mut bytes = Vec::new();
    while let Some((before, rest)) = text.split_once("\\x") {
        bytes.extend(latin1(before));
        bytes.push(u8::from_str_radix(&rest[..2], 16).unwrap());
        text = &rest[2..];
    }
    bytes.extend(latin1(text));
    bytes
}

fn only(bytes: &[u8]) -> Message {
    parse(bytes, false, true).unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(bytes))).0
}

/// What reached the handler, and what the client got.
async fn exchange(request: &[u8], answer: Vec<u8>) -> (Vec<Value>, Message) {
    let handler = RawHandler::start(move |_, _| Reply::Bytes(answer.clone())).await;
    let staged = app();
    let host = FunctionsHost::start(attached(staged.options(), handler.port)).await.unwrap();
    let mut client = RawClient::connect(&host).await;
    client.send(request).await;
    let method = request.split(|byte| *byte == b' ').next().unwrap();
    let (replies, _) = client.read(1, std::str::from_utf8(method).unwrap()).await;
    let reply = replies.into_iter().next().unwrap_or_default();
    let received = handler.requests().iter().map(|raw| masked(&only(raw))).collect();
    host.stop().await;
    (received, reply)
}

#[tokio::test]
async fn requests_of_a_real_host() {
    let mut tally = Tally::new("real-host/http-C-*.txt");
    for name in ["headers", "key-header", "post-chunked", "post-json", "post-octet", "query"] {
        let Some(recorded) = text(&format!("real-host/http-C-{name}.txt")) else { return };
        let recorded = String::from_utf8(recorded).unwrap();
        let request = part(&recorded, ">>> client to host");
        let (received, reply) = exchange(&request, ANSWER.into()).await;
        let expected = masked(&only(&part(&recorded, ">>> host to handler")));
        let answered = masked(&only(&part(&recorded, ">>> host to client")));
        tally.check(name, &json!([received, masked(&reply)]), &json!([[expected], answered]));
    }
    tally.finish();
}

#[tokio::test]
async fn an_answer_through_a_real_host() {
    let name = "real-host/reply-C-headers.txt";
    let Some(recorded) = text(name) else { return };
    let recorded = String::from_utf8(recorded).unwrap();
    let mut tally = Tally::new(name);
    let said: Value = serde_json::from_slice(&part(&recorded, "--- handler replies")).unwrap();
    let body = said["body"].as_str().unwrap();
    let mut answer = format!("HTTP/1.1 {} {}\r\n", said["status"], said["reason"].as_str().unwrap());
    for header in said["headers"].as_array().unwrap() {
        answer += &format!("{}: {}\r\n", header[0].as_str().unwrap(), header[1].as_str().unwrap());
    }
    answer += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
    let (_, reply) =
        exchange(b"GET /api/hello HTTP/1.1\r\nHost: localhost\r\n\r\n", answer.into_bytes()).await;
    let expected = masked(&only(&part(&recorded, "--- client gets")));
    tally.check("headers", &masked(&reply), &expected);
    tally.finish();
}
