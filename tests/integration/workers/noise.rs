//! What a call leaves behind: the one after it sees the process as if nothing
//! had been, and what R prints blocks nobody.

use std::time::Duration;

use serde_json::Value;

use super::{compile, counted, workers_without};
use crate::support::bundle::run_r;
use crate::support::client::Request;
use crate::support::endpoint::Endpoint;
use crate::support::eventually;
use crate::support::setup::Setup;

/// Each name is a way to disturb later calls; `look` tells what is to be seen.
const SCRIPT: &str = r#"
dyn.load(file.path(getwd(), "compiled.so"))
calls <- 0
score <- function(model, data) {
  calls <<- calls + 1
  what <- data$what[1L]
  switch(what,
    options = options(digits = 3, scipen = 100, OutDec = ",", rscore.left = 1, warn = 2),
    directory = setwd("/"),
    environment = { Sys.setenv(TZ = "Asia/Tokyo", LEFT = "1"); Sys.unsetenv("HOME") },
    locale = { Sys.setlocale("LC_ALL", "C"); Sys.setlocale("LC_CTYPE", "C") },
    library = { library(splines); attach(data.frame(calls = -1), name = "attached") },
    sink = { sink(tempfile()); sink(file(tempfile(), "w"), type = "message") },
    connections = for (i in 1:5) { file(tempfile(), "w"); textConnection("left") },
    devices = { grDevices::pdf(NULL); graphics::plot(1) },
    generator = { RNGkind("Wichmann-Hill", "Ahrens-Dieter"); set.seed(1) },
    global = { assign("left", 1, envir = globalenv()); left_too <<- 2 },
    limit = setTimeLimit(elapsed = 0.2),
    streams = .Call("closes")
  )
  if (what == "waits") { until <- proc.time()[[3]] + 0.4; while (proc.time()[[3]] < until) NULL }
  c(
    seen = paste(
      deparse(options()[c("digits", "scipen", "OutDec", "rscore.left", "warn")]), getwd(),
      deparse(Sys.getenv(c("TZ", "LEFT", "HOME"))), Sys.getlocale(), toString(search()), length(getAllConnections()),
      toString(.Device), toString(RNGkind()), exists(".Random.seed", globalenv()), toString(ls(globalenv())),
      sink.number(), sink.number("message"),
      sep = "\n", collapse = "\n"
    )
  )
}
"#;

const MANIFEST: &str = "warm_up = false\n[columns]\nwhat = \"character\"\n";

fn request(model: &str, what: &str) -> Request {
    Request::predict(model, format!(r#"[{{"what": "{what}"}}]"#))
}

async fn look(server: &Endpoint, model: &str) -> Value {
    server.send(request(model, "look")).await.predictions().remove(0)
}

#[tokio::test]
async fn a_call_does_not_see_what_the_one_before_left() {
    let model = "noisy";
    let setup = Setup::new().script(model, SCRIPT).file(model, "rscore.toml", MANIFEST);
    compile(&setup, model);
    let server = setup.start().await;
    let worker = server.workers(model);
    let clean = look(&server, model).await;
    for what in [
        "options",
        "directory",
        "environment",
        "locale",
        "library",
        "sink",
        "connections",
        "devices",
        "generator",
        "global",
        "limit",
    ] {
        let disturbed = server.send(request(model, what)).await.predictions().remove(0);
        assert!(what == "limit" || disturbed != clean, "{what} can be seen within its call");
        assert_eq!(look(&server, model).await, clean, "{what}");
    }
    server.send(request(model, "waits")).await.predictions();
    assert_eq!(server.workers(model), worker, "none of it cost a worker");

    // What can't be undone costs one.
    server.send(request(model, "streams")).await.predictions();
    workers_without(&server, model, 1, &[worker[0].id]).await;
    counted(&server, "rscore_worker_deaths_total", model, "retired", 1.0).await;
    assert_eq!(look(&server, model).await, clean);
}

#[tokio::test]
async fn a_script_keeps_its_own_variables() {
    let model = "counts";
    let script = "calls <- 0\nscore <- function(model, data) { calls <<- calls + 1; calls }";
    let server = Setup::new().script(model, script).file(model, "rscore.toml", "warm_up = false").start().await;
    for calls in [1.0, 2.0, 3.0] {
        assert_eq!(server.send(Request::predict(model, r#"[{"x": 1}]"#)).await.predictions(), [calls]);
    }
}

#[tokio::test]
async fn a_seed_makes_every_worker_draw_the_numbers_that_r_draws() {
    let (seeded, free) = ("seeded", "free");
    let script = "score <- function(model, data) data.frame(draw = runif(nrow(data)), worker = Sys.getpid())";
    let server = Setup::new()
        .workers(2)
        .script(seeded, script)
        .file(seeded, "rscore.toml", "seed = 42")
        .script(free, script)
        .start()
        .await;
    let expected: Vec<f64> = run_r("set.seed(42); cat(sprintf('%.17g', runif(2)))", &[])
        .split(' ')
        .map(|number| number.parse().unwrap())
        .collect();
    let draw = async |model: &str| {
        let body = r#"[{"x": 1}, {"x": 2}]"#;
        // Two at once, so that both workers are used.
        let replies =
            tokio::join!(server.send(Request::predict(model, body)), server.send(Request::predict(model, body)));
        let numbers = |rows: Vec<Value>| rows.iter().map(|row| row["draw"].as_f64().unwrap()).collect::<Vec<_>>();
        [numbers(replies.0.predictions()), numbers(replies.1.predictions())]
    };
    for _ in 0..5 {
        assert_eq!(draw(seeded).await, [expected.clone(), expected.clone()]);
        let [one, other] = draw(free).await;
        assert_ne!(one, other, "without a seed each call draws anew");
    }
}

#[tokio::test]
async fn megabytes_of_output_block_nobody_and_are_counted() {
    let model = "talks";
    let script = "score <- function(model, data) {\n  \
                    cat(strrep('x', 4e6), '\\n', sep = '')\n  \
                    for (i in 1:20000) cat('line', i, '\\n')\n  \
                    message(strrep('y', 1e6))\n  \
                    2 * data$x\n}";
    let program = Setup::new()
        .script(model, script)
        .file(model, "rscore.toml", "warm_up = false")
        .settings(|settings| settings.workers.output_lines_per_second = 10)
        .run()
        .await;
    let reply = program.send(Request::predict(model, r#"[{"x": 21}]"#)).await;
    assert_eq!(reply.predictions(), [42.0]);
    let text = |line: &Value| line["message"].as_str().unwrap_or_default().to_owned();
    program
        .logged("the lines that were left out", |line| text(line).contains("lines that R printed were left out"))
        .await;
    let suppressed = eventually("all that was printed", || async {
        let metrics = program.metrics().await;
        let suppressed = metrics.sum("rscore_output_suppressed_lines_total", &[("model", model)]);
        let logged = program.log().iter().filter(|line| text(line).starts_with("R: ")).count() as f64;
        (suppressed + logged >= 20_002.0).then_some(suppressed)
    })
    .await;
    assert!(suppressed > 19_000.0, "{suppressed}");
    let log = program.log();
    let long = log.iter().map(text).find(|line| line.starts_with("R: xxx")).expect("the first line");
    assert!(long.len() < 9000 && long.ends_with("more bytes)"), "{} bytes", long.len());
    tokio::time::timeout(Duration::from_secs(20), program.send(Request::predict(model, r#"[{"x": 1}]"#)))
        .await
        .unwrap();
}
