//! The binary. A plain `fn main`: the worker role needs the main thread for R,
//! so no runtime is started here.

use std::process::ExitCode;

fn main() -> ExitCode {
    rscore::cli::run()
}
