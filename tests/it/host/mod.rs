//! The host's edge: what a trigger gets and answers, who may call it, and how the process ends.

mod process;
mod reply;
mod timer;
