//! Reads the functions of a staged app: their bindings, settings, routes, and what the host says against them.

use super::{
    AuthLevel, FunctionError, HttpTrigger, LoadedFunction, RetryPolicy, Settings, TimerTrigger, Trigger,
    arguments, duration, flag, read_json,
};
use crate::functions_host::{
    cron::Schedule,
    error::HostError,
    routes::{full_template, order_key},
    span::parse_time_span,
};
use regex::Regex;
use serde_json::Value;
use std::path::Path;

/// Reads the functions that lie one level below `root`, in host order, and says which ones the host leaves out.
///
/// # Errors
/// Where `root` cannot be read, or a template is refused (which stops all of the host's routes).
pub fn read_functions(
    root: &Path,
    route_prefix: &str,
    settings: &Settings,
) -> Result<(Vec<LoadedFunction>, Vec<FunctionError>), HostError> {
    let entries =
        std::fs::read_dir(root).map_err(|why| HostError::config(format!("{}: {why}", root.display())))?;
    let mut names: Vec<String> = entries
        .flatten()
        .filter(|entry| entry.path().join("function.json").is_file())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort_by_key(|name| order_key(name));
    let mut functions: Vec<LoadedFunction> = Vec::new();
    let mut errors = Vec::new();
    for name in names {
        let read = read_function(root, &name, route_prefix, settings).and_then(|function| {
            check_route(&function, &functions)?;
            Ok(function)
        });
        match read {
            Ok(function) => functions.push(function),
            Err(message) => errors.push(FunctionError { function: name, message }),
        }
    }
    Ok((functions, errors))
}

fn read_function(
    root: &Path,
    name: &str,
    prefix: &str,
    settings: &Settings,
) -> Result<LoadedFunction, String> {
    let valid = Regex::new(r"^[A-Za-z][A-Za-z0-9_\-]{0,127}$").is_ok_and(|pattern| pattern.is_match(name));
    if !valid || name.eq_ignore_ascii_case("host") {
        return Err(format!("'{name}' is not a valid function name."));
    }
    let file = read_json(&root.join(name).join("function.json")).map_err(|why| why.to_string())?;
    let file = file.unwrap_or(Value::Null);
    let bindings = file.get("bindings").and_then(Value::as_array).cloned().unwrap_or_default();
    if bindings.is_empty() {
        return Err("At least one binding must be declared.".to_owned());
    }
    let bindings =
        bindings.iter().map(|binding| resolve(binding, settings)).collect::<Result<Vec<_>, _>>()?;
    let kind =
        |binding: &Value| binding.get("type").and_then(Value::as_str).unwrap_or("").to_ascii_lowercase();
    let triggers: Vec<&Value> =
        bindings.iter().filter(|binding| kind(binding).ends_with("trigger")).collect();
    let trigger = match triggers.as_slice() {
        [trigger] => *trigger,
        [] => {
            return Err(
                "No trigger binding specified. A function must have a trigger input binding.".to_owned()
            );
        }
        _ => {
            return Err(
                "Multiple trigger bindings defined. A function can only have a single trigger binding."
                    .to_owned(),
            );
        }
    };
    let text = |field: &str| trigger.get(field).and_then(Value::as_str);
    let binding = text("name")
        .filter(|name| !name.is_empty())
        .ok_or("A valid name must be assigned to the binding.")?;
    let trigger_kind = match kind(trigger).as_str() {
        "httptrigger" => {
            let others: Vec<String> =
                bindings.iter().map(kind).filter(|kind| !kind.ends_with("trigger")).collect();
            if others != ["http"] {
                return Err("the emulator runs HTTP functions with exactly one httpTrigger and one http output (they are proxied)".to_owned());
            }
            let route = text("route").map(str::to_owned);
            Trigger::Http(HttpTrigger {
                methods: arguments(trigger.get("methods")),
                template: full_template(name, prefix, route.as_deref())?,
                route,
                auth_level: auth_level(text("authLevel"))?,
            })
        }
        "timertrigger" => Trigger::Timer(TimerTrigger {
            schedule: Schedule::parse(text("schedule").unwrap_or("")).map_err(|why| why.to_string())?,
            use_monitor: trigger.get("useMonitor").is_none_or(|value| flag(Some(value))),
            run_on_startup: flag(trigger.get("runOnStartup")),
        }),
        other => return Err(format!("the emulator knows no trigger of type '{other}'")),
    };
    let set = |name: String| {
        settings.get(&name).is_some_and(|value| value.eq_ignore_ascii_case("true") || value == "1")
    };
    Ok(LoadedFunction {
        name: name.to_owned(),
        binding: binding.to_owned(),
        trigger: trigger_kind,
        retry: file.get("retry").map(retry_policy).transpose()?,
        disabled: set(format!("AzureWebJobs.{name}.Disabled"))
            || set(format!("AzureWebJobs_{name}_Disabled")),
    })
}

fn auth_level(text: Option<&str>) -> Result<AuthLevel, String> {
    match text.map(str::to_ascii_lowercase).as_deref() {
        None | Some("function") => Ok(AuthLevel::Function),
        Some("anonymous") => Ok(AuthLevel::Anonymous),
        Some("admin") => Ok(AuthLevel::Admin),
        Some(other) => Err(format!("'{other}' is no authLevel: anonymous, function or admin")),
    }
}

fn retry_policy(value: &Value) -> Result<RetryPolicy, String> {
    let span = |name: &str| {
        let text = value.get(name).and_then(Value::as_str);
        text.and_then(parse_time_span)
            .and_then(duration)
            .ok_or_else(|| format!("Value cannot be null. (Parameter '{name}')"))
    };
    let count = value
        .get("maxRetryCount")
        .and_then(Value::as_i64)
        .ok_or("Value cannot be null. (Parameter 'maxRetryCount')")?;
    match value.get("strategy").and_then(Value::as_str).map(str::to_ascii_lowercase).as_deref() {
        Some("fixeddelay") => {
            let delay = span("delayInterval")?;
            Ok(RetryPolicy { max_retry_count: count, minimum: delay, maximum: delay })
        }
        Some("exponentialbackoff") => Ok(RetryPolicy {
            max_retry_count: count,
            minimum: span("minimumInterval")?,
            maximum: span("maximumInterval")?,
        }),
        _ => Err("the retry strategy is fixedDelay or exponentialBackoff".to_owned()),
    }
}

/// Resolves `%NAME%` in every text of a binding.
fn resolve(binding: &Value, settings: &Settings) -> Result<Value, String> {
    Ok(match binding {
        Value::String(text) => Value::String(resolve_settings(text, settings)?),
        Value::Object(fields) => {
            let resolved = fields.iter().map(|(name, value)| Ok((name.clone(), resolve(value, settings)?)));
            Value::Object(resolved.collect::<Result<_, String>>()?)
        }
        other => other.clone(),
    })
}

/// Puts settings in the place of `%NAME%`; what they hold is not resolved again.
///
/// # Errors
/// A name without a setting, or a `%` that nothing closes.
pub fn resolve_settings(text: &str, settings: &Settings) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find('%') {
        let position = text.len() - rest.len() + start;
        out.push_str(&rest[..start]);
        let tail = &rest[start + 1..];
        let end = tail
            .find('%')
            .ok_or_else(|| format!("The '%' at position {position} does not have a closing '%'"))?;
        let name = &tail[..end];
        let value = settings.get(name).ok_or_else(|| format!("'%{name}%' does not resolve to a value."))?;
        out.push_str(value);
        rest = &tail[end + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

/// The host's checks of one function's route against the built-in ones and those before it.
fn check_route(function: &LoadedFunction, earlier: &[LoadedFunction]) -> Result<(), String> {
    let Some(http) = function.http() else { return Ok(()) };
    let route = effective_route(&function.name, http.route.as_deref());
    if is_reserved(&route) {
        return Err("The specified route conflicts with one or more built in routes.".to_owned());
    }
    for other in earlier {
        let Some(before) = other.http() else { continue };
        let same_route = effective_route(&other.name, before.route.as_deref()).eq_ignore_ascii_case(&route);
        if same_route && methods_overlap(&before.methods, &http.methods) {
            return Err(format!(
                "The route specified conflicts with the route defined by function '{}'.",
                other.name
            ));
        }
    }
    Ok(())
}

fn effective_route(name: &str, route: Option<&str>) -> String {
    let route = route.filter(|route| !route.trim().is_empty()).unwrap_or(name);
    route.trim_matches('/').to_owned()
}

fn is_reserved(route: &str) -> bool {
    let lower = route.to_ascii_lowercase();
    lower.starts_with("admin") || lower.starts_with("runtime")
}

/// Method names are compared with their letter case here, unlike in matching.
fn methods_overlap(left: &[String], right: &[String]) -> bool {
    left.is_empty() || right.is_empty() || left.iter().any(|method| right.contains(method))
}
