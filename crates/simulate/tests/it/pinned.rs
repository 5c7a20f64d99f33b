//! Schedules written by hand, one test each.

use annika_simulate::pinned::{self, PLAYS};

macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        $(#[test]
        fn $name() {
            pinned::$name();
        })*

        #[test]
        fn every_play_is_a_test() {
            let names: Vec<&str> = PLAYS.iter().map(|(name, _)| *name).collect();
            assert_eq!(names, [$(stringify!($name)),*]);
        }
    };
}

tests! {
    a_deleted_task_stays_deleted_where_only_our_own_write_was_unseen,
    a_document_that_is_away_for_one_sweep_is_not_deleted,
    a_lost_answer_makes_no_second_write,
    a_mark_during_work_is_worked_off_at_once,
    a_process_that_lost_its_lease_writes_nothing,
    a_stale_write_over_a_restored_document_is_a_conflict,
    a_task_in_a_plan_that_cannot_be_listed_is_not_taken_for_deleted,
    an_edit_between_the_read_and_the_deletion_wins,
    an_edit_of_the_details_beats_a_deletion_that_had_not_seen_it,
    what_a_person_makes_is_imported_once,
    what_had_a_time_to_live_is_not_deleted_in_planner,
}
