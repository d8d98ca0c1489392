//! The command line of `rscore token`, from words to a token that verifies.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use clap::Parser;

use super::*;
use crate::auth::Scope;
use crate::auth::testing::{Files, PAIRS};

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    arguments: TokenArguments,
}

fn parse(words: &[&str]) -> Result<TokenArguments, String> {
    let words = std::iter::once("token").chain(words.iter().copied());
    Command::try_parse_from(words).map(|command| command.arguments).map_err(|error| error.to_string())
}

fn refusal(words: &[&str]) -> String {
    parse(words).expect_err("the words are refused")
}

#[test]
fn scopes_may_be_repeated_or_in_one_text() {
    let arguments = parse(&["--subject", "app", "--scope", "score:a  models:read", "--scope", "admin"]).unwrap();
    assert_eq!(
        arguments.scopes,
        [Scopes(vec![Grant::Score("a".to_owned()), Grant::ModelsRead]), Scopes(vec![Grant::Admin])]
    );
    assert_eq!(arguments.ttl, Duration::from_secs(3600));
}

#[test]
fn mistakes_are_named() {
    assert!(refusal(&["--subject", "app"]).contains("--scope"));
    assert!(refusal(&["--scope", "admin"]).contains("--subject"));
    assert!(refusal(&["--subject", "app", "--scope", "score:bos*"]).contains("score:MODEL"));
    assert!(refusal(&["--subject", "app", "--scope", "admin score"]).contains("'score' is not a scope"));
    assert!(refusal(&["--subject", "app", "--scope", " "]).contains("score:MODEL"));
    assert!(refusal(&["--subject", "", "--scope", "admin"]).contains("1 to 256"));
    assert!(refusal(&["--subject", "a\nb", "--scope", "admin"]).contains("control"));
    assert!(refusal(&["--subject", &"a".repeat(257), "--scope", "admin"]).contains("1 to 256"));
}

#[test]
fn the_life_of_a_token_is_bounded() {
    let ttl = |text: &str| parse(&["--subject", "app", "--scope", "admin", "--ttl", text]);
    assert_eq!(ttl("1s").unwrap().ttl, Duration::from_secs(1));
    assert_eq!(ttl("8784h").unwrap().ttl, MAX_LIFETIME);
    assert!(ttl("8784h 1s").expect_err("too long").contains("366 days"));
    assert!(ttl("999ms").expect_err("too short").contains("out of bounds"));
    assert!(ttl("soon").expect_err("no duration").contains("not a duration"));
}

#[test]
fn the_token_passes_the_server_s_own_verifier() {
    let files = Files::new();
    let settings = AuthSettings {
        signing_key: Some(files.write("signing", &PAIRS[2].private_pem)),
        ..files.settings(&PAIRS[2].public_pem)
    };
    let arguments = parse(&["--subject", "app", "--scope", "score:boston models:read", "--ttl", "5m"]).unwrap();
    let token = run(&arguments, &settings).unwrap();
    let principal = Verifier::from_settings(&settings).unwrap().verify(&token).unwrap();
    assert_eq!(&*principal.subject, "app");
    assert!(principal.allows(&Scope::Score("boston".to_owned())) && principal.allows(&Scope::ModelsRead));
    assert!(!principal.allows(&Scope::Admin));
}

#[test]
fn a_token_that_the_server_would_refuse_is_not_given_out() {
    let files = Files::new();
    let signing_key = Some(files.write("signing", &PAIRS[2].private_pem));
    let arguments = parse(&["--subject", "app", "--scope", "admin"]).unwrap();
    let other = AuthSettings { signing_key: signing_key.clone(), ..files.settings(&PAIRS[1].public_pem) };
    assert!(run(&arguments, &other).expect_err("another key").to_string().contains("auth.keys"));
    let unreadable = AuthSettings { signing_key: signing_key.clone(), ..files.settings("hello") };
    assert!(run(&arguments, &unreadable).expect_err("no keys").to_string().contains("/keys: "));
    // A machine that only mints has no keys to check with.
    assert!(run(&arguments, &AuthSettings { signing_key, ..AuthSettings::default() }).is_ok());
}

#[test]
fn the_examples_of_the_help_parse() {
    let help = <Command as clap::CommandFactory>::command().render_long_help().to_string();
    let mut seen = 0;
    for line in help.lines().filter(|line| line.trim_start().starts_with("rscore token ")) {
        let words: Vec<String> =
            line.replace('\'', "\"").split('"').enumerate().fold(Vec::new(), |mut words, (i, part)| {
                if i % 2 == 1 {
                    words.push(part.to_owned());
                } else {
                    words.extend(part.split_whitespace().map(str::to_owned));
                }
                words
            });
        let words: Vec<&str> = words.iter().skip(2).map(String::as_str).collect();
        parse(&words).unwrap_or_else(|error| panic!("{line}: {error}"));
        seen += 1;
    }
    assert_eq!(seen, 3);
}
