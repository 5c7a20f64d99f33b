//! The command line. Without arguments the handler serves: that is how the Functions host starts it.

mod answer;
pub mod erasure;
pub mod sync;
mod table;

use clap::{Parser, Subcommand};

/// Annika: a Redis-first Microsoft 365 backend for AI agents, as an Azure Functions custom handler.
#[derive(Debug, Parser)]
#[command(version, about)]
pub struct Cli {
    /// What to do; `serve` when left out.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Serve until a signal comes or the Functions host is gone.
    Serve,
    /// Check the settings and the credential, print what was found as JSON, and exit 0 if all is well.
    Doctor,
    /// See and steer the sync with Planner: it works on Redis and Graph directly, with the settings of the environment.
    ///
    /// Exit codes: 0 = done, or all is well; 1 = answered, but not done or not all well; 2 = no answer.
    Sync(sync::SyncArgs),
    /// Erase everything about one person from Redis, and print what was erased. Planner stays as it is.
    ErasePerson(erasure::ErasePersonArgs),
}

impl Command {
    /// Whether people read what it prints: then logs go to stderr, and only errors.
    pub fn is_for_people(&self) -> bool {
        matches!(self, Self::Sync(_) | Self::ErasePerson(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound_and_serves_without_arguments() {
        Cli::command().debug_assert();
        assert_eq!(Cli::parse_from(["annika"]).command, None);
        assert_eq!(Cli::parse_from(["annika", "doctor"]).command, Some(Command::Doctor));
        for line in [
            "sync status --json",
            "sync once",
            "sync retry --all",
            "sync retry a b",
            "sync rebuild --no-wait",
            "sync restore a",
            "sync explain a",
            "sync release planner",
            "sync failed --limit 10",
            "sync conflicts",
            "sync log",
            "sync tombs",
            "erase-person alexw@contoso.com --in-planner --json",
        ] {
            let words = std::iter::once("annika").chain(line.split(' '));
            let parsed = Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{line}: {error}"));
            assert!(parsed.command.is_some_and(|command| command.is_for_people()));
        }
        for line in ["sync retry", "sync retry a --all", "sync release", "sync release both", "sync explain"]
        {
            assert!(Cli::try_parse_from(std::iter::once("annika").chain(line.split(' '))).is_err(), "{line}");
        }
    }
}
