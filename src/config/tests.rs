//! Tests of the settings: names, defaults, and errors that name the variable and keep the value to themselves.

use super::*;
use std::collections::HashMap;

fn read(pairs: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    let map: HashMap<String, String> =
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Settings::read(&|name| map.get(name).cloned())
}

fn refused(pairs: &[(&str, &str)]) -> Vec<&'static str> {
    read(pairs).expect_err("refused").0.into_iter().map(|error| error.variable).collect()
}

#[test]
fn an_empty_environment_is_valid() {
    let settings = read(&[]).expect("no setting is required");
    assert_eq!(settings.host, HostSettings { port: DEVELOPMENT_PORT, started_by_host: false });
    assert_eq!(settings.graph.base_url.as_str(), "https://graph.microsoft.com/");
    assert_eq!((settings.graph.rate_per_second, settings.graph.rate_burst), (5.0, 40));
    assert_eq!(settings.graph.rate_max, 100.0);
    assert!(settings.planner.plans.is_empty());
    assert_eq!(settings.planner.poll_mode, PollMode::Continuous);
    assert_eq!(settings.entra.missing, ["AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET"]);
    assert_eq!(settings.telemetry.filter, TelemetrySettings::DEFAULT);
}

#[test]
fn the_current_port_variable_wins_over_the_older_one() {
    let both = [("FUNCTIONS_HTTPWORKER_PORT", "1"), ("FUNCTIONS_CUSTOMHANDLER_PORT", "4000")];
    assert_eq!(read(&both).unwrap().host, HostSettings { port: 4000, started_by_host: true });
    let older = [("FUNCTIONS_HTTPWORKER_PORT", "4001")];
    assert_eq!(read(&older).unwrap().host, HostSettings { port: 4001, started_by_host: true });
    assert_eq!(refused(&[("FUNCTIONS_CUSTOMHANDLER_PORT", "0")]), ["FUNCTIONS_CUSTOMHANDLER_PORT"]);
}

#[test]
fn every_broken_rule_is_told_at_once() {
    let bad = [
        ("GRAPH_BASE_URL", "http://graph.example"),
        ("GRAPH_RATE_PER_SECOND", "0"),
        ("GRAPH_RATE_BURST", "many"),
        ("PLANNER_POLL_MODE", "sometimes"),
        ("PLANNER_DUE_TIME", "24:00"),
        ("PLANNER_EXTERNAL_ID", "two words"),
        ("PLANNER_POLL_SCHEDULE", "* *"),
        ("ENTRA_BASE_URL", "https://login.example"),
        ("RUST_LOG", "annika=loud"),
    ];
    let mut found = refused(&bad);
    found.sort_unstable();
    let mut expected: Vec<_> = bad.iter().map(|(name, _)| *name).collect();
    expected.sort_unstable();
    assert_eq!(found, expected);
}

#[test]
fn plain_http_is_only_for_this_machine() {
    for good in ["http://127.0.0.1:9", "http://localhost:9/", "http://[::1]:9", "https://graph.microsoft.us"]
    {
        assert!(read(&[("GRAPH_BASE_URL", good)]).is_ok(), "{good}");
    }
    let bad = [
        "http://127.0.0.1.example",
        "http://localhost.example",
        "ftp://127.0.0.1",
        "https://u:p@graph.microsoft.com",
        "https://graph.microsoft.com/v1.0",
        "https://graph.microsoft.com/?x=1",
        "graph.microsoft.com",
    ];
    for bad in bad {
        assert_eq!(refused(&[("GRAPH_BASE_URL", bad)]), ["GRAPH_BASE_URL"], "{bad}");
    }
}

#[test]
fn plans_and_groups_are_told_apart() {
    let plans = read(&[(
        "PLANNER_PLANS",
        " xqQg5FS2LkCp935s-FIFm2QAFkHM, group:ebf3b108-5234,xqQg5FS2LkCp935s-FIFm2QAFkHM,",
    )])
    .unwrap()
    .planner
    .plans;
    assert_eq!(
        plans,
        [PlanSource::Plan("xqQg5FS2LkCp935s-FIFm2QAFkHM".into()), PlanSource::Group("ebf3b108-5234".into())]
    );
    for bad in ["a/b", "group:", "a b", "a,../c"] {
        assert_eq!(refused(&[("PLANNER_PLANS", bad)]), ["PLANNER_PLANS"], "{bad}");
    }
}

#[test]
fn the_store_reads_its_section_and_its_errors_are_told_with_the_rest() {
    let settings =
        read(&[("REDIS_PASSWORD", "p%40@ss"), ("REDIS_HOST", "cache"), ("REDIS_DB", "3")]).unwrap();
    assert_eq!(settings.redis.to_string(), "cache:6379/3");
    assert!(!format!("{settings:?}").contains("p%40"));

    let wrong =
        read(&[("REDIS_URL", "http://:hunter2@cache"), ("GRAPH_RATE_BURST", "x")]).expect_err("refused");
    assert_eq!(
        wrong.0.iter().map(|error| error.variable).collect::<Vec<_>>(),
        ["REDIS_URL", "GRAPH_RATE_BURST"]
    );
    assert!(!wrong.to_string().contains("hunter2"));
}

#[test]
fn managed_identity_wins_and_needs_both_variables() {
    let secret = [
        ("AZURE_TENANT_ID", "contoso.example"),
        ("AZURE_CLIENT_ID", "app"),
        ("AZURE_CLIENT_SECRET", "s3cret"),
    ];
    let mut both = secret.to_vec();
    both.extend([("IDENTITY_ENDPOINT", "http://127.0.0.1:4/msi/token"), ("IDENTITY_HEADER", "h3ader")]);
    let entra = read(&both).unwrap().entra;
    assert!(entra.managed_identity.is_some() && entra.missing.is_empty());
    assert!(!format!("{entra:?}").contains("s3cret") && !format!("{entra:?}").contains("h3ader"));

    let half = read(&[("IDENTITY_ENDPOINT", "http://127.0.0.1:4/msi/token"), ("AZURE_CLIENT_ID", "app")])
        .unwrap()
        .entra;
    assert!(half.managed_identity.is_none());
    assert_eq!(half.missing, ["AZURE_TENANT_ID", "AZURE_CLIENT_SECRET"]);
    assert!(read(&secret).unwrap().entra.client_secret.is_some());
}

#[test]
fn the_limits_of_the_delete_guard_are_numbers_within_reason() {
    let limits = |variables: &[(&'static str, &'static str)]| {
        let planner = read(variables).unwrap().planner;
        (planner.delete_guard_min, planner.delete_guard_percent)
    };
    assert_eq!(limits(&[]), (5, 5));
    assert_eq!(
        limits(&[("PLANNER_DELETE_GUARD_MIN", "20"), ("PLANNER_DELETE_GUARD_PERCENT", "100")]),
        (20, 100)
    );
    for (name, bad) in [
        ("PLANNER_DELETE_GUARD_MIN", "0"),
        ("PLANNER_DELETE_GUARD_MIN", "many"),
        ("PLANNER_DELETE_GUARD_PERCENT", "101"),
        ("PLANNER_DELETE_GUARD_PERCENT", "0"),
    ] {
        assert_eq!(refused(&[(name, bad)]), [name], "{bad}");
    }
}
