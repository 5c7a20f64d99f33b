//! Settings of what is synchronised with Planner, and when.

use std::time::Duration;

use super::error::Reader;
use annika_sync::lens::DayTime;

/// What is synchronised, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannerSettings {
    /// The plans that are kept the same in Redis and in Planner; no other plan is touched. Read from
    /// `PLANNER_PLANS`: plan ids and `group:{id}` (every plan of a Microsoft 365 group), separated by commas.
    pub plans: Vec<PlanSource>,
    /// When the timer `planner_poll` fires, in NCRONTAB (six fields, UTC); the host reads it too. Read from
    /// `PLANNER_POLL_SCHEDULE`, default every minute.
    pub poll_schedule: String,
    /// What an invocation of the timer does. Read from `PLANNER_POLL_MODE`, default `continuous`.
    pub poll_mode: PollMode,
    /// The time of day, in UTC, that Planner is told for a day without one. Read from `PLANNER_DUE_TIME` (`HH:MM`),
    /// default 10:00, as Planner's own page does.
    pub due_time: DayTime,
    /// Under which name this deployment's creates carry ids of ours, through Graph's beta: a create whose answer was
    /// lost is then simply sent again. Read from `PLANNER_EXTERNAL_ID`; not set = creates of v1.0 without ids.
    pub external_id: Option<String>,
    /// How many replicas of Redis must have the intent of a create before it is sent; 0 does not wait. Read from
    /// `REDIS_REPLICAS`, default 0.
    pub replicas: u32,
    /// How long an engine that says nothing keeps the sync to itself: a successor waits at most so long. Read from
    /// `PLANNER_LEASE_SECONDS`, 1 to 15, default 14.
    pub lease: Duration,
    /// How long a claimed task is its engine's. Read from `PLANNER_TASK_LEASE_SECONDS`, 2 to 60, default 60.
    pub task_lease: Duration,
    /// After how many days a completed task leaves Redis, counted from its completion or last change; Planner keeps
    /// it. Read from `TASKS_COMPLETED_TTL_DAYS`; not set or 0 = never.
    pub completed_ttl_days: Option<u32>,
    /// Up to this many deletions in 24 hours on one side, each only inferred from an absence, are never too many.
    /// Read from `PLANNER_DELETE_GUARD_MIN`, default 5.
    pub delete_guard_min: u32,
    /// Nor are this many per cent of the known tasks; 100 turns the guard off. Read from
    /// `PLANNER_DELETE_GUARD_PERCENT`, default 5.
    pub delete_guard_percent: u32,
}

/// One entry of `PLANNER_PLANS`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PlanSource {
    /// A plan by its id, which is case-sensitive.
    Plan(String),
    /// Every plan of the group with this id.
    Group(String),
}

/// What an invocation of the timer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PollMode {
    /// It keeps the engine running until just after the next tick.
    Continuous,
    /// It runs one cycle and returns.
    Periodic,
}

impl PlannerSettings {
    /// Once a minute: below that the host keeps no status of the timer (functions-host sources, `TimerListener`).
    pub const DEFAULT_SCHEDULE: &'static str = "0 * * * * *";

    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let plans = reader.text("PLANNER_PLANS").map(|text| Self::plans(reader, &text)).unwrap_or_default();
        let poll_schedule =
            reader.text("PLANNER_POLL_SCHEDULE").unwrap_or_else(|| Self::DEFAULT_SCHEDULE.to_owned());
        if ![5, 6].contains(&poll_schedule.split_ascii_whitespace().count()) {
            reader.reject(
                "PLANNER_POLL_SCHEDULE",
                "must have six fields: second minute hour day month weekday",
            );
        }
        let poll_mode = match reader.text("PLANNER_POLL_MODE").as_deref() {
            None | Some("continuous") => PollMode::Continuous,
            Some("periodic") => PollMode::Periodic,
            Some(_) => {
                reader.reject("PLANNER_POLL_MODE", "must be `continuous` or `periodic`");
                PollMode::Continuous
            }
        };
        let due_time = match reader.text("PLANNER_DUE_TIME") {
            None => DayTime::default(),
            Some(text) => DayTime::parse(&text).unwrap_or_else(|| {
                reader.reject("PLANNER_DUE_TIME", "must be a time of day in UTC: `HH:MM`");
                DayTime::default()
            }),
        };
        let external_id = reader.text("PLANNER_EXTERNAL_ID").filter(|name| {
            let valid = name.len() <= 100
                && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'));
            if !valid {
                reader.reject(
                    "PLANNER_EXTERNAL_ID",
                    "must be a name of this deployment: up to 100 letters, digits, `.`, `-`, `_`",
                );
            }
            valid
        });
        let replicas = reader.text("REDIS_REPLICAS").map_or(0, |text| {
            text.parse().unwrap_or_else(|_| {
                reader.reject("REDIS_REPLICAS", "must be a whole number, 0 or more");
                0
            })
        });
        let lease = Self::seconds(reader, "PLANNER_LEASE_SECONDS", 1..=15, 14);
        let task_lease = Self::seconds(reader, "PLANNER_TASK_LEASE_SECONDS", 2..=60, 60);
        let completed_ttl_days = reader.text("TASKS_COMPLETED_TTL_DAYS").and_then(|text| {
            let days = text.trim().parse::<u32>().ok().filter(|days| *days <= 36_500);
            if days.is_none() {
                reader
                    .reject("TASKS_COMPLETED_TTL_DAYS", "must be a whole number of days, 0 (never) to 36500");
            }
            days.filter(|days| *days > 0)
        });
        let delete_guard_min = reader.positive_integer("PLANNER_DELETE_GUARD_MIN", 5);
        let delete_guard_percent = reader.positive_integer("PLANNER_DELETE_GUARD_PERCENT", 5);
        if delete_guard_percent > 100 {
            reader.reject("PLANNER_DELETE_GUARD_PERCENT", "must be a whole number from 1 to 100");
        }
        Self {
            plans,
            poll_schedule,
            poll_mode,
            due_time,
            external_id,
            replicas,
            lease,
            task_lease,
            completed_ttl_days,
            delete_guard_min,
            delete_guard_percent,
        }
    }

    fn seconds(
        reader: &mut Reader<'_>,
        name: &'static str,
        range: std::ops::RangeInclusive<u64>,
        default: u64,
    ) -> Duration {
        let seconds = reader.text(name).map_or(Ok(default), |text| text.trim().parse());
        match seconds {
            Ok(seconds) if range.contains(&seconds) => Duration::from_secs(seconds),
            _ => {
                reader.reject(
                    name,
                    format!("must be a whole number from {} to {}", range.start(), range.end()),
                );
                Duration::from_secs(default)
            }
        }
    }

    fn plans(reader: &mut Reader<'_>, text: &str) -> Vec<PlanSource> {
        let mut plans: Vec<PlanSource> = Vec::new();
        for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let (id, source): (&str, fn(String) -> PlanSource) = match entry.strip_prefix("group:") {
                Some(id) => (id, PlanSource::Group),
                None => (entry, PlanSource::Plan),
            };
            let valid = !id.is_empty()
                && id.len() <= 64
                && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
            if !valid {
                let rule = "must be plan ids and `group:{id}`, separated by commas; an id has letters, digits, `-`, `_`";
                reader.reject("PLANNER_PLANS", rule);
                return Vec::new();
            }
            let plan = source(id.to_owned());
            if !plans.contains(&plan) {
                plans.push(plan);
            }
        }
        plans
    }
}
