//! Callers that misbehave, by accident or on purpose: each is bounded, and a
//! well-behaved caller gets R's own numbers meanwhile.

mod crowds;
mod frames;
mod goodbye;
mod heads;
mod http2;
mod slow;

use std::sync::LazyLock;

use tokio::io::AsyncReadExt;

use crate::support::bundle::run_r;
use crate::support::client::{Connection, Request};
use crate::support::endpoint::Endpoint;
use crate::support::setup::Setup;
use crate::support::{eventually, within_deadline};

const MODEL: &str = "thirds";

/// What R itself answers to the witness.
static THIRDS: LazyLock<Vec<f64>> = LazyLock::new(|| {
    let text = run_r("cat(sprintf('%.17g', c(7, 0.1, -1e300) / 3))", &[]);
    text.split(' ').map(|number| number.parse().unwrap()).collect()
});

fn setup() -> Setup {
    Setup::new().script(MODEL, "score <- function(model, data) data$x / 3")
}

/// A well-behaved caller.
async fn witness(server: &Endpoint) {
    let reply = server.send(Request::predict(MODEL, r#"{"x": [7, 0.1, -1e300]}"#)).await;
    let numbers: Vec<u64> = reply.predictions().iter().map(|number| number.as_f64().unwrap().to_bits()).collect();
    assert_eq!(numbers, THIRDS.iter().map(|number| number.to_bits()).collect::<Vec<_>>());
}

/// Waits until so many connections were given up for a reason.
async fn cut(server: &Endpoint, reason: &str, count: f64) {
    let name = "rscore_connections_cut_total";
    eventually("connections given up", || async {
        (server.metrics().await.sum(name, &[("reason", reason)]) >= count).then_some(())
    })
    .await;
}

/// What comes until the server closes the connection.
async fn rest(connection: &mut Connection) -> String {
    let mut rest = Vec::new();
    // A reset is an end too.
    let _ = within_deadline("the end of the connection", connection.stream.read_to_end(&mut rest)).await;
    String::from_utf8_lossy(&rest).into_owned()
}
