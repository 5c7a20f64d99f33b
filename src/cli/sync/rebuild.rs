//! `annika sync rebuild`: asks for it and shows how far it has come.

use std::{
    io::{IsTerminal as _, Write as _},
    time::Duration,
};

use serde_json::json;

use crate::{
    cli::answer::{Answer, Failed},
    clock::SharedClock,
    planner::{Planner, RebuildPhase, RebuildState},
};

const EVERY: Duration = Duration::from_millis(500);
const BAR: usize = 30;

/// Asks for a rebuild; with `wait`, returns when it has ended or after `timeout_s` seconds.
pub(super) async fn rebuild(
    planner: &Planner,
    clock: &SharedClock,
    wait: bool,
    timeout_s: u64,
) -> Result<Answer, Failed> {
    planner.rebuild().await?;
    let mut state = planner.rebuild_state().await?;
    if !wait {
        let text = "A rebuild was asked for; `annika sync status` shows how far it has come.\n".to_owned();
        return Ok(Answer { text, json: json!({"status": "accepted"}), well: true });
    }
    let until = clock.monotonic_ms() + timeout_s.saturating_mul(1_000);
    let on_terminal = std::io::stderr().is_terminal();
    while state.phase != RebuildPhase::Done && !state.silent && clock.monotonic_ms() < until {
        if on_terminal {
            draw(&state);
        }
        clock.sleep(EVERY).await;
        state = planner.rebuild_state().await?;
    }
    if on_terminal {
        eprintln!();
    }
    let (status, text) = match (&state.phase, state.silent) {
        (RebuildPhase::Done, _) => ("done", "The sync's memory is whole again."),
        (_, true) => ("no_engine", "It was asked for, but no engine runs: it begins when one does."),
        (_, false) => ("running", "It still runs; `annika sync status` shows how far it has come."),
    };
    let well = state.phase == RebuildPhase::Done;
    let json = json!({"status": status, "progress": state.progress});
    Ok(Answer { text: format!("{text}\n"), json, well })
}

fn draw(state: &RebuildState) {
    let share = state.share();
    let filled = (share * BAR as f64) as usize;
    let progress = state.progress.clone().unwrap_or_default();
    eprint!(
        "\r[{}{}] {:>3.0} %  {} documents read, {} claimed; round {} of 2: {} of {} plans ",
        "#".repeat(filled),
        ".".repeat(BAR.saturating_sub(filled)),
        share * 100.0,
        progress.documents,
        progress.claimed,
        (progress.rounds + 1).min(2),
        progress.plans_listed,
        state.plans,
    );
    // A bar that cannot be drawn is no failure of the rebuild.
    let _ = std::io::stderr().flush();
}
