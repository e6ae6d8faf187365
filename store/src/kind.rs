//! Names of kinds, as every adapter stores them: those of the topics.

use schemas::record::{AlertKind, EmissionKind};

/// The emission kind of that name.
pub(crate) fn emission_kind(name: &str) -> Option<EmissionKind> {
    use EmissionKind::{AtEnd, Early, Late, OnTime, Retracted};
    [Early, OnTime, Late, AtEnd, Retracted].into_iter().find(|kind| kind.as_str() == name)
}

/// The alert kind of that name.
pub(crate) fn alert_kind(name: &str) -> Option<AlertKind> {
    use AlertKind::{Clock, Score, Stalled};
    [Score, Stalled, Clock].into_iter().find(|kind| kind.as_str() == name)
}
