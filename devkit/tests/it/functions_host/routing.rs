//! Routes, templates, targets: the recorded answers of the host's router and web server.

use super::{
    golden::{Tally, latin1, load, vectors},
    staged::{Staged, http_json, write_function},
};
use annika_devkit::functions_host::{
    Route, RouteTable, RouteValues, Target, full_template,
    http1::{Connection, server::Unread},
    order_key, pick_function, proxied_path, proxied_query, read_functions, read_target,
};
use serde_json::{Value, json};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
};

fn methods_of(function: &Value) -> Vec<String> {
    let list = function["methods"].as_array().cloned().unwrap_or_default();
    list.iter().map(|method| method.as_str().unwrap().to_owned()).collect()
}

fn table_of(entry: &Value) -> RouteTable {
    let prefix = entry["route_prefix"].as_str().unwrap();
    let functions = entry["functions_in_matching_order"].as_array().unwrap();
    let mut routes: Vec<Route> = functions
        .iter()
        .map(|function| {
            let name = function["name"].as_str().unwrap();
            let template = full_template(name, prefix, function["route"].as_str()).unwrap();
            Route { function: name.to_owned(), methods: methods_of(function), template }
        })
        .collect();
    // The order of the file must not help: the table has to find it by itself.
    routes.reverse();
    RouteTable::new(routes)
}

/// What the emulator's web server makes of raw bytes.
async fn read_raw(bytes: &[u8]) -> Result<(String, Target), u16> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    client.write_all(bytes).await.unwrap();
    client.shutdown().await.unwrap();
    let head = match Connection::new(server).read_request_head().await {
        Ok(head) => head,
        Err(Unread::Refused(status)) => return Err(status),
        Err(Unread::Gone) => return Err(0),
    };
    let target = read_target(&head.method, &head.target, Some(&head.host()), false)
        .map_err(|refused| refused.status)?;
    Ok((head.method, target))
}

/// A request line that was shortened to `begin…(N bytes)`; the missing part repeats its last two characters.
fn whole_line(text: &str) -> String {
    let Some((begin, rest)) = text.split_once('…') else { return text.to_owned() };
    let length: usize = rest.trim_start_matches('(').trim_end_matches(" bytes)").parse().unwrap();
    let version = " HTTP/1.1";
    let mut line: Vec<char> = begin.chars().collect();
    while line.len() < length - version.len() {
        line.push(line[line.len() - 2]);
    }
    line.into_iter().collect::<String>() + version
}

fn values_of(row: &Value) -> RouteValues {
    let values = row["route_values"].as_object().cloned().unwrap_or_default();
    values.into_iter().map(|(name, value)| (name, value.as_str().map(str::to_owned))).collect()
}

#[tokio::test]
async fn http_routes() {
    let name = "http-routes.json";
    let Some(file) = load(name) else { return };
    let mut tally = Tally::new(name);
    for row in vectors(&file) {
        if row["answered_by"] == "warmup route" {
            tally.skip("the warm-up route exists only outside the Consumption and Flex plans");
            continue;
        }
        let entry =
            file["tables"].as_array().unwrap().iter().find(|entry| entry["table"] == row["table"]).unwrap();
        let table = table_of(entry);
        let line = whole_line(row["request_line"].as_str().unwrap());
        let headers = row["headers"].as_str().unwrap_or("Host: localhost").replace(" | ", "\r\n");
        let got = read_raw(&latin1(&format!("{line}\r\n{headers}\r\n\r\n"))).await;
        let shown = match got {
            Err(status) => json!({"refused": status}),
            Ok((method, target)) => match table.pick(&method, &target.path) {
                Some((function, values)) => {
                    json!({"function": function, "values": values, "path": target.path})
                }
                None => json!({"homepage": target.path == "/", "path": target.path}),
            },
        };
        let path = row.get("decoded_path").cloned().unwrap_or_else(|| shown["path"].clone());
        let expected = if row["refused_by"] == "web server" {
            json!({"refused": row["status"]})
        } else if row["function"].is_string() {
            json!({"function": row["function"], "values": values_of(&row), "path": path})
        } else {
            json!({"homepage": row["answered_by"] == "homepage", "path": path})
        };
        tally.check(&format!("{}: {line:.90}", row["table"]), &shown, &expected);
    }
    tally.finish();
}

#[test]
fn route_templates() {
    let name = "http-route-templates.json";
    let Some(file) = load(name) else { return };
    let mut tally = Tally::new(name);
    for row in vectors(&file) {
        let read = full_template("f", row["route_prefix"].as_str().unwrap(), row["route"].as_str());
        let shown = match read {
            Ok(template) => json!({"accepted": true, "full_template": template.text()}),
            Err(_) => json!({"accepted": false}),
        };
        let expected = match row["accepted"].as_bool().unwrap() {
            true => json!({"accepted": true, "full_template": row["full_template"]}),
            false => json!({"accepted": false}),
        };
        tally.check(&row["route"].to_string(), &shown, &expected);
    }
    tally.finish();
}

#[test]
fn route_load_checks() {
    let name = "http-route-load-checks.json";
    let Some(file) = load(name) else { return };
    let mut tally = Tally::new(name);
    for row in vectors(&file) {
        let folder = tempfile::tempdir().unwrap();
        let stage = |name: &str, route: &str, methods: &Value| {
            let methods: Vec<&str> =
                methods.as_array().into_iter().flatten().map(|method| method.as_str().unwrap()).collect();
            write_function(&folder.path().join(name), &http_json(route, &methods, "function"));
        };
        let (expected, checked) = if row["check"] == "reserved" {
            let function = row["function"].as_str().unwrap();
            stage(function, row["route"].as_str().unwrap(), &Value::Null);
            (row["error"].as_str().map(str::to_owned), function)
        } else {
            for (name, side) in [("a_first", "first"), ("b_second", "second")] {
                stage(name, row[side]["route"].as_str().unwrap(), &row[side]["methods"]);
            }
            let refused = row["second_is_refused"].as_bool().unwrap();
            (
                refused.then(|| {
                    "The route specified conflicts with the route defined by function 'a_first'.".to_owned()
                }),
                "b_second",
            )
        };
        let (_, errors) = read_functions(folder.path(), "", &Default::default()).unwrap();
        let got = errors.iter().find(|error| error.function == checked).map(|error| error.message.clone());
        tally.check(&row.to_string(), &got, &expected);
    }
    tally.finish();
}

#[test]
fn proxied_targets() {
    let name = "forwarded-paths.json";
    let Some(file) = load(name) else { return };
    let mut tally = Tally::new(&format!("{name}, proxying column"));
    let table = table_of(&json!({"route_prefix": "", "functions_in_matching_order": file["functions"]}));
    for row in vectors(&file) {
        let raw = expand_bytes(row["target"].as_str().unwrap());
        let target = read_target("GET", &latin1(&raw), None, false).ok();
        let target = target.filter(|target| table.pick("GET", &target.path).is_some());
        let got = target.map(|target| proxied_path(&target.path) + &proxied_query(&target.query));
        tally.check(&row["target"].to_string(), &got, &row["proxying"].as_str().map(expand_bytes));
    }
    tally.finish();
}

/// Writes out a text that was shortened to `begin...(N bytes)`; the missing part repeats its last character.
fn expand_bytes(text: &str) -> String {
    let Some((begin, rest)) = text.split_once("...(") else { return text.to_owned() };
    let length: usize = rest.trim_end_matches(" bytes)").parse().unwrap();
    let last = begin.chars().next_back().unwrap();
    begin.chars().chain(std::iter::repeat(last)).take(length).collect()
}

#[test]
fn functions_are_tried_by_upper_case_name() {
    let staged = Staged::new();
    staged.http("token", "api/tokens/{*scope}", &["get"], "function").http(
        "tokens_health",
        "api/tokens/health",
        &["get"],
        "function",
    );
    staged.http("tokensb", "api/b", &["get"], "function").http("tokens_a", "api/{any}", &["get"], "function");
    let (functions, errors) = read_functions(&staged.root(), "", &Default::default()).unwrap();
    assert_eq!(errors, []);
    let names: Vec<&str> = functions.iter().map(|function| function.name.as_str()).collect();
    assert_eq!(names, ["token", "tokensb", "tokens_a", "tokens_health"]);
    assert!(order_key("tokensb") < order_key("tokens_a"));
    let picked = |method: &str, target: &str| pick_function(&functions, method, target).map(|(name, _)| name);
    assert_eq!(picked("GET", "/api/tokens/health").as_deref(), Some("token"));
    assert_eq!(picked("GET", "/api/b").as_deref(), Some("tokensb"));
    assert_eq!(picked("POST", "/api/b"), None);
    assert_eq!(picked("GET", "/api/tokens/..%5C..%5Cplanner_poll").as_deref(), Some("token"));
    assert_eq!(picked("GET", "/api/tokens/../../planner_poll"), None);
}
