//! Microsoft's own client against the simulator: the recorded session, as it stands.

use std::collections::BTreeSet;

use annika_devkit::{
    graph::{GraphOptions, NewTask, Side, seed},
    oracle,
};
use serde_json::{Value, json};

use super::{Graph, options};
use crate::functions_host::golden::Tally;

const TASK: &str = "7E74V42HRs0QOwn1M_azwW9aB17H";

#[tokio::test]
async fn the_recorded_session_gets_the_recorded_statuses() {
    let Some(oracles) = oracle::path("graph::golden") else { return };
    let text = std::fs::read_to_string(oracles.join("golden/graph-sdk-requests.json")).unwrap();
    let golden: Value = serde_json::from_str(&text).unwrap();
    let vectors = golden["vectors"].as_array().unwrap();
    assert!(vectors.len() >= 17, "{}", vectors.len());

    let mut tally = Tally::new("graph-sdk-requests.json");
    let graph = Graph::with(GraphOptions { page_size: 80, ..options() }).await;
    let control = graph.sim.control();
    // The state that the recorded entity tags belong to: the task in version 6, its details in version 8.
    let members = json!({"id": TASK, "version": 6, "detailsVersion": 8}).as_object().unwrap().clone();
    control.add_task(NewTask { plan: seed::PLAN.into(), title: "A".into(), members }).unwrap();
    for number in 0..190 {
        let task =
            NewTask { plan: seed::PLAN.into(), title: format!("filler {number}"), ..NewTask::default() };
        control.add_task(task).unwrap();
    }

    for (number, vector) in vectors.iter().enumerate() {
        let method = vector["method"].as_str().unwrap();
        if method == "DELETE" {
            // The recorded tag is that of version 18: people edited in between.
            for title in 0.. {
                let before = control.task(TASK).unwrap()["@odata.etag"].clone();
                if vector["headers"].as_array().unwrap().contains(&json!(["If-Match", before])) {
                    break;
                }
                assert!(title < 20, "the recorded version is never reached");
                control.person_patch(seed::PERSON, TASK, json!({"title": format!("edit {title}")})).unwrap();
            }
        }
        let url = format!("{}{}", graph.sim.url(), vector["target"].as_str().unwrap());
        let mut request = graph.http.request(method.parse().unwrap(), url);
        for header in vector["headers"].as_array().unwrap() {
            let (name, value) = (header[0].as_str().unwrap(), header[1].as_str().unwrap());
            if !["Host", "Content-Length"].contains(&name) {
                request =
                    request.header(name, value.replace("{token}", &graph.token).replace("{os}", "Linux"));
            }
        }
        let reply = request.body(vector["body"].as_str().unwrap().to_owned()).send().await.unwrap();
        let status = reply.status().as_u16();
        let body = reply.bytes().await.unwrap();
        let told = format!("vector {number}: {method} {} {body:?}", vector["target"]);
        tally.check(&told, &json!(status), &vector["answered"]);
    }
    tally.finish();

    let counts = control.counts();
    assert_eq!(counts.app.requests, vectors.len() as u64);
    assert_eq!(counts.app.batches, 2);
    assert_eq!(counts.app.sub_requests, vectors.len() as u64 - 2 + 25);
    let checked = control.checked();
    assert!(checked.on && checked.requests > 40 && checked.answers > 40, "{checked:?}");
    // One request was recorded without If-Match on purpose; Microsoft's client does nothing else wrong.
    let wrong: BTreeSet<String> = control
        .violations()
        .into_iter()
        .filter(|found| found.side == Side::Request)
        .map(|found| found.what)
        .collect();
    assert_eq!(wrong, BTreeSet::from(["the header If-Match is required".to_owned()]));
}

#[tokio::test]
async fn compressed_answers_are_the_same_answers() {
    let graph = Graph::start().await;
    let path = format!("{}/v1.0/planner/plans/{}/tasks", graph.sim.url(), seed::PLAN);
    let http = reqwest::Client::builder().no_proxy().no_gzip().build().unwrap();
    let get = |encoding: &'static str| {
        http.get(&path).bearer_auth(&graph.token).header("Accept-Encoding", encoding).send()
    };
    let packed = get("gzip, deflate, br").await.unwrap();
    assert_eq!(packed.headers()["content-encoding"], "gzip");
    let packed = packed.bytes().await.unwrap();
    let mut plain = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&packed[..]), &mut plain).unwrap();
    let uncompressed = get("identity").await.unwrap();
    assert!(!uncompressed.headers().contains_key("content-encoding"));
    assert_eq!(plain, uncompressed.text().await.unwrap());
}
