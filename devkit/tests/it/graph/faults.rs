//! Bad weather: statuses, throttles, lost replies, late requests, silence.

use std::time::Duration;

use annika_devkit::graph::{BodyForm, Effect, Fault, GraphOptions, Match, RetryAfter, Settings, When, seed};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Graph, options};

fn path() -> String {
    format!("/planner/tasks/{}", seed::TASK)
}

fn create() -> Value {
    json!({"planId": seed::PLAN, "title": "T"})
}

#[tokio::test]
async fn statuses_come_with_every_form_of_body_and_retry_after() {
    let graph = Graph::start().await;
    let control = graph.sim.control();
    let status = |status, retry_after, body| Effect::Status {
        status,
        code: None,
        message: None,
        retry_after,
        body,
        when: When::Before,
    };
    control.fault(Fault::on("/tasks/", status(503, Some(RetryAfter::Seconds(2)), BodyForm::Html))).unwrap();
    control.fault(Fault::on("/tasks/", status(500, None, BodyForm::Empty))).unwrap();
    control.fault(Fault::on("/tasks/", status(429, Some(RetryAfter::Date(30)), BodyForm::Json))).unwrap();
    let html = graph.get(&path()).await;
    assert_eq!((html.status, html.headers["retry-after"].to_str().unwrap()), (503, "2"));
    assert!(html.body.as_str().unwrap().starts_with("<html>"));
    let empty = graph.get(&path()).await;
    assert_eq!((empty.status, &empty.body, empty.headers.get("retry-after")), (500, &Value::Null, None));
    let dated = graph.get(&path()).await;
    assert_eq!((dated.status, dated.code()), (429, "TooManyRequests"));
    assert!(dated.headers["retry-after"].to_str().unwrap().ends_with(" GMT"));
    assert_eq!(graph.get(&path()).await.status, 200);
    let early: Vec<bool> = control.journal().iter().map(|entry| entry.early).collect();
    assert_eq!(early, [false, true, true, true]);
    let faults: Vec<String> = control.journal().into_iter().filter_map(|entry| entry.fault).collect();
    assert_eq!(faults, ["status 503 before", "status 500 before", "status 429 before"]);
    assert!(control.fault(Fault::on("(", Effect::status(500))).is_err());
}

#[tokio::test]
async fn faults_choose_their_calls() {
    let graph = Graph::start().await;
    let control = graph.sim.control();
    let matching = Match { method: Some("GET".into()), nth: Some(2), count: Some(2), ..Match::default() };
    control.fault(Fault { matching, effect: Effect::status(500) }).unwrap();
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(graph.get(&path()).await.status);
    }
    assert_eq!(statuses, [200, 500, 500, 200]);
    assert_eq!(control.faults()[0].struck, 2);
    control.clear_faults();
    let matching = Match { probability: Some(0.5), count: Some(0), ..Match::default() };
    control.fault(Fault { matching, effect: Effect::status(502) }).unwrap();
    let mut bad = 0;
    for _ in 0..60 {
        bad += u32::from(graph.get(&path()).await.status == 502);
    }
    assert!((10..50).contains(&bad), "{bad}");
    // People are spared unless a fault says otherwise.
    let edited = control.person_patch(seed::PERSON, seed::TASK, json!({"title": "calm"})).unwrap();
    assert_eq!(edited["title"], "calm");
}

#[tokio::test]
async fn a_throttle_holds_for_everyone_and_starts_anew_when_hurried() {
    let graph = Graph::start().await;
    let control = graph.sim.control();
    control.fault(Fault::on("/tasks/", Effect::Throttle { seconds: 10 })).unwrap();
    assert_eq!(graph.get(&path()).await.status, 429);
    control.advance(Duration::from_secs(6));
    let other = graph.get(&format!("/planner/plans/{}", seed::PLAN)).await;
    assert_eq!((other.status, other.headers["retry-after"].to_str().unwrap()), (429, "10"));
    control.advance(Duration::from_secs(6));
    assert_eq!(graph.get(&path()).await.status, 429, "the early call started the time anew");
    control.advance(Duration::from_secs(11));
    assert_eq!(graph.get(&path()).await.status, 200);
    assert_eq!(control.counts().app.early, 2);
}

#[tokio::test]
async fn a_lost_reply_has_taken_effect_and_a_lost_request_has_not() {
    let graph = Graph::start().await;
    let control = graph.sim.control();
    control.fault(Fault::on("/tasks$", Effect::Drop { when: When::Before }).method("POST")).unwrap();
    assert!(graph.try_send(Method::POST, "/planner/tasks", &[], Some(create())).await.is_err());
    assert_eq!(control.tasks(seed::PLAN).len(), 2);
    control.fault(Fault::on("/tasks$", Effect::lost_reply()).method("POST")).unwrap();
    assert!(graph.try_send(Method::POST, "/planner/tasks", &[], Some(create())).await.is_err());
    assert_eq!(control.tasks(seed::PLAN).len(), 3);
    let last = control.journal().pop().unwrap();
    assert!(last.committed && last.status.is_none() && last.done_ms.is_some(), "{last:?}");
    assert_eq!(control.counts().app.committed, 1);
}

#[tokio::test]
async fn a_reset_is_a_reset_and_a_drop_is_not() {
    let graph = Graph::start().await;
    let control = graph.sim.control();
    let was_reset = |error: reqwest::Error| {
        let mut source: Option<&dyn std::error::Error> = Some(&error);
        while let Some(error) = source {
            if error
                .downcast_ref::<std::io::Error>()
                .is_some_and(|io| io.kind() == std::io::ErrorKind::ConnectionReset)
            {
                return true;
            }
            source = error.source();
        }
        false
    };
    for (effect, reset, tasks) in [
        (Effect::Reset { when: When::After }, true, 3),
        (Effect::Reset { when: When::Before }, true, 3),
        (Effect::Drop { when: When::After }, false, 4),
    ] {
        control.fault(Fault::on("/tasks$", effect.clone())).unwrap();
        let error = graph.try_send(Method::POST, "/planner/tasks", &[], Some(create())).await.unwrap_err();
        assert_eq!(was_reset(error), reset, "{effect:?}");
        assert_eq!(control.tasks(seed::PLAN).len(), tasks, "{effect:?}");
    }
}

#[tokio::test]
async fn a_late_request_takes_effect_after_its_client_has_left() {
    let graph = Graph::start().await;
    let control = graph.sim.control();
    control.fault(Fault::on("/tasks$", Effect::Late { ms: 150 }).method("POST")).unwrap();
    let impatient =
        graph.http.post(format!("{}/v1.0/planner/tasks", graph.sim.url())).bearer_auth(&graph.token);
    let left = impatient.json(&create()).timeout(Duration::from_millis(30)).send().await;
    assert!(left.unwrap_err().is_timeout());
    assert_eq!(control.tasks(seed::PLAN).len(), 2, "not yet");
    until(|| control.tasks(seed::PLAN).len() == 3).await;
}

#[tokio::test]
async fn a_persons_edit_slips_in_before_a_write() {
    let graph = Graph::start().await;
    let control = graph.sim.control();
    let edit = |body: Option<Value>| Effect::Edit {
        user: None,
        task: seed::TASK.into(),
        body,
        details: None,
        when: When::Before,
    };
    let tag = graph.get(&path()).await.etag();
    control.fault(Fault::on("/tasks/", edit(Some(json!({"title": "hers"})))).method("PATCH")).unwrap();
    assert_eq!(graph.patch(&path(), &tag, json!({"title": "ours"})).await.status, 409);
    assert_eq!(control.task(seed::TASK).unwrap()["title"], "hers");
    control.fault(Fault::on("/tasks/", edit(None)).method("PATCH")).unwrap();
    assert_eq!(graph.patch(&path(), &tag, json!({"percentComplete": 1})).await.status, 404);
    assert_eq!(control.counts().person.committed, 2);
}

#[tokio::test]
async fn silence_lasts_until_the_client_leaves() {
    let graph = Graph::start().await;
    graph.sim.control().fault(Fault::on("/tasks/", Effect::Hang { when: When::Before })).unwrap();
    let request = graph.http.get(format!("{}/v1.0{}", graph.sim.url(), path())).bearer_auth(&graph.token);
    assert!(request.timeout(Duration::from_millis(80)).send().await.unwrap_err().is_timeout());
    assert_eq!(graph.get(&path()).await.status, 200);
}

#[tokio::test]
async fn a_cut_answer_is_no_json() {
    let graph = Graph::start().await;
    graph.sim.control().fault(Fault::on("/tasks/", Effect::Cut {})).unwrap();
    let cut = graph.get(&path()).await;
    assert!(cut.status == 200 && cut.body.as_str().is_some_and(|text| text.starts_with('{')), "{cut:?}");
}

#[tokio::test]
async fn graph_goes_away_and_comes_back() {
    let graph = Graph::start().await;
    let control = graph.sim.control();
    control.set_offline(true);
    assert!(graph.try_send(Method::GET, &path(), &[], None).await.is_err());
    assert!(control.task(seed::TASK).is_some(), "the control still answers");
    control.set_offline(false);
    assert_eq!(graph.get(&path()).await.status, 200);
    assert_eq!(control.journal()[0].fault.as_deref(), Some("offline"));
}

#[tokio::test]
async fn latency_is_for_each_request_and_the_write_is_half_way() {
    let graph = Graph::with(GraphOptions { latency: Duration::from_millis(200), ..options() }).await;
    let control = graph.sim.control().clone();
    let working = control.clone();
    let watcher = tokio::spawn(async move {
        until(|| working.tasks(seed::PLAN).len() == 3).await;
        working.journal()[0].done_ms
    });
    assert_eq!(graph.post("/planner/tasks", create()).await.status, 201);
    assert_eq!(watcher.await.unwrap(), None, "the write is there before the answer");
    let entry = &control.journal()[0];
    assert!(entry.done_ms.unwrap() - entry.at_ms >= 199, "{entry:?}");
    control.set(Settings { latency_ms: Some(0), ..Settings::default() });
    assert_eq!(control.settings().latency_ms, Some(0));
}

#[tokio::test]
async fn a_read_may_show_what_was_there_before() {
    let graph = Graph::start().await;
    let control = graph.sim.control();
    let list = format!("/planner/plans/{}/tasks", seed::PLAN);
    let made = graph.post("/planner/tasks", create()).await;
    let new = format!("/planner/tasks/{}", made.body["id"].as_str().unwrap());
    control.person_patch(seed::PERSON, seed::TASK, json!({"title": "hers"})).unwrap();
    control.person_delete(seed::PERSON, seed::OTHER_TASK).unwrap();
    let stale = || control.fault(Fault::on("/planner", Effect::Stale { ms: 60_000 }).method("GET")).unwrap();
    let titles = async || {
        let list = graph.get(&list).await;
        let titles = list.body["value"].as_array().unwrap().iter().map(|task| task["title"].clone());
        titles.collect::<Vec<_>>()
    };
    stale();
    assert_eq!(titles().await, [json!("Update client list"), json!("Testing")]);
    assert_eq!(titles().await, [json!("hers"), json!("T")], "only the one call");
    stale();
    assert_eq!(graph.get(&new).await.status, 404);
    stale();
    let old = graph.get(&path()).await;
    assert_eq!(old.body["title"], "Update client list");
    assert_eq!(graph.patch(&path(), &old.etag(), json!({"title": "ours"})).await.status, 409);
}

#[tokio::test]
async fn a_body_may_come_slowly_and_a_wait_in_fractions() {
    let graph = Graph::start().await;
    let control = graph.sim.control();
    control.fault(Fault::on("/tasks/", Effect::Slow { ms: 300 })).unwrap();
    let start = std::time::Instant::now();
    assert_eq!(graph.get(&path()).await.body["id"], seed::TASK);
    assert!(start.elapsed() >= Duration::from_millis(290), "{:?}", start.elapsed());
    let mut status = Effect::status(429);
    if let Effect::Status { retry_after, .. } = &mut status {
        *retry_after = Some(RetryAfter::Millis(2128));
    }
    control.fault(Fault::on("/tasks/", status)).unwrap();
    assert_eq!(graph.get(&path()).await.headers["retry-after"], "2.128");
    control.advance(Duration::from_millis(2200));
    assert!(!control.breaches().iter().any(|breach| breach.at_ms > 2_000), "the wait is over");
}

#[tokio::test]
async fn a_persons_edit_slips_in_after_a_read_and_clocks_differ() {
    let graph = Graph::start().await;
    let control = graph.sim.control();
    let edit = Effect::Edit {
        user: None,
        task: seed::TASK.into(),
        body: Some(json!({"title": "hers"})),
        details: Some(json!({"description": "hers too"})),
        when: When::After,
    };
    control.fault(Fault::on("/tasks/", edit).method("GET")).unwrap();
    let read = graph.get(&path()).await;
    assert_eq!(read.body["title"], "Update client list", "the read came first");
    assert_eq!(control.details(seed::TASK).unwrap()["description"], "hers too");
    assert_eq!(graph.patch(&path(), &read.etag(), json!({"title": "ours"})).await.status, 409);

    control.set(Settings { clock_skew_ms: Some(-7_200_000), ..Settings::default() });
    let made = graph.post("/planner/tasks", create()).await;
    let there: jiff::Timestamp = made.body["createdDateTime"].as_str().unwrap().parse().unwrap();
    let before: jiff::Timestamp = control.task(made.body["id"].as_str().unwrap()).unwrap()["createdDateTime"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(there, before);
    let date = made.headers["date"].to_str().unwrap();
    let date = jiff::fmt::rfc2822::parse(date).unwrap().timestamp();
    assert!((date.as_second() - there.as_second()).abs() <= 1, "one clock: {date} {there}");
    control.set(Settings { clock_skew_ms: Some(0), ..Settings::default() });
    let now = graph.post("/planner/tasks", create()).await;
    let now: jiff::Timestamp = now.body["createdDateTime"].as_str().unwrap().parse().unwrap();
    assert!(now.as_second() - there.as_second() >= 7_190, "{there} {now}");
}

/// Polls until it is so, at most five seconds.
async fn until(mut so: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if so() {
            return;
        }
        let pause = tokio::time::timeout(Duration::from_millis(5), std::future::pending::<()>());
        assert!(pause.await.is_err());
    }
    panic!("not within five seconds");
}
