//! The Graph client against a scripted Graph: what it sends, and what it makes of each answer.

mod batch;
mod list;
mod simulator;
mod single;
