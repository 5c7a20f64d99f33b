//! `GET /beta/planner/plans/{id}/historyItems`: who changed which task when, with the state before and after.
//!
//! Source: Graph's beta pages on plannerHistoryItem and taskHistoryItem. Only a filter on `occurredDateTime` is
//! documented; who did it and the states come only when `$select` asks for them.

use serde_json::{Map, Value, json};

use super::{Call, Context, check_id, missing};
use crate::graph::{
    answer::{Answer, GraphError},
    changes::Change,
};

const ALWAYS: [&str; 5] = ["id", "entityId", "entityType", "eventType", "occurredDateTime"];

/// Answers the history of a plan, newest first.
pub(super) fn items(context: &Context<'_>, call: &Call, plan: &str) -> Result<Answer, GraphError> {
    if call.method != "GET" {
        return Err(GraphError::wrong_method());
    }
    if !context.base.ends_with("/beta") {
        return Err(GraphError::no_segment("historyItems"));
    }
    check_id(plan)?;
    context.store.plans.get(plan).ok_or_else(|| missing(context.rules))?;
    let bounds = bounds(call.query.get("$filter").map(String::as_str))?;
    let asked: Vec<&str> =
        call.query.get("$select").map(|names| names.split(',').map(str::trim).collect()).unwrap_or_default();
    let mut value: Vec<Value> = context
        .store
        .changes
        .history(plan)
        .filter(|change| {
            let at = change.at.parse().ok();
            at.is_none_or(|at: jiff::Timestamp| bounds.iter().all(|bound| bound.holds(at)))
        })
        .map(|change| Value::Object(item(change, &asked)))
        .collect();
    value.reverse();
    let body = json!({
        "@odata.context": format!("{}/$metadata#planner/plans('{plan}')/historyItems", context.base),
        "value": value,
    });
    // The published slice does not hold this path: there is nothing to check it against.
    Ok(Answer { scripted: true, ..Answer::json(200, body) })
}

fn item(change: &Change, asked: &[&str]) -> Map<String, Value> {
    let state = |members: &Option<Map<String, Value>>| match members {
        Some(members) => {
            let told = [
                "id",
                "planId",
                "bucketId",
                "title",
                "percentComplete",
                "priority",
                "startDateTime",
                "dueDateTime",
                "assignments",
                "appliedCategories",
            ];
            let told = told.iter().filter_map(|name| Some(((*name).to_owned(), members.get(*name)?.clone())));
            Value::Object(told.collect())
        }
        None => Value::Null,
    };
    let all = json!({
        "@odata.type": "#microsoft.graph.taskHistoryItem",
        "id": format!("{}_{}", change.task, change.seq),
        "entityId": change.task,
        "entityType": "task",
        "eventType": change.event.name(),
        "occurredDateTime": change.at,
        "planId": change.plan,
        "actor": change.actor,
        "oldData": state(&change.old),
        "newData": state(&change.new),
    });
    let Value::Object(mut all) = all else { return Map::new() };
    all.retain(|name, _| {
        name.contains('@') || ALWAYS.contains(&name.as_str()) || asked.contains(&name.as_str())
    });
    all
}

/// A bound on the time of a change.
#[derive(Debug)]
struct Bound {
    word: String,
    at: jiff::Timestamp,
}

impl Bound {
    fn holds(&self, at: jiff::Timestamp) -> bool {
        match self.word.as_str() {
            "ge" => at >= self.at,
            "gt" => at > self.at,
            "le" => at <= self.at,
            _ => at < self.at,
        }
    }
}

/// `occurredDateTime ge 2026-…Z and occurredDateTime lt 2026-…Z`, or 400.
fn bounds(filter: Option<&str>) -> Result<Vec<Bound>, GraphError> {
    let Some(filter) = filter else { return Ok(Vec::new()) };
    let wrong = || GraphError::bad_request("Only occurredDateTime can be filtered, by ge, gt, le and lt.");
    filter
        .split(" and ")
        .map(|part| {
            let mut words = part.split_whitespace();
            let (Some("occurredDateTime"), Some(word), Some(at), None) =
                (words.next(), words.next(), words.next(), words.next())
            else {
                return Err(wrong());
            };
            let at = at.parse().map_err(|_| wrong())?;
            ["ge", "gt", "le", "lt"]
                .contains(&word)
                .then(|| Bound { word: word.to_owned(), at })
                .ok_or_else(wrong)
        })
        .collect()
}
