//! Scenarios with real servers: Kafka, Cassandra and a schema registry, as `tests/stack/up` brings them up. Every test
//! here is named `real_...` and starts by asking `e2e::real` for its servers.

#[path = "real/clients.rs"]
mod clients;
#[path = "real/encrypted.rs"]
mod encrypted;
#[path = "real/pipeline.rs"]
mod pipeline;
#[path = "real/rights.rs"]
mod rights;
#[path = "real/servers.rs"]
mod servers;
