//! The story: agents and people work on the same tasks from both sides, and every effect is observed from outside.
//!
//! The player has addresses and nothing else. It sees Planner by HTTP (Graph's routes with a person's token, the
//! simulator's journal), Redis by a raw connection and a subscriber of its own, and the product by its HTTP API.

mod agent;
mod chapters;
mod clock;
pub mod commands;
mod hints;
mod planner;
mod script;
mod shared_redis;
mod stage;
mod weather;

use std::{collections::BTreeMap, time::Duration};

pub use script::{STEPS, Step};
use stage::Stage;

/// Where the parts are.
#[derive(Debug, Clone)]
pub struct Addresses {
    /// The Functions host, such as `http://127.0.0.1:7071`.
    pub handler: String,
    /// The key that opens its functions.
    pub function_key: String,
    /// Redis.
    pub redis: String,
    /// The simulator of Graph.
    pub graph: String,
}

/// A step that was not observed within its deadline.
#[derive(Debug, thiserror::Error)]
#[error("step {} was not observed within {} s: {}; last seen: {last}", step.number(), within.as_secs(), step.text())]
pub struct Missed {
    /// The step.
    pub step: Step,
    /// How long it was looked for: its deadline, or that of what it needs first.
    pub within: Duration,
    /// What the last look saw.
    pub last: String,
}

/// Why a story is not complete.
#[derive(Debug, thiserror::Error)]
pub enum StoryError {
    /// One of the parts cannot be reached.
    #[error("the story cannot begin: {0}")]
    Start(String),
    /// A step was not observed; later ones were not tried.
    #[error(transparent)]
    Missed(#[from] Missed),
    /// Steps that nothing looked at.
    #[error("steps {0:?} were not played")]
    Unplayed(Vec<usize>),
    /// Every step was observed, but messages to or from Graph break Microsoft's descriptions.
    #[error("{count} messages to or from Graph break Microsoft's descriptions; the first: {first}")]
    Violations {
        /// How many.
        count: u64,
        /// The first of them, as JSON.
        first: String,
    },
    /// The simulator does not say what it checked.
    #[error("what was checked of the messages to and from Graph is not known: {0}")]
    Unchecked(String),
}

/// How a complete story went.
#[derive(Debug, Clone)]
pub struct Played {
    /// How long each step took.
    pub steps: BTreeMap<Step, Duration>,
    /// How long all of it took.
    pub took: Duration,
    /// What was checked against Microsoft's descriptions, in words.
    pub checked: String,
    /// Messages that were heard on the channels.
    pub messages: usize,
}

/// A way to spoil the story on purpose, to see that it notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Break {
    /// Planner refuses every write of the application.
    Upload,
}

/// Plays the story. The engine must have been started within the last seconds.
///
/// # Errors
/// The first step that was not observed within its deadline; messages to or from Graph that break Microsoft's
/// descriptions.
pub async fn play(at: &Addresses, spoil: Option<Break>) -> Result<Played, StoryError> {
    let stage = Stage::open(at).await.map_err(StoryError::Start)?;
    if spoil == Some(Break::Upload) {
        stage.planner.refuse_uploads().await.map_err(StoryError::Start)?;
        stage.tell("as asked for, Planner refuses every upload: this story must fail");
    }
    let played = perform(&stage).await;
    let steps = stage.observed();
    let unplayed: Vec<usize> = STEPS
        .iter()
        .map(|(step, ..)| *step)
        .filter(|step| !steps.contains_key(step))
        .map(Step::number)
        .collect();
    match played {
        Ok(messages) if unplayed.is_empty() => {
            let checked = checked(&stage).await?;
            Ok(Played { steps, took: stage.elapsed(), checked, messages })
        }
        Ok(_) => Err(StoryError::Unplayed(unplayed)),
        Err(missed) => {
            let rest: Vec<usize> =
                unplayed.into_iter().filter(|step| *step != missed.step.number()).collect();
            stage.tell(&format!(
                "{} of {} steps were observed, step {} was not; steps {rest:?} were not waited for",
                steps.len(),
                STEPS.len(),
                missed.step.number()
            ));
            Err(missed.into())
        }
    }
}

/// What the simulator found in the messages to and from Graph, in words. No step: without the descriptions there is
/// nothing to observe.
async fn checked(stage: &Stage) -> Result<String, StoryError> {
    let (checked, violations) = stage.planner.checked().await.map_err(StoryError::Unchecked)?;
    if checked.violations > 0 {
        let first = violations.first().map(serde_json::to_string).transpose().ok().flatten();
        return Err(StoryError::Violations { count: checked.violations, first: first.unwrap_or_default() });
    }
    Ok(match checked.on {
        true => format!(
            "{} requests and {} answers were checked, 0 violations",
            checked.requests, checked.answers
        ),
        false => "messages were not checked, since ANNIKA_ORACLES is not set".to_owned(),
    })
}

async fn perform(stage: &Stage) -> Result<usize, Missed> {
    chapters::import(stage).await?;
    // The longest waits first, and all of them side by side; bad weather comes when nothing else needs Planner but
    // the silent DEL, which has to survive it.
    let fair_then_foul = async {
        chapters::fair_weather(stage).await?;
        weather::away_and_back(stage).await?;
        weather::poll_now(stage).await
    };
    futures::try_join!(fair_then_foul, chapters::silent_delete(stage))?;
    weather::no_duplicates(stage).await?;
    weather::forms(stage)
}
