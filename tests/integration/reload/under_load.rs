//! Generations are exchanged while callers keep all workers busy: every request
//! is answered, with the numbers of R for one generation or the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::{not_polling, replace};
use crate::support::bundle::run_r;
use crate::support::client::Request;
use crate::support::setup::Setup;
use crate::support::{eventually, within_deadline};

const MODEL: &str = "exchanged";
const ROWS: &str = r#"[{"wt": 2.62}, {"wt": 3.1415926}, {"wt": 1.5}]"#;
const CALLERS: usize = 4;
const RELOADS: usize = 4;

/// What R itself predicts with a model, to the bit.
fn by_r(path: &std::path::Path) -> Vec<u64> {
    let code = "model <- readRDS(commandArgs(TRUE)[1]); \
                cat(sprintf('%.17g', predict(model, data.frame(wt = c(2.62, 3.1415926, 1.5)))), sep = '\\n')";
    let printed = run_r(code, &[path.to_str().unwrap()]);
    printed.lines().map(|line| line.parse::<f64>().unwrap().to_bits()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_and_nothing_is_mixed() {
    let setup = Setup::new().workers(2).train(MODEL, "lm(mpg ~ wt, mtcars)");
    let server = Arc::new(not_polling(setup).start().await);
    let path = server.repository.version(MODEL, 1).join("model.rds");
    server.repository.train("other", 1, "lm(mpg ~ wt, mtcars[1:20, ])");
    let other = server.repository.version("other", 1).join("model.rds");
    let contents = [std::fs::read(&path).unwrap(), std::fs::read(&other).unwrap()];
    let expected = [by_r(&path), by_r(&other)];
    assert_ne!(expected[0], expected[1]);

    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (server, stop, answered) = (server.clone(), stop.clone(), answered.clone());
            let expected = expected.clone();
            tokio::spawn(async move {
                let mut connection = server.connect().await;
                let request = server.authorised(Request::predict(MODEL, ROWS));
                let mut seen = [0; 2];
                while !stop.load(Ordering::Relaxed) {
                    let reply = within_deadline("an answer", connection.send(&request)).await;
                    let got: Vec<u64> =
                        reply.predictions().iter().map(|value| value.as_f64().unwrap().to_bits()).collect();
                    let which = expected.iter().position(|expected| *expected == got);
                    seen[which.unwrap_or_else(|| panic!("the numbers of no generation: {}", reply.text()))] += 1;
                    answered.fetch_add(1, Ordering::Relaxed);
                }
                seen
            })
        })
        .collect();

    for round in 1..=RELOADS {
        let before = answered.load(Ordering::Relaxed);
        eventually("answers", || async { (answered.load(Ordering::Relaxed) > before + 50).then_some(()) }).await;
        replace(&path, &contents[round % 2]);
        let reply = server.send(Request::new("POST", "/models/exchanged/reload?wait=true")).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        // Who asks after the switch gets the new one, and nobody else does.
        let predictions = server.send(Request::predict(MODEL, ROWS)).await.predictions();
        let got: Vec<u64> = predictions.iter().map(|value| value.as_f64().unwrap().to_bits()).collect();
        assert_eq!(got, expected[round % 2], "round {round}");
    }
    stop.store(true, Ordering::Relaxed);
    let mut seen = [0; 2];
    for caller in callers {
        let counts = caller.await.expect("every request was answered");
        seen = [seen[0] + counts[0], seen[1] + counts[1]];
    }
    assert!(seen[0] > 50 && seen[1] > 50, "both generations answered: {seen:?}");
    eventually("one generation's processes alone", || async { (server.workers(MODEL).len() == 2).then_some(()) }).await;
}
