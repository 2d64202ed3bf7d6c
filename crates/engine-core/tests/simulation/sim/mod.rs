//! A simulation of the real scheduler, block pool and prefix cache.
//!
//! A [`scenario`] is plain data: bounds, and a list of what comes to pass. The [`driver`] puts it to
//! the scheduler and plays the engine and the model; the [`truth`] about each sequence and the
//! [`store`] of what each slot holds follow on their own, and [`check`] compares after every call.
//! What fails is made small by [`shrink`].

mod check;
mod clock;
mod driver;
mod follow;
mod generate;
mod load;
mod rng;
pub mod scenario;
mod shrink;
mod step;
mod store;
mod time;
mod truth;
mod violation;

pub use driver::{Options, Report};
pub use shrink::{Failure, try_run};
pub use violation::Violation;
