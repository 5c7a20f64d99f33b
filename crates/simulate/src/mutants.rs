//! The engine with one rule taken out at a time: something must notice each of them.

use std::panic::catch_unwind;

use annika_sync::mutants::Mutant;

use crate::{
    pinned::PLAYS,
    play::{first_failure, play},
    world::faults::Faults,
};

/// What is to notice that a rule is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// Random schedules, within so many seeds.
    Seeds(u64),
    /// A schedule written by hand.
    Play(&'static str),
}

impl Guard {
    /// Quick enough for every change.
    pub fn is_strong(self) -> bool {
        match self {
            Self::Seeds(most) => most <= STRONG,
            Self::Play(_) => true,
        }
    }

    pub fn kind(self) -> &'static str {
        match self {
            Self::Seeds(most) if most <= STRONG => "strong",
            Self::Seeds(_) => "weak, by seeds",
            Self::Play(_) => "weak, by a play",
        }
    }
}

/// Plays that fail although nothing is taken out.
pub fn intact() -> Vec<&'static str> {
    PLAYS.iter().map(|(name, _)| *name).filter(|name| play_fails(name).is_some()).collect()
}

/// What noticed.
#[derive(Clone, Debug)]
pub struct Caught {
    /// The seed, or the name of the play.
    pub by: String,
    /// What was wrong then.
    pub seen_as: String,
}

/// Seeds for a rule that random schedules need often.
const STRONG: u64 = 500;

/// What guards a rule.
pub fn guard(rule: Mutant) -> Guard {
    match rule {
        Mutant::DeleteEtag => Guard::Play("an_edit_between_the_read_and_the_deletion_wins"),
        Mutant::FreshRead => Guard::Play("an_edit_of_the_details_beats_a_deletion_that_had_not_seen_it"),
        Mutant::OwnEcho => Guard::Play("an_edit_after_a_write_whose_answer_was_lost_is_no_conflict"),
        Mutant::HintCompare => Guard::Play("a_mark_during_work_is_worked_off_at_once"),
        Mutant::SecondSweep => Guard::Play("a_document_that_is_away_for_one_sweep_is_not_deleted"),
        Mutant::Fence => Guard::Play("a_process_that_lost_its_lease_writes_nothing"),
        Mutant::UnlistedPlans => {
            Guard::Play("a_task_in_a_plan_that_cannot_be_listed_is_not_taken_for_deleted")
        }
        Mutant::RestoredUnseen => Guard::Play("a_stale_write_over_a_restored_document_is_a_conflict"),
        Mutant::ExpiryIsNoDeletion => Guard::Play("what_had_a_time_to_live_is_not_deleted_in_planner"),
        Mutant::LastWord => Guard::Play("refusals_of_a_plan_that_is_open_again_prove_nothing"),
        Mutant::SecondAnswer => Guard::Play("one_404_is_no_deletion_even_where_lists_lack_the_task"),
        Mutant::SendDeadline => Guard::Play("a_create_that_slept_is_not_sent_late"),
        Mutant::SilentIsCurrent => Guard::Play("a_silent_document_keeps_a_value_on_its_way"),
        Mutant::EtagOrder => Guard::Play("an_older_copy_from_a_list_changes_nothing"),
        Mutant::DefiniteRefusal => Guard::Play("a_refused_value_that_a_person_then_writes_is_the_persons"),
        Mutant::SawNone => {
            Guard::Play("a_document_that_is_back_as_it_was_hears_of_what_happened_while_it_was_away")
        }
        Mutant::OldList => Guard::Play("a_list_from_long_ago_brings_nothing_back"),
        Mutant::EarlierWrites => Guard::Play("an_edit_after_a_write_whose_answer_was_lost_is_no_conflict"),
        Mutant::OlderOfTwo => Guard::Play("of_two_values_in_a_stale_document_the_replaced_one_is_no_edit"),
        Mutant::EditBeatsDelete => {
            Guard::Play("an_agents_edit_beats_a_persons_deletion_that_had_not_seen_it")
        }
        Mutant::CompleteFromBase => Guard::Play("a_partial_edit_brings_back_the_whole_task"),
        Mutant::ExpectAbsent => Guard::Play("a_document_that_is_back_before_the_deletion_keeps_its_task"),
        Mutant::FormerId => Guard::Play("a_document_whose_map_was_lost_finds_its_task_again"),
        Mutant::ThrottlePause => Guard::Play("nothing_is_sent_while_graph_throttles"),
        Mutant::ElementMerge => Guard::Play("items_of_both_sides_stand"),
        Mutant::CompleteLists => Guard::Play("a_plan_whose_list_is_refused_has_lost_nothing"),
        Mutant::Settle => Guard::Play("a_create_that_arrives_late_is_not_sent_twice"),
        Mutant::CreatedWith => Guard::Play("a_text_that_the_create_could_not_carry_does_not_beat_a_deletion"),
        Mutant::MappedElsewhere => Guard::Play("a_planner_task_that_another_document_has_is_left_to_it"),
        Mutant::Suspension => Guard::Play("a_suspended_plan_is_left_alone_and_goes_on_with_what_waits"),
        Mutant::RetryBudget => Guard::Play("repeats_leave_room_for_fresh_work"),
        Mutant::FullPlan => Guard::Play("a_full_plan_is_tried_by_one_task_a_period"),
        Mutant::ClosedPlan => {
            Guard::Play("a_refusal_of_a_closed_plan_proves_no_deletion_before_its_next_list")
        }
        Mutant::SaidByDocument => {
            Guard::Play("a_value_that_the_document_said_was_seen_by_its_deleter_though_its_send_is_forgotten")
        }
        Mutant::WayBack => Guard::Play("a_move_whose_tasks_were_both_deleted_ends_with_the_document"),
        Mutant::RotationTurn => {
            Guard::Play("details_of_a_plan_with_many_tasks_are_read_also_where_only_few_fit")
        }
        _ => Guard::Seeds(STRONG),
    }
}

/// Takes the rule out and looks for what notices; `None` = it survived.
pub fn hunt(rule: Mutant, threads: usize) -> Option<Caught> {
    annika_sync::mutants::remove(Some(rule));
    let caught = match guard(rule) {
        Guard::Seeds(most) => by_seeds(rule, most, threads),
        Guard::Play(name) => play_fails(name).map(|seen_as| Caught { by: name.to_owned(), seen_as }),
    };
    annika_sync::mutants::remove(None);
    caught
}

/// The first seed that fails without the rule, and not with it.
fn by_seeds(rule: Mutant, most: u64, threads: usize) -> Option<Caught> {
    let mut from = 0;
    loop {
        let (seed, wrong) = first_failure(from..most, threads, Faults::of)?;
        annika_sync::mutants::remove(None);
        let intact = play(seed, Faults::of(seed)).is_ok();
        annika_sync::mutants::remove(Some(rule));
        if intact {
            return Some(Caught { by: format!("seed {seed}"), seen_as: wrong.join("; ") });
        }
        from = seed + 1;
    }
}

/// What a play says that fails.
pub fn play_fails(name: &str) -> Option<String> {
    let (_, play) = PLAYS.iter().find(|(known, _)| *known == name)?;
    let panic = catch_unwind(play).err()?;
    let said = panic.downcast_ref::<String>().cloned();
    Some(said.or_else(|| panic.downcast_ref::<&str>().map(|said| (*said).to_owned())).unwrap_or_default())
}
