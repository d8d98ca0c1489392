//! The real program is told to stop: what is in flight is answered, nothing
//! new is begun, and no process is left.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::io::AsyncReadExt;

use crate::support::client::{Connection, Request};
use crate::support::endpoint::Endpoint;
use crate::support::gate::Gate;
use crate::support::program::Program;
use crate::support::setup::Setup;
use crate::support::{eventually, within_deadline};

const MODEL: &str = "gated";
const ROW: &str = r#"[{"x": 21}]"#;

fn setup(gate: &Gate) -> Setup {
    let script = format!("{}score <- function(model, data) {{ gate(); 2 * data$x }}", gate.script());
    Setup::new().workers(2).script(MODEL, &script)
}

async fn draining(program: &Program) {
    eventually("readiness turning off", || async {
        let ready = program.operator("/readyz").await;
        (ready.status == 503 && ready.json()["phase"] == "draining").then_some(())
    })
    .await;
}

/// A request that is sent and not waited for.
async fn begin(program: &Program) -> Connection {
    let mut connection = program.connect().await;
    let request = program.authorised(Request::predict(MODEL, ROW));
    connection.write(&request.head()).await;
    connection.write(ROW.as_bytes()).await;
    connection
}

#[tokio::test]
async fn a_request_in_flight_is_answered_and_new_ones_are_refused() {
    let mut gate = Gate::new();
    let mut program = setup(&gate).run().await;
    assert!(program.processes().len() >= 4, "server, zygote and two workers: {:?}", program.processes());
    let in_flight = program.send_beside(Request::predict(MODEL, ROW));
    gate.begun().await;

    program.signal(Signal::TERM);
    draining(&program).await;
    assert_eq!(program.operator("/livez").await.status, 200, "it lives until it is done");
    for _ in 0..2 {
        let refused = program.send(Request::predict(MODEL, ROW)).await;
        refused.is_problem(503, "unavailable");
        assert_eq!((refused.header("retry-after"), refused.header("connection")), (Some("1"), Some("close")));
    }
    gate.open().await;
    let reply = in_flight.await.unwrap();
    assert_eq!(reply.predictions(), [42.0]);
    assert_eq!(reply.header("connection"), Some("close"));
    assert_eq!(program.ended().await.code(), Some(0));
    assert_eq!(program.processes(), [], "all workers are gone when the server is");
}

#[tokio::test]
async fn an_idle_program_stops_at_once_by_either_signal() {
    let gate = Gate::new();
    for signal in [Signal::TERM, Signal::INT] {
        let mut program = setup(&gate).run().await;
        // An idle connection must not hold it up.
        let mut idle = program.connect().await;
        let started = Instant::now();
        program.signal(signal);
        assert_eq!(program.ended().await.code(), Some(0));
        assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
        let mut rest = Vec::new();
        // A reset is an end too.
        let _ = within_deadline("the end of the connection", idle.stream.read_to_end(&mut rest)).await;
        assert_eq!(program.processes(), []);
    }
}

#[tokio::test]
async fn a_drain_has_a_deadline() {
    let mut gate = Gate::new();
    let timeout = Duration::from_millis(300);
    let mut program = setup(&gate).settings(|settings| settings.server.drain_timeout = timeout).run().await;
    let mut caller = begin(&program).await;
    gate.begun().await;
    let started = Instant::now();
    program.signal(Signal::TERM);
    assert_eq!(program.ended().await.code(), Some(1), "it ends by itself, and says that requests were lost");
    assert!(started.elapsed() >= timeout && started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    assert_eq!(program.processes(), [], "the worker that was computing is gone too");
    let mut rest = Vec::new();
    let _ = within_deadline("the end of the connection", caller.stream.read_to_end(&mut rest)).await;
    let lost =
        |line: &serde_json::Value| line["message"].as_str().is_some_and(|text| text.contains("1 requests unanswered"));
    program.logged("what was lost", lost).await;
}

#[tokio::test]
async fn a_load_that_is_waited_for_does_not_hold_up_a_stop() {
    let mut gate = Gate::new();
    let score = "score <- function(model, data) 2 * data$x";
    let setup = Setup::new().script(MODEL, score);
    let mut program = setup.settings(|settings| settings.models.poll_interval = Duration::ZERO).run().await;
    let script = format!("{}load <- function(dir) gate()\n{score}", gate.script());
    program.repository.write(MODEL, 1, "score.R", script);
    let waiting = program.send_beside(Request::new("POST", &format!("/models/{MODEL}/reload?wait=true")));
    gate.begun().await;
    assert_eq!(program.send(Request::predict(MODEL, ROW)).await.predictions(), [42.0]);
    program.signal(Signal::TERM);
    let reply = waiting.await.unwrap();
    reply.is_problem(503, "unavailable");
    assert_eq!((reply.header("retry-after"), reply.header("connection")), (Some("1"), Some("close")));
    assert_eq!(program.ended().await.code(), Some(0), "nothing was lost: nobody was promised the load");
    // Dropping the program asserts that what was loading is gone.
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let mut gate = Gate::new();
    let mut program = setup(&gate).run().await;
    let _caller = begin(&program).await;
    gate.begun().await;
    program.signal(Signal::TERM);
    draining(&program).await;
    program.signal(Signal::INT);
    assert_eq!(program.ended().await.code(), Some(1));
    // Dropping the program asserts that the workers went with it.
}

#[tokio::test]
async fn workers_go_when_the_server_is_killed() {
    let mut gate = Gate::new();
    let mut program = setup(&gate).run().await;
    let _caller = begin(&program).await;
    gate.begun().await;
    program.signal(Signal::KILL);
    assert_eq!(program.ended().await.code(), None);
    // Dropping the program asserts that the workers went with it, also the busy one.
}

/// Connects, asks and leaves, again and again, until nobody takes the connection.
/// Gives how many were answered by a prediction, how many were refused, and how
/// many got neither after they were sent.
async fn reconnecting(endpoint: Endpoint) -> [usize; 3] {
    let mut counts = [0; 3];
    let request = endpoint.authorised(Request::predict(MODEL, ROW));
    while let Some(mut connection) = endpoint.try_connect().await {
        match within_deadline("an answer", connection.try_send(&request)).await {
            Some(reply) if reply.status == 200 => {
                assert_eq!(reply.predictions(), [42.0]);
                counts[0] += 1;
            }
            Some(reply) => {
                reply.is_problem(503, "unavailable");
                assert_eq!(reply.header("connection"), Some("close"));
                counts[1] += 1;
            }
            None => counts[2] += 1,
        }
    }
    counts
}

#[tokio::test]
async fn callers_that_keep_coming_are_served_until_load_balancers_have_noticed() {
    let script = "score <- function(model, data) 2 * data$x";
    // Long enough to look at it meanwhile, with four callers that keep the machine busy.
    let delay = Duration::from_secs(3);
    let setup = Setup::new().workers(2).script(MODEL, script);
    let mut program = setup.settings(|settings| settings.server.shutdown_delay = delay).run().await;
    let callers: Vec<_> = (0..4).map(|_| tokio::spawn(reconnecting(Endpoint::clone(&program)))).collect();
    let started = Instant::now();
    program.signal(Signal::TERM);
    eventually("readiness turning off", || async {
        let ready = program.operator("/readyz").await;
        (ready.status == 503 && ready.json()["phase"] == "leaving").then_some(())
    })
    .await;
    let reply = program.send(Request::predict(MODEL, ROW)).await;
    assert_eq!((reply.predictions(), reply.header("connection")), (vec![42.0.into()], Some("close")));
    assert!(started.elapsed() < delay, "too slow a machine to tell");
    assert_eq!(program.ended().await.code(), Some(0));
    assert!(started.elapsed() >= delay, "{:?}", started.elapsed());
    let mut counts = [0; 3];
    for caller in callers {
        let [answered, refused, lost] = caller.await.unwrap();
        counts = [counts[0] + answered, counts[1] + refused, counts[2] + lost];
    }
    assert!(counts[0] > 20, "{counts:?}");
    assert_eq!(counts[2], 0, "a request that was sent got no answer: {counts:?}");
}
