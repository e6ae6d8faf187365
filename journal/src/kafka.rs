//! The journal on Kafka, through librdkafka.
//!
//! Lives here: opening a home and its parts. Below: settings (`config`), the foreign interface (`native`), group
//! members (`member`), transactions (`committer`), appends (`appender`), reads without a group (`reader`), the
//! broker's clock (`clock`), topics (`topics`), and what an error means (`error`).
//!
//! Invariants:
//! * Only `native` is unsafe; it knows pointers and nothing of the pipeline.
//! * A token is bound to its assignment in this process too: the broker checks member and generation, not who owns
//!   a partition.
//! * A commit that may have been retried in silence is followed by a new producer.

mod config;
pub mod owners;
pub mod topics;

pub use config::{KafkaConfig, OURS};
