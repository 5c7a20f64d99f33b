//! The Functions app as the host sees it: every `function.json`, `host.json`, and what `make stage` lays out.

mod routes;

use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap())
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Folder name → its function.json.
fn functions() -> BTreeMap<String, Value> {
    let folders = fs::read_dir(root().join("functions")).unwrap().map(|entry| entry.unwrap());
    folders
        .map(|folder| {
            let name = folder.file_name().into_string().unwrap();
            (name, read(&folder.path().join("function.json")))
        })
        .collect()
}

/// (route, methods, authLevel) of an HTTP function.
type Http<'a> = (&'a str, Vec<&'a str>, &'a str);

fn http(function: &Value) -> Option<Http<'_>> {
    let trigger = function["bindings"].as_array()?.iter().find(|binding| binding["type"] == "httpTrigger")?;
    let methods = trigger["methods"].as_array()?.iter().map(|method| method.as_str().unwrap()).collect();
    Some((trigger["route"].as_str()?, methods, trigger["authLevel"].as_str()?))
}

#[test]
fn the_functions_are_those_that_were_agreed() {
    let functions = functions();
    let found: Vec<(&str, Http<'_>)> =
        functions.iter().filter_map(|(name, f)| Some((name.as_str(), http(f)?))).collect();
    let agreed: Vec<(&str, Http<'_>)> = vec![
        ("health_live", ("api/health/live", vec!["get"], "anonymous")),
        ("health_ready", ("api/health/ready", vec!["get"], "function")),
        ("openapi", ("api/openapi.json", vec!["get"], "function")),
        ("planner_poll_now", ("api/sync/poll", vec!["post"], "function")),
        ("sync_conflicts", ("api/sync/conflicts", vec!["get"], "function")),
        ("sync_erase_person", ("api/sync/erase-person", vec!["post"], "function")),
        ("sync_explain", ("api/sync/explain/{id}", vec!["get"], "function")),
        ("sync_failed", ("api/sync/failed", vec!["get"], "function")),
        ("sync_failed_retry", ("api/sync/failed/retry", vec!["post"], "function")),
        ("sync_guard_release", ("api/sync/guard/release", vec!["post"], "function")),
        ("sync_log", ("api/sync/log", vec!["get"], "function")),
        ("sync_metrics", ("api/sync/metrics", vec!["get"], "function")),
        ("sync_rebuild", ("api/sync/rebuild", vec!["post"], "function")),
        ("sync_restore", ("api/sync/restore/{id}", vec!["post"], "function")),
        ("sync_status", ("api/sync/status", vec!["get"], "function")),
        ("sync_tombs", ("api/sync/tombs", vec!["get"], "function")),
        ("task", ("api/tasks/{id}", vec!["get", "put", "patch", "delete"], "function")),
        ("tasks", ("api/tasks", vec!["get", "post"], "function")),
    ];
    assert_eq!(found, agreed);
    let timer = json!({"bindings": [{"type": "timerTrigger", "direction": "in", "name": "timer",
        "schedule": "%PLANNER_POLL_SCHEDULE%", "useMonitor": true, "runOnStartup": false}]});
    assert_eq!(functions["planner_poll"], timer);
    assert_eq!(functions.len(), agreed.len() + 1);
}

/// The rules of the host's `HostFunctionMetadataProvider`, and ours: proxying needs exactly one httpTrigger and one
/// http output; the whole route is written out; nothing may equal `/{trigger}`.
#[test]
fn every_function_is_one_that_the_host_loads_and_proxies() {
    let functions = functions();
    for (name, function) in &functions {
        let mut letters = name.chars();
        assert!(letters.next().unwrap().is_ascii_alphabetic(), "{name}");
        assert!(
            letters.all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-') && name.len() <= 128,
            "{name}"
        );
        assert_ne!(name.to_ascii_lowercase(), "host");
        assert_eq!(function.as_object().unwrap().keys().collect::<Vec<_>>(), ["bindings"], "{name}");

        let bindings = function["bindings"].as_array().unwrap();
        let Some((route, methods, level)) = http(function) else { continue };
        let kinds: Vec<_> = bindings
            .iter()
            .map(|b| (b["type"].as_str().unwrap(), b["direction"].as_str().unwrap()))
            .collect();
        assert_eq!(kinds, [("httpTrigger", "in"), ("http", "out")], "{name}");
        assert!(
            bindings
                .iter()
                .all(|b| b["name"].as_str().is_some_and(|name| !name.is_empty() && name != "$return"))
        );
        assert!(!methods.is_empty() && ["anonymous", "function"].contains(&level), "{name}");
        let segments: Vec<_> = route.split('/').collect();
        assert!(segments.len() > 1 && segments.iter().all(|segment| !segment.is_empty()), "{name}: {route}");
        assert!(
            !segments[0].contains('{'),
            "{name}: the first segment is fixed, so that no trigger's path fits"
        );
        assert!(!["admin", "runtime"].iter().any(|reserved| route.starts_with(reserved)), "{name}: {route}");
        for (other, trigger) in &functions {
            assert!(
                http(trigger).is_some() || !route.eq_ignore_ascii_case(other),
                "{name} is at the trigger {other}"
            );
        }
    }
}

/// The host takes the first match in the order of upper-cased names; of two that may take the same path, the one
/// with the fixed segment has to come first, or it would never run.
#[test]
fn no_function_shadows_another_in_host_order() {
    let functions = functions();
    let mut routes: Vec<_> =
        functions.iter().filter_map(|(name, f)| Some((name.to_ascii_uppercase(), http(f)?))).collect();
    routes.sort_by(|a, b| a.0.cmp(&b.0));
    for (at, (late, (late_route, late_methods, _))) in routes.iter().enumerate() {
        for (early, (early_route, early_methods, _)) in &routes[..at] {
            let same_method = late_methods.iter().any(|method| early_methods.contains(method));
            assert!(!(same_method && takes(early_route, late_route)), "{early} takes what {late} is for");
        }
    }
}

/// Whether the template `early` takes every path that `late` is for.
fn takes(early: &str, late: &str) -> bool {
    let (early, late): (Vec<_>, Vec<_>) = (early.split('/').collect(), late.split('/').collect());
    let fits = |(a, b): (&&str, &&str)| a.starts_with('{') || a.eq_ignore_ascii_case(b);
    early.len() == late.len() && early.iter().zip(&late).all(fits)
}

#[test]
fn host_json_proxies_and_never_forwards() {
    let host = read(&root().join("host.json"));
    assert_eq!(host["version"], "2.0");
    assert_eq!(host["extensions"]["http"]["routePrefix"], "");
    let handler = &host["customHandler"];
    assert_eq!(handler["description"]["defaultExecutablePath"], "annika");
    assert_eq!(handler["enableProxyingHttpRequest"], true);
    assert_eq!(handler["enableForwardingHttpRequest"], false);
    assert!(host.get("extensionBundle").is_none(), "a bundle would be fetched from the network at the start");
}

#[test]
fn local_settings_hold_development_defaults_and_no_secret() {
    let local = read(&root().join("local.settings.json"));
    assert_eq!(local["IsEncrypted"], false);
    let values = local["Values"].as_object().unwrap();
    assert_eq!(values["FUNCTIONS_WORKER_RUNTIME"], "custom");
    for (name, value) in values {
        assert!(value.is_string(), "{name}: the host takes strings only");
        let secret =
            ["SECRET", "PASSWORD", "KEY", "CONNECTION"].iter().any(|word| name.to_uppercase().contains(word));
        assert!(!secret || name == "AzureWebJobsSecretStorageType", "{name}");
    }
    let clashes = ["AzureWebJobsScriptRoot", "WEBSITE_HOSTNAME"];
    assert!(clashes.iter().all(|name| !values.contains_key(*name)), "Core Tools sets these itself and fails");
    let settings =
        annika::config::Settings::read(&|name| Some(values.get(name)?.as_str()?.to_owned())).unwrap();
    assert_eq!(settings.planner.poll_schedule, annika::config::PlannerSettings::DEFAULT_SCHEDULE);
}

#[test]
fn staging_lays_the_app_flat_and_drops_what_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let stage = folder.path().join("func-app");
    fs::create_dir_all(stage.join("gone")).unwrap();
    fs::write(stage.join("gone/function.json"), "{}").unwrap();
    let output = Command::new("make")
        .args(["--no-print-directory", "stage"])
        .arg(format!("STAGE={}", stage.display()))
        .arg(format!("BIN={}", env!("CARGO_BIN_EXE_annika")))
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let mut found: Vec<String> =
        fs::read_dir(&stage).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    found.sort();
    let mut expected: Vec<String> = functions().into_keys().collect();
    expected.extend(["annika", "host.json", "local.settings.json"].map(str::to_owned));
    expected.sort();
    assert_eq!(found, expected);
    for (name, function) in functions() {
        assert_eq!(read(&stage.join(&name).join("function.json")), function);
    }
    assert_eq!(fs::metadata(stage.join("annika")).unwrap().permissions().mode() & 0o777, 0o755);
}
