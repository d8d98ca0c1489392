//! Where the state of a run lies: `{output folder}/_rscore/runs/{run}/`. The
//! leading underscore keeps it out of other readers' listings. All paths are
//! below the output's folder.

/// Paths of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    root: String,
}

/// Name of the folder that holds the state of runs.
pub const STATE: &str = "_rscore";

/// Folder of all runs.
pub const RUNS: &str = "_rscore/runs/";

/// Names the run that was begun last.
pub const LATEST: &str = "_rscore/latest";

impl Layout {
    /// The layout of a run.
    pub fn new(run: &str) -> Self {
        Self { root: format!("{RUNS}{run}/") }
    }

    /// The run's folder, with its slash.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// The plan's head. Its creation is the beginning of the run.
    pub fn plan(&self) -> String {
        self.at("plan.json")
    }

    /// The plan's list of partitions, named by its content.
    pub fn partitions(&self, digest: &str) -> String {
        format!("{}plans/{digest}.jsonl.zst", self.root)
    }

    /// A shard's heartbeat.
    pub fn shard(&self, shard: &str) -> String {
        format!("{}{shard}.json", self.shards())
    }

    /// Folder of all heartbeats.
    pub fn shards(&self) -> String {
        self.at("shards/")
    }

    /// Folder of all claims of a partition.
    pub fn claims(&self, generation: u32, partition: &str) -> String {
        format!("{}claims/{generation}/{partition}/", self.root)
    }

    /// One claim of a partition.
    pub fn claim(&self, generation: u32, partition: &str, epoch: u32) -> String {
        format!("{}{epoch:06}.json", self.claims(generation, partition))
    }

    /// What an attempt staged.
    pub fn staged(&self, partition: &str, attempt: &str, file: &str) -> String {
        format!("{}attempts/{partition}/{attempt}/{file}", self.root)
    }

    /// Folder of the outcomes of one generation.
    pub fn outcomes(&self, generation: u32) -> String {
        format!("{}commits/{generation}/", self.root)
    }

    /// The outcome of a partition: the only truth about it.
    pub fn outcome(&self, generation: u32, partition: &str) -> String {
        format!("{}{partition}.json", self.outcomes(generation))
    }

    /// Folder of the marks of published outputs.
    pub fn published_folder(&self, generation: u32) -> String {
        format!("{}published/{generation}/", self.root)
    }

    /// Says that a partition's output was published.
    pub fn published(&self, generation: u32, partition: &str) -> String {
        format!("{}{partition}", self.published_folder(generation))
    }

    /// The rows of a partition that were set aside.
    pub fn quarantine(&self, partition: &str, extension: &str) -> String {
        format!("{}quarantine/{partition}.{extension}", self.root)
    }

    /// What R said about a partition.
    pub fn log(&self, partition: &str) -> String {
        format!("{}{partition}.txt", self.logs())
    }

    /// Folder of all logs.
    pub fn logs(&self) -> String {
        self.at("logs/")
    }

    /// Asks all shards to stop for good.
    pub fn cancel(&self) -> String {
        self.at("cancel.json")
    }

    /// Folder of requests to try failed partitions again.
    pub fn retries(&self) -> String {
        self.at("retries/")
    }

    /// One such request.
    pub fn retry(&self, number: u32) -> String {
        format!("{}{number:06}.json", self.retries())
    }

    /// The report.
    pub fn report(&self) -> String {
        self.at("report.json")
    }

    /// Says that the run is complete and within its thresholds.
    pub fn success(&self) -> String {
        self.at("_SUCCESS")
    }

    fn at(&self, name: &str) -> String {
        format!("{}{name}", self.root)
    }
}

/// The partition that an object of a folder is about: its name without folder
/// and extension.
pub fn partition_of<'a>(path: &'a str, folder: &str, extension: &str) -> Option<&'a str> {
    path.strip_prefix(folder)?.strip_suffix(extension)
}
