//! The emulator as others use it: start it, send it requests, fire triggers, look at what happened, stop it.

use super::{
    app::{App, LoadedFunction, Settings},
    auth::Keys,
    clock::{SharedClock, pause},
    envelope::InvocationOutcome,
    error::HostError,
    front,
    http1::client::Pool,
    invoke::Job,
    log::{Level, Log, LogLine},
    options::HostOptions,
    process::{Handler, Launch, State},
    random,
    records::{Cause, InvocationRecord, Records},
    routes::RouteTable,
    ticks::Ticks,
    timer::{Fired, Listener, ScheduleStatus, StatusFile},
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, LazyLock, Mutex, PoisonError, Weak,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

pub(super) struct Inner {
    pub(super) me: Weak<Inner>,
    pub(super) app: App,
    pub(super) table: RouteTable,
    pub(super) keys: Keys,
    pub(super) pool: Pool,
    pub(super) handler: Handler,
    pub(super) log: Log,
    pub(super) records: Records,
    pub(super) clock: SharedClock,
    pub(super) accept_hash: bool,
    pub(super) front_end_timeout: Duration,
    pub(super) activity_timeout: Duration,
    pub(super) hang_never_completed: bool,
    listeners: Mutex<BTreeMap<String, Listener>>,
}

/// A running host. Dropping it kills the handler.
pub struct FunctionsHost {
    inner: Arc<Inner>,
    port: u16,
    drain: Duration,
    closing: watch::Sender<bool>,
    front: Option<JoinHandle<()>>,
    timers: Vec<JoinHandle<()>>,
    // Keeps the statuses of this run until its end.
    _statuses: Option<tempfile::TempDir>,
}

impl FunctionsHost {
    /// Loads the app, starts the handler and waits until it answers.
    ///
    /// # Errors
    /// What the host refuses, in its words; also where the handler cannot be started or does not get ready.
    pub async fn start(options: HostOptions) -> Result<Self, HostError> {
        let mut settings = Settings::new();
        if options.inherit_env {
            settings.extend(
                std::env::vars_os()
                    .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))),
            );
        }
        settings.extend(options.env.iter().cloned());
        let app = App::load(&options.root, settings)?;
        if !app.errors.is_empty() && !options.tolerate_function_errors {
            return Err(HostError::Functions(app.errors));
        }
        if app.functions.iter().any(|function| function.http().is_some()) && !app.config.proxying {
            return Err(HostError::Config {
                message: "HTTP functions need customHandler.enableProxyingHttpRequest: the emulator does not run them by envelope".to_owned(),
            });
        }
        let (folder, statuses) = match &options.status_dir {
            Some(folder) => {
                std::fs::create_dir_all(folder)
                    .map_err(|why| HostError::io(folder.display().to_string(), why))?;
                (folder.clone(), None)
            }
            None => {
                let made = tempfile::tempdir()
                    .map_err(|why| HostError::io("a folder for schedule statuses", why))?;
                (made.path().to_owned(), Some(made))
            }
        };
        let listener = TcpListener::bind(("127.0.0.1", options.port)).await;
        let listener =
            listener.map_err(|why| HostError::io(format!("port {} of 127.0.0.1", options.port), why))?;
        let port = listener.local_addr().map_err(|why| HostError::io("the front end's address", why))?.port();
        let file = options.log_file.as_ref().map(|path| {
            std::fs::File::create(path).map_err(|why| HostError::io(path.display().to_string(), why))
        });
        let log = Log::new(options.clock.clone(), options.echo, file.transpose()?);
        for error in &app.errors {
            log.host(
                Level::Error,
                format!("The '{}' function is in error: {}", error.function, error.message),
            );
        }
        let handler = match options.attach {
            Some(port) => Handler::attached(port),
            None => {
                let port = unused_port()?;
                let launch = Launch::of(&app, port, &random::id());
                Handler::start(launch, port, log.clone(), options.clock.clone())?
            }
        };
        let functions =
            options.function_keys.iter().map(|(name, key)| (name.to_ascii_lowercase(), key.clone()));
        let inner = Arc::new_cyclic(|me| Inner {
            me: me.clone(),
            table: RouteTable::of(&app.functions),
            keys: Keys {
                enforced: options.auth,
                host: options.function_key.unwrap_or_else(random::key),
                master: options.master_key.unwrap_or_else(random::key),
                functions: functions.collect(),
            },
            pool: Pool::new(handler.port),
            handler,
            log,
            records: Records::default(),
            clock: options.clock,
            accept_hash: options.accept_hash,
            front_end_timeout: options.front_end_timeout,
            activity_timeout: options.activity_timeout,
            hang_never_completed: options.hang_never_completed,
            listeners: Mutex::default(),
            app,
        });
        let mut host = Self {
            inner: inner.clone(),
            port,
            drain: options.drain,
            closing: watch::Sender::new(false),
            front: None,
            timers: Vec::new(),
            _statuses: statuses,
        };
        host.front = Some(tokio::spawn(front::serve(listener, inner.clone(), host.closing.subscribe())));
        inner.until_ready().await?;
        for function in inner.app.functions.iter().filter(|function| function.timer().is_some()) {
            let file = StatusFile::new(&folder, &function.name);
            let scheduled = options.timers && !function.disabled;
            if let Some(first) = inner.prepare_timer(function, &file, scheduled)? {
                host.timers.push(tokio::spawn(inner.clone().keep_time(function.clone(), file, first)));
            }
        }
        Ok(host)
    }

    /// Where it listens, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The host's key, which opens every function below admin level.
    pub fn function_key(&self) -> &str {
        &self.inner.keys.host
    }

    /// The master key.
    pub fn master_key(&self) -> &str {
        &self.inner.keys.master
    }

    /// The functions that were loaded, in host order.
    pub fn functions(&self) -> &[LoadedFunction] {
        &self.inner.app.functions
    }

    /// Runs a trigger now and waits for its end, retries included.
    ///
    /// # Errors
    /// No such trigger, or the host has shut down.
    pub async fn fire(&self, function: &str) -> Result<InvocationOutcome, HostError> {
        let job = self.inner.manual_job(function, None)?;
        self.inner.run_trigger(&job).await
    }

    /// Runs a trigger now; the task ends with it.
    ///
    /// # Errors
    /// No such trigger.
    pub fn fire_detached(
        &self,
        function: &str,
    ) -> Result<JoinHandle<Result<InvocationOutcome, HostError>>, HostError> {
        let job = self.inner.manual_job(function, None)?;
        let inner = self.inner.clone();
        Ok(tokio::spawn(async move { inner.run_trigger(&job).await }))
    }

    /// The handler's process id, while there is a process.
    pub fn handler_pid(&self) -> Option<u32> {
        self.inner.handler.pid()
    }

    /// The handler's port.
    pub fn handler_port(&self) -> u16 {
        self.inner.handler.port
    }

    /// SIGKILLs the handler; the host then goes by its own rules (a new process, the third time within 30 minutes it stops).
    pub fn kill_handler(&self) {
        self.inner.handler.kill();
    }

    /// Where the handler stands.
    pub fn state(&self) -> State {
        self.inner.handler.state().borrow().clone()
    }

    /// Waits until the handler's state fits; `None` when the time is up.
    pub async fn wait_for(&self, limit: Duration, fits: impl Fn(&State) -> bool) -> Option<State> {
        let mut state = self.inner.handler.state();
        tokio::select! {
            found = state.wait_for(fits) => found.ok().map(|state| state.clone()),
            () = pause(limit) => None,
        }
    }

    /// What handler and host said so far.
    pub fn log(&self) -> Vec<LogLine> {
        self.inner.log.all()
    }

    /// The lines with level error: a healthy run has none.
    pub fn error_lines(&self) -> Vec<LogLine> {
        self.log().into_iter().filter(|line| line.level == Level::Error).collect()
    }

    /// What ran so far.
    pub fn invocations(&self) -> Vec<InvocationRecord> {
        self.inner.records.all()
    }

    /// Stops as the host does: no new clients and runs, running ones get the drain time, then SIGKILL.
    pub async fn stop(mut self) {
        self.closing.send_replace(true);
        self.stop_timers();
        let drained = async {
            while self.inner.records.running() > 0 {
                pause(Duration::from_millis(10)).await;
            }
        };
        tokio::select! {
            () = drained => {}
            () = pause(self.drain) => {}
        }
        self.inner.handler.stop().await;
    }

    /// Goes away as a host does that is killed: the handler lives on as an orphan. Returns its pid.
    pub fn abandon(mut self) -> Option<u32> {
        self.inner.handler.give_up();
        self.abort_tasks();
        self.inner.handler.pid()
    }

    /// No further runs; those under way go on.
    fn stop_timers(&mut self) {
        for timer in self.timers.drain(..) {
            timer.abort();
        }
    }

    fn abort_tasks(&mut self) {
        self.stop_timers();
        if let Some(front) = self.front.take() {
            front.abort();
        }
    }
}

impl Drop for FunctionsHost {
    fn drop(&mut self) {
        self.abort_tasks();
        self.inner.handler.abort();
    }
}

/// The ports that handlers get lie below those that the system hands out by itself (32768 and up on Linux): between the
/// choice and the handler's own bind nobody else is given the port.
const HANDLER_PORTS: std::ops::Range<u16> = 20_000..32_000;

/// A port of 127.0.0.1 that nobody uses, never the same twice in this process.
///
/// # Errors
/// All of them are taken.
pub fn unused_port() -> Result<u16, HostError> {
    static NEXT: LazyLock<AtomicU32> = LazyLock::new(|| AtomicU32::new(random::bits()));
    let count = u32::from(HANDLER_PORTS.end - HANDLER_PORTS.start);
    let mut last = None;
    for _ in 0..count {
        let offset = NEXT.fetch_add(1, Ordering::Relaxed) % count;
        let port = HANDLER_PORTS.start + u16::try_from(offset).unwrap_or_default();
        match std::net::TcpListener::bind(("127.0.0.1", port)) {
            Ok(_probe) => return Ok(port),
            Err(why) => last = Some(why),
        }
    }
    let why = last.unwrap_or_else(|| std::io::ErrorKind::AddrInUse.into());
    Err(HostError::io("a port for the handler", why))
}

fn later(from: Ticks, wait: Ticks) -> Ticks {
    Ticks(from.0.saturating_add(wait.0))
}

impl Inner {
    /// Waits for the first readiness.
    async fn until_ready(&self) -> Result<(), HostError> {
        self.until_serving().await.map_err(|why| match why {
            HostError::Stopped { reason } => {
                let lines: Vec<String> = self
                    .log
                    .all()
                    .into_iter()
                    .filter(|line| line.level == Level::Error && line.text != reason)
                    .map(|line| line.text)
                    .collect();
                let last = lines.len().saturating_sub(3);
                HostError::Stopped { reason: format!("{reason} ({})", lines[last..].join(" | ")) }
            }
            other => other,
        })
    }

    /// The date as HTTP writes it.
    pub(super) fn http_date(&self) -> String {
        let now = self.clock.now();
        let p = now.parts();
        let weekday = usize::try_from(now.weekday()).unwrap_or_default();
        let month = usize::try_from(p.month - 1).unwrap_or_default();
        let weekday = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"][weekday % 7];
        let month =
            ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"][month % 12];
        format!(
            "{weekday}, {:02} {month} {:04} {:02}:{:02}:{:02} GMT",
            p.day, p.year, p.hour, p.minute, p.second
        )
    }

    /// A run by hand: the same trigger object as a planned one.
    pub(super) fn manual_job(&self, name: &str, input: Option<String>) -> Result<Job, HostError> {
        let function =
            self.app.function(name).ok_or_else(|| HostError::UnknownFunction { name: name.to_owned() })?;
        let listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        let listener =
            listeners.get(&function.name).ok_or_else(|| HostError::NotATrigger { name: name.to_owned() })?;
        Ok(Job { function: function.clone(), data: listener.info_now(), cause: Cause::Manual, input })
    }

    /// Makes a timer's listener; returns when it fires first, if it is to fire by itself.
    fn prepare_timer(
        &self,
        function: &LoadedFunction,
        file: &StatusFile,
        scheduled: bool,
    ) -> Result<Option<Ticks>, HostError> {
        let Some(timer) = function.timer() else { return Ok(None) };
        let now = self.clock.now();
        let mut listener =
            Listener::new(timer.schedule.clone(), timer.use_monitor, timer.run_on_startup, now);
        let stored = if listener.monitored() {
            let text = file
                .read()
                .map_err(|why| HostError::io(format!("the schedule status of {}", function.name), why))?;
            let parsed = text.as_deref().map(ScheduleStatus::parse).transpose();
            parsed.map_err(|message| HostError::Config { message })?.flatten()
        } else {
            None
        };
        let (wait, store) = listener.start(now, stored);
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).insert(function.name.clone(), listener);
        if !scheduled {
            return Ok(None);
        }
        self.store(function, file, store);
        Ok(Some(later(now, wait)))
    }

    fn store(&self, function: &LoadedFunction, file: &StatusFile, status: Option<ScheduleStatus>) {
        if let Some(status) = status
            && let Err(why) = file.write(&status.json())
        {
            self.log.host(Level::Error, format!("the schedule status of {}: {why}", function.name));
        }
    }

    fn with_listener<T>(&self, function: &LoadedFunction, act: impl FnOnce(&mut Listener) -> T) -> Option<T> {
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.get_mut(&function.name).map(act)
    }

    /// Fires a timer whenever its time has come; one run at a time.
    async fn keep_time(self: Arc<Self>, function: LoadedFunction, file: StatusFile, first: Ticks) {
        let mut due = first;
        loop {
            self.clock.sleep_until(due).await;
            let started = self.clock.now();
            let Some(fired) = self.with_listener(&function, |listener| listener.fire(started)) else {
                return;
            };
            let run = match fired {
                Fired::Wait(more) => {
                    due = later(started, more);
                    continue;
                }
                Fired::Run(run) => run,
            };
            let cause = Cause::Schedule { is_past_due: run.is_past_due };
            let job = Job { function: function.clone(), data: run.info, cause, input: None };
            // A task of its own: a run goes on when the schedule is stopped.
            let inner = self.clone();
            let ran = tokio::spawn(async move { inner.run_trigger(&job).await }).await;
            match ran {
                Ok(Ok(_outcome)) => {}
                Ok(Err(why)) => {
                    self.log.host(Level::Error, format!("Functions.{}: {why}", function.name));
                    return;
                }
                Err(why) => {
                    self.log.host(Level::Error, format!("Functions.{}: {why}", function.name));
                    return;
                }
            }
            let ended = self.clock.now();
            let Some((next, store)) = self.with_listener(&function, |listener| listener.end(started, ended))
            else {
                return;
            };
            self.store(&function, &file, store);
            due = later(ended, next);
        }
    }
}
