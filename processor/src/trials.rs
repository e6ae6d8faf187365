//! The whole processor on an in-memory journal with virtual time: every trial compares committed bytes with those of
//! a straight-line fold that knows no cuts, commits, snapshots or workers.

mod batches;
mod books;
mod churn;
mod crashes;
mod mutations;
mod poison;
mod recoveries;
mod running;
mod scores;
mod world;
