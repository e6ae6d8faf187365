//! The whole processor on an in-memory journal with virtual time: every trial compares committed bytes with those of
//! a straight-line fold that knows no cuts, commits, snapshots or workers.

mod batches;
mod books;
mod churn;
mod closed;
mod crashes;
mod formats;
mod hostile;
mod mutations;
mod poison;
mod positions;
mod recoveries;
mod rollouts;
mod routes;
mod rows;
mod running;
mod scores;
mod weights;
mod world;
