//! The log: lines on standard error, for people or as JSON.

use std::io::IsTerminal;

use tracing::Subscriber;
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{EnvFilter, Registry};

use crate::config::Problem;
use crate::config::settings::{LogFormat, LogSettings};

/// What says at level error what the line of the request says at its own level: that
/// an answer was broken off, and why, which is mostly the caller's own mistake.
const SILENCED: [&str; 2] = ["actix_http::h1::dispatcher=off", "actix_http::h2::dispatcher=off"];

/// Starts the log of this process.
///
/// # Errors
/// A filter that can't be parsed, or a log that was already started.
pub fn init(settings: &LogSettings) -> Result<(), Problem> {
    let subscriber = subscriber(settings, std::io::stderr, std::io::stderr().is_terminal())?;
    tracing::subscriber::set_global_default(subscriber)
        .map_err(|_| Problem::rule("log", "the log of this process was started before"))
}

/// What writes the log. Colours are for terminals and never part of JSON.
fn subscriber<W>(settings: &LogSettings, writer: W, colours: bool) -> Result<Box<dyn Subscriber + Send + Sync>, Problem>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    // What the operator says stands last, and so counts.
    let directives = format!("{},{}", SILENCED.join(","), settings.filter);
    let filter = EnvFilter::builder()
        .parse(directives)
        .map_err(|error| Problem::rule("log.filter", format!("got '{}': {error}", settings.filter)))?;
    let registry = Registry::default().with(filter);
    let lines = fmt::layer().with_writer(writer);
    Ok(match settings.format {
        LogFormat::Pretty => Box::new(registry.with(lines.compact().with_ansi(colours))),
        LogFormat::Json => Box::new(registry.with(lines.json().flatten_event(true).with_span_list(false))),
    })
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    /// A log that is kept in memory.
    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no test panicked while writing").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, filter: &str, colours: bool, log: impl FnOnce()) -> String {
        let memory = Memory::default();
        let writer = memory.clone();
        let settings = LogSettings { format, filter: filter.to_owned() };
        let subscriber = subscriber(&settings, move || writer.clone(), colours).expect("a good filter");
        tracing::subscriber::with_default(subscriber, log);
        let bytes = memory.0.lock().expect("no test panicked while writing").clone();
        String::from_utf8(bytes).expect("UTF-8")
    }

    #[test]
    fn broken_answers_are_logged_by_their_requests_alone() {
        let noise = || tracing::error!(target: "actix_http::h1::dispatcher", "Response payload stream error");
        assert_eq!(logged(LogFormat::Pretty, "info", false, noise), "");
        let asked_for = logged(LogFormat::Pretty, "info,actix_http::h1::dispatcher=error", false, noise);
        assert!(asked_for.contains("payload stream"), "{asked_for}");
    }

    #[test]
    fn json_lines_have_fields_and_span_on_top_level() {
        let text = logged(LogFormat::Json, "info", true, || {
            let _span = tracing::info_span!("request", id = "r-1").entered();
            tracing::info!(model = "boston", "Model is ready");
            tracing::debug!("not at this level");
        });
        let line: serde_json::Value = serde_json::from_str(text.trim()).expect("one line of JSON");
        assert_eq!(line["message"], "Model is ready");
        assert_eq!(line["model"], "boston");
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["span"]["id"], "r-1");
        assert!(line["timestamp"].is_string());
    }

    #[test]
    fn lines_for_people_are_coloured_on_terminals_only() {
        let log = || tracing::warn!(model = "boston", "Model was not loaded");
        let plain = logged(LogFormat::Pretty, "info", false, log);
        assert!(
            plain.contains("WARN") && plain.contains("Model was not loaded") && plain.contains("model=\"boston\""),
            "{plain}"
        );
        assert!(!plain.contains('\u{1b}'), "{plain}");
        assert!(logged(LogFormat::Pretty, "info", true, log).contains('\u{1b}'));
    }

    #[test]
    fn a_bad_filter_is_a_problem_of_its_setting() {
        let settings = LogSettings { format: LogFormat::Json, filter: "info,rscore=loud".to_owned() };
        let problem = subscriber(&settings, io::sink, false).err().expect("a problem");
        assert_eq!(problem.key, "log.filter");
    }
}
