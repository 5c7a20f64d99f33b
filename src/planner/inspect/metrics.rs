//! The metrics as text for Prometheus (exposition format 0.0.4).

use std::fmt::Write as _;

use super::Overview;
use crate::planner::health::Lag;

impl Overview {
    /// Every metric. `now` is in ms; ages count from it. Metrics of an engine that is silent are left out.
    pub fn metrics(&self, now: i64) -> String {
        let mut text = Metrics::default();
        let age = |at: &Option<String>| {
            let at = at.as_deref()?.parse::<jiff::Timestamp>().ok()?;
            Some((now - at.as_millisecond()).max(0) as f64 / 1_000.0)
        };
        let alive = self.status != "silent";
        text.gauge("engine_alive", "1 while an engine publishes its health.", u64::from(alive));
        text.gauge("healthy", "1 while nothing is wrong.", u64::from(self.status == "healthy"));
        let backlog = &self.backlog;
        text.gauge("backlog_age_seconds", "For how long the longest due task has been due.", backlog.age_s);
        text.gauge("backlog_due", "Tasks that may be worked on now.", backlog.due);
        text.gauge("backlog_waiting", "Tasks that are due now or later.", backlog.waiting);
        text.gauge("failed_tasks", "Tasks that cannot be synced.", backlog.failed);
        text.gauge("known_tasks", "Tasks that the engine knows.", backlog.known_tasks);
        text.gauge("open_creates", "Creates whose outcome is not known.", backlog.open_creates);
        text.gauge("orphans_held", "Planner tasks held for an open create.", backlog.orphans_held);
        text.gauge("conflicts_kept", "Values in the conflict stream.", backlog.conflicts_kept);
        text.gauge(
            "deletions_held_planner",
            "Deletions in Planner that wait for a person.",
            self.guard.planner.held,
        );
        text.gauge(
            "deletions_held_redis",
            "Deletions of documents that wait for a person.",
            self.guard.redis.held,
        );
        text.gauge(
            "suspended_plans",
            "Plans whose list is refused again and again.",
            self.plans.iter().filter(|plan| plan.suspended.is_some()).count(),
        );
        text.gauge(
            "full_plans",
            "Plans that take no new tasks.",
            self.plans.iter().filter(|plan| plan.full.is_some()).count(),
        );
        text.gauge(
            "rebuilding",
            "1 while the sync's memory is built anew.",
            u64::from(self.rebuild.is_some()),
        );
        text.gauge("throttle_ratio", "429 answers by sub-requests, five minutes.", self.throttle_ratio);
        let optional = [
            (
                "lease_holder_age_seconds",
                "For how long one process has had the lease.",
                age(&self.lease_held_since),
            ),
            (
                "last_sync_age_seconds",
                "Since the last complete poll of every plan.",
                age(&self.last_successful_sync),
            ),
            ("last_sweep_age_seconds", "Since the last whole sweep.", age(&self.last_sweep)),
            ("sweep_seconds", "How long the last sweep took.", self.sweep_ms.map(|ms| ms as f64 / 1_000.0)),
            (
                "graph_requests_per_synced_change",
                "Sub-requests of uploads by tasks whose content went up.",
                self.graph_requests_per_synced_change,
            ),
        ];
        for (name, help, value) in optional {
            if let Some(value) = value {
                text.gauge(name, help, value);
            }
        }
        if alive {
            text.histogram("upload_lag_seconds", "First mark of a change to Planner.", &self.upload_lag);
            text.histogram(
                "download_lag_seconds",
                "List that showed a change to document.",
                &self.download_lag,
            );
        }
        text.by_plan(
            "poll_complete_ratio",
            "Whole lists by lists begun.",
            self.plans.iter().filter_map(|plan| Some((plan.plan_id.as_str(), plan.complete_ratio?))),
        );
        text.by_plan(
            "plan_tasks",
            "Tasks in the last list.",
            self.plans.iter().filter_map(|plan| Some((plan.plan_id.as_str(), plan.tasks? as f64))),
        );
        // The key with the counters is everybody's; only names that are names go on.
        let is_name =
            |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        for (name, value) in self.counters.iter().filter(|(name, _)| is_name(name)) {
            text.head(&format!("{name}_total"), "Since the engine's process began.", "counter");
            text.line(&format!("{name}_total"), "", value);
        }
        text.0
    }
}

#[derive(Default)]
struct Metrics(String);

impl Metrics {
    fn head(&mut self, name: &str, help: &str, kind: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "# HELP annika_sync_{name} {help}\n# TYPE annika_sync_{name} {kind}");
    }

    fn line(&mut self, name: &str, labels: &str, value: impl std::fmt::Display) {
        let _ = writeln!(self.0, "annika_sync_{name}{labels} {value}");
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl std::fmt::Display) {
        self.head(name, help, "gauge");
        self.line(name, "", value);
    }

    fn by_plan<'a>(&mut self, name: &str, help: &str, values: impl Iterator<Item = (&'a str, f64)>) {
        self.head(name, help, "gauge");
        for (plan, value) in values {
            self.line(name, &format!("{{plan=\"{}\"}}", escaped(plan)), value);
        }
    }

    fn histogram(&mut self, name: &str, help: &str, lag: &Lag) {
        self.head(name, help, "histogram");
        let bucket = format!("{name}_bucket");
        for (bound, count) in &lag.buckets {
            self.line(&bucket, &format!("{{le=\"{}\"}}", *bound as f64 / 1_000.0), count);
        }
        self.line(&bucket, "{le=\"+Inf\"}", lag.count);
        self.line(&format!("{name}_sum"), "", lag.sum_ms as f64 / 1_000.0);
        self.line(&format!("{name}_count"), "", lag.count);
    }
}

fn escaped(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
