//! The binary. A plain `fn main`: the worker role needs the main thread for R,
//! so no runtime is started here.
fn main() {
    rscore::worker::run().unwrap();
}
