//! What makes a program one of our services: configuration, telemetry, metrics, admin address, keys, shutdown,
//! supervision, clock. Does not live here: anything a reading passes through.

pub mod config;
