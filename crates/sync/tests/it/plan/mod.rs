//! `plan`: a named test for each rule of sync.md §1.3.5 and each failure of §0.2, and random histories.

mod bench;
mod child;
mod create;
mod existence;
mod explain;
mod failures;
mod fields;
mod merge;
mod moves;
mod random;
mod resolve;
