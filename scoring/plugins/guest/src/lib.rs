//! What every Rust guest needs: the bindings of the world `scorer`, a panic hook that tells the host why, and what models
//! of one value have in common.
//! Does not live here: any detector.
//!
//! ```ignore
//! struct Ewma;
//! impl guest::Model for Ewma { .. }
//! guest::export!(Ewma with_types_in guest::bindings);
//! ```

pub mod habit;
pub mod settings;
pub mod univariate;

/// Generated from `scoring/wit`.
#[allow(missing_docs, reason = "generated; the contract is documented in the WIT")]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "scorer",
        pub_export_macro: true,
        export_macro_name: "export",
    });
}

pub use bindings::export;
pub use bindings::exports::highwater::scoring::model::{
    Batch, Descriptor, Fault, Feature, Guest as Model, MissingRule, Output, Role, RowFlags, Scored, StateId,
    Traits,
};
pub use bindings::highwater::scoring::host_log::{self, Level};
pub use bindings::highwater::scoring::host_metrics::gauge;

/// Sends panics to the host's log, where the last lines travel with the failure. Call it in `configure`.
pub fn report_panics() {
    std::panic::set_hook(Box::new(|info| host_log::log(Level::Error, &info.to_string())));
}

/// Whether the cell is marked missing in a batch's bitmap.
#[must_use]
pub fn is_missing(bitmap: &[u8], cell: usize) -> bool {
    bitmap.get(cell / 8).is_some_and(|byte| byte >> (cell % 8) & 1 == 1)
}
