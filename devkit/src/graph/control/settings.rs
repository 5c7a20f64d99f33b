//! What can be changed while a simulator runs.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Control;
use crate::graph::{SimError, planner::Limits, switches::Switches};

/// Settings that can be changed while the simulator runs; what is left out stays.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// How long each HTTP request to Graph takes, in milliseconds.
    pub latency_ms: Option<u64>,
    /// Entries in a page.
    pub page_size: Option<usize>,
    /// Whether Graph is away: connections close without an answer.
    pub offline: Option<bool>,
    /// Whether `/beta` is served.
    pub beta: Option<bool>,
    /// Every switch; those that JSON leaves out get their first value. For single ones there is
    /// [`Control::switch`].
    pub switches: Option<Switches>,
    /// How many versions back a PATCH is merged.
    pub history_window: Option<u64>,
    /// The service's limits.
    pub limits: Option<Limits>,
    /// How long new tokens live, in seconds.
    pub token_lifetime_s: Option<u64>,
    /// How far behind reads are under the switches that say `late`, in milliseconds.
    pub lag_ms: Option<u64>,
    /// How far the service's clock is before the machine's (negative: after it), in milliseconds.
    pub clock_skew_ms: Option<i64>,
    /// The roles in the application's new tokens.
    pub app_roles: Option<Vec<String>>,
    /// How long a delta token is good, in seconds.
    pub delta_life_s: Option<u64>,
    /// Whether a delta begins with an empty page and repeats entries, as it may.
    pub delta_untidy: Option<bool>,
}

impl Control {
    /// Changes settings.
    pub fn set(&self, settings: Settings) {
        let mut state = self.inner.state();
        let state = &mut *state;
        let put = |slot: &mut u64, value: Option<u64>| *slot = value.unwrap_or(*slot);
        put(&mut state.rules.history_window, settings.history_window);
        put(&mut state.entra.lifetime_s, settings.token_lifetime_s);
        state.latency = settings.latency_ms.map_or(state.latency, Duration::from_millis);
        state.rules.page_size = settings.page_size.unwrap_or(state.rules.page_size);
        state.offline = settings.offline.unwrap_or(state.offline);
        state.beta = settings.beta.unwrap_or(state.beta);
        put(&mut state.rules.lag_ms, settings.lag_ms);
        put(
            &mut state.rules.delta_life_ms,
            settings.delta_life_s.map(|seconds| seconds.saturating_mul(1000)),
        );
        state.rules.switches = settings.switches.unwrap_or(state.rules.switches);
        state.rules.delta_untidy = settings.delta_untidy.unwrap_or(state.rules.delta_untidy);
        if let Some(ms) = settings.clock_skew_ms {
            self.inner.clock.skew(ms);
        }
        if let Some(roles) = settings.app_roles {
            state.entra.roles = roles;
        }
        if let Some(limits) = settings.limits {
            state.rules.limits = limits;
        }
    }

    /// The settings as they are.
    pub fn settings(&self) -> Settings {
        let state = self.inner.state();
        Settings {
            latency_ms: u64::try_from(state.latency.as_millis()).ok(),
            page_size: Some(state.rules.page_size),
            offline: Some(state.offline),
            beta: Some(state.beta),
            switches: Some(state.rules.switches),
            history_window: Some(state.rules.history_window),
            limits: Some(state.rules.limits.clone()),
            token_lifetime_s: Some(state.entra.lifetime_s),
            lag_ms: Some(state.rules.lag_ms),
            clock_skew_ms: Some(self.inner.clock.skew_ms()),
            app_roles: Some(state.entra.roles.clone()),
            delta_life_s: Some(state.rules.delta_life_ms / 1000),
            delta_untidy: Some(state.rules.delta_untidy),
        }
    }

    /// Sets one switch, by its name in the table.
    ///
    /// # Errors
    /// The name or the value is not in the table.
    pub fn switch(&self, name: &str, value: &str) -> Result<(), SimError> {
        Ok(self.inner.state().rules.switches.set(name, value)?)
    }

    /// Makes every delta token that is out too old.
    pub fn expire_delta_tokens(&self) {
        let mut state = self.inner.state();
        state.rules.delta_floor = state.store.changes.skip();
    }
}
