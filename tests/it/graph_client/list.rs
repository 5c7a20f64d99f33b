//! Lists: whole, or honestly not.

use crate::fake::{Fake, answer, answer_with, app};
use annika::graph::{Incomplete, ListOutcome};
use serde_json::{Value, json};
use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

/// A next link, made from the server's own address.
type Link = Box<dyn Fn(&str) -> String + Send + Sync>;

fn page(ids: &[&str], next: Option<String>, count: Option<u64>) -> Value {
    let items: Vec<Value> = ids.iter().map(|id| json!({ "id": id })).collect();
    let mut page = json!({ "value": items });
    if let Some(next) = next {
        page["@odata.nextLink"] = next.into();
    }
    if let Some(count) = count {
        page["@odata.count"] = count.into();
    }
    page
}

/// Reads a list whose page at `?p=N` is what `pages` answers for N (1 for the first) and the server's own address.
async fn read(pages: impl Fn(&str, &str) -> Value + Send + Sync + 'static) -> (ListOutcome, Fake) {
    let own = Arc::new(OnceLock::<String>::new());
    let address = Arc::clone(&own);
    let fake = Fake::graph(move |seen| {
        let number = seen.target.split_once("?p=").map_or("1", |(_, number)| number);
        answer(200, &pages(number, address.get().unwrap()))
    })
    .await;
    own.set(fake.url.clone()).unwrap();
    let outcome = app(&fake.url, Arc::default()).graph.plan_tasks("plan").await;
    (outcome, fake)
}

fn next(base: &str, number: u32) -> Option<String> {
    Some(format!("{base}/v1.0/planner/plans/plan/tasks?p={number}"))
}

fn incomplete(outcome: ListOutcome) -> Incomplete {
    match outcome {
        ListOutcome::Incomplete(reason) => reason,
        other => panic!("incomplete, not {other:?}"),
    }
}

#[tokio::test]
async fn every_page_is_followed_in_order() {
    let (outcome, fake) = read(|number, base| match number {
        "1" => page(&["a", "b"], next(base, 2), Some(2)),
        "2" => page(&[], next(base, 3), None),
        _ => page(&["c"], None, Some(1)),
    })
    .await;
    let ListOutcome::Complete(items) = outcome else { panic!("{outcome:?}") };
    assert_eq!(items.iter().map(|item| item["id"].as_str().unwrap()).collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!(fake.seen("/planner/").len(), 3);
}

#[tokio::test]
async fn a_count_that_does_not_fit_is_no_complete_list() {
    let (outcome, _) = read(|_, _| page(&["a"], None, Some(2))).await;
    assert_eq!(incomplete(outcome), Incomplete::CountMismatch { counted: 2, held: 1 });
    let (outcome, _) = read(|number, base| match number {
        "1" => page(&["a"], next(base, 2), Some(3)),
        _ => page(&["b"], None, None),
    })
    .await;
    assert_eq!(incomplete(outcome), Incomplete::CountMismatch { counted: 3, held: 2 });
    let (outcome, _) = read(|number, base| match number {
        "1" => page(&["a"], next(base, 2), Some(2)),
        _ => page(&["b"], None, Some(2)),
    })
    .await;
    assert!(matches!(outcome, ListOutcome::Complete(items) if items.len() == 2));
}

#[tokio::test]
async fn a_next_link_to_elsewhere_is_not_followed() {
    let stranger = Fake::start(|_| answer(200, &json!({"value": []}))).await;
    let port_of = |url: &str| url.rsplit(':').next().unwrap().to_owned();
    let other_port = stranger.url.clone();
    let links: Vec<Link> = vec![
        Box::new(move |_| format!("{other_port}/v1.0/x?p=2")),
        Box::new(move |base| format!("https://127.0.0.1:{}/v1.0/x?p=2", port_of(base))),
        Box::new(|base| base.replace("127.0.0.1", "localhost") + "/v1.0/x?p=2"),
        Box::new(|base| base.replace("http://", "http://user:pw@") + "/v1.0/x?p=2"),
        Box::new(|base| format!("{base}.evil.example/v1.0/x?p=2")),
        Box::new(|_| "/v1.0/planner/plans/plan/tasks?p=2".to_owned()),
    ];
    for link in links {
        let (outcome, fake) = read(move |_, base| page(&["a"], Some(link(base)), None)).await;
        assert_eq!(incomplete(outcome), Incomplete::ForeignLink(1));
        assert_eq!(fake.seen("?p=").len(), 0);
    }
    assert!(stranger.seen("").is_empty(), "no token left for another origin");
}

#[tokio::test]
async fn a_repeated_page_or_item_ends_the_list() {
    let (outcome, _) = read(|number, base| match number {
        "1" => page(&["a"], next(base, 2), None),
        _ => page(&["b"], next(base, 2), None),
    })
    .await;
    assert_eq!(incomplete(outcome), Incomplete::RepeatedLink(2));
    let (outcome, _) =
        read(|_, base| page(&["a"], Some(format!("{base}/v1.0/planner/plans/plan/tasks")), None)).await;
    assert_eq!(incomplete(outcome), Incomplete::RepeatedLink(1));
    let (outcome, fake) =
        read(|number, base| page(&["a"], next(base, number.parse::<u32>().unwrap() + 1), None)).await;
    assert_eq!(incomplete(outcome), Incomplete::RepeatedItem(2));
    assert_eq!(fake.seen("/planner/").len(), 2);
}

#[tokio::test]
async fn a_page_that_is_no_page_is_no_empty_list() {
    let (outcome, _) = read(|_, _| json!({"value": [], "error": {"code": "", "message": "half"}})).await;
    assert_eq!(incomplete(outcome), Incomplete::ErrorInPage(1));
    for body in [json!({}), json!({"value": null}), json!([]), json!({"value": {"id": "a"}})] {
        let (outcome, _) = read(move |_, _| body.clone()).await;
        assert_eq!(incomplete(outcome), Incomplete::NoList(1));
    }
    let (outcome, _) = read(|_, _| json!({"value": [], "@odata.nextLink": 7})).await;
    assert_eq!(incomplete(outcome), Incomplete::ForeignLink(1));
}

#[tokio::test]
async fn a_list_without_end_is_given_up() {
    let (outcome, fake) =
        read(|number, base| page(&[number], next(base, number.parse::<u32>().unwrap() + 1), None)).await;
    assert_eq!(incomplete(outcome), Incomplete::TooLong);
    assert_eq!(fake.seen("/planner/").len(), annika::graph::MAX_PAGES);
}

#[tokio::test]
async fn a_refused_list_failed_and_a_refused_page_leaves_it_incomplete() {
    let fake =
        Fake::graph(|_| answer(403, &json!({"error": {"code": "", "message": "You do not have …"}}))).await;
    let outcome = app(&fake.url, Arc::default()).graph.plan_tasks("plan").await;
    assert_eq!(outcome, ListOutcome::Failed { status: 403, code: None, retry_after: None });

    let own = Arc::new(OnceLock::<String>::new());
    let address = Arc::clone(&own);
    let fake = Fake::graph(move |seen| {
        if seen.target.contains("?p=2") {
            answer_with(429, "retry-after", "30", &json!({}))
        } else {
            answer(200, &page(&["a"], next(address.get().unwrap(), 2), None))
        }
    })
    .await;
    own.set(fake.url.clone()).unwrap();
    let outcome = app(&fake.url, Arc::default()).graph.plan_tasks("plan").await;
    let wait = Some(Duration::from_secs(30));
    assert_eq!(outcome.retry_after(), wait);
    assert_eq!(incomplete(outcome), Incomplete::PageRefused { page: 2, status: 429, retry_after: wait });
}

#[tokio::test]
async fn several_lists_share_their_first_pages_and_end_each_for_itself() {
    let own = Arc::new(OnceLock::<String>::new());
    let address = Arc::clone(&own);
    let fake = Fake::graph(move |seen| {
        if seen.target.ends_with("?p=2") {
            return answer(200, &page(&["b"], None, None));
        }
        let next = format!("{}/v1.0/planner/plans/one/tasks?p=2", address.get().unwrap());
        answer(
            200,
            &json!({"responses": [
                {"id": "3", "status": 500},
                {"id": "2", "status": 404, "body": {"error": {"code": "NotFound"}}},
                {"id": "1", "status": 200, "body": page(&["a"], Some(next), None)},
            ]}),
        )
    })
    .await;
    own.set(fake.url.clone()).unwrap();
    let plans = ["one", "two", "three"].map(str::to_owned);
    let outcomes = app(&fake.url, Arc::default())
        .graph
        .tasks_of_plans(&plans, &|| Box::pin(std::future::ready(true)))
        .await;
    assert!(matches!(&outcomes[0], ListOutcome::Complete(items) if items.len() == 2), "{outcomes:?}");
    assert!(
        matches!(&outcomes[1], ListOutcome::Failed { status: 404, code: Some(code), .. } if code == "NotFound")
    );
    assert!(matches!(&outcomes[2], ListOutcome::Incomplete(Incomplete::Lost(_))), "{outcomes:?}");
    assert_eq!((fake.seen("$batch").len(), fake.seen("?p=2").len()), (1, 1));
}
