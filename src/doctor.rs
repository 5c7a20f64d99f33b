//! `annika doctor`: what an operator wants to know before anything runs, as one JSON object on stdout.

use crate::{app::App, entra::CredentialKind, graph::Outcome};
use serde_json::{Value, json};
use std::process::ExitCode;

/// Checks credential, Graph and plans, prints the findings, and answers 0 only if all is well.
///
/// Graph is asked for one plan or group that the settings name; no token, key or name of a task is printed.
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
    if plans.is_empty() {
        problems.push("PLANNER_PLANS is not set: nothing is synchronised".to_owned());
    }
    let outcome = app.graph.send(crate::graph::planner::probe(plans.first())).await;
    report["graph"] = match &outcome {
        Outcome::Answer(answer) => json!({ "status": answer.status }),
        Outcome::Unknown(reason) => json!({ "code": reason.code() }),
        Outcome::NotSent(reason) => json!({ "code": reason.code() }),
    };
    match outcome {
        Outcome::Answer(answer) if answer.is_success() => {}
        Outcome::Answer(answer) => {
            problems.push(format!("Graph answered {} for the first plan", answer.status))
        }
        Outcome::Unknown(reason) => problems.push(reason.to_string()),
        Outcome::NotSent(reason) => problems.push(reason.to_string()),
    }
    report["problems"] = json!(problems);
    (problems.is_empty(), report)
}
