//! What a simulator holds at the start; `example()` is the plan of Microsoft's documentation.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Users, groups, plans, buckets and tasks, as members of Graph's entities.
///
/// A plan needs `id`, `title` and `owner`; a bucket `id`, `name` and `planId`; a task `id`, `title` and
/// `planId`, and may hold `details`, `version` and `detailsVersion` of its own. Members that are left out are
/// what Planner fills in.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Seed {
    /// Users: `id`, `displayName`, `userPrincipalName`.
    pub users: Vec<Map<String, Value>>,
    /// Groups: `id`, `displayName`.
    pub groups: Vec<Map<String, Value>>,
    /// Plans.
    pub plans: Vec<Map<String, Value>>,
    /// Buckets.
    pub buckets: Vec<Map<String, Value>>,
    /// Tasks.
    pub tasks: Vec<Map<String, Value>>,
}

/// The plan that Microsoft's Planner pages use throughout.
pub const PLAN: &str = "xqQg5FS2LkCp935s-FIFm2QAFkHM";
/// The group that owns it.
pub const GROUP: &str = "ebf3b108-5234-4e22-b93d-656d7dae5874";
/// The bucket "Advertising".
pub const BUCKET: &str = "hsOf2dhOJkqyYYZEtdzDe2QAIUCR";
/// The bucket "To do".
pub const OTHER_BUCKET: &str = "gcrYAaAkgU2EQUvpkNNXLGQAGTtu";
/// The task "Update client list".
pub const TASK: &str = "01gzSlKkIUSUl6DF_EilrmQAKDhh";
/// The task "Testing" (from the page on the delta of tasks).
pub const OTHER_TASK: &str = "aSOQ0mveu06bTSkfnJQay2QAIn_l";
/// The user to whom it is assigned, and who edits in the demonstration.
pub const PERSON: &str = "fbab97d0-4932-4511-b675-204639209557";
/// The user who made it.
pub const AUTHOR: &str = "6463a5ce-2119-4198-9f2a-628761df4a62";

fn members(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

/// Microsoft's documented example: one plan, its two buckets, its tasks, its people. The ids, titles and
/// texts are those of the pages on plannerPlan, plannerBucket, plannerTask and plannerTaskDetails (v1.0).
pub fn example() -> Seed {
    let by = |user: &str| json!({"user": {"displayName": null, "id": user}, "application": {"displayName": null, "id": null}});
    let user = |id: &str, name: &str, alias: &str| {
        members(json!({
            "id": id, "displayName": name, "userPrincipalName": format!("{alias}@contoso.com"),
            "mail": format!("{alias}@contoso.com"), "givenName": name.split(' ').next(), "surname": name.split(' ').nth(1),
            "businessPhones": [], "jobTitle": null, "mobilePhone": null, "officeLocation": null, "preferredLanguage": "en-US",
        }))
    };
    Seed {
        users: vec![
            user(AUTHOR, "Adele Vance", "adelev"),
            user(PERSON, "Alex Wilber", "alexw"),
            user("1e9955d2-6acd-45bf-86d3-b546fdc795eb", "Megan Bowen", "meganb"),
            user("aaa27244-1db4-476a-a5cb-004607466324", "Lee Gu", "leeg"),
            user("e396de0e-4812-4fcb-9f9e-0358744df343", "Diego Siciliani", "diegos"),
        ],
        groups: vec![members(json!({
            "id": GROUP, "displayName": "Contoso marketing", "mailNickname": "marketing", "description": null,
            "mailEnabled": true, "securityEnabled": false, "groupTypes": ["Unified"], "visibility": "Private",
        }))],
        plans: vec![members(json!({
            "id": PLAN, "title": "Contoso marketing plan", "owner": GROUP,
            "createdDateTime": "2015-03-30T18:36:49.2407981Z", "createdBy": by(GROUP),
            "details": {
                "sharedWith": {"aaa27244-1db4-476a-a5cb-004607466324": true, AUTHOR: true},
                "categoryDescriptions": {
                    "category1": "Indoors", "category2": "Outdoors",
                    "category5": "Needs materials", "category6": "Needs equipment",
                },
            },
        }))],
        buckets: vec![
            members(
                json!({"id": BUCKET, "name": "Advertising", "planId": PLAN, "orderHint": "85752723360752+"}),
            ),
            members(
                json!({"id": OTHER_BUCKET, "name": "To do", "planId": PLAN, "orderHint": "85752723360753+"}),
            ),
        ],
        tasks: vec![
            members(json!({
                "id": TASK, "planId": PLAN, "bucketId": BUCKET, "title": "Update client list",
                "orderHint": "85752723360752+", "assigneePriority": "90057581\"",
                "createdBy": by(AUTHOR), "createdDateTime": "2015-03-25T18:36:49.2407981Z",
                "assignments": {PERSON: {
                    "@odata.type": "#microsoft.graph.plannerAssignment",
                    "assignedBy": by(AUTHOR), "assignedDateTime": "2015-03-25T18:36:49.2407981Z", "orderHint": "RWk1",
                }},
                "details": {
                    "description": "Task details properties:\nchecklist:Sub items\nreferences:Related links",
                    "references": {"https%3A//developer%2Emicrosoft%2Ecom/en-us/graph/graph-explorer": {
                        "@odata.type": "#microsoft.graph.plannerExternalReference", "alias": "Graph Explorer",
                        "type": "Other", "previewPriority": "0009005706180391122", "lastModifiedBy": by(PERSON),
                        "lastModifiedDateTime": "2017-04-24T22:52:29.814Z",
                    }},
                    "checklist": {"d280ed1a-9f6b-4f9c-a962-fb4d00dc50ff": {
                        "@odata.type": "#microsoft.graph.plannerChecklistItem", "isChecked": false,
                        "title": "Try reading task details", "orderHint": "8587094707721254251P]",
                        "lastModifiedBy": by("e396de0e-4812-4fcb-9f9e-0358744df343"),
                        "lastModifiedDateTime": "2017-04-14T02:16:14.866Z",
                    }},
                },
            })),
            members(json!({
                "id": OTHER_TASK, "planId": PLAN, "bucketId": OTHER_BUCKET, "title": "Testing",
                "orderHint": "9223370609546166567W", "assigneePriority": "90057581\"", "percentComplete": 50,
                "createdBy": by(AUTHOR), "createdDateTime": "2015-03-25T18:36:49.2407981Z",
                "dueDateTime": "2027-01-15T10:00:00Z",
                "assignments": {PERSON: {
                    "@odata.type": "#microsoft.graph.plannerAssignment",
                    "assignedBy": by("1e9955d2-6acd-45bf-86d3-b546fdc795eb"),
                    "assignedDateTime": "2015-03-25T18:38:21.956Z", "orderHint": "RWk1",
                }},
            })),
        ],
    }
}
