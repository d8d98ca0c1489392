//! What keeps workers warm and fit, with real R behind a real pool: warm-up,
//! interrupts, folders of their own, retirement, collection when idle.

mod bench;
mod folders;
mod idle;
mod interrupt;
mod terms;
mod warm_up;
