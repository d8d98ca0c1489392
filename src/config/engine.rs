//! What the engine that started this process says about it: which of how many
//! shards it is, and which job it belongs to.

use std::collections::BTreeMap;

/// Variables of Kubernetes, Slurm, AWS Batch and Azure Batch that are looked at,
/// and our own.
const NAMES: &[&str] = &[
    RUN_ID,
    "JOB_COMPLETION_INDEX",
    "SLURM_ARRAY_TASK_ID",
    "SLURM_ARRAY_TASK_MIN",
    "SLURM_ARRAY_TASK_STEP",
    "SLURM_ARRAY_TASK_COUNT",
    "SLURM_ARRAY_JOB_ID",
    "AWS_BATCH_JOB_ARRAY_INDEX",
    "AWS_BATCH_JOB_ARRAY_SIZE",
    "AWS_BATCH_JOB_ID",
    "AZ_BATCH_JOB_ID",
];

/// Names the run, as `--run-id` does.
pub const RUN_ID: &str = "RSCORE_RUN_ID";

/// Variables of engines by name.
#[derive(Debug, Clone, Default)]
pub struct EngineVariables {
    variables: BTreeMap<String, String>,
}

/// Which shard of how many this process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineShard {
    /// From 0.
    pub index: u64,
    /// How many there are, where the engine says so.
    pub count: Option<u64>,
}

impl EngineVariables {
    /// The variables of this process.
    #[expect(clippy::disallowed_methods, reason = "`config` reads the process environment")]
    pub fn from_process() -> Self {
        NAMES.iter().filter_map(|name| Some((*name, std::env::var(name).ok()?))).collect()
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.get(name)?.parse().ok()
    }

    /// The shard that the engine made this process: of a Kubernetes Indexed Job, a
    /// Slurm array, or an AWS Batch array, in this order.
    pub fn shard(&self) -> Option<EngineShard> {
        if let Some(index) = self.number("JOB_COMPLETION_INDEX") {
            return Some(EngineShard { index, count: None });
        }
        if let Some(task) = self.number("SLURM_ARRAY_TASK_ID") {
            let first = self.number("SLURM_ARRAY_TASK_MIN").unwrap_or(0);
            let step = self.number("SLURM_ARRAY_TASK_STEP").unwrap_or(1).max(1);
            let index = task.saturating_sub(first) / step;
            return Some(EngineShard { index, count: self.number("SLURM_ARRAY_TASK_COUNT") });
        }
        let index = self.number("AWS_BATCH_JOB_ARRAY_INDEX")?;
        Some(EngineShard { index, count: self.number("AWS_BATCH_JOB_ARRAY_SIZE") })
    }

    /// The run's id: `RSCORE_RUN_ID`, else the id of the engine's job, so that a
    /// shard that is started again goes on with its run.
    pub fn run_id(&self) -> Option<String> {
        let from = |name: &str, engine: &str| {
            // An element of an AWS array is called `job:index`.
            let id = self.get(name)?.split(':').next()?;
            Some(format!("{engine}-{id}"))
        };
        self.get(RUN_ID)
            .map(str::to_owned)
            .or_else(|| from("SLURM_ARRAY_JOB_ID", "slurm"))
            .or_else(|| from("AWS_BATCH_JOB_ID", "aws"))
            .or_else(|| from("AZ_BATCH_JOB_ID", "azure"))
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for EngineVariables {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        Self { variables: variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> EngineVariables {
        variables.iter().copied().collect()
    }

    #[test]
    fn shards_are_read_off_every_engine() {
        assert_eq!(of(&[]).shard(), None);
        let kubernetes = of(&[("JOB_COMPLETION_INDEX", "3"), ("SLURM_ARRAY_TASK_ID", "9")]);
        assert_eq!(kubernetes.shard(), Some(EngineShard { index: 3, count: None }));
        let slurm = of(&[
            ("SLURM_ARRAY_TASK_ID", "14"),
            ("SLURM_ARRAY_TASK_MIN", "10"),
            ("SLURM_ARRAY_TASK_STEP", "2"),
            ("SLURM_ARRAY_TASK_COUNT", "4"),
            ("SLURM_ARRAY_JOB_ID", "77"),
        ]);
        assert_eq!(slurm.shard(), Some(EngineShard { index: 2, count: Some(4) }));
        assert_eq!(slurm.run_id().as_deref(), Some("slurm-77"));
        let aws = of(&[
            ("AWS_BATCH_JOB_ARRAY_INDEX", "0"),
            ("AWS_BATCH_JOB_ARRAY_SIZE", "8"),
            ("AWS_BATCH_JOB_ID", "ab-12:0"),
        ]);
        assert_eq!(aws.shard(), Some(EngineShard { index: 0, count: Some(8) }));
        assert_eq!(aws.run_id().as_deref(), Some("aws-ab-12"));
    }

    #[test]
    fn ones_own_id_comes_first() {
        let variables = of(&[("SLURM_ARRAY_JOB_ID", "77"), (RUN_ID, "monday")]);
        assert_eq!(variables.run_id().as_deref(), Some("monday"));
        assert_eq!(of(&[(RUN_ID, "")]).run_id(), None);
    }
}
