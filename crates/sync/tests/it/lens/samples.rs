//! Generators: documents in every spelling, canonical fields, patches.

use std::collections::{BTreeMap, BTreeSet};

use annika_sync::lens::{Categories, ChecklistItem, Field, Fields, Names, Reference, Value};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};

use super::{ADELE, MEGAN, NESTOR};

const GUIDS: [&str; 4] = [
    "95e27074-6c4a-447a-aa24-9d718a0b86fa",
    "d280ed1a-9f6b-4f9c-a962-fb4d00dc50ff",
    "5c2a1f36-0f5e-4b7c-8f4e-7d0a4be1b1aa",
    // Planner's own page has written short ids.
    "62364",
];

/// Member names that belong to the lens, with texts that their writers use.
const KNOWN: [(&str, &[&str]); 25] = [
    ("title", &[r#""Ship it""#, r#""Sh\u0069p it""#, r#"" ""#, "null", r#""Größe \"x\"""#]),
    ("name", &[r#""A name""#, "7"]),
    ("percent_complete", &["0.29", "1.0", "1", "0", "50", "2.9e-1", "null", "0.005", "99.6"]),
    ("percentComplete", &["29", "100", "0.0", "null", "1", "50"]),
    (
        "status",
        &[r#""completed""#, r#""inProgress""#, r#""pending""#, r#""blocked""#, "null", r#""Not Started""#],
    ),
    ("priority", &[r#""high""#, r#""Important""#, "3", "9.0", "null", r#""P1""#, r#""low""#]),
    ("start_date", &[r#""2025-10-20""#, "null", r#""2025-10-20T08:00:00+02:00""#]),
    ("startDate", &[r#""2025-10-21""#, r#""""#]),
    ("due_date", &[r#""2025-10-24""#, r#""2025-10-24T23:00:00Z""#, "null", r#""2025-10-24 09:30""#]),
    ("dueDate", &[r#""2025-10-24""#, r#""2025-10-30T10:00:00.000Z""#, "null"]),
    ("bucket_id", &[r#""hsOf2dhOJkqyYYZEtdzDe2QAIUCR""#, "null"]),
    ("bucketId", &[r#""hsOf2dhOJkqyYYZEtdzDe2QAIUCR""#, r#""other""#]),
    ("plan_id", &[r#""xqQg5FS2LkCp935s-FIFm2QAFkHM""#]),
    ("planId", &[r#""xqQg5FS2LkCp935s-FIFm2QAFkHM""#, r#""""#]),
    (
        "assigned_to",
        &[
            "[]",
            "null",
            r#""Alice""#,
            r#"["Alice","fbab97d0-4932-4511-b675-204639209557"]"#,
            r#"[ "48d31887-5fad-4d73-a9f5-3c356e68a038" ]"#,
            r#""FBAB97D0-4932-4511-B675-204639209557""#,
        ],
    ),
    (
        "assignedTo",
        &["[]", r#"["fbab97d0-4932-4511-b675-204639209557","48d31887-5fad-4d73-a9f5-3c356e68a038"]"#],
    ),
    (
        "assigned_to_human_id",
        &["null", r#""fbab97d0-4932-4511-b675-204639209557""#, r#""alice@contoso.com""#],
    ),
    ("description", &[r#""""#, r#""two\r\nlines""#, "null", r#""text""#]),
    ("notes", &[r#""a note""#, "[1]"]),
    (
        "labels",
        &[
            "[]",
            "null",
            r#"["Red team", "category3","urgent"]"#,
            r#""blue""#,
            r#"[ "RED TEAM","Red team", 7 ]"#,
            r#"["category9"]"#,
        ],
    ),
    (
        "applied_categories",
        &["{}", r#"{"category1":true,"category2":false}"#, r#"{"@odata.type":"x","Blue":true,"what":true}"#],
    ),
    ("appliedCategories", &[r#"{ "category3" : true }"#, "null", r#"["Red team"]"#]),
    (
        "references",
        &[
            "[]",
            "null",
            r#"["https://contoso.com/a.b?c=1%20#d"]"#,
            r#"[{"url":"https://contoso.com/x","alias":"X","type":"Word","pinned":1.0},"mailto:a@b.c", "no link", ""]"#,
            r#"{"https%3A//contoso%2Ecom/x":{"alias":"X","previewPriority":"8585PK"},"https%3A//gone":null}"#,
            r#"{"https://contoso.com/x":{"type":"Pdf"},"https://contoso.com/y":true}"#,
            r#"7"#,
        ],
    ),
    ("order", &[r#""8585""#, r#"" 8585!""#, "3", "null", r#""""#]),
    ("orderHint", &[r#""8585""#, r#""8584""#]),
];

/// What names stand for in the samples. Two categories have one name, one is called like another's key, some have
/// none.
pub fn names() -> Names {
    let named =
        [("category1", "Red team"), ("category2", "Blue"), ("category3", "blue"), ("category4", "category9")];
    let categories = named.into_iter().map(|(key, name)| (key.to_owned(), name.to_owned())).collect();
    Names {
        categories: Some(std::sync::Arc::new(Categories::from_names(categories))),
        users: BTreeMap::from([("alice@contoso.com".to_owned(), NESTOR.to_owned())]),
        ..Names::default()
    }
}

const CHECKLISTS: [&str; 8] = [
    "[]",
    "null",
    r#"["milk","milk", "eggs"]"#,
    r#"[{"title":"a","checked":true,"due":1.0},{"title":"a"}]"#,
    r#"[{"id":"95E27074-6C4A-447A-AA24-9D718A0B86FA","title":"b","is_checked":false,"status":"done"}]"#,
    r#"[{"id":"step-1","title":"c","completed":false},{"id":"step-1","title":"d"}, "  "]"#,
    r#"[{"id":"62364","title":"e","isChecked":true}]"#,
    r#"[{"id":7,"title":"f","status":"blocked"},"f"]"#,
];

/// Members that are none of the lens's business, with number and text spellings that must survive.
pub const UNKNOWN: [(&str, &str); 7] = [
    ("id", r#""agent-task-1""#),
    ("account", "123456789012345678901"),
    ("weight", "1.0"),
    ("epsilon", "1e-7"),
    ("nested", r#"{ "z" : 1, "a":[ {} , 2.50 ] }"#),
    ("created_by", r#""\u00e9\/x""#),
    ("huge", "1e999"),
];

/// Members of one document, in any order, and the blanks between them.
#[derive(Clone, Debug)]
pub struct Sample {
    pub members: Vec<(&'static str, &'static str)>,
    blank: &'static str,
}

impl Sample {
    pub fn text(&self) -> String {
        let blank = self.blank;
        let members: Vec<_> = self
            .members
            .iter()
            .map(|(name, value)| format!("{blank}\"{name}\":{blank}{value}{blank}"))
            .collect();
        format!("{{{}}}", members.join(","))
    }
}

pub fn document() -> impl Strategy<Value = Sample> {
    let known = subsequence(KNOWN.to_vec(), 0..=KNOWN.len());
    let unknown = subsequence(UNKNOWN.to_vec(), 0..=3);
    let lists = (any::<[bool; 2]>(), any::<[Index; 2]>());
    (known, vec(any::<Index>(), KNOWN.len()), unknown, lists, any::<Index>(), select(&["", " ", "\n  "][..]))
        .prop_map(|(known, picks, mut members, (there, lists), turn, blank)| {
            members.extend(known.iter().zip(picks).map(|((name, values), pick)| (*name, *pick.get(values))));
            for (at, name) in ["checklist_items", "checklistItems"].into_iter().enumerate() {
                if there[at] {
                    members.push((name, *lists[at].get(&CHECKLISTS)));
                }
            }
            if !members.is_empty() {
                let turn = turn.index(members.len());
                members.rotate_left(turn);
            }
            Sample { members, blank }
        })
}

fn time() -> impl Strategy<Value = Value> {
    select(
        &[
            "",
            "2025-10-24",
            "2025-10-25",
            "2025-10-24T10:00:00Z",
            "2025-10-24T23:00:00Z",
            "2025-10-24T08:00:00.5Z",
            "2025-10-30T00:00:00Z",
        ][..],
    )
    .prop_map(|text| if text.is_empty() { Value::Null } else { Value::Time(text.to_owned()) })
}

fn one_of(texts: &'static [&'static str]) -> impl Strategy<Value = Value> {
    select(texts).prop_map(|text| Value::Text(text.to_owned()))
}

fn checklist() -> impl Strategy<Value = Value> {
    let titles = ["milk", "a", "b", "ünï", "f"];
    (subsequence(GUIDS.to_vec(), 0..=4), vec((select(titles.to_vec()), any::<bool>()), 4)).prop_map(
        |(ids, items)| {
            let items = ids.into_iter().zip(items).map(|(id, (title, checked))| {
                (id.to_owned(), ChecklistItem { title: title.to_owned(), checked })
            });
            Value::Checklist(items.collect::<BTreeMap<_, _>>())
        },
    )
}

fn references() -> impl Strategy<Value = Value> {
    let urls = ["https://contoso.com/x", "https://contoso.com/a.b?c=1%20#d", "mailto:a@b.c", "https://gone"];
    let says = (select(&["", "X", "ü"][..]), select(&["Other", "Word", "Pdf"][..]));
    (subsequence(urls.to_vec(), 0..=4), vec(says, 4)).prop_map(|(urls, says)| {
        let links = urls.into_iter().zip(says).map(|(url, (alias, kind))| {
            let link = Reference { alias: Some(alias.to_owned()), kind: Some(kind.to_owned()), key: None };
            (url.to_owned(), link)
        });
        Value::References(links.collect())
    })
}

fn labels() -> impl Strategy<Value = Value> {
    let keys = vec!["category1", "category2", "category3", "category4", "category9", "category25"];
    subsequence(keys, 0..=6).prop_map(|keys| Value::Set(keys.into_iter().map(str::to_owned).collect()))
}

fn priority() -> impl Strategy<Value = Value> {
    (0..14i64).prop_map(|number| match number {
        0..=10 => Value::Number(number),
        _ => Value::Text(["urgent", "high", "low"][(number - 11) as usize].to_owned()),
    })
}

/// Canonical values of some of the fields.
pub fn fields() -> impl Strategy<Value = Fields> {
    let values = (
        one_of(&["Ship it", "Größe", "a \"b\"\\", " x "]),
        (0..=100i64).prop_map(Value::Number),
        priority(),
        time(),
        time(),
        one_of(&["hsOf2dhOJkqyYYZEtdzDe2QAIUCR", "b2"]),
        one_of(&["xqQg5FS2LkCp935s-FIFm2QAFkHM", "p2"]),
        subsequence(vec![ADELE, MEGAN, NESTOR], 0..=3)
            .prop_map(|ids| Value::Set(ids.into_iter().map(str::to_owned).collect::<BTreeSet<_>>())),
        one_of(&["", "text", "two\nlines", "two\r\nlines"]),
        checklist(),
    );
    let more = (labels(), references(), one_of(&["8585", " 8585!", "8584 !"]));
    (values, more, any::<u16>()).prop_map(|((a, b, c, d, e, f, g, h, i, j), (k, l, m), mask)| {
        let values = [a, b, c, d, e, f, g, h, i, j, k, l, m].map(|value| match value {
            Value::Text(text) if text.is_empty() => Value::Null,
            value => value,
        });
        // One time in four every field is there.
        let mask = if mask >> 14 == 0 { u16::MAX } else { mask };
        Field::ALL
            .into_iter()
            .zip(values)
            .enumerate()
            .filter(|(at, _)| mask >> at & 1 == 1)
            .map(|(_, pair)| pair)
            .collect()
    })
}

/// Any JSON, shallow.
pub fn json() -> impl Strategy<Value = serde_json::Value> {
    let name = select(&["a", "b", "c", "é"][..]).prop_map(str::to_owned);
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        (-9..9i32).prop_map(Into::into),
        "[a\"\\\\]{0,2}".prop_map(Into::into),
    ];
    leaf.prop_recursive(3, 12, 3, move |inner| {
        prop_oneof![
            1 => vec(inner.clone(), 0..3).prop_map(Into::into),
            3 => vec((name.clone(), inner), 0..4)
                .prop_map(|pairs| serde_json::Value::Object(pairs.into_iter().collect())),
        ]
    })
}

/// Any JSON object, shallow.
pub fn object() -> impl Strategy<Value = serde_json::Value> {
    let name = select(&["a", "b", "c", "é"][..]).prop_map(str::to_owned);
    vec((name, json()), 0..4).prop_map(|pairs| serde_json::Value::Object(pairs.into_iter().collect()))
}
