//! `rscore man`: manual pages, made from the same definitions as `--help`.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, CommandFactory};

use super::{CommandLine, output};

/// Write the manual pages, one for each subcommand
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
    rscore man                       print the page of rscore itself\n  \
    rscore man /usr/local/share/man/man1")]
pub struct ManArguments {
    /// Folder to write all pages to; without one, the first page is printed
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
}

/// Writes the pages.
pub fn run(arguments: &ManArguments) -> ExitCode {
    let Some(directory) = &arguments.directory else {
        let mut page = Vec::new();
        return match clap_mangen::Man::new(CommandLine::command()).render(&mut page) {
            Ok(()) => output::print(&String::from_utf8_lossy(&page)),
            Err(error) => output::fail(&error),
        };
    };
    match write_all(directory) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => output::fail(&format!("the pages can't be written to {}: {error}", directory.display())),
    }
}

fn write_all(directory: &Path) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    clap_mangen::generate_to(CommandLine::command(), directory)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;

    #[test]
    fn every_subcommand_has_a_page() {
        let directory = tempfile::tempdir().unwrap();
        write_all(directory.path()).unwrap();
        let shown = CommandLine::command();
        for subcommand in shown.get_subcommands().filter(|subcommand| !subcommand.is_hide_set()) {
            let page = directory.path().join(format!("rscore-{}.1", subcommand.get_name()));
            assert!(std::fs::read_to_string(&page).unwrap().contains(".SH SYNOPSIS"), "{}", page.display());
        }
    }
}
