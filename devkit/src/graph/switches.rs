//! The points of Planner's behaviour that no published text settles, each as a switch with its possible values.
//!
//! A client has to be right under every value. `annika-dev graph --switches` prints the table; a simulator is set up
//! by [`super::GraphOptions::switches`], by `ANNIKA_GRAPH_SWITCHES=name=value,…`, or by `PATCH /__sim/switches`.

use std::fmt::Write;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A switch: what is not known, and the values it can have.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Switch {
    /// Its name.
    pub name: &'static str,
    /// What is not known.
    pub question: &'static str,
    /// The values with what each means; the first is the one that holds when nothing is set.
    pub values: &'static [(&'static str, &'static str)],
}

/// A name or a value that is not in the table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no switch and value of the table; `annika-dev graph --switches` prints it")]
pub struct UnknownSwitch(pub String);

macro_rules! switches {
    ($(
        $field:ident: $kind:ident = $question:literal {
            $first:ident = $first_name:literal $first_doc:literal
            $(, $other:ident = $other_name:literal $other_doc:literal)* $(,)?
        }
    )+) => {
        $(
            #[doc = $question]
            #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
            pub enum $kind {
                #[doc = $first_doc]
                #[default]
                #[serde(rename = $first_name)]
                $first,
                $(
                    #[doc = $other_doc]
                    #[serde(rename = $other_name)]
                    $other,
                )*
            }
        )+

        /// The value of every switch.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct Switches {
            $(#[doc = $question] pub $field: $kind,)+
        }

        /// Every switch.
        pub const SWITCHES: &[Switch] = &[$(Switch {
            name: stringify!($field),
            question: $question,
            values: &[($first_name, $first_doc), $(($other_name, $other_doc)),*],
        }),+];
    };
}

switches! {
    stale: Stale = "What is answered to a PATCH whose property was changed since the version in If-Match?" {
        Conflict = "conflict409" "409",
        PreconditionFailed = "pre412" "412",
    }
    older: Older = "Is a PATCH under an older version merged when nothing that it names was changed since?" {
        Merged = "merged" "yes, as the overview of the Planner API says",
        Refused = "refused412" "no, 412",
    }
    delete_stale: DeleteStale = "What is answered to a DELETE under an older version?" {
        PreconditionFailed = "pre412" "412",
        Conflict = "conflict409" "409",
        Accepted = "accepted" "204, it is deleted",
    }
    any_etag: AnyEtag = "Is If-Match: * taken?" {
        Refused = "refused412" "no, 412",
        Accepted = "accepted" "yes, as the current version",
    }
    invalid_etag: InvalidEtag = "What is answered to a malformed ETag or one of another resource?" {
        PreconditionFailed = "pre412" "412",
        BadRequest = "bad400" "400",
    }
    missing: Missing = "What is answered for an id that is missing or out of reach?" {
        NotFound = "not_found404" "404",
        Forbidden = "forbidden403" "403",
    }
    error_code: ErrorCode = "What is the code of Planner's refusals?" {
        Empty = "empty" "an empty text",
        Unknown = "unknown" "UnknownError, with an empty message",
    }
    same_value: SameValue = "Does a PATCH that changes nothing make a new version?" {
        Kept = "kept" "no, the ETag stays",
        Bumped = "bumped" "yes, the ETag moves",
    }
    details_bump: DetailsBump = "When does an edit of the details move the ETag of the task?" {
        Shown = "shown" "when it changes what the task shows of them",
        Always = "always" "always",
        Never = "never" "never",
    }
    first_details: FirstDetails = "Have the details of all new tasks the same ETag?" {
        Constant = "constant" "yes",
        Own = "own" "no, each its own",
    }
    prefer: Prefer = "Is Prefer: return=representation heeded when an application writes?" {
        Honoured = "honoured" "yes, 200 with the object",
        Ignored = "ignored" "no, 204 without a body",
    }
    inline_details: InlineDetails = "May the creation of a task carry its details?" {
        Refused = "refused400" "no, 400",
        Accepted = "accepted" "yes",
        Ignored = "ignored" "201, but they are dropped",
    }
    bucket_delete: BucketDelete = "What becomes of the tasks of a deleted bucket?" {
        Unset = "unset" "they stay in the plan without a bucket",
        Deleted = "deleted" "they are deleted with it",
    }
    moved: Moved = "Does a task that a person moves to another plan keep its id?" {
        KeepsId = "keeps_id" "yes",
        NewId = "new_id" "no: it is made anew there and deleted here",
    }
    plan_change: PlanChange = "May an application move a task by a PATCH of planId?" {
        Refused = "refused400" "no, 400",
        Moved = "moved" "yes",
    }
    created_in_list: CreatedInList = "Does a list show a new task at once?" {
        AtOnce = "at_once" "yes",
        Late = "late" "after the lag",
    }
    changed_in_list: ChangedInList = "Does a list show a change at once?" {
        AtOnce = "at_once" "yes",
        Late = "late" "after the lag",
    }
    deleted_in_list: DeletedInList = "Does a deleted task leave the lists at once?" {
        AtOnce = "at_once" "yes",
        Late = "late" "after the lag",
    }
    read_after_write: ReadAfterWrite = "Does a GET of one object see the last write?" {
        AtOnce = "at_once" "yes",
        Late = "late" "after the lag; what is new is missing until then",
    }
    created_by: CreatedBy = "Do reads say which application made a task?" {
        Shown = "shown" "yes, in createdBy.application.id",
        Hidden = "hidden" "no, createdBy.application is null in everything but the answer to the creation",
        Never = "never" "no, not even the answer to the creation does",
    }
    batch_throttle: BatchThrottle = "What is a batch answered that arrives while the service throttles?" {
        Items = "items" "200, with 429 for each item",
        Outer = "outer" "429 for the whole batch",
    }
    throttle_wait: ThrottleWait = "How does a 429 say how long to wait?" {
        Seconds = "seconds" "Retry-After in seconds",
        Fraction = "fraction" "Retry-After with a fraction of a second",
        Date = "date" "Retry-After as an HTTP date",
        Absent = "absent" "not at all",
    }
    throttle_code: ThrottleCode = "What is the code of a 429?" {
        TooManyRequests = "too_many_requests" "TooManyRequests",
        LimitReached = "activity_limit_reached" "activityLimitReached",
    }
    early_call: EarlyCall = "What does a call inside the time of a throttle do to it?" {
        Resets = "resets" "it starts the time anew",
        Nothing = "nothing" "nothing",
    }
    unknown_member: UnknownMember = "What becomes of a member that the type does not have?" {
        Refused = "refused400" "400",
        Ignored = "ignored" "it is ignored",
    }
    read_only: ReadOnly = "What becomes of a computed member in a PATCH?" {
        Ignored = "ignored" "it is ignored",
        Refused = "refused400" "400",
    }
    select: Select = "Is $select heeded?" {
        Honoured = "honoured" "yes",
        Ignored = "ignored" "no, everything is sent",
        Refused = "refused400" "400",
    }
    top: Top = "Is $top heeded?" {
        Ignored = "ignored" "no, pages have the service's size",
        Honoured = "honoured" "yes, as the size of a page",
        Refused = "refused400" "400",
    }
    filter: Filter = "What becomes of a $filter that is not documented?" {
        Refused = "refused400" "400",
        Ignored = "ignored" "it is ignored",
    }
    count: Count = "What does @odata.count in a list count?" {
        Total = "total" "the whole list",
        Page = "page" "the entries of the page",
        Absent = "absent" "it is not sent",
    }
    lengths: Lengths = "Are long titles (255) and descriptions (32,768 characters) refused?" {
        Free = "free" "no",
        Limited = "limited400" "yes, 400",
    }
    delta_shape: DeltaShape = "Which form have the entries of a delegated delta?" {
        Internal = "internal" "the service's own, as the published sample shows",
        Published = "published" "that of plannerTask",
    }
}

impl Switches {
    /// Sets one switch.
    ///
    /// # Errors
    /// The name or the value is not in the table.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), UnknownSwitch> {
        let unknown = || UnknownSwitch(format!("{name}={value}"));
        let mut all = json!(self);
        let members = all.as_object_mut().ok_or_else(unknown)?;
        members.insert(name.to_owned(), json!(value));
        *self = serde_json::from_value(all).map_err(|_| unknown())?;
        Ok(())
    }

    /// The value of one switch, by its name.
    pub fn get(&self, name: &str) -> Option<String> {
        json!(self).get(name).and_then(Value::as_str).map(str::to_owned)
    }

    /// Reads `name=value,name=value`; empty parts are skipped.
    ///
    /// # Errors
    /// The first part that is not in the table.
    pub fn parse(text: &str) -> Result<Self, UnknownSwitch> {
        let mut switches = Self::default();
        switches.add(text)?;
        Ok(switches)
    }

    /// Sets what `name=value,name=value` names.
    ///
    /// # Errors
    /// The first part that is not in the table; those before it are set.
    pub fn add(&mut self, text: &str) -> Result<(), UnknownSwitch> {
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').ok_or_else(|| UnknownSwitch(part.to_owned()))?;
            self.set(name.trim(), value.trim())?;
        }
        Ok(())
    }
}

/// The table as text, the value that holds when nothing is set first.
pub fn table() -> String {
    let mut text = String::new();
    for switch in SWITCHES {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}: {}", switch.name, switch.question);
        for (value, meaning) in switch.values {
            let _ = writeln!(text, "    {value:<22} {meaning}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_of_the_table_can_be_set_and_the_first_is_the_default() {
        for switch in SWITCHES {
            assert!(switch.values.len() >= 2, "{}", switch.name);
            assert_eq!(Switches::default().get(switch.name).as_deref(), Some(switch.values[0].0));
            for (value, _) in switch.values {
                let mut switches = Switches::default();
                switches.set(switch.name, value).unwrap();
                assert_eq!(switches.get(switch.name).as_deref(), Some(*value));
                assert_eq!(Switches::parse(&format!("{}={value}", switch.name)), Ok(switches));
            }
        }
        let members = json!(Switches::default());
        assert_eq!(members.as_object().unwrap().len(), SWITCHES.len());
    }

    #[test]
    fn other_names_and_values_are_refused() {
        for bad in ["stale", "stale=maybe", "colour=red", "=", "stale=pre412,any_etag"] {
            assert!(Switches::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(Switches::parse(" , ").unwrap(), Switches::default());
        assert!(table().contains("conflict409"));
    }
}
