//! The emulator with a real handler process.

use super::staged::Staged;
use annika_devkit::functions_host::{FunctionsHost, InvocationOutcome};

async fn get(url: &str) -> (u16, String) {
    let answer = reqwest::Client::builder().no_proxy().build().unwrap().get(url).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test]
async fn loads_starts_routes_proxies_and_fires() {
    let staged = Staged::new();
    staged.http("echo", "api/echo/{*rest}", &["get", "post"], "function").timer("tick", "0 0 0 1 1 *");
    let host = FunctionsHost::start(staged.options()).await.unwrap();
    assert_eq!(get(&format!("{}/api/echo/a?x=1", host.url())).await, (200, "/api/echo/a".to_owned()));
    assert_eq!(get(&format!("{}/tick", host.url())).await.0, 404);
    let outcome = host.fire("tick").await.unwrap();
    assert_eq!(outcome, InvocationOutcome::Succeeded { logs: vec!["ticked".to_owned()] });
    assert_eq!(host.error_lines().len(), 0);
    host.stop().await;
    let lines: Vec<String> =
        staged.received().iter().map(|request| request["line"].as_str().unwrap().to_owned()).collect();
    assert_eq!(lines, ["GET /api/echo/a?x=1 HTTP/1.1", "POST /tick HTTP/1.1"]);
}
