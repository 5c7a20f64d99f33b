//! `annika erase-person`: erases until every key was looked at, and prints what was erased.

use std::process::ExitCode;

use clap::Args;

use super::{
    answer::{self, Answer, Failed},
    table::table,
};
use crate::{
    app::App,
    erasure::{Report, Request},
};

/// `annika erase-person`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct ErasePersonArgs {
    /// Object id, user principal name or mail address.
    pub person: String,
    /// Unassign them in Planner too; without it nothing changes there.
    #[arg(long)]
    pub in_planner: bool,
    /// Print JSON instead of a table.
    #[arg(long)]
    pub json: bool,
}

/// Erases, prints the report, and says with which code to exit: 1 where tasks were busy and it has to run again.
pub async fn run(app: &App, args: &ErasePersonArgs) -> ExitCode {
    answer::print(erase(app, args).await.map(|report| shown(&report)), args.json)
}

async fn erase(app: &App, args: &ErasePersonArgs) -> Result<Report, Failed> {
    let mut request = Request { person: args.person.clone(), in_planner: args.in_planner, cursor: None };
    let mut whole = Report::default();
    loop {
        let report = app.erasure.erase(&request).await?;
        for (pattern, count) in report.erased {
            *whole.erased.entry(pattern).or_default() += count;
        }
        whole.mentioned_in.extend(report.mentioned_in);
        whole.busy.extend(report.busy);
        whole.identifiers = report.identifiers;
        whole.found_in_directory = report.found_in_directory;
        request.cursor = report.cursor;
        if request.cursor.is_none() {
            whole.complete = whole.busy.is_empty();
            return Ok(whole);
        }
    }
}

fn shown(report: &Report) -> Answer {
    let rows: Vec<Vec<String>> = report
        .erased
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(pattern, count)| vec![(*pattern).to_owned(), count.to_string()])
        .collect();
    let mut text = if rows.is_empty() {
        "Nothing was left to erase.\n".to_owned()
    } else {
        table(&["keys", "erased"], &rows)
    };
    if !report.found_in_directory {
        text.push_str(
            "\nThe directory did not describe the person: only the names at hand were looked for.\n",
        );
    }
    for id in &report.mentioned_in {
        text.push_str(&format!("\nstill mentioned in the text of task {id}"));
    }
    if !report.mentioned_in.is_empty() {
        text.push('\n');
    }
    if !report.busy.is_empty() {
        text.push_str(&format!(
            "\n{} tasks are being worked on or wait for Planner: run it again.\n",
            report.busy.len()
        ));
    }
    let json = serde_json::to_value(report).unwrap_or_default();
    Answer { text, json, well: report.complete }
}
