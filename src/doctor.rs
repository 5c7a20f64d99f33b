//! `annika doctor`: what an operator wants to know before anything runs, as one JSON object on stdout.

use crate::{
    app::App,
    entra::CredentialKind,
    graph::{Outcome, planner},
};
use serde_json::{Value, json};
use std::process::ExitCode;

/// Checks credential, Graph and plans, prints the findings, and answers 0 only if all is well.
///
/// Graph is asked for the first plan or group that the settings name; no token, key or name of a task is printed.
pub async fn run(app: &App) -> ExitCode {
    let (well, report) = examine(app).await;
    println!("{report}");
    if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whether all is well, and the findings.
pub async fn examine(app: &App) -> (bool, Value) {
    let credential = match app.credentials.kind() {
        Some(CredentialKind::ManagedIdentity) => json!("managed_identity"),
        Some(CredentialKind::ClientSecret) => json!("client_secret"),
        None => Value::Null,
    };
    let plans = &app.settings.planner.plans;
    let mut report = json!({ "credential": credential, "plans": plans.len(), "graph": null, "problems": [] });
    let mut problems: Vec<String> = Vec::new();
    let outcome = match plans.first() {
        Some(plan) => app.graph.send(planner::probe(plan)).await,
        None => {
            problems.push("PLANNER_PLANS is not set: nothing is synchronised".to_owned());
            match app.graph.check_token().await {
                Ok(()) => return finish(report, problems),
                Err(reason) => Outcome::NotSent(reason),
            }
        }
    };
    match outcome {
        Outcome::Answer(answer) => {
            report["graph"] = json!({ "status": answer.status });
            if !answer.is_success() {
                problems.push(format!("Graph answered {} for the first of PLANNER_PLANS", answer.status));
            }
        }
        Outcome::Unknown(reason) => {
            report["graph"] = json!({ "code": reason.code() });
            problems.push(reason.to_string());
        }
        Outcome::NotSent(reason) => {
            report["graph"] = json!({ "code": reason.code() });
            problems.push(reason.to_string());
        }
    }
    finish(report, problems)
}

fn finish(mut report: Value, problems: Vec<String>) -> (bool, Value) {
    report["problems"] = json!(problems);
    (problems.is_empty(), report)
}
