//! What ran: one record for each invocation.

use super::{envelope::InvocationOutcome, ticks::Ticks};
use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

/// What started an invocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A request, by method and path; never the query, which may hold a key.
    Http {
        /// The method.
        method: String,
        /// The decoded path.
        path: String,
    },
    /// The schedule.
    Schedule {
        /// Whether it made up for a missed run.
        is_past_due: bool,
    },
    /// The admin API or the emulator's own `fire`.
    Manual,
}

/// One invocation.
#[derive(Clone, Debug)]
pub struct InvocationRecord {
    /// Its id.
    pub id: String,
    /// The function.
    pub function: String,
    /// What started it.
    pub cause: Cause,
    /// Retries before this attempt.
    pub retry: u32,
    /// Its start.
    pub started: Ticks,
    /// Its end, once there is one.
    pub ended: Option<Ticks>,
    /// How a trigger ended.
    pub outcome: Option<InvocationOutcome>,
    /// The status that an HTTP client got; none where it left.
    pub status: Option<u16>,
    /// How often the handler was sent the HTTP request.
    pub sent: usize,
    /// Why an HTTP exchange failed.
    pub error: Option<String>,
}

/// Records kept; older ones go first.
const KEPT: usize = 10_000;

/// All records.
#[derive(Debug, Default)]
pub(super) struct Records {
    list: Mutex<VecDeque<InvocationRecord>>,
}

impl Records {
    pub(super) fn begin(&self, id: &str, function: &str, cause: Cause, retry: u32, started: Ticks) {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        if list.len() == KEPT {
            list.pop_front();
        }
        list.push_back(InvocationRecord {
            id: id.to_owned(),
            function: function.to_owned(),
            cause,
            retry,
            started,
            ended: None,
            outcome: None,
            status: None,
            sent: 0,
            error: None,
        });
    }

    fn update(&self, id: &str, change: impl FnOnce(&mut InvocationRecord)) {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(record) = list.iter_mut().rev().find(|record| record.id == id) {
            change(record);
        }
    }

    pub(super) fn end(&self, id: &str, ended: Ticks, outcome: &InvocationOutcome) {
        self.update(id, |record| {
            record.ended = Some(ended);
            record.outcome = Some(outcome.clone());
        });
    }

    pub(super) fn end_http(
        &self,
        id: &str,
        ended: Ticks,
        status: Option<u16>,
        sent: usize,
        error: Option<String>,
    ) {
        self.update(id, |record| {
            record.ended = Some(ended);
            record.status = status;
            record.sent = sent;
            record.error = error;
        });
    }

    pub(super) fn all(&self) -> Vec<InvocationRecord> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// How many are under way.
    pub(super) fn running(&self) -> usize {
        self.list
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .filter(|record| record.ended.is_none())
            .count()
    }
}
