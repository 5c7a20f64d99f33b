//! The lens between a task document, its canonical fields and Planner's JSON.
//!
//! ```text
//!   task document ── project ──▶ Fields ◀── planner::fields ── plannerTask (+ details)
//!        ▲                         │
//!        └──────── render ─────────┴────── planner::create_body, patch_bodies ──▶ Graph
//! ```
//!
//! Laws, tested as properties: what was rendered is what is projected again; rendering what a document already
//! says changes no byte of it; members that are not part of a task's fields are never touched.

mod assignees;
mod checklist;
mod document;
mod field;
mod import;
mod labels;
mod names;
pub mod planner;
mod problem;
mod project;
mod raw;
mod references;
mod render;
mod spelling;
mod time;
mod validate;

pub use checklist::{Items, child_key};
pub use document::{Document, MAX_BYTES, MAX_STORED_BYTES, SyncStamp};
pub use field::{ChecklistItem, Field, Fields, Reference, Value, same};
pub use import::import;
pub(crate) use labels::own_labels;
pub use names::{Categories, Names, folded};
pub use problem::{DocumentError, FieldProblem};
pub use project::{Projection, assignee_names, named_parent, named_plan, project, project_with};
pub use render::{render, render_with};
pub(crate) use spelling::is_order_hint;
pub use time::DayTime;
pub use validate::{dates_in_order, valid_id, validate};
