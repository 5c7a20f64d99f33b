//! The emulator with real handler processes: start, exit rules, what the handler sees, what the host says.

use super::{
    staged::{Staged, timer_binding},
    wire::{RawClient, ask, eventually},
};
use annika_devkit::functions_host::{
    Cause, FunctionsHost, HostError, HostOptions, InvocationOutcome, InvocationRecord, Level, Source, State,
    cli,
};
use serde_json::{Value, json};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(20);

fn app() -> Staged {
    let staged = Staged::new();
    staged.http("web", "api/{*rest}", &[], "anonymous").timer("tick", "0 0 0 1 1 *");
    staged
}

async fn get(host: &FunctionsHost, target: &str) -> (u16, String) {
    let answer = ask(host, &format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
    (answer.status(), String::from_utf8(answer.body).unwrap())
}

async fn post(host: &FunctionsHost, target: &str, body: &str) -> u16 {
    let length = body.len();
    ask(host, &format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}"))
        .await
        .status()
}

async fn refused(options: HostOptions) -> HostError {
    match FunctionsHost::start(options).await {
        Ok(_) => panic!("the host starts"),
        Err(why) => why,
    }
}

fn is_alive(pid: u32) -> bool {
    // A zombie that nobody has waited for yet is dead.
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !status.is_empty() && !status.contains(") Z ")
}

#[tokio::test]
async fn loads_starts_routes_proxies_and_fires() {
    let staged = app();
    let host = FunctionsHost::start(staged.options_with("HANDLER_START", "late")).await.unwrap();
    assert_eq!(get(&host, "/api/echo/a?x=1").await, (200, "/api/echo/a".to_owned()));
    // No HTTP route reaches a trigger, and no slash or escape helps.
    for target in ["/tick", "/api/../tick", "/api/%2e%2e/tick", "//tick"] {
        assert_eq!(get(&host, target).await, (404, String::new()), "{target}");
    }
    assert_eq!(get(&host, "/api/..%5C..%5Ctick").await.1, "/api/..%5C..%5Ctick");
    let outcome = host.fire("tick").await.unwrap();
    assert_eq!(outcome, InvocationOutcome::Succeeded { logs: vec!["ticked".to_owned()] });
    assert!(matches!(host.fire("web").await, Err(HostError::NotATrigger { .. })));
    assert!(matches!(host.fire("nobody").await, Err(HostError::UnknownFunction { .. })));
    assert_eq!(host.error_lines().len(), 0);
    assert!(host.log().iter().any(|line| line.source == Source::Stdout && line.text == "handler started"));
    host.stop().await;
    let triggers: Vec<Value> =
        staged.received().into_iter().filter(|request| request["line"] == "POST /tick HTTP/1.1").collect();
    assert_eq!((triggers.len(), staged.starts()), (1, 1));
}

#[tokio::test]
async fn the_handler_gets_its_environment() {
    let staged = app();
    let settings = json!({"IsEncrypted": false, "Values": {"TEST_FROM_FILE": "file", "TEST_BOTH": "file"}});
    std::fs::write(staged.root().join("local.settings.json"), settings.to_string()).unwrap();
    let host = FunctionsHost::start(staged.options_with("TEST_BOTH", "environment")).await.unwrap();
    let seen: Value = serde_json::from_str(&get(&host, "/api/env").await.1).unwrap();
    let port = host.handler_port().to_string();
    let root = staged.root().display().to_string();
    assert_eq!(seen["FUNCTIONS_CUSTOMHANDLER_PORT"], port.as_str());
    assert_eq!(seen["FUNCTIONS_HTTPWORKER_PORT"], port.as_str());
    assert_eq!(seen["FUNCTIONS_CUSTOMHANDLER_WORKER_ID"], seen["FUNCTIONS_HTTPWORKER_ID"]);
    assert_eq!(seen["FUNCTIONS_APP_ROOT_PATH"], root.as_str());
    assert_eq!((&seen["TEST_FROM_FILE"], &seen["TEST_BOTH"]), (&json!("file"), &json!("environment")));
    assert_eq!(seen["cwd"], root.as_str());
    // The host does not quote: an argument with a blank becomes two.
    assert_eq!(seen["argv"], json!(["one", "two", "words"]));
    host.stop().await;
}

#[tokio::test]
async fn mis_staged_apps_are_refused_as_the_host_refuses_them() {
    let deep = Staged::new();
    deep.function("functions/web", &json!({"bindings": [timer_binding("0 * * * * *")]}));
    let why = refused(deep.options()).await.to_string();
    assert!(why.starts_with("No job functions found."), "{why}");
    assert!(why.contains("functions/web/function.json"), "{why}");

    let no_exec_bit = app();
    no_exec_bit.mode(0o644);
    let why = refused(no_exec_bit.options()).await.to_string();
    assert!(why.starts_with("Failed to start Worker Channel. Process fileName: "), "{why}");

    let version = app();
    version.host_json(&json!({"version": "3.0"}));
    let why = refused(version.options()).await.to_string();
    assert!(why.contains("'3.0' is an invalid value for host.json 'version' property."), "{why}");

    let forwarding = app();
    let description = json!({"defaultExecutablePath": "handler"});
    forwarding.host_json(
        &json!({"customHandler": {"enableForwardingHttpRequest": true, "description": description}}),
    );
    let why = refused(forwarding.options()).await.to_string();
    assert!(why.starts_with("refused: the product never uses forwarding"), "{why}");

    let no_executable = app();
    no_executable.host_json(&json!({"customHandler": {"description": {"defaultExecutablePath": ""}}}));
    let why = refused(no_executable.options()).await.to_string();
    assert!(why.contains("DefaultExecutablePath cannot be empty"), "{why}");

    let conflict = app();
    conflict.http("web2", "api/{*REST}", &["get"], "anonymous").http("runtime_x", "", &[], "anonymous");
    let why = refused(conflict.options()).await.to_string();
    assert!(why.contains("The route specified conflicts with the route defined by function 'web'."), "{why}");
    assert!(why.contains("The specified route conflicts with one or more built in routes."), "{why}");
    for staged in [deep, no_exec_bit, version, forwarding, no_executable, conflict] {
        assert_eq!(staged.starts(), 0);
    }
}

#[tokio::test]
async fn three_failed_starts_stop_the_host() {
    for (start, limit, why) in [
        ("exit1", "00:00:30", "exited with code 1"),
        ("never", "00:00:00.3", "Initializing HttpWorker timed out."),
        // Exit code 0 before readiness goes unseen until the time is up.
        ("exit0", "00:00:00.3", "Initializing HttpWorker timed out."),
    ] {
        let staged = app();
        let section = json!({"initializationTimeout": limit, "enableProxyingHttpRequest": true, "description": {"defaultExecutablePath": "handler"}});
        staged.host_json(&json!({"customHandler": section}));
        let log = staged.log_file().with_extension("host");
        let options =
            HostOptions { log_file: Some(log.clone()), ..staged.options_with("HANDLER_START", start) };
        let text = refused(options).await.to_string();
        assert!(
            text.starts_with("Exceeded http worker restart retry count. Shutting down Functions Host"),
            "{start}: {text}"
        );
        assert!(text.contains(why), "{start}: {text}");
        // By the host's word: under load a process may be killed before it could say that it started.
        let said = std::fs::read_to_string(log).unwrap();
        assert_eq!(said.matches(" process with Id=").count(), 3, "{start}: {said}");
    }
}

#[tokio::test]
async fn exit_0_while_serving_is_never_restarted() {
    let staged = app();
    let host = FunctionsHost::start(staged.options()).await.unwrap();
    assert_eq!(post(&host, "/api/exit/0", "body").await, 500);
    assert_eq!(host.wait_for(LONG, |state| *state == State::Ended).await, Some(State::Ended));
    assert!(matches!(host.fire("tick").await.unwrap(), InvocationOutcome::Failed { .. }));
    assert_eq!((staged.starts(), host.handler_pid()), (1, None));
    host.stop().await;
}

#[tokio::test]
async fn exit_200_is_restarted_without_counting() {
    let staged = app();
    let host = FunctionsHost::start(staged.options()).await.unwrap();
    let port = host.handler_port();
    // Nobody waits for the answers: the proxy takes two seconds to give up on a request with a body.
    let mut clients = Vec::new();
    for restarts in 1..=4 {
        let mut client = RawClient::connect(&host).await;
        client.send(b"POST /api/exit/200 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nbody").await;
        clients.push(client);
        eventually("a new process", || (staged.starts() == restarts + 1).then_some(())).await;
        host.wait_for(LONG, |state| *state == State::Ready).await.unwrap();
        assert_eq!(get(&host, "/api/still").await.0, 200);
    }
    assert_eq!((host.state(), host.handler_port()), (State::Ready, port));
    host.stop().await;
}

#[tokio::test]
async fn the_third_crash_stops_the_host() {
    let staged = app();
    let host = FunctionsHost::start(staged.options()).await.unwrap();
    let mut pids = vec![host.handler_pid().unwrap()];
    for _ in 0..2 {
        host.kill_handler();
        let old = pids[pids.len() - 1];
        let new = eventually("a new process", || host.handler_pid().filter(|pid| *pid != old)).await;
        pids.push(new);
        host.wait_for(LONG, |state| *state == State::Ready).await.unwrap();
        assert!(host.fire("tick").await.unwrap().succeeded());
    }
    host.kill_handler();
    let stopped = host.wait_for(LONG, |state| matches!(state, State::Stopped(_))).await.unwrap();
    assert_eq!(
        stopped,
        State::Stopped("Exceeded http worker restart retry count. Shutting down Functions Host".to_owned())
    );
    let crashes =
        host.error_lines().iter().filter(|line| line.text.ends_with("exited with code 137")).count();
    assert_eq!((staged.starts(), crashes), (3, 3));
    assert!(matches!(host.fire("tick").await, Err(HostError::Stopped { .. })));
    host.stop().await;
}

#[tokio::test]
async fn one_get_that_ends_the_process_can_stop_the_host() {
    let staged = app();
    let host = FunctionsHost::start(staged.options()).await.unwrap();
    let mut client = RawClient::connect(&host).await;
    client.send(b"GET /api/exit/1 HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert!(host.wait_for(LONG, |state| matches!(state, State::Stopped(_))).await.is_some());
    assert_eq!((staged.starts(), staged.received().len()), (3, 3));
    host.stop().await;
}

#[tokio::test]
async fn dropped_connections_are_asked_again() {
    let staged = app();
    let host = FunctionsHost::start(staged.options()).await.unwrap();
    let cases = [
        ("GET /api/close/a", "", 40),
        ("GET /api/reset/b", "", 10),
        ("DELETE /api/close/c", "", 40),
        ("POST /api/close/d", "Content-Length: 0\r\n", 10),
        ("POST /api/close/e", "Content-Length: 1\r\n", 1),
    ];
    let asked = cases.map(|(request, length, _)| {
        let body = if length.ends_with("1\r\n") { "x" } else { "" };
        let text = format!("{request} HTTP/1.1\r\nHost: localhost\r\n{length}\r\n{body}");
        let host = &host;
        async move { ask(host, &text).await }
    });
    for answer in futures::future::join_all(asked).await {
        assert_eq!((answer.status(), answer.body.len()), (500, 0));
    }
    for (request, _, times) in cases {
        let line = format!("{request} HTTP/1.1");
        assert_eq!(
            staged.received().iter().filter(|seen| seen["line"] == line.as_str()).count(),
            times,
            "{request}"
        );
        let path = request.split(' ').nth(1).unwrap();
        let is_it = |record: &InvocationRecord| matches!(&record.cause, Cause::Http { path: seen, .. } if seen == path);
        assert_eq!(host.invocations().into_iter().find(is_it).unwrap().sent, times, "{request}");
    }
    host.stop().await;
}

#[tokio::test]
async fn an_empty_reply_is_a_failure_of_its_own_kind() {
    let staged = app();
    staged.timer("mute", "0 0 0 1 1 *");
    let host = FunctionsHost::start(staged.options()).await.unwrap();
    let outcome = host.fire("mute").await.unwrap();
    assert!(matches!(outcome, InvocationOutcome::NeverCompleted { .. }), "{outcome:?}");
    assert!(host.error_lines().iter().any(|line| line.text.contains("Functions.mute")));
    host.stop().await;
}

#[tokio::test]
async fn an_empty_reply_hangs_until_the_time_out_if_asked_to() {
    let staged = app();
    staged.host_json(&json!({"functionTimeout": "00:00:00.4"}));
    staged.timer("mute", "0 0 0 1 1 *");
    let options = HostOptions { hang_never_completed: true, ..staged.options() };
    let host = FunctionsHost::start(options).await.unwrap();
    let pid = host.handler_pid();
    let outcome = host.fire("mute").await.unwrap();
    let InvocationOutcome::Failed { error } = outcome else { panic!("{outcome:?}") };
    assert!(error.starts_with("Timeout value of 00:00:00.4000000 exceeded by function"), "{error}");
    let mute = staged.received().into_iter().filter(|request| request["line"] == "POST /mute HTTP/1.1");
    assert_eq!(mute.count(), 1, "the handler had answered");
    eventually("a new process", || host.handler_pid().filter(|new| Some(*new) != pid)).await;
    host.stop().await;
}

#[tokio::test]
async fn a_function_time_out_kills_the_process() {
    let staged = app();
    staged.host_json(&json!({"functionTimeout": "00:00:00.4"}));
    staged.timer("slow_tick", "0 0 0 1 1 *");
    let host = FunctionsHost::start(staged.options()).await.unwrap();
    let pid = host.handler_pid();
    let outcome = host.fire("slow_tick").await.unwrap();
    let InvocationOutcome::Failed { error } = outcome else { panic!("{outcome:?}") };
    assert!(error.starts_with("Timeout value of 00:00:00.4000000 exceeded by function"), "{error}");
    eventually("a new process", || host.handler_pid().filter(|new| Some(*new) != pid)).await;
    host.wait_for(LONG, |state| *state == State::Ready).await.unwrap();
    assert_eq!(get(&host, "/api/slow").await, (500, String::new()));
    eventually("a third process", || (staged.starts() == 3).then_some(())).await;
    host.stop().await;
}

#[tokio::test]
async fn retries_carry_their_context() {
    let staged = app();
    let retry = json!({"strategy": "fixedDelay", "maxRetryCount": 3, "delayInterval": "00:00:00.01"});
    staged.function("flaky", &json!({"bindings": [timer_binding("0 0 0 1 1 *")], "retry": retry}));
    let host = FunctionsHost::start(staged.options()).await.unwrap();
    assert!(host.fire("flaky").await.unwrap().succeeded());
    let records = host.invocations();
    assert_eq!(records.iter().map(|record| record.retry).collect::<Vec<_>>(), [0, 1, 2]);
    let bodies: Vec<Value> = staged
        .received()
        .iter()
        .map(|request| serde_json::from_str(request["body"].as_str().unwrap()).unwrap())
        .collect();
    for (number, body) in bodies.iter().enumerate() {
        let context = &body["Metadata"]["RetryContext"];
        assert_eq!((&context["RetryCount"], &context["MaxRetryCount"]), (&json!(number), &json!(3)));
        let before = number.checked_sub(1).map_or(Value::Null, |before| json!(records[before].id));
        assert_eq!(context["Exception"]["InstanceId"], before);
    }
    host.stop().await;
}

#[tokio::test]
async fn streams_and_uploads() {
    let staged = app();
    let host = FunctionsHost::start(staged.options()).await.unwrap();
    let mut events = RawClient::connect(&host).await;
    events.send(b"GET /api/stream HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let head = String::from_utf8(events.read_to(b"data: 1\n\n").await).unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    // The second event is sent only now, after the first was seen.
    assert_eq!(get(&host, "/api/go").await.0, 200);
    events.read_to(b"data: 2\n\n").await;
    let body: String = "0123456789abcdef".repeat(5 * 65536);
    let answer = ask(
        &host,
        &format!("POST /api/up HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}", body.len()),
    )
    .await;
    assert_eq!((answer.status(), answer.header("x-seen")), (200, Some("1")));
    assert!(answer.body == body.as_bytes());
    host.stop().await;
}

#[tokio::test]
async fn standard_error_is_warning_or_error() {
    let staged = app();
    let host = FunctionsHost::start(staged.options()).await.unwrap();
    assert_eq!(get(&host, "/api/warn").await.0, 200);
    let level = |text: &str| host.log().iter().find(|line| line.text == text).map(|line| line.level);
    assert_eq!(eventually("the warning", || level("a warning")).await, Level::Warning);
    assert_eq!(eventually("the error", || level("something broke")).await, Level::Error);
    host.stop().await;
}

#[tokio::test]
async fn dropping_the_host_kills_the_handler_and_abandoning_it_does_not() {
    let staged = app();
    let host = FunctionsHost::start(staged.options()).await.unwrap();
    let pid = host.handler_pid().unwrap();
    drop(host);
    eventually("the handler dies", || (!is_alive(pid)).then_some(())).await;
    let host = FunctionsHost::start(staged.options()).await.unwrap();
    let port = host.handler_port();
    let orphan = host.abandon().unwrap();
    // It still answers.
    let answered = tokio::net::TcpStream::connect(("127.0.0.1", port)).await;
    assert!(answered.is_ok() && is_alive(orphan));
    let killed = std::process::Command::new("kill").args(["-9", &orphan.to_string()]).status().unwrap();
    assert!(killed.success());
    eventually("the orphan dies", || (!is_alive(orphan)).then_some(())).await;
}

#[tokio::test]
async fn keys_are_enforced() {
    let staged = Staged::new();
    staged.http("open", "api/open", &["get"], "anonymous").http("closed", "api/closed", &["get"], "function");
    staged
        .http("inner", "api/inner", &["get"], "admin")
        .http("other", "api/other", &["get"], "function")
        .timer("tick", "0 0 0 1 1 *");
    let options = HostOptions {
        auth: true,
        function_key: Some("host key".to_owned()),
        master_key: Some("master".to_owned()),
        function_keys: [("closed".to_owned(), "own".to_owned())].into(),
        ..staged.options()
    };
    let host = FunctionsHost::start(options).await.unwrap();
    for (target, key, status) in [
        ("/api/open", "", 200),
        ("/api/open?code=wrong", "", 200),
        ("/api/closed", "", 401),
        ("/api/closed?code=host%20key", "", 200),
        ("/api/closed?code=own", "", 200),
        ("/api/other?code=own", "", 401),
        ("/api/closed", "own", 200),
        // The header beats the query, also when it is wrong.
        ("/api/closed?code=own", "wrong", 401),
        ("/api/closed?code=wrong", "own", 200),
        ("/api/inner", "host key", 401),
        ("/api/inner", "master", 200),
        ("/api/closed", "master", 200),
        ("/api/nothing", "", 404),
    ] {
        let header = if key.is_empty() { String::new() } else { format!("x-functions-key: {key}\r\n") };
        let answer = ask(&host, &format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{header}\r\n")).await;
        let empty = answer.body.is_empty() || status == 200;
        assert_eq!((answer.status(), empty), (status, true), "{target} {key}");
    }
    for (function, key, kind, body, status) in [
        ("tick", "", "application/json", "{}", 401),
        ("tick", "host key", "application/json", "{}", 403),
        ("tick", "master", "text/plain", "{}", 415),
        ("tick", "master", "application/json", "[1]", 400),
        ("tick", "master", "application/json", "", 400),
        ("tick", "master", "application/json", "{\"input\":{\"a\":1}}", 400),
        ("nosuch", "master", "application/json", "{}", 404),
        ("TICK", "master", "application/json; charset=utf-8", "{\"input\":\"in\"}", 202),
    ] {
        let length = body.len();
        let request = format!(
            "POST /admin/functions/{function} HTTP/1.1\r\nHost: localhost\r\nx-functions-key: {key}\r\n\
             Content-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        let answer = ask(&host, &request).await;
        assert_eq!((answer.status(), answer.body.len()), (status, 0), "{function} {key} {kind} {body}");
    }
    let fired = || staged.received().into_iter().find(|request| request["line"] == "POST /tick HTTP/1.1");
    let fired = eventually("the trigger runs", fired).await;
    let body: Value = serde_json::from_str(fired["body"].as_str().unwrap()).unwrap();
    assert_eq!(body["Metadata"]["myTimer"], "\"in\"");
    host.stop().await;
}

#[tokio::test]
async fn the_front_end_gives_up_and_stopping_drains() {
    let staged = app();
    let options = HostOptions {
        front_end_timeout: Duration::from_millis(200),
        drain: Duration::from_secs(20),
        ..staged.options()
    };
    let host = FunctionsHost::start(options).await.unwrap();
    assert_eq!(get(&host, "/api/slow").await, (504, String::new()));
    // A run under way is waited for.
    let run = host.fire_detached("tick").unwrap();
    eventually("the run begins", || (host.invocations().len() == 2).then_some(())).await;
    host.stop().await;
    assert!(run.await.unwrap().unwrap().succeeded());
}

#[tokio::test]
async fn the_command_line_ends_with_the_hosts_words() {
    let staged = Staged::new();
    staged.timer("tick", "every minute");
    let args = cli::HostArgs {
        root: staged.root(),
        port: 0,
        enable_auth: false,
        function_key: None,
        master_key: None,
        status_dir: None,
        no_timers: false,
    };
    let why = cli::run(args).await.unwrap_err().to_string();
    let schedule = "The schedule expression 'every minute' was not recognized as a valid cron expression or timespan string.";
    assert!(why.contains("No job functions found.") && why.contains(schedule), "{why}");
}
