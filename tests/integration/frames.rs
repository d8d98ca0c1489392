//! Values of every type on their way into R and back, in every form of a body.

mod forms;
mod inputs;
mod results;
mod types;
