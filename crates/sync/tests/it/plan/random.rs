//! Random histories of one task: fixed point, agreement, no loss, and a second run that does nothing.
