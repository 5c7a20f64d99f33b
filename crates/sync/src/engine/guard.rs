//! The guard against mass deletions: what was only inferred from an absence goes through in small numbers.

use std::time::Duration;

use super::Engine;
use crate::{
    plan::Deletion,
    world::{Direction, GuardQuestion, StoreError, World},
};

/// How soon a held deletion is looked at again, where nobody confirms it and nothing is marked.
pub(super) const HELD_WAIT: Duration = Duration::from_secs(900);

/// How many tasks the last look at each side missed, and of how many.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Missed {
    /// Documents, by the sweep: their tasks would be deleted in Planner.
    pub up: (usize, usize),
    /// Planner tasks, by the lists: their documents would be deleted.
    pub down: (usize, usize),
}

impl<W: World> Engine<W> {
    /// The sweep or the lists missed so many tasks of so many.
    pub(super) fn missed(&self, direction: Direction, missing: usize, of: usize) {
        let mut shared = self.shared();
        match direction {
            Direction::Up => shared.missed.up = (missing, of),
            Direction::Down => shared.missed.down = (missing, of),
        }
    }

    /// Which of these deletions may go through, in their order. A stated one always may.
    pub(super) async fn permitted(&self, deletions: &[(&str, Deletion)]) -> Result<Vec<bool>, StoreError> {
        let mut permitted = vec![true; deletions.len()];
        for direction in [Direction::Up, Direction::Down] {
            let asked: Vec<usize> = deletions
                .iter()
                .enumerate()
                .filter(|(_, (_, deletion))| !deletion.stated && deletion.direction == direction)
                .map(|(index, _)| index)
                .collect();
            if asked.is_empty() {
                continue;
            }
            let missed = self.shared().missed;
            let (missing, of) = match direction {
                Direction::Up => missed.up,
                Direction::Down => missed.down,
            };
            let ids = asked.iter().filter_map(|&index| deletions.get(index)).map(|(id, _)| (*id).to_owned());
            let question =
                GuardQuestion { direction, ids: ids.collect(), limits: self.settings.guard, missing, of };
            let answers = self.world.permit(question).await?;
            let held = answers.iter().filter(|answer| !**answer).count();
            if held > 0 {
                self.count("deletions_held", held as u64);
                tracing::warn!(
                    code = "delete_guard",
                    direction = direction.word(),
                    held,
                    "too many deletions that nobody stated: they wait for a person to release them"
                );
            }
            for (index, answer) in asked.into_iter().zip(answers) {
                if let Some(slot) = permitted.get_mut(index) {
                    *slot = answer;
                }
            }
        }
        Ok(permitted)
    }
}
