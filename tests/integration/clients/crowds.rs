//! Many connections at once.

use rustix::process::{Resource, getrlimit};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::{MODEL, setup, witness};
use crate::support::client::{Connection, Request};
use crate::support::within_deadline;

/// What is asked for, where the system allows so many descriptors.
const CROWD: usize = 10_000;

/// Descriptors that are left to everything else in this process.
const RESERVE: u64 = 2_000;

#[tokio::test]
async fn ten_thousand_idle_connections_leave_room_for_a_caller() {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let crowd = CROWD.min(usize::try_from(limit.saturating_sub(RESERVE)).unwrap());
    let program = setup()
        .settings(|settings| {
            settings.server.insecure_http = true;
            settings.server.max_connections = CROWD + 100;
        })
        .run()
        .await;
    // Each has asked something, so that it is idle and not late with its first head.
    let request = program.authorised(Request::get("/models"));
    let mut idle = Vec::new();
    let mut opening = JoinSet::new();
    for _ in 0..crowd {
        if opening.len() == 64 {
            idle.push(opening.join_next().await.unwrap().unwrap());
        }
        let (address, request) = (program.callers, request.clone());
        opening.spawn(async move {
            let mut connection = Connection { stream: Box::new(TcpStream::connect(address).await.unwrap()) };
            assert_eq!(within_deadline("an answer", connection.send(&request)).await.status, 200);
            connection
        });
    }
    idle.extend(opening.join_all().await);
    let open = program.metrics().await.sum("rscore_connections", &[]);
    assert!(open >= crowd as f64, "{open} of {crowd} are open");
    witness(&program).await;
    // The last that came is served on as well as the first.
    for place in [0, crowd - 1] {
        let connection = &mut idle[place];
        assert_eq!(within_deadline("an answer", connection.send(&request)).await.status, 200);
    }
}

#[tokio::test]
async fn when_all_places_are_taken_callers_wait_and_the_operator_does_not() {
    let server = setup().settings(|settings| settings.server.max_connections = 4).run().await;
    let mut idle = Vec::new();
    for _ in 0..4 {
        let mut connection = server.connect().await;
        let reply = connection.send(&server.authorised(Request::predict(MODEL, r#"{"x": [1]}"#))).await;
        assert_eq!(reply.status, 200);
        idle.push(connection);
    }
    let fifth = {
        let endpoint = (*server).clone();
        tokio::spawn(async move { witness(&endpoint).await })
    };
    assert_eq!(server.operator("/readyz").await.status, 200);
    assert_eq!(server.metrics().await.sum("rscore_connections", &[]), 4.0);
    assert!(!fifth.is_finished());
    idle.pop();
    within_deadline("a place", fifth).await.unwrap();
}
