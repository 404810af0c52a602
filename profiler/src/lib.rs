//! Says where an Urbit ship's time went, whose fault it is, and what to change first.
//!
//! The stages are the modules: discover (`ship`) → probe, drain, decode (`capture`) → order,
//! aggregate → attribute → recommend → report → render. Everything after `drain` is a pure
//! function of the capture. Beside them, the sampler's windows go through `store` to `history`,
//! and `audit` judges a host without a capture. `trial` alone changes a host.

pub mod aggregate;
pub mod attribute;
pub mod audit;
pub mod baselines;
pub mod capture;
pub mod catalogue;
pub mod cli;
pub mod diff;
pub mod history;
pub mod hoon;
pub mod host;
pub mod mass;
pub mod model;
pub mod now;
pub mod ping;
pub mod recommend;
pub mod render;
pub mod report;
pub mod sampler;
pub mod ship;
pub mod store;
pub mod trial;
pub mod unwind;
