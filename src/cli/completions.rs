//! `rscore completions`: scripts that make a shell complete the command line.

use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{CommandLine, output};

/// Write a completion script for a shell
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
    source <(rscore completions bash)\n  \
    rscore completions zsh > ~/.zfunc/_rscore\n  \
    rscore completions fish > ~/.config/fish/completions/rscore.fish")]
pub struct CompletionsArguments {
    /// The shell
    shell: Shell,
}

/// Writes the script to standard output.
pub fn run(arguments: &CompletionsArguments) -> ExitCode {
    output::print(&script(arguments.shell))
}

fn script(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut CommandLine::command(), "rscore", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn every_shell_completes_subcommands_and_flags() {
        for shell in Shell::value_variants() {
            let script = script(*shell);
            assert!(script.contains("serve"), "{shell}");
            assert!(script.contains("admin-listen"), "{shell}");
        }
    }
}
