//! A row of a batch, a request to the server and plain R give the same bits.

use serde_json::{Value, json};

use crate::support::bundle::run_r;
use crate::support::client::Request;
use crate::support::job::Job;
use crate::support::setup::Setup;

const MODEL: &str = "lm(mpg ~ log(wt) + hp + factor(cyl), mtcars)";

#[tokio::test]
async fn batch_serve_and_r_agree_to_the_bit() {
    let job = Job::train(MODEL);
    run_r(
        "data <- mtcars[rep(seq_len(nrow(mtcars)), 4), c('wt', 'hp', 'cyl')]; data$wt <- data$wt + seq_along(data$wt) / 7
         data$id <- sprintf('%03d', seq_len(nrow(data))); dir.create(commandArgs(TRUE)[1])
         for (part in 1:4) write.csv(data[seq_len(nrow(data)) %% 4 == part - 1, ], row.names = FALSE, quote = FALSE,
                                     file.path(commandArgs(TRUE)[1], sprintf('%d.csv', part)))",
        &[job.path("in").to_str().unwrap()],
    );
    job.describe(
        "model = \"model/1\"\noutput = \"out/{p}.csv\"\nkeep = [\"id\"]\n[inputs]\ndata = \"in/{p:int}.csv\"\n",
    );
    let (code, said) = job.run(&[]).await;
    assert_eq!(code, 0, "{said}");

    let server = Setup::new().train("cars", MODEL).start().await;
    for part in 1..=4 {
        let input = job.path(&format!("in/{part}.csv"));
        let by_r: Vec<f64> = run_r(
            "files <- commandArgs(TRUE); cat(sprintf('%a\\n', predict(readRDS(files[1]), read.csv(files[2]))), sep = '')",
            &[job.path("model/1/model.rds").to_str().unwrap(), input.to_str().unwrap()],
        )
        .lines()
        .map(hexadecimal)
        .collect();
        let output = job.read(&format!("out/{part}.csv"));
        let rows: Vec<Vec<&str>> = output.lines().skip(1).map(|line| line.split(',').collect()).collect();
        let by_batch: Vec<f64> = rows.iter().map(|row| row[1].parse().unwrap()).collect();
        // A kept column stays as it was written, leading zeros too.
        assert!(rows.iter().all(|row| row[0].len() == 3), "{output}");

        let text = job.read(&format!("in/{part}.csv"));
        let records: Vec<Value> = text
            .lines()
            .skip(1)
            .map(|line| {
                let number = |index: usize| line.split(',').nth(index).unwrap().parse::<f64>().unwrap();
                json!({"wt": number(0), "hp": number(1), "cyl": number(2)})
            })
            .collect();
        let reply = server.send(Request::predict("cars", serde_json::to_string(&records).unwrap())).await;
        let by_server: Vec<f64> = reply.predictions().iter().map(|value| value.as_f64().unwrap()).collect();

        let bits = |numbers: &[f64]| numbers.iter().map(|number| number.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&by_batch), bits(&by_r), "batch and R, part {part}");
        assert_eq!(bits(&by_server), bits(&by_r), "serve and R, part {part}");
        assert!(!by_r.is_empty());
    }
}

/// A number that C's `%a` wrote.
fn hexadecimal(text: &str) -> f64 {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1.0, digits),
        None => (1.0, text),
    };
    let (mantissa, exponent) = digits.strip_prefix("0x").unwrap().split_once('p').unwrap();
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let value = u64::from_str_radix(&format!("{whole}{fraction}"), 16).unwrap() as f64;
    let exponent = exponent.parse::<i32>().unwrap() - 4 * i32::try_from(fraction.len()).unwrap();
    sign * value * 2f64.powi(exponent)
}
