//! `rscore models list`: a table of what a store has.

use std::process::ExitCode;

use comfy_table::{Table, presets};
use jiff::Timestamp;

use crate::cli::output;
use crate::config::settings::ModelSettings;
use crate::model::remote::{Listing, list, size};
use crate::store::Store;

/// Lists the repository.
pub(super) async fn run(store: &Store, settings: &ModelSettings) -> ExitCode {
    match list(store, settings.max_files).await {
        Ok(listing) => output::print(&render(&listing)),
        Err(error) => output::fail(&error),
    }
}

fn render(listing: &Listing) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["MODEL", "VERSION", "FILES", "SIZE", "WRITTEN"]);
    for ((model, version), found) in &listing.versions {
        let written = Timestamp::try_from(found.newest).map(|time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
        table.add_row([
            model.clone(),
            version.to_string(),
            found.files.len().to_string(),
            size(found.size()),
            written.unwrap_or_default(),
        ]);
    }
    let mut text: String = table.lines().map(|line| format!("{}\n", line.trim())).collect();
    for ignored in &listing.ignored {
        text += &format!("passed over {ignored}\n");
    }
    text
}
