//! Where a plan would write: no two partitions to one path, and nothing that is
//! an input, now or when the job is planned again.

use std::collections::HashMap;

use super::LISTED;
use crate::batch::layout::STATE;
use crate::batch::plan::Partition;
use crate::batch::sites::Sites;
use crate::store::{Location, Store};

/// Whether a path of an input's folder leads into the state of runs.
pub(super) fn is_state(path: &str) -> bool {
    path.split('/').any(|part| part == STATE)
}

/// Checks where partitions would write.
///
/// # Errors
/// Every path that is one too many times in use, up to some number.
pub(super) fn check(sites: &Sites, partitions: &[Partition]) -> Result<(), Vec<String>> {
    let mut problems = Vec::new();
    let mut owners: HashMap<&str, &str> = HashMap::with_capacity(partitions.len());
    let folder = folder(&sites.output);
    let inputs: Vec<_> = sites.inputs.iter().map(|site| (site, self::folder(&site.store))).collect();
    for Partition { id, output, .. } in partitions {
        if let Some(other) = owners.insert(output, id) {
            problems.push(format!(
                "the partitions {other} and {id} would both write {output}; put something between the captures of the \
                 output that their values don't have, such as a slash"
            ));
        }
        let full = format!("{folder}{output}");
        for (site, folder) in &inputs {
            let Some(below) = full.strip_prefix(folder.as_str()) else { continue };
            if !is_state(below) && site.template.read(below).is_some() {
                problems.push(format!(
                    "the output {output} of partition {id} is a path that inputs.{} takes ({}), so that it would be \
                     overwritten, or scored by the next run; write outputs to another folder",
                    site.name, site.written
                ));
            }
        }
        if problems.len() > LISTED {
            break;
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

/// A store's folder with a slash at its end; one of this machine without links, for
/// two names may lead to one folder.
fn folder(store: &Store) -> String {
    let location = store.location();
    let real = location.local_path().and_then(|path| std::fs::canonicalize(path).ok());
    let real = real.and_then(|path| Location::parse(path.to_str()?).ok());
    format!("{}/", real.as_ref().unwrap_or(location).to_string().trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use std::path::Path;

    use crate::batch::job::Job;
    use crate::batch::planner::{Draft, PlanError, draft};
    use crate::batch::sites::Opener;
    use crate::config::ProviderVariables;
    use crate::config::settings::StoreSettings;

    async fn planned(root: &Path, files: &[&str], input: &str, output: &str, more: &str) -> Result<Draft, PlanError> {
        for file in files {
            let path = root.join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x\n1\n2\n3\n").unwrap();
        }
        let root = root.display();
        let text = format!("model = \"m\"\noutput = \"{root}/{output}\"\n[inputs]\ndata = \"{root}/{input}\"\n{more}");
        let job = Job::parse(&text).unwrap();
        let variables: ProviderVariables = std::iter::empty::<(String, String)>().collect();
        let sites = Opener { settings: StoreSettings::default(), variables }.sites(&job).unwrap();
        draft(&job, &sites, "r", None).await
    }

    #[tokio::test]
    async fn two_partitions_never_write_one_path() {
        let folder = tempfile::tempdir().unwrap();
        let files = ["in/x-y/z.csv", "in/x/y-z.csv"];
        let error = planned(folder.path(), &files, "in/{a}/{b}.csv", "out/{a}-{b}.csv", "").await.unwrap_err();
        let error = error.to_string();
        for part in ["a=x,b=y-z", "a=x-y,b=z", "x-y-z.csv"] {
            assert!(error.contains(part), "{part}: {error}");
        }
        let draft = planned(folder.path(), &[], "in/{a}/{b}.csv", "out/{a}/{b}.csv", "").await.unwrap();
        assert_eq!(draft.partitions.len(), 2);
        // The number of a part may be what another file is called.
        let files = ["cut/a.csv", "cut/a-000001.csv"];
        let more = "[partition]\nsplit = \"rows:2\"\n";
        let draft = planned(folder.path(), &files, "cut/{p}.csv", "parts/{p}.csv", more).await.unwrap();
        assert_eq!(draft.partitions.len(), 4);
    }

    #[tokio::test]
    async fn an_output_is_never_an_input() {
        let folder = tempfile::tempdir().unwrap();
        for output in ["d/{p}.csv", "d/{p}-out.csv", "d/../d/{p}.csv", "e/{p}.csv"] {
            if !folder.path().join("e").exists() {
                std::os::unix::fs::symlink("d", folder.path().join("e")).unwrap();
            }
            let error = planned(folder.path(), &["d/7.csv"], "d/{p}.csv", output, "").await.unwrap_err().to_string();
            assert!(error.contains("inputs.data takes") && error.contains("p=7"), "{output}: {error}");
        }
        assert!(planned(folder.path(), &[], "d/{p:int}.csv", "d/{p}-out.csv", "").await.is_ok());
        assert!(planned(folder.path(), &[], "d/{p}.csv", "d/out/{p}.csv", "").await.is_ok());
    }

    #[tokio::test]
    async fn the_state_of_runs_is_no_input_however_deep_it_lies() {
        let folder = tempfile::tempdir().unwrap();
        let files = ["d/7/a/q/r/x.csv", "d/out/_rscore/runs/q/x.csv"];
        let draft = planned(folder.path(), &files, "d/{a}/{b}/{c}/{d}/x.csv", "o/{a}/{b}/{c}/{d}.csv", "").await;
        assert_eq!(draft.unwrap().partitions.len(), 1);
    }
}
