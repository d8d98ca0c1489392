//! Every format as output of one job and input of the next.

use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;

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

#[tokio::test]
async fn a_parquet_file_is_cut_between_its_row_groups_and_gives_the_same_bits() {
    let manifest = "row_independent = true\n[columns]\nx = \"double\"\ng = \"character\"\n";
    let job = job("score <- function(model, data) sqrt(data$x) + nchar(data$g)", manifest, 1, 1);
    let rows = 1000;
    let x: ArrayRef = Arc::new(Float64Array::from_iter_values((0..rows).map(|row| f64::from(row) / 7.0)));
    let g: ArrayRef = Arc::new(StringArray::from_iter_values((0..rows).map(|row| "g".repeat(row as usize % 5))));
    let batch = RecordBatch::try_from_iter([("x", x), ("g", g)]).unwrap();
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(150)).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    std::fs::write(job.path("big.parquet"), writer.into_inner().unwrap()).unwrap();
    let text = |output: &str, split: &str| {
        format!(
            "model = \"model/1\"\noutput = \"{output}/big.csv\"\nkeep = [\"x\", \"g\"]\n[inputs]\n\
             data = \"big.parquet\"\n[partition]\nsplit = \"{split}\"\n"
        )
    };
    job.describe(&text("whole", "none"));
    let (code, said) = job.run(&[]).await;
    assert_eq!(code, 0, "{said}");
    job.describe(&text("cut", "rows:400"));
    let (code, said) = job.run(&[]).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("1000 read = 1000 written"), "{said}");
    let parts = job.files("cut");
    // Row groups of 150 rows, and a last one of 100: two are less than 400 rows, three are more but at the end.
    let counts: Vec<usize> = parts.values().map(|part| part.lines().count() - 1).collect();
    assert_eq!(counts, [300, 300, 400]);
    let joined: String = parts.values().map(|part| part.strip_prefix("x,g,prediction\n").unwrap()).collect();
    assert_eq!(format!("x,g,prediction\n{joined}"), job.read("whole/big.csv"));
    job.describe(&text("groups", "group_by:g"));
    let (code, said) = job.run(&[]).await;
    assert_eq!(code, 10, "{said}");
    assert!(said.contains("cut between its row groups"), "{said}");
    // Data that were lost before the footer, as when a copy ended early and another wrote the end.
    let whole = std::fs::read(job.path("big.parquet")).unwrap();
    std::fs::write(job.path("big.parquet"), [&whole[..4], &whole[whole.len() / 2..]].concat()).unwrap();
    job.describe(&text("cut short", "rows:400"));
    let (code, said) = job.run(&[]).await;
    assert_eq!(code, 10, "{said}");
    assert!(said.contains("behind the end of the data"), "{said}");
    // What is none is the job's mistake, whatever its name says.
    job.write("big.parquet", "no Parquet file at all");
    job.describe(&text("none", "rows:400"));
    let (code, said) = job.run(&[]).await;
    assert_eq!(code, 10, "{said}");
    assert!(said.contains("big.parquet: not a Parquet file"), "{said}");
}
