//! A timer function's life: its stored status, when it fires, what the trigger object says.

use super::{
    cron::Schedule,
    ticks::{DAY, Ticks},
};
use serde_json::Value;
use std::{
    io,
    path::{Path, PathBuf},
};

/// The longest wait that one leg of the timer takes.
const LONGEST_LEG: i64 = 24 * DAY;
/// A run at start waits 1 ms, a run whose time has come 0.1 µs.
const AT_ONCE: Ticks = Ticks(10_000);
const AT_LEAST: Ticks = Ticks(1);

/// The stored status of a schedule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScheduleStatus {
    /// Start of the last run.
    pub last: Ticks,
    /// The next planned run.
    pub next: Ticks,
    /// When the status was made.
    pub last_updated: Ticks,
}

impl ScheduleStatus {
    /// The text as it is stored and sent.
    pub fn json(&self) -> String {
        format!(
            "{{\"Last\":\"{}\",\"Next\":\"{}\",\"LastUpdated\":\"{}\"}}",
            self.last, self.next, self.last_updated
        )
    }

    /// Reads a stored text; an empty one and `null` are no status.
    ///
    /// # Errors
    /// The text is no status.
    pub fn parse(text: &str) -> Result<Option<Self>, String> {
        if text.trim().is_empty() {
            return Ok(None);
        }
        let value: Value = serde_json::from_str(text)
            .map_err(|why| format!("the stored schedule status is broken: {why}"))?;
        let members = match value {
            Value::Null => return Ok(None),
            Value::Object(members) => members,
            _ => return Err("the stored schedule status is no JSON object".to_owned()),
        };
        let date = |name: &str| match members.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
            None => Ok(Ticks::ZERO),
            Some((_, Value::String(text))) => Ticks::parse(text)
                .map(|(date, _)| date)
                .ok_or_else(|| format!("the stored schedule status: '{text}' is no date")),
            Some((_, other)) => Err(format!("the stored schedule status: {other} is no date")),
        };
        Ok(Some(Self { last: date("Last")?, next: date("Next")?, last_updated: date("LastUpdated")? }))
    }
}

/// Where a status is kept.
#[derive(Clone, Debug)]
pub struct StatusFile {
    path: PathBuf,
}

impl StatusFile {
    /// The file of one function below `folder`.
    pub fn new(folder: &Path, function: &str) -> Self {
        Self { path: folder.join(format!("{function}.status.json")) }
    }

    /// The stored text, if there is any.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(&self) -> io::Result<Option<String>> {
        match std::fs::read_to_string(&self.path) {
            Ok(text) => Ok(Some(text)),
            Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(why) => Err(why),
        }
    }

    /// Stores a status.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, text: &str) -> io::Result<()> {
        std::fs::write(&self.path, text)
    }
}

/// The check at start: the status to go on with, by how much a run is past due, and whether the status has to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartCheck {
    /// The status from here on.
    pub status: ScheduleStatus,
    /// How late the missed run is; zero where none was missed.
    pub past_due_by: Ticks,
    /// Whether it differs from what is stored.
    pub changed: bool,
}

/// Compares a stored status with the schedule, as the timers extension does when its listener starts.
pub fn check_at_start(schedule: &Schedule, now: Ticks, stored: Option<ScheduleStatus>) -> StartCheck {
    let after = |from: Ticks| schedule.next_after(from).unwrap_or(Ticks::MAX);
    let Some(stored) = stored else {
        let status = ScheduleStatus { last: Ticks::ZERO, next: after(now), last_updated: now };
        return StartCheck { status, past_due_by: Ticks::ZERO, changed: true };
    };
    // What the next run should be by the schedule as it is now.
    let expected = if stored.last != Ticks::ZERO {
        after(stored.last)
    } else if stored.last_updated != Ticks::ZERO {
        after(stored.last_updated)
    } else {
        after(now)
    };
    if stored.next != expected {
        // The schedule is another one: never past due.
        let (next, last_updated) = if now > expected {
            (after(now), now)
        } else if stored.last != Ticks::ZERO {
            (expected, stored.last)
        } else if stored.last_updated != Ticks::ZERO {
            (expected, stored.last_updated)
        } else {
            (expected, now)
        };
        let status = ScheduleStatus { last: Ticks::ZERO, next, last_updated };
        return StartCheck { status, past_due_by: Ticks::ZERO, changed: true };
    }
    let late = Ticks((now.0 - stored.next.0).max(0));
    StartCheck { status: stored, past_due_by: late, changed: false }
}

/// A timer's listener, without a clock of its own: it is told when its timer fires and when a run ends.
#[derive(Clone, Debug)]
pub struct Listener {
    schedule: Schedule,
    monitored: bool,
    run_on_startup: bool,
    status: ScheduleStatus,
    /// What is stored, which a run by hand shows.
    stored: Option<ScheduleStatus>,
    /// A run that is due at once, and whether it is a missed one.
    immediate: Option<bool>,
    /// What is left of a wait that is longer than one leg.
    remaining: Ticks,
    planned: Ticks,
}

/// What happens when the timer fires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fired {
    /// The function runs.
    Run(Run),
    /// A further leg of a long wait.
    Wait(Ticks),
}

/// A run that begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The trigger object.
    pub info: String,
    /// Whether it makes up for a missed run.
    pub is_past_due: bool,
}

/// The trigger object of a run.
pub fn timer_info(schedule: &Schedule, status: Option<&ScheduleStatus>, is_past_due: bool) -> String {
    format!(
        "{{\"Schedule\":{{\"AdjustForDST\":{}}},\"ScheduleStatus\":{},\"IsPastDue\":{is_past_due}}}",
        schedule.adjusts_for_dst(),
        status.map_or("null".to_owned(), ScheduleStatus::json),
    )
}

impl Listener {
    /// A listener made at `now`; whether it keeps a status is decided here.
    pub fn new(schedule: Schedule, use_monitor: bool, run_on_startup: bool, now: Ticks) -> Self {
        let monitored = use_monitor && schedule.allows_monitor(now);
        Self {
            schedule,
            monitored,
            run_on_startup,
            status: ScheduleStatus::default(),
            stored: None,
            immediate: None,
            remaining: Ticks::ZERO,
            planned: Ticks::ZERO,
        }
    }

    /// Whether a status is kept.
    pub fn monitored(&self) -> bool {
        self.monitored
    }

    /// The trigger object of a run by hand: it shows the stored status.
    pub fn info_now(&self) -> String {
        timer_info(&self.schedule, self.stored.as_ref().filter(|_| self.monitored), false)
    }

    /// Starts; returns the first wait and the status to store, if it changed.
    pub fn start(&mut self, now: Ticks, stored: Option<ScheduleStatus>) -> (Ticks, Option<ScheduleStatus>) {
        let mut store = None;
        if self.monitored {
            let check = check_at_start(&self.schedule, now, stored);
            self.status = check.status;
            self.stored = Some(check.status);
            if check.changed {
                store = Some(check.status);
                if stored.is_none() {
                    // The extension stores the start time but goes on without it.
                    self.status.last_updated = Ticks::ZERO;
                }
            }
            if check.past_due_by > Ticks::ZERO {
                self.immediate = Some(true);
            }
        }
        if self.immediate.is_none() && self.run_on_startup {
            self.immediate = Some(false);
        }
        if self.immediate.is_some() {
            return (AT_ONCE, store);
        }
        (self.wait_from(now), store)
    }

    fn wait_from(&mut self, now: Ticks) -> Ticks {
        let next = if self.monitored { self.status.next } else { self.planned_after(now) };
        self.planned = next;
        self.leg(Ticks(next.0 - now.0))
    }

    fn planned_after(&self, from: Ticks) -> Ticks {
        self.schedule.next_after(from).unwrap_or(Ticks::MAX)
    }

    fn leg(&mut self, wait: Ticks) -> Ticks {
        let wait = wait.max(AT_LEAST);
        let leg = Ticks(wait.0.min(LONGEST_LEG));
        self.remaining = Ticks(wait.0 - leg.0);
        leg
    }

    /// The timer fired at `now`.
    pub fn fire(&mut self, _now: Ticks) -> Fired {
        if self.remaining > Ticks::ZERO {
            let wait = self.remaining;
            return Fired::Wait(self.leg(wait));
        }
        let is_past_due = self.immediate == Some(true);
        let info = timer_info(&self.schedule, self.monitored.then_some(&self.status), is_past_due);
        Fired::Run(Run { info, is_past_due })
    }

    /// The run that began at `started` ended at `now`; returns the next wait and the status to store.
    pub fn end(&mut self, started: Ticks, now: Ticks) -> (Ticks, Option<ScheduleStatus>) {
        // A timer that fires early counts as fired at its planned time, or it would fire twice.
        let last = if self.immediate.is_none() && started < self.planned { self.planned } else { started };
        self.immediate = None;
        let next = self.planned_after(last);
        let mut store = None;
        if self.monitored {
            self.status = ScheduleStatus { last, next, last_updated: last };
            self.stored = Some(self.status);
            store = self.stored;
        }
        self.planned = next;
        (self.leg(Ticks(next.0 - now.0)), store)
    }
}
