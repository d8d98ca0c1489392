//! The orange juice forecast: 35 models behind a script with two inputs. Served
//! or in batch, they give the bits that the same functions give in plain Rscript.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Once};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::client::Request;
use crate::support::server::{Shared, TestServer};
use crate::support::setup::Setup;

/// Weeks to forecast, SKUs and stores of each product of `forecast.R`.
const ROWS: usize = 13 * 11 * 2;

#[tokio::test]
async fn served_forecasts_are_those_of_plain_r() {
    let products = Products::new();
    let server = server().await;
    for product in 1..=3 {
        let expected = products.expected(product);
        let request = std::fs::read(products.path(&format!("requests/product{product}.json"))).unwrap();
        let reply = server.send(Request::predict("oj-forecast", request)).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(reply.predictions().len(), ROWS);
        for (row, got) in reply.predictions().iter().enumerate() {
            expected.compare(row, |column| got[column].as_f64());
        }
    }
}

#[test]
fn forecasts_in_batch_are_those_of_plain_r() {
    let products = Products::new();
    let folder = products.directory.path().to_str().unwrap();
    let job = products.path("job.toml");
    let text = format!(
        "model = '{}'\noutput = '{folder}/forecasts/product{{p}}.csv'\n[inputs]\n\
         history = '{folder}/history/product{{p:int}}.csv'\nfuturex = '{folder}/futurex/product{{p:int}}.csv'\n",
        bundle().display()
    );
    std::fs::write(&job, text).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_rscore")).args(["batch", "run"]).arg(&job).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for product in 1..=3 {
        let expected = products.expected(product);
        let text = std::fs::read_to_string(products.path(&format!("forecasts/product{product}.csv"))).unwrap();
        let mut lines = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
        let columns = lines.next().unwrap();
        assert_eq!(columns, expected.columns);
        let rows: Vec<_> = lines.collect();
        assert_eq!(rows.len(), ROWS);
        for (row, cells) in rows.iter().enumerate() {
            expected.compare(row, |column| {
                let at = columns.iter().position(|name| *name == column)?;
                cells[at].parse().ok()
            });
        }
    }
}

#[tokio::test]
async fn quantiles_ascend_and_a_short_history_gives_none() {
    let server = server().await;
    let mut sample = sample();
    // The second of both SKUs is known for four weeks, where five are needed.
    let history = sample["inputs"]["history"].as_array_mut().unwrap();
    history.retain(|row| row["sku"] != 4 || row["week"].as_u64() > Some(103));
    let reply = server.send(Request::predict("oj-forecast", sample.to_string())).await;
    for row in reply.predictions() {
        let quantiles = ["q5", "q25", "q50", "q75", "q95"].map(|name| row[name].as_f64());
        match row["sku"].as_u64() {
            Some(4) => assert_eq!(quantiles, [None; 5], "{row}"),
            _ => assert!(quantiles[0] > Some(0.0) && quantiles.is_sorted(), "{row}"),
        }
    }
}

#[tokio::test]
async fn a_week_that_comes_twice_is_refused() {
    let server = server().await;
    let mut sample = sample();
    let history = sample["inputs"]["history"].as_array_mut().unwrap();
    history.push(history[0].clone());
    let reply = server.send(Request::predict("oj-forecast", sample.to_string())).await;
    let problem = reply.is_problem(500, "model-error");
    assert!(problem["detail"].as_str().unwrap().contains("history has SKU 1 in store 1 twice in week 2"), "{problem}");
}

async fn server() -> Arc<TestServer> {
    static SERVER: Shared = Shared::new();
    let setup = || {
        let setup = Setup::new();
        setup.repository.link("oj-forecast", bundle().parent().unwrap());
        setup
    };
    SERVER.get(setup).await
}

fn sample() -> Value {
    serde_json::from_slice(&std::fs::read(bundle().join("sample.json")).unwrap()).unwrap()
}

/// Where the small models are, which are trained unless they are there.
fn bundle() -> PathBuf {
    static TRAINED: Once = Once::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    TRAINED.call_once(|| run_script(Command::new("Rscript").arg("--vanilla").arg("scripts/train-oj-forecast.R")));
    root.join("models/oj-forecast/1")
}

/// What `forecast.R` writes.
struct Products {
    directory: TempDir,
}

impl Products {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new("Rscript");
        command.args(["--vanilla", "tests/integration/forecast.R"]).arg(bundle()).arg(directory.path());
        run_script(&mut command);
        Self { directory }
    }

    fn path(&self, file: &str) -> PathBuf {
        self.directory.path().join(file)
    }

    fn expected(&self, product: u32) -> Expected {
        let text = std::fs::read_to_string(self.path(&format!("expected/product{product}.txt"))).unwrap();
        let mut lines = text.lines().map(|line| line.split('\t').map(str::to_owned).collect());
        let expected = Expected { columns: lines.next().unwrap(), rows: lines.collect() };
        assert_eq!(expected.rows.len(), ROWS);
        expected
    }
}

fn run_script(command: &mut Command) {
    let output = command.current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("Rscript runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// What plain R gives for a product.
struct Expected {
    columns: Vec<String>,
    /// The bits of each number in hexadecimal.
    rows: Vec<Vec<String>>,
}

impl Expected {
    /// Asserts that a row has R's numbers.
    fn compare(&self, row: usize, got: impl Fn(&str) -> Option<f64>) {
        for (column, wanted) in self.columns.iter().zip(&self.rows[row]) {
            let got = got(column).map(|number| format!("{:016x}", number.to_bits()));
            assert_eq!(got.as_ref(), Some(wanted), "row {row}, column '{column}'");
        }
    }
}
