//! What can go wrong with the emulator or the app it hosts.

use super::app::FunctionError;
use std::{io, path::PathBuf};
use thiserror::Error;

/// Why the host does not start, stopped, or cannot do what it was asked.
#[derive(Debug, Error)]
pub enum HostError {
    /// host.json or a settings file is wrong.
    #[error("A host error has occurred during startup operation: {message}")]
    Config {
        /// What the host says.
        message: String,
    },
    /// `enableForwardingHttpRequest` is on.
    #[error(
        "refused: the product never uses forwarding (customHandler.enableForwardingHttpRequest is true; set enableProxyingHttpRequest instead)"
    )]
    Forwarding,
    /// No function lies one level below the root.
    #[error("{}", no_functions(.deeper, .errors))]
    NoFunctions {
        /// function.json files that lie one level too deep.
        deeper: Vec<PathBuf>,
        /// Functions that were found and left out.
        errors: Vec<FunctionError>,
    },
    /// Some functions are in error; the host itself would run the others.
    #[error("{}", function_errors(.0))]
    Functions(Vec<FunctionError>),
    /// The handler cannot be started at all.
    #[error("Failed to start Worker Channel. Process fileName: {file}: {source}")]
    Spawn {
        /// The executable.
        file: String,
        /// What the system says.
        source: io::Error,
    },
    /// The host has shut down.
    #[error("{reason}")]
    Stopped {
        /// Its last words.
        reason: String,
    },
    /// No such function.
    #[error("there is no function '{name}' in the app")]
    UnknownFunction {
        /// The name asked for.
        name: String,
    },
    /// The function is started by HTTP requests only.
    #[error("'{name}' is an HTTP function: send it a request")]
    NotATrigger {
        /// The name asked for.
        name: String,
    },
    /// A port or a file of the emulator itself.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// What the system says.
        source: io::Error,
    },
}

impl HostError {
    pub(super) fn config(message: String) -> Self {
        Self::Config { message }
    }

    pub(super) fn io(what: impl Into<String>, source: io::Error) -> Self {
        Self::Io { what: what.into(), source }
    }
}

fn no_functions(deeper: &[PathBuf], errors: &[FunctionError]) -> String {
    let mut text = String::from("No job functions found. Try making your job classes and methods public.");
    if let Some(first) = deeper.first() {
        text.push_str(&format!(
            " (The host looks only one level below the app's root; {} function.json files lie deeper, the first is {})",
            deeper.len(),
            first.display()
        ));
    }
    if !errors.is_empty() {
        text.push_str(&format!(" {}", function_errors(errors)));
    }
    text
}

fn function_errors(errors: &[FunctionError]) -> String {
    let lines: Vec<String> = errors
        .iter()
        .map(|error| format!("The '{}' function is in error: {}", error.function, error.message))
        .collect();
    lines.join("\n")
}
