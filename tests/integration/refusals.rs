//! Every refusal of the contract, each with its golden answer, and bodies that
//! are wrong in every way that one can be.

mod bodies;
mod large;
mod routes;

use crate::support::client::{Reply, Request};
use crate::support::golden;
use crate::support::server::{Shared, TestServer};
use crate::support::setup::Setup;

/// The path of the model that all of these are about.
const PATH: &str = "/models/homes/predict";

/// A row that it takes.
const GOOD: &str = r#"[{"area": 21, "rooms": 3, "kind": "flat"}]"#;

static SERVER: Shared = Shared::new();

fn setup() -> Setup {
    Setup::new()
        .script("homes", "score <- function(model, data) 2 * data$area")
        .file(
            "homes",
            "rscore.toml",
            "[columns]\narea = \"double\"\nrooms = { type = \"integer\", nullable = false }\n\
             kind = { type = \"factor\", levels = [\"flat\", \"house\"] }\n",
        )
        .settings(|settings| settings.limits.max_rows = 1000)
}

async fn server() -> std::sync::Arc<TestServer> {
    SERVER.get(setup).await
}

/// Sends a request whose answer can be compared, since it names itself.
async fn send(server: &TestServer, request: Request) -> Reply {
    server.send(request.header("X-Request-Id", "golden")).await
}

/// Asserts that a request is refused as its golden answer says, and that the
/// model goes on.
async fn refused(name: &str, request: Request) -> Reply {
    let server = server().await;
    let reply = send(&server, request).await;
    golden::check(name, &reply);
    assert_eq!(server.send(Request::post(PATH, GOOD)).await.predictions(), [42.0]);
    reply
}
