//! The lens between a task document, its canonical fields and Planner's JSON.
