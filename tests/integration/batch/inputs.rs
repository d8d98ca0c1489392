//! Inputs that are empty or lack something, and outputs that would be in the way
//! of others.

use super::{X, describe, doubled, job};

const DOUBLE: &str = "score <- function(model, data) data$x * 2";

#[tokio::test]
async fn files_without_rows_are_cut_and_scored_like_others() {
    let job = job(DOUBLE, X, 2, 3);
    job.write("in/1.csv", "x\n");
    job.write("lines/0.jsonl", "");
    describe(&job, "[partition]\nsplit = \"rows:2\"\n");
    let (code, said) = job.run(&[]).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("3 read = 3 written"), "{said}");
    assert_eq!(job.read("out/1-000000.csv"), "x,prediction\n");
    job.describe(
        "model = \"model/1\"\noutput = \"more/{p}.csv\"\nkeep = [\"x\"]\n[inputs]\ndata = \"lines/{p}.jsonl\"\n\
         [partition]\nsplit = \"rows:2\"\n",
    );
    let (code, said) = job.run(&[]).await;
    assert_eq!(code, 0, "{said}");
    assert_eq!(job.read("more/0-000000.csv"), "x,prediction\n");
}

#[tokio::test]
async fn a_partition_without_a_column_to_keep_fails_alone() {
    for manifest in [X, "row_independent = true\n"] {
        let job = job(DOUBLE, manifest, 3, 4);
        for partition in [0, 2] {
            job.write(&format!("in/{partition}.csv"), &format!("id,x\n007,{partition}\n"));
        }
        let text = job.read("job.toml").replace("[\"x\"]", "[\"id\"]");
        job.describe(&text);
        let (code, said) = job.run(&["--run-id", "r"]).await;
        assert_eq!(code, 11, "{said}");
        assert!(said.contains("6 read = 2 written + 0 quarantined + 4 in failed partitions"), "{said}");
        let failure = &job.outcome("r", "p=1")["result"]["failure"];
        assert_eq!(failure["cause"], "input_malformed", "{failure}");
        assert!(failure["message"].as_str().unwrap().contains("no column 'id'"), "{failure}");
        assert!(job.read("out/2.csv").ends_with(",4.0\n"));
        assert!(!job.exists("out/1.csv"));
    }
}

#[tokio::test]
async fn outputs_that_would_be_in_the_way_are_refused() {
    let job = job(DOUBLE, X, 2, 3);
    let before = job.files("in");
    for (output, part) in [("in/{p}.csv", "inputs.data takes"), ("out/{run}.csv", "lacks {p}")] {
        job.describe(&format!("model = \"model/1\"\noutput = \"{output}\"\n[inputs]\ndata = \"in/{{p:int}}.csv\"\n"));
        let (code, said) = job.run(&[]).await;
        assert_eq!(code, 10, "{said}");
        assert!(said.contains(part), "{said}");
    }
    assert_eq!(job.files("in"), before);
    assert_eq!(job.run(&[]).await.0, 10);
    describe(&job, "");
    assert_eq!(job.run(&[]).await.0, 0);
    assert_eq!(job.read("out/1.csv"), doubled(1, 3));
}
