//! Bodies that are too large, through the host: it is the product that refuses them.

use annika::keys;
use redis::AsyncCommands;
use serde_json::json;

use super::Rig;

#[tokio::test]
async fn a_huge_body_is_refused_by_the_product_and_not_broken_off_under_the_host() {
    let rig = Rig::start_with(|_| {}).await;
    for megabytes in [1, 6, 24] {
        let body = json!({"id": "huge", "title": "x".repeat(megabytes << 20)});
        let reply = rig.send("POST", "/api/tasks", Some(body.clone())).await;
        assert_eq!(
            (reply.status, &reply.json["code"]),
            (413, &json!("document_too_large")),
            "{megabytes} MiB"
        );
        // What else is wrong is said as ever.
        let elsewhere = rig.send("PATCH", "/api/health/live", Some(body)).await;
        assert!([404, 405].contains(&elsewhere.status), "{elsewhere:?}");
    }
    let there: bool = rig.redis.clone().exists(keys::task("huge")).await.unwrap();
    assert!(!there);
}
