//! Which run a verb is about: a job file with a run id, or the location of a run.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use super::{SettingsArguments, read_job, refuse};
use crate::batch::layout::RUNS;
use crate::batch::objects::Objects;
use crate::batch::operate::{Watched, latest};
use crate::batch::sites::Opener;
use crate::config::{ProviderVariables, Settings};

/// A run.
#[derive(Debug, Clone, Args)]
pub struct TargetArguments {
    /// The job file, or the location of a run: .../_rscore/runs/ID
    #[arg(value_name = "JOB|RUN")]
    target: String,
    /// Id of the run; the latest one of the job when it is not given
    #[arg(long, value_name = "ID")]
    run_id: Option<String>,
    #[command(flatten)]
    pub(super) settings: SettingsArguments,
}

impl TargetArguments {
    /// Opens the run.
    pub(super) async fn open(&self, settings: &Settings) -> Result<Watched, ExitCode> {
        let opener = Opener { settings: settings.store.clone(), variables: ProviderVariables::from_process() };
        let location = self.target.trim_end_matches('/');
        let (folder, run) = match location.rsplit_once(RUNS) {
            Some((folder, run)) => (folder.to_owned(), Some(run.to_owned())),
            None => {
                let job = read_job(Path::new(&self.target))?;
                (job.output.template.folder().to_owned(), self.run_id.clone())
            }
        };
        let store = opener.open(&folder).map_err(|error| refuse(&error))?;
        let objects: Arc<dyn Objects> = Arc::new(store);
        let run = match run {
            Some(run) => run,
            None => match latest(&*objects).await {
                Ok(Some(run)) => run,
                Ok(None) => return Err(refuse(&"there is no run of this job yet")),
                Err(error) => return Err(refuse(&error)),
            },
        };
        Watched::open(objects, &run).await.map_err(|error| refuse(&error))
    }
}
