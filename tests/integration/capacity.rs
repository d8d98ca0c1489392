//! `rscore capacity` on a real model: what it shows meanwhile, prints and draws.

use std::process::Command;

use crate::support::bundle::Repository;

#[test]
fn levels_are_announced_measured_and_drawn() {
    let repository = Repository::new();
    repository.write("double", 1, "score.R", "load <- function(dir) NULL\nscore <- function(model, data) 2 * data$x\n");
    repository.write("double", 1, "rscore.toml", "[columns]\nx = \"double\"\n");
    let chart = repository.path().join("capacity.svg");
    let output = Command::new(env!("CARGO_BIN_EXE_rscore"))
        .args(["capacity", "--callers", "1,3", "--seconds", "1", "--chart"])
        .args([&chart, &repository.version("double", 1)])
        .output()
        .unwrap();
    let (printed, said) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{said}");
    let announced: Vec<&str> = said.lines().filter(|line| line.ends_with(" measured")).collect();
    let expected = ["loading double, 0 of 2 measured", "1 callers, 0 of 2 measured", "3 callers, 1 of 2 measured"];
    assert_eq!(announced, expected);
    let levels: Vec<Vec<&str>> = printed.lines().map(|line| line.split_whitespace().collect()).collect();
    for callers in ["1", "3"] {
        let level = levels.iter().find(|level| level.first() == Some(&callers)).expect(callers);
        assert!(level[1].parse::<f64>().unwrap() > 0.0, "{printed}");
    }
    assert!(printed.contains("For a pod") && printed.contains("rscore_queue_age_seconds"), "{printed}");
    assert!(std::fs::read_to_string(chart).unwrap().starts_with("<svg"));
}
