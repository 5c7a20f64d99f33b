//! A measured figure beside its target, and the table of all.

use std::{fmt, time::Duration};

/// One figure.
#[derive(Debug, Clone, Default)]
pub(super) struct Figure {
    /// What was measured.
    pub name: String,
    /// The measured value, with its unit.
    pub value: String,
    /// The target of the design, if there is one.
    pub target: String,
    /// Whether the target is met.
    pub met: Option<bool>,
    /// The command that prints it, and the conditions.
    pub heading: String,
}

impl Figure {
    /// A figure without a target.
    pub fn plain(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), value: value.into(), ..Self::default() }
    }

    /// A figure with a target.
    pub fn against(name: impl Into<String>, value: impl Into<String>, target: &str, met: bool) -> Self {
        Self { target: target.to_owned(), met: Some(met), ..Self::plain(name, value) }
    }

    fn verdict(&self) -> &'static str {
        match self.met {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "",
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<58} {:<34}", self.name, self.value)?;
        if !self.target.is_empty() {
            write!(f, " target {:<28} {}", self.target, self.verdict())?;
        }
        Ok(())
    }
}

/// The figures as docs/BENCHMARKS.md shows them: a table for each heading.
pub(super) fn markdown(figures: &[Figure]) -> String {
    let mut text = String::new();
    let mut heading = "";
    for figure in figures {
        if figure.heading != heading {
            heading = &figure.heading;
            text += &format!("\n{heading}\n\n| what | measured | target | |\n|---|---|---|---|\n");
        }
        let Figure { name, value, target, .. } = figure;
        text += &format!("| {name} | {value} | {target} | {} |\n", figure.verdict());
    }
    text
}

/// The value below which `share` (0 to 1) of the samples lie. Sorts them.
pub(super) fn percentile(samples: &mut [Duration], share: f64) -> Duration {
    samples.sort_unstable();
    let last = samples.len().saturating_sub(1);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a length")]
    let place = ((samples.len() as f64 * share).ceil() as usize).saturating_sub(1).min(last);
    samples.get(place).copied().unwrap_or_default()
}

/// A duration with three digits that count.
pub(super) fn short(duration: Duration) -> String {
    let us = duration.as_secs_f64() * 1e6;
    match us {
        us if us < 1_000.0 => format!("{us:.0} µs"),
        us if us < 10_000.0 => format!("{:.2} ms", us / 1e3),
        us if us < 1_000_000.0 => format!("{:.0} ms", us / 1e3),
        us => format!("{:.2} s", us / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_of_the_samples() {
        let mut samples: Vec<Duration> = (1..=200).rev().map(Duration::from_millis).collect();
        assert_eq!(percentile(&mut samples, 0.5), Duration::from_millis(100));
        assert_eq!(percentile(&mut samples, 0.99), Duration::from_millis(198));
        assert_eq!(percentile(&mut samples, 1.0), Duration::from_millis(200));
        assert_eq!(percentile(&mut [], 0.5), Duration::ZERO);
    }

    #[test]
    fn durations_are_short() {
        let texts = [3_u64, 1_234, 123_456, 3_160_000].map(|us| short(Duration::from_micros(us)));
        assert_eq!(texts, ["3 µs", "1.23 ms", "123 ms", "3.16 s"]);
    }
}
