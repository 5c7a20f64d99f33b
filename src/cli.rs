//! The command line. Without arguments the handler serves: that is how the Functions host starts it.

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Serve until a signal comes or the Functions host is gone.
    Serve,
    /// Check the settings and the credential, print what was found as JSON, and exit 0 if all is well.
    Doctor,
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
    }
}
