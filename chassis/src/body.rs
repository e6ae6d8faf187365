//! Reading a request's body within a size and a time.

use axum::body::Body;
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
    /// The connection broke, or the framing is wrong.
    #[error("the body could not be read: {0}")]
    Broken(String),
}

/// Reads a body of at most `bytes_max` bytes within `max_wait`. Never holds more than that.
///
/// # Errors
/// [`BodyError`].
pub async fn read(mut body: Body, bytes_max: usize, max_wait: Duration) -> Result<Vec<u8>, BodyError> {
    use axum::body::HttpBody;
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > bytes_max {
        return Err(BodyError::TooLarge { bytes_max });
    }
    let reading = async {
        let mut bytes = Vec::with_capacity(announced);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| BodyError::Broken(crate::error_chain(&error)))?;
            let Some(data) = frame.data_ref() else { continue };
            if data.len() > bytes_max - bytes.len() {
                return Err(BodyError::TooLarge { bytes_max });
            }
            bytes.extend_from_slice(data);
        }
        Ok(bytes)
    };
    tokio::time::timeout(max_wait, reading).await.unwrap_or(Err(BodyError::TooSlow { max_wait }))
}
