//! `annika sync …`: the operator's commands. They use the same services as the HTTP API, without it.

mod rebuild;
mod show;

use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};

use crate::{
    app::App,
    cli::answer::{self, Answer, Failed},
};

/// `annika sync`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct SyncArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: SyncCommand,
    /// Print JSON instead of tables.
    #[arg(long, global = true)]
    pub json: bool,
}

/// What to do with the sync.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum SyncCommand {
    /// How it is doing: health, backlog, plans, lag. Exits 1 if not all is well.
    Status,
    /// Run one cycle here and now: sweep, poll, work off what is due. Exits 1 if another process has the sync.
    Once,
    /// Try failed tasks again.
    Retry {
        /// The tasks.
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        ids: Vec<String>,
        /// All that are in the failed list.
        #[arg(long)]
        all: bool,
    },
    /// Build the sync's memory anew, after Redis lost keys. Nothing is deleted on either side until it ends.
    Rebuild {
        /// Only ask for it; do not wait for its end.
        #[arg(long)]
        no_wait: bool,
        /// Stop waiting after this many seconds; the rebuild goes on.
        #[arg(long, default_value_t = 1_800)]
        timeout: u64,
    },
    /// Bring a deleted task back, within 30 days.
    Restore {
        /// The task.
        id: String,
    },
    /// What is known of a task, what would be done now, and why. Nothing is carried out.
    Explain {
        /// The task.
        id: String,
    },
    /// Confirm the deletions that the guard holds on one side.
    Release {
        /// Where tasks are to be deleted.
        side: Side,
    },
    /// Tasks that cannot be synced.
    Failed(Page),
    /// Values that lost against another, newest first.
    Conflicts(Page),
    /// What the sync did, newest first.
    Log(Page),
    /// Deleted tasks that can be brought back, newest first.
    Tombs(Page),
}

/// On which side deletions are confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Side {
    /// In Planner, of tasks whose documents vanished.
    Planner,
    /// Of documents in Redis, of tasks that vanished from Planner.
    Redis,
}

/// Which page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Page {
    /// Entries on the page.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=200))]
    pub limit: u16,
    /// Where the page before ended, as it said.
    #[arg(long)]
    pub cursor: Option<String>,
}

/// Does it, prints the answer to stdout, and says with which code to exit.
pub async fn run(app: &App, args: &SyncArgs) -> ExitCode {
    let planner = &app.planner;
    let answered: Result<Answer, Failed> = match &args.command {
        SyncCommand::Status => show::status(planner, app.clock.now_ms()).await,
        SyncCommand::Once => show::once(planner).await,
        SyncCommand::Retry { ids, all } => show::retry(planner, ids, *all).await,
        SyncCommand::Rebuild { no_wait, timeout } => {
            rebuild::rebuild(planner, &app.clock, !no_wait, *timeout).await
        }
        SyncCommand::Restore { id } => show::restore(planner, id).await,
        SyncCommand::Explain { id } => show::explain(planner, id).await,
        SyncCommand::Release { side } => show::release(planner, *side).await,
        SyncCommand::Failed(page) => show::failed(planner, page).await,
        SyncCommand::Conflicts(page) => show::conflicts(planner, page).await,
        SyncCommand::Log(page) => show::log(planner, page).await,
        SyncCommand::Tombs(page) => show::tombs(planner, page).await,
    };
    answer::print(answered, args.json)
}
