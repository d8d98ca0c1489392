//! Every format as output of one job and input of the next.

use super::{X, doubled, job};

#[tokio::test]
async fn rows_go_through_every_format_and_stay_the_same() {
    let job = job("score <- function(model, data) data$x * 2", &format!("unknown_columns = \"ignore\"\n{X}"), 2, 300);
    let mut source = "in/{p:int}.csv".to_owned();
    for (step, extension) in ["parquet", "jsonl", "arrow", "csv"].into_iter().enumerate() {
        let output = format!("step{step}/{{p}}.{extension}");
        job.describe(&format!(
            "model = \"model/1\"\noutput = \"{output}\"\nkeep = [\"x\"]\n[inputs]\ndata = \"{source}\"\n"
        ));
        let (code, said) = job.run(&[]).await;
        assert_eq!(code, 0, "{said}");
        assert!(said.contains("600 read = 600 written"), "{said}");
        source = output.replace("{p}", "{p:int}");
    }
    for partition in 0..2 {
        assert_eq!(job.read(&format!("step3/{partition}.csv")), doubled(partition, 300));
    }
}
