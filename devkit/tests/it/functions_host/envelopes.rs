//! The JSON envelope: what is sent, how answers are read.

use super::golden::{Tally, load, text, vectors};
use annika_devkit::functions_host::{
    Invocation, InvocationOutcome, Output, Ticks, TriggerReply, Zone, date_text, envelope,
    newtonsoft::{Json, double},
    read_answer, request_bytes, retry_context,
};
use serde_json::{Value, json};

fn typed(value: &Json) -> Value {
    match value {
        Json::Null => Value::Null,
        Json::Bool(flag) => json!({"type": "Boolean", "value": if *flag { "True" } else { "False" }}),
        Json::Integer(digits) => json!({"type": "Int64", "value": digits}),
        Json::Double(number) => json!({"type": "Double", "value": double(*number, false)}),
        Json::Text(text) => match value.date() {
            Some((date, zone)) => {
                let kind = match zone {
                    Zone::Utc => "Utc",
                    Zone::Offset => "Local",
                    Zone::None => "Unspecified",
                };
                json!({"type": "date-time", "kind": kind, "text_of_value": date_text(date)})
            }
            None => json!({"type": "text", "value": text}),
        },
        Json::Array(_) => json!({"type": "array", "text": value.write(false)}),
        Json::Object(_) => {
            json!({"type": "object", "text_indented": value.write(true), "text": value.write(false)})
        }
    }
}

fn output(value: &Output) -> Value {
    match value {
        Output::Null => Value::Null,
        Output::Bytes(bytes) => {
            let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            json!({"type": "bytes", "value": hex.join(" ")})
        }
        Output::Value(value) => typed(value),
    }
}

#[test]
fn envelope_answers() {
    let name = "envelope-answers.json";
    let Some(file) = load(name) else { return };
    let mut tally = Tally::new(name);
    for row in vectors(&file) {
        let Some(answer) = row["answer"].as_str() else {
            tally.skip("the answer of an HTTP function by envelope: the product's are proxied");
            continue;
        };
        let got = match read_answer(answer) {
            Err(_) => json!({"error": true}),
            Ok(None) => json!({"parsed": null}),
            Ok(Some(read)) => {
                let outputs = read
                    .outputs
                    .map(|list| list.iter().map(|(name, value)| (name.clone(), output(value))).collect());
                json!({
                    "logs": read.logs,
                    "return_value": read.return_value.as_ref().map(typed),
                    "outputs": outputs.map(Value::Object),
                })
            }
        };
        let mut expected = row.clone();
        for field in ["answer", "note", "message"] {
            expected.as_object_mut().unwrap().remove(field);
        }
        if expected["error"].is_string() {
            expected["error"] = json!(true);
        }
        tally.check(answer, &got, &expected);
    }
    tally.finish();
}

fn call<'a>(
    sys: &'a Value,
    function: &'a str,
    data: &'a str,
    input: Option<&'a str>,
    retry: Option<&'a str>,
) -> Invocation<'a> {
    Invocation {
        function,
        binding: "myTimer",
        data,
        id: "",
        random: sys["RandGuid"].as_str().unwrap(),
        now: Ticks::parse(sys["UtcNow"].as_str().unwrap()).unwrap().0,
        input,
        retry,
    }
}

/// The recorded requests, made again from their own data, byte for byte.
#[test]
fn timer_requests() {
    let files = [
        "timer-first-run-monitor",
        "timer-manual-admin-input",
        "timer-no-monitor",
        "timer-past-due",
        "timer-retry-attempt-0",
        "timer-run-on-startup",
        "timer-second-run-monitor",
        "timer-sub-minute",
        "timer-timespan-monitor",
        "timer-with-traceparent-app-insights",
        "timer-core-tools-content-length",
    ];
    let mut tally = Tally::new("real-host/timer-*.http");
    for name in files {
        let Some(bytes) = text(&format!("real-host/{name}.http")) else { return };
        let recorded = String::from_utf8(bytes).unwrap();
        if name.contains("core-tools") {
            tally.skip("core tools traces requests and so buffers them: Content-Length instead of chunks");
            continue;
        }
        let (head, rest) = recorded.split_once("\r\n\r\n").unwrap();
        let body = rest.lines().nth(1).unwrap();
        let parsed: Value = serde_json::from_str(body).unwrap();
        let start = "{\"Data\":{\"myTimer\":".len();
        let data = &body[start..body.find("},\"Metadata\"").unwrap()];
        let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        let port = header("Host: 127.0.0.1:").parse().unwrap();
        let id = header("X-Azure-Functions-InvocationId: ");
        let function = header("POST /").trim_end_matches(" HTTP/1.1");
        let input =
            parsed["Metadata"]["myTimer"].as_str().map(|text| serde_json::from_str::<String>(text).unwrap());
        let retry = parsed["Metadata"].get("RetryContext").map(|_| retry_context(function, 0, 2, None));
        let made =
            envelope(&call(&parsed["Metadata"]["sys"], function, data, input.as_deref(), retry.as_deref()));
        let sent = String::from_utf8(request_bytes(function, port, id, &made)).unwrap();
        // The trace header is there only with Application Insights.
        let expected: Vec<&str> =
            recorded.split_inclusive("\r\n").filter(|line| !line.starts_with("traceparent: ")).collect();
        tally.check(name, &sent, &expected.concat());
    }
    tally.finish();
}

#[test]
fn retried_request() {
    let name = "real-host/timer-retry-attempt-1.json";
    let Some(file) = load(name) else { return };
    let mut tally = Tally::new(name);
    let body = &file["body"];
    let exception = &body["Metadata"]["RetryContext"]["Exception"];
    let failed = exception["InstanceId"].as_str().zip(exception["InnerException"]["Message"].as_str());
    let retry = retry_context("rf", 1, 2, failed);
    let made = envelope(&call(
        &body["Metadata"]["sys"],
        "rf",
        &body["Data"]["myTimer"].to_string(),
        None,
        Some(&retry),
    ));
    let mut got: Value = serde_json::from_str(&made).unwrap();
    // Stack traces are shortened in the recording and empty in ours.
    for place in ["/InnerException/StackTrace", "/StackTraceString"] {
        *got["Metadata"]["RetryContext"]["Exception"].pointer_mut(place).unwrap() =
            json!("<stack trace text>");
    }
    tally.check(name, &got, body);
    tally.finish();
}

#[test]
fn an_answer_without_content_never_completes() {
    let reply = |status: u16, kind: Option<&str>, body: &str| TriggerReply {
        status,
        reason: String::new(),
        content_type: kind.map(str::to_owned),
        body: body.as_bytes().to_vec(),
    };
    let json_kind = Some("application/json");
    for silent in [reply(204, None, ""), reply(200, json_kind, "null"), reply(200, json_kind, " ")] {
        assert!(matches!(silent.outcome(), InvocationOutcome::NeverCompleted { .. }), "{silent:?}");
    }
    assert!(reply(200, json_kind, "{}").outcome().succeeded());
    assert!(matches!(reply(200, Some("text/plain"), "ok").outcome(), InvocationOutcome::Failed { .. }));
}
