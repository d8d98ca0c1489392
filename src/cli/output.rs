//! What subcommands write besides the log: results to standard output, the
//! reason of a failure to standard error.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

/// Writes a result to standard output. A reader that went away, such as `head`,
/// is no failure.
pub fn print(text: &str) -> ExitCode {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => fail(&format!("standard output can't be written: {error}")),
    }
}

/// Writes a line of progress to standard error.
pub fn say(line: &str) {
    // A reader that went away is no reason to stop the work.
    _ = writeln!(io::stderr(), "{line}");
}

/// Says why the command failed; exit code 1.
pub fn fail(reason: &impl Display) -> ExitCode {
    complain(reason);
    ExitCode::FAILURE
}

/// Writes a reason to standard error.
pub fn complain(reason: &impl Display) {
    // There is nobody left to tell when this fails.
    _ = writeln!(io::stderr(), "rscore: {reason}");
}
