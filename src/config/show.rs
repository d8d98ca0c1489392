//! Effective settings as a configuration file that says where each came from.

use std::fmt::Write;

use super::keys;
use super::load::Loaded;
use super::problem::Origin;
use super::reference::{self, toml_literal};

/// The settings as TOML. Every line carries its origin as a comment; what is
/// not set stands as a comment too.
pub fn effective_toml(loaded: &Loaded) -> String {
    let values = keys::values_of(&loaded.settings);
    let mut text = String::new();
    let mut section = "";
    for entry in reference::ENTRIES {
        let (current, name) = entry.key.split_once('.').unwrap_or(("", entry.key));
        if current != section {
            let gap = if section.is_empty() { "" } else { "\n" };
            section = current;
            _ = writeln!(text, "{gap}[{section}]");
        }
        let line = match values.get(entry.key).and_then(toml_literal) {
            Some(literal) => format!("{name} = {literal}"),
            None => format!("# {name} is not set"),
        };
        match loaded.origins.get(entry.key) {
            Some(Origin::Default) | None => _ = writeln!(text, "{line:<40} # default"),
            // A path may hold any character; a comment must stay on its line.
            Some(origin) => {
                let origin = origin.to_string().replace(char::is_control, "?");
                _ = writeln!(text, "{line:<40} # {origin}");
            }
        }
    }
    text
}
