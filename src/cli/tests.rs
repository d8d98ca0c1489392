//! The command line agrees with itself and with the settings.

use std::collections::BTreeSet;

use clap::CommandFactory;

use super::*;
use crate::config::environment::OTHER_NAMES;
use crate::config::reference;

/// Every command of the tree but the root.
fn subcommands() -> Vec<clap::Command> {
    CommandLine::command().get_subcommands().cloned().collect()
}

fn serve_arguments(arguments: &[&str]) -> serve::ServeArguments {
    let line = ["rscore", "serve"].iter().chain(arguments);
    match CommandLine::try_parse_from(line).map(|line| line.command) {
        Ok(Command::Serve(arguments)) => arguments,
        other => panic!("not a serve command: {other:?}"),
    }
}

#[test]
fn the_tree_is_consistent() {
    CommandLine::command().debug_assert();
}

#[test]
fn names_in_the_environment_that_help_mentions_exist() {
    let known: BTreeSet<String> = reference::ENTRIES
        .iter()
        .map(|entry| reference::environment_name(entry.key))
        .chain(OTHER_NAMES.iter().map(|&name| name.to_owned()))
        .collect();
    let mut mentioned = 0;
    for mut command in subcommands() {
        let help = command.render_long_help().to_string();
        for word in help.split(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
            if word.starts_with("RSCORE_") {
                assert!(known.contains(word), "{}: {word}", command.get_name());
                mentioned += 1;
            }
        }
    }
    assert!(mentioned > reference::ENTRIES.len(), "only {mentioned} names are mentioned");
}

#[test]
fn every_flag_of_serve_shows_its_name_in_the_environment() {
    let commands = subcommands();
    let serve = commands.iter().find(|command| command.get_name() == "serve").expect("a serve command");
    let mut flags = 0;
    for argument in serve.get_arguments() {
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        assert!(
            help.contains("[environment: RSCORE_") || help.contains(", environment: RSCORE_"),
            "{argument}: {help}"
        );
        flags += 1;
    }
    assert_eq!(flags, 9);
}

#[test]
fn flags_carry_their_setting_and_their_own_name() {
    let given = [
        "--models=m",
        "--listen=l",
        "--admin-listen=a",
        "--workers=w",
        "--tls-certificate=c",
        "--tls-key=k",
        "--auth-key=1",
        "--auth-key=2",
    ];
    let flags = serve_arguments(&given).server.flags();
    assert_eq!(flags.iter().map(|flag| flag.values.len()).sum::<usize>(), given.len());
    for flag in flags {
        assert!(reference::find(flag.key).is_some(), "{}", flag.key);
        for value in flag.values {
            assert!(given.contains(&format!("{}={value}", flag.flag).as_str()), "{}", flag.flag);
        }
    }
    assert_eq!(serve_arguments(&[]).server.flags(), []);
}

#[test]
fn every_subcommand_has_a_summary_and_examples() {
    for command in subcommands() {
        assert!(command.get_about().is_some(), "{}", command.get_name());
        let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        assert!(examples.starts_with("Examples:") || command.is_hide_set(), "{}", command.get_name());
    }
}

#[test]
fn the_worker_is_hidden() {
    assert!(!CommandLine::command().render_long_help().to_string().contains("worker"));
    assert!(CommandLine::try_parse_from(["rscore", "worker"]).is_ok());
}

#[test]
fn mistakes_in_usage_have_code_2() {
    for arguments in [&["rscore"][..], &["rscore", "serve", "--nonsense"], &["rscore", "check"]] {
        let error = CommandLine::try_parse_from(arguments).expect_err("a usage error");
        assert_eq!(error.exit_code(), 2, "{arguments:?}");
    }
}
