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
    a_child_goes_on_as_soon_as_its_parent_is_back,
    a_child_that_goes_while_its_parent_is_away_leaves_no_item,
    a_create_is_sent_again_under_the_id_that_it_had,
    a_create_that_arrives_late_is_not_sent_twice,
    a_create_that_slept_is_not_sent_late,
    a_deleted_task_stays_deleted_where_only_our_own_write_was_unseen,
    a_document_that_came_back_for_good_can_be_deleted,
    a_document_that_is_away_for_one_sweep_is_not_deleted,
    a_document_that_is_back_as_it_was_hears_of_what_happened_while_it_was_away,
    a_document_that_is_back_before_the_deletion_keeps_its_task,
    a_document_that_is_put_back_after_the_deletion_was_sent_is_a_new_task,
    a_document_whose_map_was_lost_finds_its_task_again,
    a_full_plan_is_tried_by_one_task_a_period,
    a_large_key_space_is_walked_on_between_two_sweeps,
    a_list_from_long_ago_brings_nothing_back,
    a_lost_answer_makes_no_second_write,
    a_mark_during_work_is_worked_off_at_once,
    a_move_whose_tasks_were_both_deleted_ends_with_the_document,
    a_parent_that_the_sync_brings_back_tells_its_children,
    a_partial_edit_brings_back_the_whole_task,
    a_plan_whose_list_is_refused_has_lost_nothing,
    a_planner_task_that_another_document_has_is_left_to_it,
    a_process_that_lost_its_lease_writes_nothing,
    a_redis_that_lost_everything_imports_every_task_once_and_deletes_none,
    a_redis_that_lost_its_documents_deletes_nothing_in_planner,
    a_redis_that_lost_what_the_sync_remembers_gives_every_document_its_task_back,
    a_refusal_of_a_closed_plan_proves_no_deletion_before_its_next_list,
    a_refused_create_is_no_proof_that_the_sends_before_it_made_nothing,
    a_refused_value_that_a_person_then_writes_is_the_persons,
    a_silent_document_keeps_a_value_on_its_way,
    a_stale_write_over_a_restored_document_is_a_conflict,
    a_suspended_plan_is_left_alone_and_goes_on_with_what_waits,
    a_task_in_a_plan_that_cannot_be_listed_is_not_taken_for_deleted,
    a_task_is_not_deleted_while_an_earlier_send_of_it_may_arrive,
    a_text_that_the_create_could_not_carry_does_not_beat_a_deletion,
    a_value_that_the_document_said_was_seen_by_its_deleter_though_its_send_is_forgotten,
    an_agents_edit_beats_a_persons_deletion_that_had_not_seen_it,
    an_edit_between_the_read_and_the_deletion_wins,
    an_edit_of_the_details_beats_a_deletion_that_had_not_seen_it,
    an_edit_after_a_write_whose_answer_was_lost_is_no_conflict,
    an_older_copy_from_a_list_changes_nothing,
    an_open_create_is_looked_at_also_after_it_was_refused_when_sent_again,
    details_of_a_plan_with_many_tasks_are_read_also_where_only_few_fit,
    items_of_both_sides_stand,
    nothing_is_sent_while_graph_throttles,
    of_two_values_in_a_stale_document_the_replaced_one_is_no_edit,
    one_404_is_no_deletion_even_where_lists_lack_the_task,
    refusals_of_a_plan_that_is_open_again_prove_nothing,
    repeats_leave_room_for_fresh_work,
    what_a_person_makes_is_imported_once,
    what_an_earlier_send_made_is_not_imported_from_an_old_list,
    what_graph_never_answers_is_listed_then_tried_rarely_and_anew_after_an_edit,
    what_had_a_time_to_live_is_not_deleted_in_planner,
    what_lists_lacked_before_a_plan_was_closed_is_not_taken_for_deleted,
}
