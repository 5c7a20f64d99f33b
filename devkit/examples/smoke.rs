//! smoke
use annika_devkit::{stack::*, graph::seed};
use std::{time::Duration, path::Path};
#[tokio::main]
async fn main() {
    let mut o = StackOptions::new(Path::new("target/func-app"));
    o.host.echo = true;
    o.graph.oracles = std::env::var_os("ANNIKA_ORACLES").map(Into::into);
    let s = Stack::start(o).await.unwrap();
    let key = s.host.function_key().to_owned();
    println!("{} key {} redis {} graph {}", s.host.url(), key, s.redis_url(), s.graph.url());
    let _run = s.host.fire_detached("planner_poll");
    let c = s.graph.control();
    let http = reqwest::Client::new();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let mut r = s.redis.as_ref().unwrap().connect().await.unwrap();
    let show = async |r: &mut redis::aio::MultiplexedConnection| { 
      let k: Vec<String> = redis::cmd("KEYS").arg("annika:*").query_async(r).await.unwrap();
      for k in k { if k.starts_with("annika:tasks:") { let v: String = redis::cmd("GET").arg(&k).query_async(r).await.unwrap(); println!("{k} = {v}"); } else { println!("{k}") } }
      let v: Vec<String> = redis::cmd("LRANGE").arg("annika:sync:failed").arg(0).arg(-1).query_async(r).await.unwrap(); println!("failed {v:?}");
      let v: Vec<String> = redis::cmd("LRANGE").arg("annika:sync:log").arg(0).arg(-1).query_async(r).await.unwrap(); for l in v { println!("log {l}"); }
    };
    show(&mut r).await;
    println!("--- create by http");
    let a = http.post(format!("{}/api/tasks", s.host.url())).header("x-functions-key", &key).json(&serde_json::json!({"id":"agent-1","title":"From an agent","plan_id":seed::PLAN,"description":"hello","due_date":"2026-12-01","assigned_to":[seed::PERSON]})).send().await.unwrap();
    println!("{} {}", a.status(), a.text().await.unwrap());
    let _: () = redis::cmd("SET").arg("annika:tasks:agent-2").arg(format!(r#"{{"title":"raw","plan_id":"{}","percent_complete":0.29}}"#, seed::PLAN)).query_async(&mut r).await.unwrap();
    let _: () = redis::cmd("PUBLISH").arg("annika:tasks:updates").arg(r#"{"action":"created","task_id":"agent-2","source":"agent"}"#).query_async(&mut r).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    for t in c.tasks(seed::PLAN) { println!("planner {} {} {}", t["id"], t["title"], t["percentComplete"]); }
    show(&mut r).await;
    let t = c.tasks(seed::PLAN).into_iter().find(|t| t["title"] == "raw").unwrap();
    println!("--- person edits");
    c.person_patch(seed::PERSON, t["id"].as_str().unwrap(), serde_json::json!({"title":"raw, edited","percentComplete":50})).unwrap();
    let a = http.post(format!("{}/api/sync/poll", s.host.url())).header("x-functions-key", &key).send().await.unwrap();
    println!("{} {}", a.status(), a.text().await.unwrap());
    tokio::time::sleep(Duration::from_millis(2500)).await;
    show(&mut r).await;
    println!("--- agent deletes agent-1, person deletes raw");
    let a = http.delete(format!("{}/api/tasks/agent-1", s.host.url())).header("x-functions-key", &key).send().await.unwrap();
    println!("{}", a.status());
    c.person_delete(seed::PERSON, t["id"].as_str().unwrap()).unwrap();
    tokio::time::sleep(Duration::from_millis(2500)).await;
    for t in c.tasks(seed::PLAN) { println!("planner {} {} {}", t["id"], t["title"], t["percentComplete"]); }
    tokio::time::sleep(Duration::from_millis(std::env::var("WAIT").ok().and_then(|w| w.parse().ok()).unwrap_or(50000))).await;
    show(&mut r).await;
    println!("{:#?}", c.counts());
    println!("violations {:#?} {:?}", c.violations(), c.checked());
}
