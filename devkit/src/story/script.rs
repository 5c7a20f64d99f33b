//! The steps of the story: what has to be observed, and by when. A story is complete when each of them was.

use std::time::Duration;

/// A step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// The plan's tasks come to Redis.
    Import,
    /// `POST /api/tasks` reaches Planner.
    CreateHttp,
    /// It was told on the channels.
    CreateTold,
    /// `SET` and `PUBLISH` reach Planner.
    CreateRaw,
    /// `SET` alone reaches Planner.
    CreateSilent,
    /// A person's edit reaches Redis.
    PersonEdits,
    /// It was told on the channels.
    EditTold,
    /// A completion reaches Redis.
    PersonCompletes,
    /// An assignee reaches Redis.
    PersonAssigns,
    /// A person's new task reaches Redis.
    PersonCreates,
    /// A person's deletion reaches Redis.
    PersonDeletes,
    /// It was told on the channels.
    DeleteTold,
    /// Two edits of one task at once.
    Both,
    /// `DEL` and `PUBLISH` reach Planner.
    DelTold,
    /// `DEL` alone reaches Planner.
    DelSilent,
    /// Planner is away and agents notice nothing.
    Away,
    /// Planner is back and everything is made up for.
    Back,
    /// A poll that was asked for.
    PollNow,
    /// Nothing twice.
    NoDuplicates,
    /// Every message has its documented form.
    Forms,
}

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Every step in the order in which it is told, with its deadline.
///
/// Where the deadlines come from: what is announced goes out within a second, and has five; the sweep runs every
/// 30 s and its create goes out at once, so a plain `SET` is in Planner within 31 s; a silent `DEL` must be missed by
/// two sweeps; the poll comes at every full and half minute; a task is deleted here only after two complete lists
/// and two answers 404, 15 s apart; health, which tells of an outage, is published every 5 s.
pub const STEPS: &[(Step, Duration, &str)] = &[
    (Step::Import, s(20), "the plan's tasks are documents in Redis"),
    (Step::CreateHttp, s(5), "the task of POST /api/tasks is in Planner, every field of it"),
    (Step::CreateTold, s(5), "agents heard of it on all three channels: created, synced up"),
    (Step::CreateRaw, s(5), "the task of SET + PUBLISH is in Planner"),
    (Step::CreateSilent, s(31), "the task of a plain SET is in Planner, found by the sweep"),
    (Step::PersonEdits, s(33), "a person's new title and date are in Redis, by the regular poll"),
    (Step::EditTold, s(5), "agents heard of it on all three channels: updated, synced down"),
    (Step::PersonCompletes, s(33), "a person completed a task: percent_complete is 1 in Redis"),
    (Step::PersonAssigns, s(33), "a person added an assignee: assigned_to has both in Redis"),
    (Step::PersonCreates, s(33), "a task that a person made is a document in Redis"),
    (Step::PersonDeletes, s(70), "a task that a person deleted is gone from Redis"),
    (Step::DeleteTold, s(5), "agents heard of it on all three channels: deleted"),
    (Step::Both, s(10), "agent and person changed one task at once: both sides have both edits"),
    (Step::DelTold, s(5), "a document of DEL + PUBLISH is gone from Planner"),
    (Step::DelSilent, s(65), "a document of a plain DEL is gone from Planner, after two sweeps"),
    (Step::Away, s(12), "Planner is away: agents create and edit as ever"),
    (Step::Back, s(15), "Planner is back: all of it is there, nobody did anything"),
    (Step::PollNow, s(5), "a person's edit is in Redis at once after POST /api/sync/poll"),
    (Step::NoDuplicates, s(5), "each task is in Planner once, made by one request"),
    (Step::Forms, s(5), "every message on the channels has its documented form"),
];

impl Step {
    /// Its number, from 1.
    pub fn number(self) -> usize {
        STEPS.iter().position(|(step, ..)| *step == self).map_or(0, |place| place + 1)
    }

    /// How long it may take.
    pub fn deadline(self) -> Duration {
        STEPS.iter().find(|(step, ..)| *step == self).map_or(Duration::ZERO, |(_, deadline, _)| *deadline)
    }

    /// What is to be observed.
    pub fn text(self) -> &'static str {
        STEPS.iter().find(|(step, ..)| *step == self).map_or("", |(.., text)| *text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_stands_in_the_script_once_and_in_order() {
        for (place, (step, deadline, text)) in STEPS.iter().enumerate() {
            assert_eq!((step.number(), step.deadline(), step.text()), (place + 1, *deadline, *text));
        }
        assert!(STEPS.is_sorted_by(|before, after| before.0 < after.0));
        assert_eq!(STEPS.last().map(|(step, ..)| *step), Some(Step::Forms), "the last of the enumeration");
    }
}
