//! What a command answers, and how it is printed.

use std::{io::Write as _, process::ExitCode};

use serde_json::{Value as Json, json};

use crate::{erasure::ErasureError, planner::InspectError, store::StoreError};

/// A command's answer.
pub(in crate::cli) struct Answer {
    /// For people.
    pub text: String,
    /// For programs.
    pub json: Json,
    /// It was done, or all is well.
    pub well: bool,
}

/// A command that could not be answered, or was refused.
pub(in crate::cli) struct Failed {
    code: &'static str,
    message: String,
    /// There is an answer, and it is "no".
    answered: bool,
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self { code: error.kind.code(), message: error.to_string(), answered: false }
    }
}

impl From<annika_sync::world::StoreError> for Failed {
    fn from(error: annika_sync::world::StoreError) -> Self {
        Self { code: error.code, message: error.message, answered: false }
    }
}

impl From<InspectError> for Failed {
    fn from(error: InspectError) -> Self {
        let message = error.to_string();
        match error {
            InspectError::Store(error) => error.into(),
            InspectError::BadCursor => Self { code: "bad_cursor", message, answered: true },
            InspectError::BadId(_) => Self { code: "invalid", message, answered: true },
            InspectError::UnknownTask(_) => Self { code: "task_not_found", message, answered: true },
            InspectError::Unreadable(_) => Self { code: "state_unreadable", message, answered: true },
        }
    }
}

impl From<ErasureError> for Failed {
    fn from(error: ErasureError) -> Self {
        let message = error.to_string();
        match error {
            ErasureError::Store(error) => error.into(),
            ErasureError::Full => Self { code: "erased_list_full", message, answered: true },
            ErasureError::BadName => Self { code: "invalid", message, answered: true },
        }
    }
}

/// Prints an answer to stdout, a failure to stderr (as JSON to stdout where that is asked for).
pub(in crate::cli) fn print(answered: Result<Answer, Failed>, as_json: bool) -> ExitCode {
    let (text, code) = match answered {
        Ok(answer) if as_json => (format!("{:#}\n", answer.json), u8::from(!answer.well)),
        Ok(answer) => (answer.text, u8::from(!answer.well)),
        Err(failed) => {
            let code = if failed.answered { 1 } else { 2 };
            if !as_json {
                eprintln!("{}: {}", failed.code, failed.message);
                return ExitCode::from(code);
            }
            (format!("{:#}\n", json!({"code": failed.code, "error": failed.message})), code)
        }
    };
    // A reader that has gone away (such as `head`) has what it wanted.
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
    ExitCode::from(code)
}
