//! Tokens from a loopback Entra, by both flows.

use crate::fake::{Fake, TestClock, answer, answer_with, secret_variables, settings, token};
use annika::{
    clock::SystemRng,
    entra::{CredentialKind, Credentials, FailureKind, TokenError},
};
use axum::response::Response;
use serde_json::{Value, json};
use std::{
    process::Command,
    sync::{Arc, Mutex, atomic::AtomicUsize, atomic::Ordering::SeqCst},
    time::Duration,
};

const SCOPE: &str = "https://graph.microsoft.com/.default";

fn credentials(fake: &Fake, clock: &Arc<TestClock>) -> Credentials {
    let mut variables = secret_variables();
    variables.insert("ENTRA_BASE_URL", fake.url.clone());
    let http = annika::app::http_client().unwrap();
    Credentials::new(&settings(&variables).entra, http, clock.clone(), SystemRng::shared())
}

/// Tokens `t1`, `t2` … of `seconds`.
async fn issuing(seconds: i64) -> Fake {
    let issued = AtomicUsize::new(0);
    Fake::start(move |_| token(&format!("t{}", issued.fetch_add(1, SeqCst) + 1), seconds)).await
}

fn refusal(status: u16, aadsts: u32) -> Response {
    let text = format!("AADSTS{aadsts}: what happened. Trace ID: 1");
    answer(status, &json!({"error": "invalid_client", "error_description": text, "error_codes": [aadsts]}))
}

fn failure(error: TokenError) -> (FailureKind, Option<u32>, Duration) {
    match error {
        TokenError::Failed { failure, retry_after } => (failure.kind, failure.aadsts, retry_after),
        other => panic!("a failure, not {other:?}"),
    }
}

#[tokio::test]
async fn a_client_secret_is_posted_to_the_tenant_and_the_token_kept() {
    let fake = issuing(3600).await;
    let clock = Arc::new(TestClock::default());
    let credentials = credentials(&fake, &clock);
    assert_eq!(credentials.kind(), Some(CredentialKind::ClientSecret));
    let first = credentials.token(SCOPE).await.unwrap();
    assert_eq!(first.secret(), "t1");
    assert!(
        !format!("{first:?} {credentials:?}").contains("t1")
            && !format!("{credentials:?}").contains("s3cret")
    );

    let seen = fake.seen("");
    assert_eq!(seen[0].target, "/contoso.example/oauth2/v2.0/token");
    for pair in ["grant_type=client_credentials", "client_id=the-app", "client_secret=s3cret", ".default"] {
        assert!(seen[0].body.contains(pair), "{pair} in {}", seen[0].body);
    }
    clock.advance(Duration::from_secs(3600 - 301));
    assert_eq!(credentials.token(SCOPE).await.unwrap().secret(), "t1");
    clock.advance(Duration::from_secs(3));
    assert_eq!(credentials.token(SCOPE).await.unwrap().secret(), "t2", "five minutes before the end");
}

#[tokio::test]
async fn a_short_token_is_kept_for_half_its_life() {
    let fake = issuing(60).await;
    let clock = Arc::new(TestClock::default());
    let credentials = credentials(&fake, &clock);
    credentials.token(SCOPE).await.unwrap();
    clock.advance(Duration::from_secs(25));
    assert_eq!(credentials.token(SCOPE).await.unwrap().secret(), "t1");
    clock.advance(Duration::from_secs(6));
    assert_eq!(credentials.token(SCOPE).await.unwrap().secret(), "t2");
}

#[tokio::test]
async fn many_callers_make_one_request_for_each_scope() {
    let fake = issuing(3600).await;
    let credentials = Arc::new(credentials(&fake, &Arc::default()));
    let callers =
        (0..50).map(|n| {
            let credentials = Arc::clone(&credentials);
            async move {
                credentials.token(if n % 2 == 0 { SCOPE } else { "https://other.example/.default" }).await
            }
        });
    assert!(futures::future::join_all(callers).await.iter().all(Result::is_ok));
    assert_eq!(fake.seen("").len(), 2);
}

#[tokio::test]
async fn failures_are_told_apart_and_waited_out() {
    for (status, aadsts, kind, wait) in [
        (401, 7_000_215, FailureKind::WrongSecret, 30),
        (401, 7_000_222, FailureKind::WrongSecret, 30),
        (400, 700_016, FailureKind::UnknownApp, 30),
        (400, 65_001, FailureKind::NotAllowed, 30),
        (400, 50_196, FailureKind::Throttled, 1),
        (400, 90_033, FailureKind::Unavailable, 1),
        (400, 70_011, FailureKind::Refused, 30),
    ] {
        let fake = Fake::start(move |_| refusal(status, aadsts)).await;
        let clock = Arc::new(TestClock::default());
        let credentials = credentials(&fake, &clock);
        for _ in 0..5 {
            let (found, number, left) = failure(credentials.token(SCOPE).await.unwrap_err());
            assert_eq!((found, number), (kind, Some(aadsts)));
            assert!(left <= Duration::from_millis(wait * 1000 + 250), "{left:?}");
        }
        assert_eq!(fake.seen("").len(), 1, "AADSTS{aadsts} is waited out");
        clock.advance(Duration::from_millis(wait * 1000 + 250));
        let (_, _, left) = failure(credentials.token(SCOPE).await.unwrap_err());
        assert_eq!(fake.seen("").len(), 2);
        assert!(left >= Duration::from_secs(2 * wait), "the wait doubles: {left:?}");
    }
}

#[tokio::test]
async fn an_error_page_and_retry_after_are_understood() {
    let fake = Fake::start(|_| answer_with(429, "retry-after", "40", &Value::Null)).await;
    let credentials_429 = credentials(&fake, &Arc::default());
    let (kind, number, wait) = failure(credentials_429.token(SCOPE).await.unwrap_err());
    assert_eq!((kind, number, wait), (FailureKind::Throttled, None, Duration::from_secs(40)));

    let fake = Fake::start(|_| Response::new("<html>a proxy's page</html>".into())).await;
    let (kind, ..) = failure(credentials(&fake, &Arc::default()).token(SCOPE).await.unwrap_err());
    assert_eq!(kind, FailureKind::Unavailable);
}

#[tokio::test]
async fn an_old_token_serves_while_entra_is_away() {
    let script = Mutex::new(vec![token("t1", 3600), answer(503, &json!({})), token("t2", 3600)].into_iter());
    let fake = Fake::start(move |_| script.lock().unwrap().next().unwrap()).await;
    let clock = Arc::new(TestClock::default());
    let credentials = credentials(&fake, &clock);
    credentials.token(SCOPE).await.unwrap();
    clock.advance(Duration::from_secs(3400));
    assert_eq!(credentials.token(SCOPE).await.unwrap().secret(), "t1");
    clock.advance(Duration::from_secs(10));
    assert_eq!(credentials.token(SCOPE).await.unwrap().secret(), "t2");
}

#[tokio::test]
async fn a_forced_refresh_brings_a_new_token_or_says_that_it_is_the_same() {
    let fake = issuing(3600).await;
    let clock = Arc::new(TestClock::default());
    let credentials_new = credentials(&fake, &clock);
    let first = credentials_new.token(SCOPE).await.unwrap();
    let refreshed = credentials_new.refresh(SCOPE, &first).await.unwrap();
    assert_eq!((refreshed.token.secret(), refreshed.changed), ("t2", true));
    let late = credentials_new.refresh(SCOPE, &first).await.unwrap();
    assert_eq!((late.token.secret(), late.changed), ("t2", true), "another caller was first");
    assert_eq!(fake.seen("").len(), 2);

    let fake = Fake::start(|_| token("same", 3600)).await;
    let credentials_same = credentials(&fake, &clock);
    let first = credentials_same.token(SCOPE).await.unwrap();
    for _ in 0..5 {
        assert!(!credentials_same.refresh(SCOPE, &first).await.unwrap().changed);
    }
    assert_eq!(fake.seen("").len(), 2, "a rejected token is asked for again after a while");
    clock.advance(Duration::from_secs(2));
    assert!(!credentials_same.refresh(SCOPE, &first).await.unwrap().changed);
    assert_eq!(fake.seen("").len(), 3);
}

/// `azure_identity` reads the identity endpoint from the environment itself, so this takes a process of its own.
#[tokio::test]
async fn managed_identity_is_asked_as_the_platform_wants_it() {
    let fake = Fake::start(|seen| {
        if seen.target.starts_with("/msi/token") {
            let ends = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() + 86_400;
            let body = json!({"access_token": "mi-token", "expires_on": ends.to_string(), "token_type": "Bearer",
                "resource": "https://graph.microsoft.com", "client_id": "the-app"});
            return answer(200, &body);
        }
        assert_eq!(seen.header("authorization"), Some("Bearer mi-token"));
        answer(200, &json!({"id": "plan-1"}))
    })
    .await;
    let url = fake.url.clone();
    let report = tokio::task::spawn_blocking(move || {
        Command::new(env!("CARGO_BIN_EXE_annika"))
            .arg("doctor")
            .env_clear()
            .env("IDENTITY_ENDPOINT", format!("{url}/msi/token"))
            .env("IDENTITY_HEADER", "h3ader")
            .env("AZURE_CLIENT_ID", "the-app")
            .env("GRAPH_BASE_URL", &url)
            .env("PLANNER_PLANS", "plan-1")
            .output()
            .unwrap()
    })
    .await
    .unwrap();
    let text = String::from_utf8(report.stdout).unwrap();
    assert!(report.status.success(), "{text}");
    let found: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(found["credential"], "managed_identity");
    assert_eq!(found["graph"]["status"], 200);
    assert!(!text.contains("mi-token") && !text.contains("h3ader"), "{text}");
    assert_eq!(String::from_utf8(report.stderr).unwrap(), "");

    let asked = &fake.seen("/msi/token")[0];
    assert!(asked.target.contains("api-version=2019-08-01"), "{}", asked.target);
    assert!(
        asked.target.contains("resource=https%3A%2F%2Fgraph.microsoft.com&client_id=the-app"),
        "{}",
        asked.target
    );
    assert_eq!(asked.header("x-identity-header"), Some("h3ader"));
}

#[test]
fn the_doctor_names_what_is_missing_and_exits_1() {
    let output = Command::new(env!("CARGO_BIN_EXE_annika")).arg("doctor").env_clear().output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&found["credential"], &found["graph"]["code"]),
        (&Value::Null, &json!("credentials_missing"))
    );
    let problems = found["problems"].to_string();
    for name in ["PLANNER_PLANS", "AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET"] {
        assert!(problems.contains(name), "{name} in {problems}");
    }
}

/// The settings say one address, the environment (here: none) another: the SDK's request does not leave.
#[tokio::test]
async fn managed_identity_asks_no_other_address_than_the_configured_one() {
    let fake = issuing(3600).await;
    let mut variables = secret_variables();
    variables.insert("IDENTITY_ENDPOINT", format!("{}/msi/token", fake.url));
    variables.insert("IDENTITY_HEADER", "h3ader".to_owned());
    let http = annika::app::http_client().unwrap();
    let clock = Arc::new(TestClock::default());
    let credentials = Credentials::new(&settings(&variables).entra, http, clock, SystemRng::shared());
    assert_eq!(credentials.kind(), Some(CredentialKind::ManagedIdentity));
    let (kind, ..) = failure(credentials.token(SCOPE).await.unwrap_err());
    assert_eq!(kind, FailureKind::Unavailable);
    assert!(fake.seen("").is_empty());
}
