//! Which function the host picks for a path, and which route of the handler answers it: the same, whatever is typed.

use std::collections::BTreeSet;

use annika::keys;
use annika_devkit::{
    functions_host::{AuthLevel, LoadedFunction, order_key, pick_function},
    oracle,
};
use redis::AsyncCommands;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::process::{Rig, say};

/// An HTTP answer to a request line that no client library would send: status and body.
async fn raw(port: u16, request_line: &str, headers: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let request =
        format!("{request_line} HTTP/1.1\r\nHost: app.example.net\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).unwrap_or_default().parse().unwrap_or_else(|_| panic!("{answer}"));
    (status, answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
}

struct Operation {
    method: String,
    path: String,
    level: AuthLevel,
}

/// The handler's own table, as it serves it.
async fn operations(rig: &Rig) -> Vec<Operation> {
    let document = rig.get("/api/openapi.json").await.json;
    let mut operations = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let open = operation["security"]
                .as_array()
                .is_some_and(|list| list.iter().any(|one| one == &serde_json::json!({})));
            let level = if open { AuthLevel::Anonymous } else { AuthLevel::Function };
            operations.push(Operation { method: method.to_uppercase(), path: path.clone(), level });
        }
    }
    assert!(
        document["security"].as_array().is_some_and(|list| !list.is_empty()),
        "keys are asked for by default"
    );
    operations
}

/// A path that follows a pattern.
fn example(pattern: &str) -> String {
    let part = |part: &str| if part.starts_with('{') { "abc".to_owned() } else { part.to_owned() };
    pattern.split('/').map(part).collect::<Vec<_>>().join("/")
}

fn level_of(functions: &[LoadedFunction], name: &str) -> AuthLevel {
    functions.iter().find(|function| function.name == name).unwrap().http().unwrap().auth_level
}

#[tokio::test]
async fn the_function_that_the_host_picks_has_the_auth_level_of_the_route_that_answers() {
    let rig = Rig::start_with(|options| options.host.timers = false).await;
    let functions = rig.host().functions().to_vec();
    let order: Vec<String> = functions.iter().map(|function| order_key(&function.name)).collect();
    assert!(order.is_sorted(), "{order:?}");

    // The two sets are the same.
    let operations = operations(&rig).await;
    let handler: BTreeSet<(String, String)> =
        operations.iter().map(|operation| (operation.method.clone(), operation.path.clone())).collect();
    let mut host = BTreeSet::new();
    for http in functions.iter().filter_map(LoadedFunction::http) {
        let route = format!("/{}", http.route.as_deref().unwrap());
        host.extend(http.methods.iter().map(|method| (method.to_uppercase(), route.clone())));
    }
    assert_eq!(host, handler);

    // For every path of either, in every spelling that the host takes.
    let mut checked = 0;
    for operation in &operations {
        let path = example(&operation.path);
        let spellings = [
            path.clone(),
            format!("{path}/"),
            path.to_uppercase(),
            format!("{path}?code=x&x=/api/health/live"),
            path.replacen("/api", "/%61pi", 1),
            format!("/x/..{path}"),
        ];
        for spelling in spellings {
            let (name, _) = pick_function(&functions, &operation.method, &spelling)
                .unwrap_or_else(|| panic!("{} {spelling} reaches no function", operation.method));
            assert_eq!(
                level_of(&functions, &name),
                operation.level,
                "{} {spelling}: {name}",
                operation.method
            );
            // Without a key the host lets nobody through to a route that needs one, and the route answers with one.
            let before = rig.host().invocations().len();
            let line = format!("{} {spelling}", operation.method);
            let (status, _) = raw(rig.host().port(), &line, "").await;
            assert_eq!(status == 401, operation.level == AuthLevel::Function, "{line}: {status}");
            let reached = &rig.host().invocations()[before..];
            assert_eq!(reached.len(), usize::from(operation.level == AuthLevel::Anonymous), "{line}");
            let key = format!("x-functions-key: {}\r\n", rig.host().function_key());
            let (status, body) = raw(rig.host().port(), &line, &key).await;
            let record = rig.host().invocations().pop().unwrap();
            assert_eq!(record.function, name, "{line}");
            let code = serde_json::from_str::<Value>(&body).unwrap_or_default()["code"].clone();
            assert!(
                status != 405 && code != "unknown_route" && code != "route_not_found",
                "{line}: the handler has no such route: {status} {body}"
            );
            checked += 1;
        }
    }
    // A method that no function takes reaches nothing.
    for operation in &operations {
        let path = example(&operation.path);
        for method in ["GET", "PUT", "POST", "PATCH", "DELETE", "HEAD", "OPTIONS"] {
            let known = operations.iter().any(|o| o.method == method && o.path == operation.path);
            assert_eq!(pick_function(&functions, method, &path).is_some(), known, "{method} {path}");
        }
    }
    say(&format!(
        "routes: {} functions in host order, {} operations, {checked} spellings reach the function with the route's authLevel",
        functions.len(),
        operations.len()
    ));
}

/// One of the recorded paths on our routes, and the function that it has to reach there; `None` for none.
fn mapped(row: &Value) -> (String, Option<&'static str>) {
    let target = row["client_target"].as_str().unwrap();
    let lower = target.to_ascii_lowercase();
    let swap = |from: &str, to: &str| {
        let at = lower.find(from).unwrap();
        format!("{}{to}{}", &target[..at], &target[at + from.len()..])
    };
    let reaches = row["handler_target_C"].is_string();
    let (ours, function) = if lower.contains("/hello") {
        (swap("/hello", "/health/live"), Some("health_live"))
    } else if lower.contains("/items") {
        let function = if lower.trim_end_matches('/').ends_with("items") { "tasks" } else { "task" };
        (swap("/items", "/tasks"), Some(function))
    } else if lower.contains("/x/") {
        (swap("/x/", "/tasks/"), Some("task"))
    } else if lower.contains("/c") && lower != "/api/tick" {
        // No route of ours takes several segments: those end at 404.
        let at_host = row["A_params"]["rest"].as_str().unwrap_or_default().trim_end_matches('/');
        let function = match at_host.split('/').count() {
            _ if at_host.is_empty() => Some("tasks"),
            1 => Some("task"),
            _ => None,
        };
        (swap("/c", "/tasks"), function)
    } else {
        (target.to_owned(), None)
    };
    let ours = ours.replace("tick", "planner_poll");
    // `items/{id:int?}` has a constraint that ours have not.
    let constrained = lower == "/api/items/seven";
    (ours, function.filter(|_| reaches || constrained))
}

#[tokio::test]
async fn every_recorded_path_ends_at_the_same_function_or_nowhere_and_no_trigger_is_reached() {
    let Some(oracles) = oracle::path("golden real-host/paths.json, mode C, through the product") else {
        return;
    };
    let text = std::fs::read(oracles.join("golden/real-host/paths.json")).unwrap();
    let file: Value = serde_json::from_slice(&text).unwrap();
    let rig = Rig::start_with(|options| {
        options.host.timers = false;
        // The rows were recorded on .NET 10, which takes a raw `#`.
        options.host.accept_hash = true;
    })
    .await;
    rig.create("plain", "a plain id").await;
    let key = format!("x-functions-key: {}\r\n", rig.host().function_key());
    let rows = file["rows"].as_array().unwrap();
    let (mut same, mut nowhere) = (0, 0);
    for row in rows {
        let (target, function) = mapped(row);
        let before = rig.host().invocations().len();
        let (status, body) = raw(rig.host().port(), &format!("GET {target}"), &key).await;
        let reached: Vec<String> =
            rig.host().invocations()[before..].iter().map(|record| record.function.clone()).collect();
        let expected: Vec<String> = function.into_iter().map(str::to_owned).collect();
        assert_eq!(reached, expected, "{} as {target}: {status} {body}", row["client_target"]);
        match function {
            None => {
                assert!(matches!(status, 400 | 404), "{target}: {status}");
                nowhere += 1;
            }
            Some("task") => {
                assert!(matches!(status, 200 | 404 | 422), "{target}: {status} {body}");
                let code = serde_json::from_str::<Value>(&body).unwrap()["code"].clone();
                assert!(
                    status != 404 || code == "task_not_found",
                    "{target}: the handler did not take it for a task: {body}"
                );
                same += 1;
            }
            Some(_) => {
                assert_eq!(status, 200, "{target}: {body}");
                same += 1;
            }
        }
    }
    let (status, _) = raw(rig.host().port(), "GET /api/tasks/plain", &key).await;
    assert_eq!(status, 200);
    attacks(&rig, &key).await;
    let passed = same + nowhere;
    oracle::golden("real-host/paths.json, mode C, through the product", rows.len(), passed, "");
}

/// Ways to a trigger from outside. None may arrive, by any function.
async fn attacks(rig: &Rig, key: &str) {
    let targets = [
        "/planner_poll",
        "/PLANNER_POLL",
        "/planner_poll/",
        "/planner_poll?code=x",
        "//planner_poll",
        "/./planner_poll",
        "/api/../planner_poll",
        "/api/%2e%2e/planner_poll",
        "/api/tasks/..%2f..%2fplanner_poll",
        "/api/tasks/..%5C..%5Cplanner_poll",
        "/api/tasks/%2e%2e%2f%2e%2e%2fplanner_poll",
        "/api/tasks/%252e%252e%252f%252e%252e%252fplanner_poll",
        "/api/tasks/..%5C..%5C..%5Cplanner_poll",
        "/api/sync/poll/../../../planner_poll",
        "/%70lanner_poll",
        "http://app.example.net/planner_poll",
    ];
    let body = r#"{"Data":{"timer":{"IsPastDue":false}},"Metadata":{}}"#;
    for target in targets {
        for method in ["POST", "GET", "PUT", "DELETE"] {
            let headers =
                format!("{key}Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
            let mut stream = TcpStream::connect(("127.0.0.1", rig.host().port())).await.unwrap();
            let request = format!(
                "{method} {target} HTTP/1.1\r\nHost: app.example.net\r\nConnection: close\r\n{headers}\r\n{body}"
            );
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await.unwrap();
            let text = String::from_utf8_lossy(&answer).into_owned();
            let status: u16 = text.split(' ').nth(1).unwrap().parse().unwrap();
            assert!(matches!(status, 400 | 404 | 405 | 415 | 422), "{method} {target}: {text}");
        }
    }
    // Straight at the handler, but with what the proxy always adds.
    let port = rig.host().handler_port();
    let outside = format!("{key}X-Forwarded-For: 203.0.113.7\r\nContent-Length: 0\r\n");
    assert_eq!(raw(port, "POST /planner_poll", &outside).await.0, 404);
    assert!(rig.host().invocations().iter().all(|record| record.function != "planner_poll"));
    let started = rig.host().log().iter().any(|line| line.text.contains("the Planner sync starts"));
    assert!(!started, "no engine was started");
    let leased: bool = rig.redis.clone().exists(keys::sync_lock("engine")).await.unwrap();
    assert!(!leased, "no engine has run");
    assert!(rig.host().error_lines().is_empty(), "{:?}", rig.host().error_lines());
}
