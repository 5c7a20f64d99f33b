//! Planner as a person sees and edits it: Graph's own routes with that person's token, and the simulator's journal.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::graph::{Checked, Effect, Entry, Fault, Match, Violation};

/// Why Planner showed nothing: it did not answer, or not with what was asked for.
pub(super) type Unseen = String;

/// A person's way into Planner.
#[derive(Debug, Clone)]
pub(super) struct Planner {
    http: reqwest::Client,
    base: String,
    token: String,
}

impl Planner {
    /// Logs `user` in.
    pub(super) async fn log_in(base: &str, user: &str) -> Result<Self, Unseen> {
        let http = client()?;
        let answer = http
            .post(format!("{base}/__sim/person/token"))
            .query(&[("user", user)])
            .send()
            .await
            .map_err(said)?;
        let body: Value = answer.json().await.map_err(said)?;
        let token = body["access_token"].as_str().ok_or_else(|| format!("no token for {user}: {body}"))?;
        Ok(Self { http, base: base.to_owned(), token: token.to_owned() })
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        tag: Option<&str>,
        body: Option<&Value>,
    ) -> Result<(StatusCode, Value), Unseen> {
        let url =
            if path.starts_with("http") { path.to_owned() } else { format!("{}/v1.0{path}", self.base) };
        let mut request = self.http.request(method, url).bearer_auth(&self.token);
        if let Some(tag) = tag {
            request = request.header("if-match", tag).header("prefer", "return=representation");
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.map_err(said)?;
        let status = answer.status();
        let text = answer.text().await.map_err(said)?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::Null)))
    }

    async fn get(&self, path: &str) -> Result<Value, Unseen> {
        match self.call(Method::GET, path, None, None).await? {
            (status, body) if status.is_success() => Ok(body),
            (status, body) => Err(format!("Planner answers {status} {}", body["error"]["message"])),
        }
    }

    /// A plan's tasks, every page.
    pub(super) async fn tasks(&self, plan: &str) -> Result<Vec<Value>, Unseen> {
        let mut tasks = Vec::new();
        let mut next = Some(format!("/planner/plans/{plan}/tasks"));
        while let Some(path) = next {
            let page = self.get(&path).await?;
            tasks.extend(page["value"].as_array().cloned().unwrap_or_default());
            next = page["@odata.nextLink"].as_str().map(str::to_owned);
        }
        Ok(tasks)
    }

    /// The only task of the plan with this title.
    pub(super) async fn titled(&self, plan: &str, title: &str) -> Result<Value, Unseen> {
        let mut found: Vec<_> =
            self.tasks(plan).await?.into_iter().filter(|task| task["title"] == title).collect();
        match found.len() {
            1 => Ok(found.remove(0)),
            0 => Err(format!("no task of the plan is called {title:?}")),
            many => Err(format!("{many} tasks of the plan are called {title:?}")),
        }
    }

    /// A task.
    pub(super) async fn task(&self, id: &str) -> Result<Value, Unseen> {
        self.get(&format!("/planner/tasks/{id}")).await
    }

    /// A task's details.
    pub(super) async fn details(&self, id: &str) -> Result<Value, Unseen> {
        self.get(&format!("/planner/tasks/{id}/details")).await
    }

    /// Nothing but 404 is an absence.
    pub(super) async fn absent(&self, id: &str) -> Result<(), Unseen> {
        match self.call(Method::GET, &format!("/planner/tasks/{id}"), None, None).await? {
            (StatusCode::NOT_FOUND, _) => Ok(()),
            (status, body) => Err(format!("Planner answers {status} {}", body["title"])),
        }
    }

    /// The person makes a task.
    pub(super) async fn create(&self, body: &Value) -> Result<Value, Unseen> {
        match self.call(Method::POST, "/planner/tasks", None, Some(body)).await? {
            (StatusCode::CREATED, task) => Ok(task),
            (status, body) => Err(format!("Planner answers {status} {body}")),
        }
    }

    /// The person changes a task, and again if somebody else did at the same moment.
    pub(super) async fn edit(&self, id: &str, body: &Value) -> Result<Value, Unseen> {
        self.write(Method::PATCH, id, Some(body)).await
    }

    /// The person deletes a task.
    pub(super) async fn delete(&self, id: &str) -> Result<(), Unseen> {
        self.write(Method::DELETE, id, None).await.map(|_| ())
    }

    async fn write(&self, method: Method, id: &str, body: Option<&Value>) -> Result<Value, Unseen> {
        let path = format!("/planner/tasks/{id}");
        for _ in 0..5 {
            let tag = self.get(&path).await?["@odata.etag"].as_str().unwrap_or_default().to_owned();
            match self.call(method.clone(), &path, Some(&tag), body).await? {
                (status, answer) if status.is_success() => return Ok(answer),
                (StatusCode::PRECONDITION_FAILED | StatusCode::CONFLICT, _) => {}
                (status, answer) => return Err(format!("Planner answers {status} {answer}")),
            }
        }
        Err("the task changed five times while it was edited".to_owned())
    }

    async fn control(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value, Unseen> {
        let mut request = self.http.request(method, format!("{}/__sim/{path}", self.base));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.map_err(said)?;
        let status = answer.status();
        let body: Value = answer.json().await.map_err(said)?;
        if status.is_success() { Ok(body) } else { Err(format!("the simulator answers {status} {body}")) }
    }

    /// Planner goes away, or comes back.
    pub(super) async fn set_away(&self, away: bool) -> Result<(), Unseen> {
        self.control(Method::PUT, "settings", Some(json!({"offline": away}))).await.map(|_| ())
    }

    /// From now on Planner refuses every write of the application.
    pub(super) async fn refuse_uploads(&self) -> Result<(), Unseen> {
        for method in ["POST", "PATCH", "DELETE"] {
            let matching = Match {
                method: Some(method.to_owned()),
                path: Some("/planner/tasks".to_owned()),
                count: Some(0),
                ..Match::default()
            };
            let fault = Fault { matching, effect: Effect::status(403) };
            let body = serde_json::to_value(&fault).map_err(|why| why.to_string())?;
            self.control(Method::POST, "faults", Some(body)).await?;
        }
        Ok(())
    }

    /// What the journal holds after entry `since`.
    pub(super) async fn journal(&self, since: u64) -> Result<Vec<Entry>, Unseen> {
        let answer = self.control(Method::GET, &format!("journal?since={since}"), None).await?;
        serde_json::from_value(answer["value"].clone()).map_err(|why| why.to_string())
    }

    /// How many messages were checked, and what did not fit.
    pub(super) async fn checked(&self) -> Result<(Checked, Vec<Violation>), Unseen> {
        let answer = self.control(Method::GET, "violations", None).await?;
        let read = |name: &str| answer[name].clone();
        let checked = serde_json::from_value(read("checked")).map_err(|why| why.to_string())?;
        let violations = serde_json::from_value(read("value")).map_err(|why| why.to_string())?;
        Ok((checked, violations))
    }
}

/// A client that goes to this machine only, whatever proxy the environment names.
pub(super) fn client() -> Result<reqwest::Client, Unseen> {
    reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build().map_err(said)
}

pub(super) fn said(why: reqwest::Error) -> Unseen {
    let why = why.without_url();
    match std::error::Error::source(&why) {
        Some(source) => format!("no answer: {source}"),
        None => format!("no answer: {why}"),
    }
}
