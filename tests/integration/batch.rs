//! `rscore batch` as people run it: real R, local files and emulated stores,
//! shards that are killed, stopped, stood still and doubled.

mod dashboard;
mod errors;
mod follow;
mod formats;
mod inputs;
mod large;
mod machine;
mod parity;
mod phases;
mod processes;
mod shards;
mod signals;
mod stores;
mod verbs;

use super::support::job::Job;

/// A job whose script scores rows `x` of `in/{p}.csv`, a file per partition of so
/// many rows.
fn job(script: &str, manifest: &str, partitions: usize, rows: usize) -> Job {
    let job = Job::script(script, manifest);
    for partition in 0..partitions {
        let rows: String = (0..rows).map(|row| format!("{}\n", partition * 1000 + row)).collect();
        job.write(&format!("in/{partition}.csv"), &format!("x\n{rows}"));
    }
    describe(&job, "");
    job
}

fn describe(job: &Job, more: &str) {
    job.describe(&format!(
        "model = \"model/1\"\noutput = \"out/{{p}}.csv\"\nkeep = [\"x\"]\n[inputs]\ndata = \"in/{{p:int}}.csv\"\n{more}"
    ));
}

/// Columns of the scripts.
const X: &str = "row_independent = true\n[columns]\nx = \"double\"\n";

/// The same without a call at load, for scripts that wait for the test.
const UNTRIED: &str = "warm_up = false\n[columns]\nx = \"double\"\n";

/// The output of a script that doubles, for a partition of [`job`].
fn doubled(partition: usize, rows: usize) -> String {
    let rows: String = (0..rows)
        .map(|row| {
            let x = partition * 1000 + row;
            format!("{x}.0,{}.0\n", 2 * x)
        })
        .collect();
    format!("x,prediction\n{rows}")
}
