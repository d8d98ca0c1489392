//! The binary. A plain `fn main`: the worker role needs the main thread for R,
//! so no runtime is started here.
<<<<<<< HEAD
fn main() {
    rscore::worker::run().unwrap();
=======

use std::process::ExitCode;

fn main() -> ExitCode {
    rscore::cli::run()
>>>>>>> config
}
