//! Reads a staged function app as the host does: host.json, settings, one folder a function.

mod functions;

pub use functions::{read_functions, resolve_settings};

use super::{cron::Schedule, error::HostError, routes::Template, span::parse_time_span, ticks::Ticks};
use serde_json::{Map, Value};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

/// App settings by name: what the host and the handler see as their environment.
pub type Settings = BTreeMap<String, String>;

/// What host.json says, as far as the emulator follows it.
#[derive(Clone, Debug)]
pub struct HostConfig {
    /// `extensions.http.routePrefix`, `api` where it is not set.
    pub route_prefix: String,
    /// `customHandler.description.defaultExecutablePath`.
    pub executable: String,
    /// `customHandler.description.arguments`.
    pub arguments: Vec<String>,
    /// `customHandler.description.workingDirectory`.
    pub working_directory: Option<String>,
    /// `customHandler.description.workerDirectory`.
    pub worker_directory: Option<String>,
    /// `customHandler.initializationTimeout`, 30 s where it is not set.
    pub initialization_timeout: Duration,
    /// `customHandler.enableProxyingHttpRequest`.
    pub proxying: bool,
    /// `functionTimeout`, 30 min where it is not set; `None` is without end.
    pub function_timeout: Option<Duration>,
}

/// The access level of an HTTP function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthLevel {
    /// No key.
    Anonymous,
    /// A key of the function or of the host, or the master key.
    Function,
    /// The master key.
    Admin,
}

/// An HTTP function's trigger.
#[derive(Clone, Debug)]
pub struct HttpTrigger {
    /// Its methods as written; empty means all.
    pub methods: Vec<String>,
    /// Its route as written.
    pub route: Option<String>,
    /// Its whole template, prefix included.
    pub template: Template,
    /// Who may call it.
    pub auth_level: AuthLevel,
}

/// A timer function's trigger.
#[derive(Clone, Debug)]
pub struct TimerTrigger {
    /// The schedule, settings resolved.
    pub schedule: Schedule,
    /// `useMonitor`, true where it is not set.
    pub use_monitor: bool,
    /// `runOnStartup`.
    pub run_on_startup: bool,
}

/// The retry policy of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Most retries; -1 is without end.
    pub max_retry_count: i64,
    /// First delay.
    pub minimum: Duration,
    /// Longest delay; equal to the first for a fixed one.
    pub maximum: Duration,
}

impl RetryPolicy {
    /// The wait before the given retry, counted from 1.
    pub fn delay(&self, retry: u32) -> Duration {
        let factor = 2_u32.saturating_pow(retry.saturating_sub(1).min(20));
        self.minimum.saturating_mul(factor).min(self.maximum)
    }
}

/// What starts a function.
#[derive(Clone, Debug)]
pub enum Trigger {
    /// An HTTP request, proxied.
    Http(HttpTrigger),
    /// A schedule.
    Timer(TimerTrigger),
}

/// A function that the host loaded.
#[derive(Clone, Debug)]
pub struct LoadedFunction {
    /// The folder's name.
    pub name: String,
    /// The trigger binding's name.
    pub binding: String,
    /// What starts it.
    pub trigger: Trigger,
    /// Its retry policy.
    pub retry: Option<RetryPolicy>,
    /// Whether an app setting disables it.
    pub disabled: bool,
}

impl LoadedFunction {
    /// Its HTTP trigger, if that is what starts it.
    pub fn http(&self) -> Option<&HttpTrigger> {
        match &self.trigger {
            Trigger::Http(http) => Some(http),
            Trigger::Timer(_) => None,
        }
    }

    /// Its timer, if that is what starts it.
    pub fn timer(&self) -> Option<&TimerTrigger> {
        match &self.trigger {
            Trigger::Timer(timer) => Some(timer),
            Trigger::Http(_) => None,
        }
    }
}

/// A function that the host leaves out, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionError {
    /// The folder's name.
    pub function: String,
    /// What the host says about it.
    pub message: String,
}

/// A whole staged app.
#[derive(Clone, Debug)]
pub struct App {
    /// The staged folder.
    pub root: PathBuf,
    /// host.json.
    pub config: HostConfig,
    /// The functions in host order.
    pub functions: Vec<LoadedFunction>,
    /// The functions left out.
    pub errors: Vec<FunctionError>,
    /// The environment of host and handler: what was set before, then `local.settings.json`.
    pub settings: Settings,
}

impl App {
    /// Loads the app staged in `root`; `environment` wins over `local.settings.json`.
    ///
    /// # Errors
    /// What keeps the host from starting, in its words.
    pub fn load(root: &Path, environment: Settings) -> Result<Self, HostError> {
        let root = std::path::absolute(root)
            .map_err(|why| HostError::config(format!("{}: {why}", root.display())))?;
        let mut settings = environment;
        for (name, value) in local_settings(&root)? {
            settings.entry(name).or_insert(value);
        }
        let config = host_config(&root, &settings)?;
        let (functions, errors) = read_functions(&root, &config.route_prefix, &settings)?;
        if functions.is_empty() {
            return Err(HostError::NoFunctions { deeper: deeper_functions(&root), errors });
        }
        Ok(Self { root, config, functions, errors, settings })
    }

    /// The function of that name, letter case aside.
    pub fn function(&self, name: &str) -> Option<&LoadedFunction> {
        self.functions.iter().find(|function| function.name.eq_ignore_ascii_case(name))
    }
}

fn read_json(path: &Path) -> Result<Option<Value>, HostError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(why) => return Err(HostError::config(format!("{}: {why}", path.display()))),
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let parsed = serde_json::from_str(text);
    parsed.map(Some).map_err(|why| HostError::config(format!("Unable to parse {}: {why}", path.display())))
}

fn local_settings(root: &Path) -> Result<Settings, HostError> {
    let Some(file) = read_json(&root.join("local.settings.json"))? else { return Ok(Settings::new()) };
    if file.get("IsEncrypted").and_then(Value::as_bool) == Some(true) {
        return Err(HostError::config(
            "local.settings.json is encrypted: set IsEncrypted to false".to_owned(),
        ));
    }
    let values = file.get("Values").and_then(Value::as_object).cloned().unwrap_or_default();
    let read = values.into_iter().map(|(name, value)| match value {
        Value::String(text) => Ok((name, text)),
        _ => Err(HostError::config(format!("local.settings.json: the value of {name} must be a text"))),
    });
    read.collect()
}

fn host_config(root: &Path, settings: &Settings) -> Result<HostConfig, HostError> {
    let mut file = read_json(&root.join("host.json"))?.ok_or_else(|| {
        HostError::config(
            "host.json is missing: the host would write a default one with an extension bundle, \
             which it then fetches from the network, and run no custom handler"
                .to_owned(),
        )
    })?;
    let version = file.get("version").and_then(Value::as_str).unwrap_or("");
    if version != "2.0" {
        return Err(HostError::config(format!(
            "'{version}' is an invalid value for host.json 'version' property. We recommend you set the 'version' property to \
             '2.0'. This does not correspond to the function runtime version, only to the schema version of the host.json file."
        )));
    }
    for (name, value) in settings {
        let prefix = "AzureFunctionsJobHost__";
        if name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix)) {
            override_value(&mut file, &name[prefix.len()..], value);
        }
    }
    let handler = file.get("customHandler").filter(|section| section.is_object());
    let Some(handler) = handler else {
        return Err(HostError::config(
            "WorkerConfig for runtime: custom not found (host.json has no customHandler section)".to_owned(),
        ));
    };
    if flag(handler.get("enableForwardingHttpRequest")) {
        return Err(HostError::Forwarding);
    }
    let description = handler.get("description").filter(|section| section.is_object()).ok_or_else(|| {
        HostError::config(
            "WorkerConfig for runtime: custom not found (missing worker Description)".to_owned(),
        )
    })?;
    let text = |name: &str| {
        description.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let executable = text("defaultExecutablePath").ok_or_else(|| {
        HostError::config("WorkerDescription DefaultExecutablePath cannot be empty".to_owned())
    })?;
    let prefix =
        file.pointer("/extensions/http/routePrefix").and_then(Value::as_str).unwrap_or("api").to_owned();
    let time = |value: Option<&Value>, name: &str, unset: Duration| match value.and_then(Value::as_str) {
        None => Ok(unset),
        Some(text) => parse_time_span(text)
            .and_then(duration)
            .ok_or_else(|| HostError::config(format!("host.json: '{text}' is no time span ({name})"))),
    };
    let half_hour = Duration::from_secs(30 * 60);
    let function_timeout = match file.get("functionTimeout").and_then(Value::as_str) {
        Some("-1") => None,
        _ => Some(time(file.get("functionTimeout"), "functionTimeout", half_hour)?),
    };
    let initialization =
        time(handler.get("initializationTimeout"), "initializationTimeout", Duration::from_secs(30))?;
    Ok(HostConfig {
        route_prefix: prefix,
        executable,
        arguments: arguments(description.get("arguments")),
        working_directory: text("workingDirectory"),
        worker_directory: text("workerDirectory"),
        initialization_timeout: initialization,
        proxying: flag(handler.get("enableProxyingHttpRequest")),
        function_timeout,
    })
}

fn duration(span: Ticks) -> Option<Duration> {
    Some(Duration::from_nanos(u64::try_from(span.0).ok()?.checked_mul(100)?))
}

fn flag(value: Option<&Value>) -> bool {
    match value {
        Some(Value::Bool(on)) => *on,
        Some(Value::String(text)) => text.eq_ignore_ascii_case("true"),
        _ => false,
    }
}

/// A JSON array, or a text that holds one.
fn arguments(value: Option<&Value>) -> Vec<String> {
    let list = match value {
        Some(Value::String(text)) => serde_json::from_str(text).unwrap_or(Value::Null),
        Some(other) => other.clone(),
        None => Value::Null,
    };
    let items = list.as_array().cloned().unwrap_or_default();
    items.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

/// Sets the value at `a__b__c`; names that exist are found whatever their letter case.
fn override_value(file: &mut Value, path: &str, value: &str) {
    let mut place = file;
    for step in path.split("__") {
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        let Some(object) = place.as_object_mut() else { return };
        let known = object.keys().find(|key| key.eq_ignore_ascii_case(step)).cloned();
        place = object.entry(known.unwrap_or_else(|| step.to_owned())).or_insert(Value::Null);
    }
    *place = Value::String(value.to_owned());
}

fn deeper_functions(root: &Path) -> Vec<PathBuf> {
    let folders = |path: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
    };
    let below = folders(root).into_iter().flat_map(|folder| folders(&folder));
    let mut found: Vec<PathBuf> =
        below.map(|folder| folder.join("function.json")).filter(|file| file.is_file()).collect();
    found.sort();
    found
}
