//! Tokens: both ways to get one, their errors, and what Graph says to bad ones.

use std::time::Duration;

use annika_devkit::graph::{Effect, EntryKind, Fault, Settings, seed};
use serde_json::{Value, json};

use super::Graph;

async fn client_credentials(graph: &Graph, change: &[(&str, &str)]) -> (u16, Value) {
    let (tenant, client, secret) = (graph.sim.tenant_id(), graph.sim.client_id(), graph.sim.client_secret());
    let mut form: std::collections::BTreeMap<&str, &str> = [
        ("grant_type", "client_credentials"),
        ("client_id", &client),
        ("client_secret", &secret),
        ("scope", "https://graph.microsoft.com/.default"),
    ]
    .into();
    form.extend(change.iter().copied());
    let url = format!("{}/{tenant}/oauth2/v2.0/token", graph.sim.entra_url());
    let reply = graph.http.post(url).form(&form).send().await.unwrap();
    (reply.status().as_u16(), reply.json().await.unwrap())
}

async fn managed_identity(graph: &Graph, header: &str, query: &[(&str, &str)]) -> (u16, Value) {
    let url = graph.sim.identity_endpoint();
    let reply = graph.http.get(url).query(query).header("X-IDENTITY-HEADER", header).send().await.unwrap();
    (reply.status().as_u16(), reply.json().await.unwrap())
}

async fn status_with(graph: &Graph, token: &str) -> (u16, Value) {
    let url = format!("{}/v1.0/planner/tasks/{}", graph.sim.url(), seed::TASK);
    let reply = graph.http.get(url).header("Authorization", format!("Bearer {token}")).send().await.unwrap();
    (reply.status().as_u16(), reply.json().await.unwrap())
}

#[tokio::test]
async fn client_credentials_give_a_token_that_graph_takes() {
    let graph = Graph::start().await;
    let (status, body) = client_credentials(&graph, &[]).await;
    assert_eq!((status, &body["token_type"], &body["expires_in"]), (200, &json!("Bearer"), &json!(3599)));
    assert!(body.get("refresh_token").is_none());
    assert_eq!(status_with(&graph, body["access_token"].as_str().unwrap()).await.0, 200);
    for (change, code, error) in [
        (("client_secret", "wrong"), 7_000_215, "invalid_client"),
        (("client_secret", ""), 7_000_218, "invalid_client"),
        (("client_id", "11111111-1111-4111-8111-111111111111"), 700_016, "unauthorized_client"),
        (("scope", "https://graph.microsoft.com/Tasks.Read"), 1_002_012, "invalid_scope"),
        (("grant_type", "password"), 70_003, "unsupported_grant_type"),
    ] {
        let (status, body) = client_credentials(&graph, &[change]).await;
        assert!(status >= 400, "{change:?}");
        assert_eq!((&body["error_codes"], &body["error"]), (&json!([code]), &json!(error)), "{change:?}");
        assert!(body["error_description"].as_str().unwrap().starts_with(&format!("AADSTS{code}:")));
    }
    graph.sim.control().refuse_tokens(7_000_222, 1);
    assert_eq!(client_credentials(&graph, &[]).await.1["error_codes"], json!([7_000_222]));
    assert_eq!(client_credentials(&graph, &[]).await.0, 200);
    let tokens = graph.sim.control().journal().into_iter().filter(|entry| entry.kind == EntryKind::Token);
    assert_eq!(tokens.count(), 8);
    assert_eq!(graph.sim.control().counts().tokens, 8);
}

#[tokio::test]
async fn managed_identity_answers_as_app_service_does() {
    let graph = Graph::start().await;
    let header = graph.sim.identity_header();
    let query = [("resource", "https://graph.microsoft.com"), ("api-version", "2019-08-01")];
    let (status, body) = managed_identity(&graph, &header, &query).await;
    assert_eq!(status, 200);
    assert!(
        body["expires_on"].as_str().unwrap().parse::<i64>().unwrap() > 1_700_000_000,
        "a string of seconds"
    );
    assert_eq!(status_with(&graph, body["access_token"].as_str().unwrap()).await.0, 200);
    assert_eq!(managed_identity(&graph, "wrong", &query).await.0, 401);
    assert_eq!(managed_identity(&graph, &header, &query[..1]).await.0, 400);
    assert_eq!(managed_identity(&graph, &header, &query[1..]).await.0, 400);
}

#[tokio::test]
async fn graph_says_what_is_wrong_with_a_token() {
    let graph = Graph::start().await;
    let control = graph.sim.control();
    for (token, text) in [("", "Access token is empty."), ("x.y.z", "CompactToken parsing failed")] {
        let (status, body) = status_with(&graph, token).await;
        assert_eq!((status, &body["error"]["code"]), (401, &json!("InvalidAuthenticationToken")));
        assert!(body["error"]["message"].as_str().unwrap().starts_with(text), "{body}");
    }
    control.set(Settings { token_lifetime_s: Some(60), ..Settings::default() });
    let token = control.app_token();
    assert_eq!(status_with(&graph, &token).await.0, 200);
    control.advance(Duration::from_secs(61));
    let (status, body) = status_with(&graph, &token).await;
    assert_eq!(
        (status, &body["error"]["message"]),
        (401, &json!("Lifetime validation failed, the token is expired."))
    );
    let token = control.app_token();
    control.expire_tokens();
    assert_eq!(status_with(&graph, &token).await.0, 401);
    assert_eq!(control.counts().unauthorized, 4);
}

#[tokio::test]
async fn a_persons_token_signs_edits_with_the_person() {
    let graph = Graph::start().await;
    let token = graph.sim.control().person_token(seed::PERSON).unwrap();
    let url = format!("{}/v1.0/planner/tasks", graph.sim.url());
    let body = json!({"planId": seed::PLAN, "title": "by hand"});
    let made: Value =
        graph.http.post(url).bearer_auth(&token).json(&body).send().await.unwrap().json().await.unwrap();
    assert_eq!(made["createdBy"]["user"]["id"], seed::PERSON);
    let url = format!("{}/v1.0/me", graph.sim.url());
    let me: Value = graph.http.get(url).bearer_auth(&token).send().await.unwrap().json().await.unwrap();
    assert_eq!(me["displayName"], "Alex Wilber");
    assert!(graph.sim.control().person_token("nobody").is_err());
    let counts = graph.sim.control().counts();
    assert_eq!((counts.person.requests, counts.app.requests), (2, 0));
}

#[tokio::test]
async fn token_endpoints_have_weather_too() {
    let graph = Graph::start().await;
    let control = graph.sim.control();
    control.fault(Fault::on("/oauth2/", Effect::status_retry(429, 3))).unwrap();
    // A fault without a path is for Graph and leaves the token endpoints alone.
    control.fault(Fault { matching: Default::default(), effect: Effect::status(500) }).unwrap();
    assert_eq!(client_credentials(&graph, &[]).await.0, 429);
    assert_eq!(client_credentials(&graph, &[]).await.0, 200);
    let discovery =
        format!("{}/{}/v2.0/.well-known/openid-configuration", graph.sim.entra_url(), graph.sim.tenant_id());
    let document: Value = graph.http.get(discovery).send().await.unwrap().json().await.unwrap();
    assert!(document["token_endpoint"].as_str().unwrap().starts_with(&graph.sim.url()));
}
