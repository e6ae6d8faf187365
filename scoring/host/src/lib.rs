//! scoring-host
