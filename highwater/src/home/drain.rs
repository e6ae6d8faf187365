//! Waiting until nothing is in flight: everything folded, committed and stored. Open panes stay open.

use super::books::Books;
use super::live::Live;
use anyhow::{Result, bail};
use std::time::{Duration, Instant};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Looks in a row that must find nothing: results of the last readings are appended after they were read.
const QUIET_LOOKS: u32 = 3;

/// Waits until nothing is in flight in any stage.
///
/// # Errors
/// When that takes longer than `patience`, with the books as they are then.
pub(crate) async fn drained(live: &Live, patience: Duration) -> Result<Books> {
    let begun = Instant::now();
    let mut quiet = 0;
    loop {
        let books = live.closed_books()?;
        quiet = if books.in_flight == 0 { quiet + 1 } else { 0 };
        if quiet >= QUIET_LOOKS {
            return Ok(books);
        }
        if begun.elapsed() > patience {
            bail!("not drained after {} s:\n{books}", patience.as_secs());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
