//! Planner's service limits. Microsoft may change them without notice, so they are a table, not constants.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::graph::answer::GraphError;

/// The highest number allowed by each limit, by the name that is the error's code.
///
/// The numbers are those of Microsoft's page "Microsoft Planner limits", newest copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Limits(pub BTreeMap<String, usize>);

impl Default for Limits {
    fn default() -> Self {
        let table = [
            ("MaximumPlannerPlans", 400),
            ("MaximumTasksInProject", 9_000),
            ("MaximumActiveTasksInProject", 3_000),
            ("MaximumBucketsInProject", 200),
            ("MaximumAssigneesInTasks", 20),
            ("MaximumChecklistItemsOnTask", 20),
            ("MaximumReferencesOnTask", 15),
            ("MaximumTasksAssignedToUser", 9_000),
            ("MaximumTasksCreatedByUser", 20_000),
        ];
        Self(table.into_iter().map(|(name, most)| (name.to_owned(), most)).collect())
    }
}

impl Limits {
    /// No limit at all, for bulk loads.
    pub fn none() -> Self {
        Self(BTreeMap::new())
    }

    /// The number allowed by `name`.
    pub fn most(&self, name: &str) -> usize {
        self.0.get(name).copied().unwrap_or(usize::MAX)
    }

    /// 403 with the limit's name as its code when `count` is over the limit.
    pub fn check(&self, name: &str, count: usize) -> Result<(), GraphError> {
        if count > self.most(name) {
            return Err(GraphError::new(403, name, "The request exceeded allowed limits."));
        }
        Ok(())
    }
}
