//! Reading a request's body within a size and a time.

use axum::body::{Body, HttpBody};
use http_body_util::BodyExt;
use std::time::Duration;

/// Why a body was not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// More bytes than allowed.
    #[error("the body is larger than {bytes_max} bytes")]
    TooLarge {
        /// The limit.
        bytes_max: usize,
    },
    /// It did not arrive in time.
    #[error("the body did not arrive within {max_wait:?}")]
    TooSlow {
        /// The limit.
        max_wait: Duration,
    },
    /// There was no room for what had arrived.
    #[error("there is no room for the body now")]
    NoRoom,
    /// The connection broke, or the framing is wrong.
    #[error("the body could not be read: {0}")]
    Broken(String),
}

/// How much of a refused body is read and thrown away, and for how long, so that a client which writes first and
/// reads afterwards sees the answer instead of a reset.
const DISCARD_BYTES_MAX: usize = 64 << 20;
const DISCARD_MAX_WAIT: Duration = Duration::from_secs(2);

/// Reads and throws away what is left of a body that is refused, within bounds.
pub async fn discard(mut body: Body) {
    let reading = async {
        let mut left = DISCARD_BYTES_MAX;
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, axum::body::Bytes::len));
            if left == 0 {
                return;
            }
        }
    };
    // What is still on its way after that meets a closed connection.
    let _ = tokio::time::timeout(DISCARD_MAX_WAIT, reading).await;
}

/// Reads a body of at most `bytes_max` bytes within `max_wait`. Never holds more than that.
///
/// # Errors
/// [`BodyError`].
pub async fn read(body: Body, bytes_max: usize, max_wait: Duration) -> Result<Vec<u8>, BodyError> {
    read_admitted(body, bytes_max, max_wait, |_| true).await
}

/// As [`read`]; memory grows with what has arrived, not with what is announced, and before it grows `admit` is asked
/// for so many bytes more. So a sender holds only what it has sent.
///
/// # Errors
/// [`BodyError`].
pub async fn read_admitted(
    mut body: Body,
    bytes_max: usize,
    max_wait: Duration,
    mut admit: impl FnMut(usize) -> bool,
) -> Result<Vec<u8>, BodyError> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > bytes_max {
        discard(body).await;
        return Err(BodyError::TooLarge { bytes_max });
    }
    let reading = async {
        // CANCEL: nothing is lost but what was read.
        let mut bytes = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| BodyError::Broken(crate::error_chain(&error)))?;
            let Some(data) = frame.data_ref() else { continue };
            if data.len() > bytes_max - bytes.len() {
                return Err(BodyError::TooLarge { bytes_max });
            }
            let (total, capacity) = (bytes.len() + data.len(), bytes.capacity());
            if total > capacity {
                // Doubled, but not beyond what was announced.
                let grown = (capacity * 2).min(announced.max(total)).max(total).min(bytes_max);
                if !admit(grown - capacity) {
                    return Err(BodyError::NoRoom);
                }
                bytes.reserve_exact(grown - bytes.len());
            }
            bytes.extend_from_slice(data);
        }
        Ok(bytes)
    };
    let read = tokio::time::timeout(max_wait, reading).await.unwrap_or(Err(BodyError::TooSlow { max_wait }));
    if matches!(read, Err(BodyError::TooLarge { .. } | BodyError::NoRoom)) {
        discard(body).await;
    }
    read
}
