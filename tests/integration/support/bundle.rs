//! Model repositories in a temporary folder.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A folder of models that is gone with its value.
pub struct Repository {
    directory: TempDir,
}

impl Repository {
    pub fn new() -> Self {
        Self { directory: tempfile::tempdir().expect("a folder") }
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Writes a file of a version.
    pub fn write(&self, model: &str, version: u32, file: &str, contents: impl AsRef<[u8]>) {
        let directory = self.version(model, version);
        fs::create_dir_all(&directory).expect("a folder");
        fs::write(directory.join(file), contents).expect("a file");
    }

    /// Puts a folder with versions, which lies elsewhere, into the repository.
    pub fn link(&self, model: &str, directory: &Path) {
        symlink(directory, self.path().join(model)).expect("a link");
    }

    /// Has R make `model.rds` of a version from an expression.
    pub fn train(&self, model: &str, version: u32, expression: &str) {
        let directory = self.version(model, version);
        fs::create_dir_all(&directory).expect("a folder");
        let path = directory.join("model.rds");
        run_r(&format!("saveRDS({expression}, commandArgs(TRUE)[1])"), &[path.to_str().expect("a path in UTF-8")]);
    }

    pub fn version(&self, model: &str, version: u32) -> PathBuf {
        self.path().join(model).join(version.to_string())
    }
}

/// What an R expression prints.
pub fn run_r(expression: &str, arguments: &[&str]) -> String {
    let output = Command::new("Rscript").args(["--vanilla", "-e", expression]).args(arguments).output();
    let output = output.expect("Rscript runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}
