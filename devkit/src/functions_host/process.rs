//! The handler's process: start, readiness, the exit rules, its output.

use super::{
    app::App,
    clock::{SharedClock, pause},
    error::HostError,
    http1::{WireError, client::connect},
    log::{Level, Log, Source},
};
use std::{
    collections::VecDeque,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{Child, Command},
    sync::{mpsc, watch},
    task::JoinHandle,
};

/// Errors in the bucket at which the host shuts down, and how long one stays in it.
const STRIKES: usize = 3;
const BUCKET_TICKS: i64 = 30 * super::ticks::MINUTE;
const READINESS_PAUSE: Duration = Duration::from_millis(25);

/// Where the handler stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Started, not yet ready.
    Starting,
    /// It answered `GET /`.
    Ready,
    /// It ended with exit code 0 while serving: the host never starts it again.
    Ended,
    /// It cannot be started.
    Unstartable(String),
    /// The host has shut down.
    Stopped(String),
}

/// What the supervisor is told.
#[derive(Debug)]
enum Order {
    /// SIGKILL the process; the exit rules go on.
    Kill,
    /// SIGKILL it and start another: a function ran into its time-out.
    TimedOut,
    /// SIGKILL it and end.
    Stop,
}

/// A child that is killed when its owner goes, unless it was given up.
#[derive(Debug)]
struct Guarded {
    child: Child,
    given_up: Arc<AtomicBool>,
}

impl Drop for Guarded {
    fn drop(&mut self) {
        if !self.given_up.load(Ordering::SeqCst) {
            // It may have ended already; then there is nothing to kill.
            let _already_gone = self.child.start_kill();
        }
    }
}

/// What is started, and how.
#[derive(Clone, Debug)]
pub(super) struct Launch {
    program: PathBuf,
    shown: String,
    arguments: Vec<String>,
    directory: PathBuf,
    environment: Vec<(String, String)>,
    initialization_timeout: Duration,
}

impl Launch {
    /// What `app` starts, listening on `port`.
    pub(super) fn of(app: &App, port: u16, worker_id: &str) -> Self {
        let config = &app.config;
        let base = config.worker_directory.as_ref().map_or(app.root.clone(), |folder| app.root.join(folder));
        let candidate = base.join(&config.executable);
        // Relative names mean a file of the app if there is one, else a command on PATH.
        let program = if candidate.is_file() { candidate } else { PathBuf::from(&config.executable) };
        let directory =
            config.working_directory.as_ref().map_or(app.root.clone(), |folder| app.root.join(folder));
        let mut environment: Vec<(String, String)> =
            app.settings.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        for (name, value) in [
            ("FUNCTIONS_CUSTOMHANDLER_PORT", port.to_string()),
            ("FUNCTIONS_HTTPWORKER_PORT", port.to_string()),
            ("FUNCTIONS_CUSTOMHANDLER_WORKER_ID", worker_id.to_owned()),
            ("FUNCTIONS_HTTPWORKER_ID", worker_id.to_owned()),
            ("FUNCTIONS_APP_ROOT_PATH", app.root.display().to_string()),
        ] {
            environment.retain(|(known, _)| known != name);
            environment.push((name.to_owned(), value));
        }
        // The host joins arguments with blanks, unquoted, and the runtime splits the line again.
        let line = config.arguments.iter().map(|text| expand(text, app)).collect::<Vec<_>>().join(" ");
        Self {
            shown: program.display().to_string(),
            program,
            arguments: split_arguments(&line),
            directory,
            environment,
            initialization_timeout: config.initialization_timeout,
        }
    }

    fn spawn(&self) -> Result<Child, HostError> {
        let child = Command::new(&self.program)
            .args(&self.arguments)
            .current_dir(&self.directory)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(false)
            .spawn();
        child.map_err(|source| HostError::Spawn { file: self.shown.clone(), source })
    }
}

/// `%NAME%` from the environment; a name that is not set vanishes.
fn expand(text: &str, app: &App) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, tail)) = rest.split_once('%') {
        out.push_str(before);
        let Some((name, after)) = tail.split_once('%') else {
            out.push('%');
            rest = tail;
            continue;
        };
        out.push_str(app.settings.get(name).map_or("", String::as_str));
        rest = after;
    }
    out.push_str(rest);
    out
}

fn split_arguments(line: &str) -> Vec<String> {
    let mut arguments = Vec::new();
    let mut current: Option<String> = None;
    let mut quoted = false;
    for character in line.chars() {
        match character {
            '"' => {
                quoted = !quoted;
                current.get_or_insert_default();
            }
            ' ' if !quoted => arguments.extend(current.take()),
            other => current.get_or_insert_default().push(other),
        }
    }
    arguments.extend(current);
    arguments
}

/// The supervised handler.
#[derive(Debug)]
pub(super) struct Handler {
    /// The port it listens on, the same for every process.
    pub(super) port: u16,
    state: watch::Receiver<State>,
    pid: watch::Receiver<Option<u32>>,
    orders: mpsc::UnboundedSender<Order>,
    given_up: Arc<AtomicBool>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Handler {
    /// Starts the handler and keeps it by the host's rules.
    ///
    /// # Errors
    /// The executable cannot be started.
    pub(super) fn start(launch: Launch, port: u16, log: Log, clock: SharedClock) -> Result<Self, HostError> {
        let (state_out, state) = watch::channel(State::Starting);
        let (pid_out, pid) = watch::channel(None);
        let (orders, incoming) = mpsc::unbounded_channel();
        let given_up = Arc::new(AtomicBool::new(false));
        let mut supervisor = Supervisor {
            launch,
            port,
            log,
            clock,
            state: state_out,
            pid: pid_out,
            orders: incoming,
            given_up: given_up.clone(),
            strikes: VecDeque::new(),
        };
        let first = supervisor.spawn()?;
        let task = tokio::spawn(async move { supervisor.run(first).await });
        Ok(Self { port, state, pid, orders, given_up, task: Mutex::new(Some(task)) })
    }

    /// A handler that somebody else runs: nothing is started, watched or killed.
    pub(super) fn attached(port: u16) -> Self {
        let (_, state) = watch::channel(State::Ready);
        let (_, pid) = watch::channel(None);
        let (orders, _) = mpsc::unbounded_channel();
        Self { port, state, pid, orders, given_up: Arc::default(), task: Mutex::default() }
    }

    pub(super) fn state(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    pub(super) fn pid(&self) -> Option<u32> {
        *self.pid.borrow()
    }

    pub(super) fn kill(&self) {
        let _stopped_already = self.orders.send(Order::Kill);
    }

    pub(super) fn timed_out(&self) {
        let _stopped_already = self.orders.send(Order::TimedOut);
    }

    /// Kills the process and waits until it is gone.
    pub(super) async fn stop(&self) {
        let _stopped_already = self.orders.send(Order::Stop);
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            let _ended = task.await;
        }
    }

    /// Kills the process, soon and without waiting.
    pub(super) fn abort(&self) {
        if let Some(task) = self.task.lock().unwrap_or_else(PoisonError::into_inner).take() {
            task.abort();
        }
    }

    /// Lets the process live on when the emulator goes.
    pub(super) fn give_up(&self) {
        self.given_up.store(true, Ordering::SeqCst);
    }
}

impl Drop for Handler {
    fn drop(&mut self) {
        self.abort();
    }
}

struct Supervisor {
    launch: Launch,
    port: u16,
    log: Log,
    clock: SharedClock,
    state: watch::Sender<State>,
    pid: watch::Sender<Option<u32>>,
    orders: mpsc::UnboundedReceiver<Order>,
    given_up: Arc<AtomicBool>,
    strikes: VecDeque<i64>,
}

enum End {
    /// Start another process; the reason is counted if there is one.
    Again(Option<String>),
    /// Exit code 0 after readiness.
    Zero,
    Stop,
}

impl Supervisor {
    fn spawn(&self) -> Result<Guarded, HostError> {
        let mut child = self.launch.spawn()?;
        if let Some(out) = child.stdout.take() {
            tokio::spawn(follow(out, Source::Stdout, self.log.clone()));
        }
        if let Some(err) = child.stderr.take() {
            tokio::spawn(follow(err, Source::Stderr, self.log.clone()));
        }
        self.log.host(
            Level::Information,
            format!("{} process with Id={} started", self.launch.shown, child.id().unwrap_or_default()),
        );
        self.pid.send_replace(child.id());
        Ok(Guarded { child, given_up: self.given_up.clone() })
    }

    async fn run(&mut self, first: Guarded) {
        let mut current = Some(first);
        while let Some(mut process) = current.take() {
            let end = self.watch_one(&mut process).await;
            drop(process);
            self.pid.send_replace(None);
            match end {
                End::Stop => {
                    self.state.send_replace(State::Stopped("the host was stopped".to_owned()));
                    return;
                }
                End::Zero => {
                    self.log.host(
                        Level::Error,
                        format!(
                            "{} exited with code 0 while serving: it is not started again",
                            self.launch.shown
                        ),
                    );
                    self.state.send_replace(State::Ended);
                    self.wait_for_stop().await;
                    return;
                }
                End::Again(reason) => {
                    if let Some(reason) = reason {
                        self.log.host(Level::Error, reason);
                        if self.strike() {
                            let last =
                                "Exceeded http worker restart retry count. Shutting down Functions Host";
                            self.log.host(Level::Error, last.to_owned());
                            self.state.send_replace(State::Stopped(last.to_owned()));
                            return;
                        }
                    }
                    self.state.send_replace(State::Starting);
                    match self.spawn() {
                        Ok(next) => current = Some(next),
                        Err(why) => {
                            self.log.host(Level::Error, why.to_string());
                            self.state.send_replace(State::Unstartable(why.to_string()));
                            self.wait_for_stop().await;
                        }
                    }
                }
            }
        }
    }

    async fn wait_for_stop(&mut self) {
        while let Some(order) = self.orders.recv().await {
            if matches!(order, Order::Stop) {
                self.state.send_replace(State::Stopped("the host was stopped".to_owned()));
                return;
            }
        }
    }

    /// Counts an error; true at the third within the bucket.
    fn strike(&mut self) -> bool {
        let now = self.clock.now().0;
        if self.strikes.back().is_some_and(|last| now - last > BUCKET_TICKS) {
            self.strikes.clear();
        }
        self.strikes.push_back(now);
        self.strikes.len() >= STRIKES
    }

    /// One process from its start to its end.
    async fn watch_one(&mut self, process: &mut Guarded) -> End {
        let mut ready = tokio::spawn(until_ready(self.port, self.launch.initialization_timeout));
        let mut is_ready = false;
        let mut gone_early = false;
        let mut timed_out = false;
        let end = loop {
            tokio::select! {
                status = process.child.wait(), if !gone_early => match status {
                    Ok(status) if timed_out => {
                        self.log.host(Level::Warning, exited(&self.launch.shown, status));
                        break End::Again(None);
                    }
                    Ok(status) if status.code() == Some(200) => break End::Again(None),
                    Ok(status) if status.code() == Some(0) && is_ready => break End::Zero,
                    // Before readiness an exit code 0 goes unseen until the time for starting is up.
                    Ok(status) if status.code() == Some(0) => gone_early = true,
                    Ok(status) => break End::Again(Some(exited(&self.launch.shown, status))),
                    Err(why) => break End::Again(Some(format!("waiting for the handler: {why}"))),
                },
                outcome = &mut ready, if !is_ready => {
                    if outcome.unwrap_or(false) {
                        is_ready = true;
                        self.log.host(Level::Information, "Worker process started and initialized.".to_owned());
                        self.state.send_replace(State::Ready);
                    } else {
                        // The supervisor kills what may still be there.
                        let _already_gone = process.child.start_kill();
                        let _reaped = process.child.wait().await;
                        break End::Again(Some("Initializing HttpWorker timed out.".to_owned()));
                    }
                }
                order = self.orders.recv() => match order {
                    Some(Order::Kill) => {
                        let _already_gone = process.child.start_kill();
                    }
                    Some(Order::TimedOut) => {
                        timed_out = true;
                        let _already_gone = process.child.start_kill();
                    }
                    Some(Order::Stop) | None => {
                        let _already_gone = process.child.start_kill();
                        let _reaped = process.child.wait().await;
                        break End::Stop;
                    }
                },
            }
        };
        ready.abort();
        end
    }
}

fn exited(shown: &str, status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("{shown} exited with code {code}"),
        // .NET shows a signal as 128 + its number.
        None => {
            use std::os::unix::process::ExitStatusExt as _;
            format!("{shown} exited with code {}", 128 + status.signal().unwrap_or_default())
        }
    }
}

/// `GET /` until something answers: any response counts, and so does any failure but a refused connection.
/// The time is looked at between two tries only: an answer that comes too late still counts.
async fn until_ready(port: u16, limit: Duration) -> bool {
    let mut deadline = std::pin::pin!(pause(limit));
    loop {
        match ask_root(port).await {
            Err(WireError::Refused) => {}
            _ => return true,
        }
        tokio::select! {
            biased;
            () = &mut deadline => return false,
            () = pause(READINESS_PAUSE) => {}
        }
    }
}

/// The HTTP client asks again, three times, when the connection closes without an answer.
async fn ask_root(port: u16) -> Result<(), WireError> {
    let mut last = WireError::Closed;
    for _try in 0..4 {
        let mut connection = connect(port).await?;
        connection.send(format!("GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n").as_bytes()).await?;
        match connection.read_response_head().await {
            Ok(_any_answer) => return Ok(()),
            Err(why @ WireError::Closed) => last = why,
            Err(why) => return Err(why),
        }
    }
    Err(last)
}

async fn follow(stream: impl AsyncRead + Unpin, source: Source, log: Log) {
    let mut lines = BufReader::new(stream);
    let mut line = Vec::new();
    loop {
        line.clear();
        match lines.read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                log.line(source, String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned())
            }
        }
    }
}
